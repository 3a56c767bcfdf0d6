//! `shipway token`: who else may ask.

use shipway_api_types::{Token, TokenCreate};

use crate::args::TokenCommand;
use crate::ask::Asker;
use crate::exit::Failure;
use crate::output::Output;

pub(super) async fn token(command: TokenCommand, asker: &Asker, output: &Output) -> Result<(), Failure> {
    match command {
        TokenCommand::Create { name, expires } => {
            let expires_in_seconds = expires.map(|time| time.0.div_ceil(1000));
            let token = asker.client.create_token(&TokenCreate { name, expires_in_seconds }).await?;
            if output.json {
                output.object(&token);
            } else {
                output.note("this is shown once; keep it where only its user can read it");
                output.line(&token.secret);
            }
        }
        TokenCommand::Ls => list(&asker.client.tokens().await?, output),
        TokenCommand::Rm { id } => {
            asker.client.revoke_token(&id).await?;
            output.note(&format!("{id} works no more"));
        }
    }
    Ok(())
}

fn list(tokens: &[Token], output: &Output) {
    if output.json {
        tokens.iter().for_each(|token| output.object(token));
        return;
    }
    let dash = || "-".to_owned();
    let row = |token: &Token| {
        let used = token.last_used_at.clone().unwrap_or_else(dash);
        let until = token.expires_at.clone().unwrap_or_else(dash);
        vec![token.id.clone(), token.name.clone(), token.role.clone(), used, until]
    };
    let rows: Vec<Vec<String>> = tokens.iter().map(row).collect();
    output.table(&["ID", "NAME", "ROLE", "LAST USED", "EXPIRES"], &rows);
}
