//! Which server to talk to, and as whom.
//!
//! Told by `--url` or `SHIPWAY_URL`, that one. Otherwise root takes the admin
//! socket if it is there: the kernel vouches for both ends, so no token is needed
//! and no other user can sit on the port and collect one. Everybody else takes
//! port 8080 of this machine.

use std::path::Path;

use shipway_client::{Address, Client};

use crate::args::Globals;
use crate::env::Env;
use crate::failure::Failure;

const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// A token file is one line; anything much longer is no token.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Makes the client.
pub(crate) fn client(globals: &Globals, env: &Env) -> Result<Client, Failure> {
    let address = address(globals, env)?;
    let token = token(globals, env, &address)?;
    Ok(Client::new(address, token))
}

fn address(globals: &Globals, env: &Env) -> Result<Address, Failure> {
    let told = globals.url.as_deref().filter(|url| !url.is_empty());
    let around = &env.surroundings;
    if told.is_none() && around.is_root && around.admin_socket.exists() {
        return Ok(Address::Unix(around.admin_socket.clone()));
    }
    told.unwrap_or(DEFAULT_URL).parse().map_err(|error| Failure::Usage(format!("{error}")))
}

fn token(globals: &Globals, env: &Env, address: &Address) -> Result<Option<String>, Failure> {
    let told = globals.token.as_deref().map(str::trim);
    if let Some(token) = told.filter(|token| !token.is_empty()) {
        return Ok(Some(token.to_owned()));
    }
    // The socket needs none; and a token of this machine is for this machine.
    if matches!(address, Address::Unix(_)) || !address.is_local() {
        return Ok(None);
    }
    for file in &env.token_files {
        if let Some(token) = read(file)? {
            return Ok(Some(token));
        }
    }
    Ok(None)
}

/// A file that is not there, or not ours to read, is no token and no failure.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    use std::io::ErrorKind;
    let found = std::fs::metadata(path).and_then(|found| {
        if found.len() > TOKEN_BYTES_MAX {
            return Err(std::io::Error::other("it is far too long to be a token"));
        }
        std::fs::read_to_string(path)
    });
    match found {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
        Err(error) => Err(Failure::Io(format!("cannot read the token in {}", path.display()), error)),
    }
}
