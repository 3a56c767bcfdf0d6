//! `shipway token create|ls|rm`.

use shipway_api_types::TokenCreate;

use super::Context;
use crate::args::TokenCommand;
use crate::failure::{DONE, Failure};
use crate::output::Table;
use crate::show::harmless;
use crate::units;

pub(super) async fn token(context: &mut Context, command: TokenCommand) -> Result<u8, Failure> {
    let client = context.client()?;
    match command {
        TokenCommand::Create { name, expires } => {
            let create = TokenCreate { name, expires_in_seconds: expires.map(|time| time.as_secs()) };
            let made = context.during("making".to_owned(), client.create_token(&create)).await?;
            if context.globals.json {
                context.print_json(&made)?;
            } else {
                context.note("the secret is shown this once: keep it where only you can read it");
                context.print(&format!("{}\n", made.secret))?;
            }
            Ok(DONE)
        }
        TokenCommand::Ls => list(context).await,
        TokenCommand::Rm { ids } => {
            for id in &ids {
                context.during("revoking".to_owned(), client.revoke_token(id)).await?;
                context.note(&format!("{id} is revoked"));
            }
            Ok(DONE)
        }
    }
}

async fn list(context: &mut Context) -> Result<u8, Failure> {
    let client = context.client()?;
    let tokens = context.during("listing".to_owned(), client.tokens()).await?;
    if context.globals.json {
        context.print_json(&tokens)?;
        return Ok(DONE);
    }
    let now = context.env.now_seconds;
    let ago = |at: &Option<String>| at.as_ref().map_or_else(|| "never".to_owned(), |at| units::age(at, now));
    let mut table = Table::new(&["ID", "ROLE", "AGE", "USED", "EXPIRES", "NAME"]);
    for token in &tokens {
        table.row(vec![
            token.id.clone(),
            token.role.clone(),
            units::age(&token.created_at, now),
            ago(&token.last_used_at),
            token.expires_at.clone().unwrap_or_else(|| "never".to_owned()),
            harmless(&token.name),
        ]);
    }
    let text = table.render(|row, _, cell| context.paint((row == 0).then_some("2"), cell));
    context.print(&text)?;
    Ok(DONE)
}
