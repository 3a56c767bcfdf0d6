//! `shipway db export|import`: the state taken to another database, and back.

use std::fs::OpenOptions;
use std::io::{BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use shipway_cli::DbCommand;
use shipway_store::Store;

use crate::serve::database;
use crate::state_dir::StateDir;

/// Does it. The state directory is owned meanwhile: `serve` does not run.
pub(crate) async fn carry(command: DbCommand) -> anyhow::Result<()> {
    let (DbCommand::Export(args) | DbCommand::Import(args)) = &command;
    let config = crate::load(&args.platform)?.config;
    let state = StateDir::open(&config.state_dir)?;
    let store = database::open(&config, &state).await?;
    let (done, rows) = match command {
        DbCommand::Export(_) => ("written to", export(&store, &args.file).await?),
        DbCommand::Import(_) => ("read from", import(&store, &args.file).await?),
    };
    store.close().await;
    writeln!(std::io::stdout(), "{rows} rows {done} {}", args.file.display())?;
    Ok(())
}

/// A file that is there already is not written over: it may be the only one.
async fn export(store: &Store, path: &Path) -> anyhow::Result<u64> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut out = BufWriter::new(file.with_context(|| format!("cannot make {}", path.display()))?);
    let rows = store.export(&mut out).await?;
    out.into_inner().context("cannot write the file")?.sync_all()?;
    Ok(rows)
}

async fn import(store: &Store, path: &Path) -> anyhow::Result<u64> {
    let file = OpenOptions::new().read(true).open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(store.import(BufReader::new(file)).await?)
}
