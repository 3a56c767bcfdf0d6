//! `shipway image import|bootstrap|ls|rm|inspect`.

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use shipway_api_types::ImageImported;
use shipway_oci::{ImageName, UnpackLimits};
use tokio::sync::mpsc;

use super::Context;
use crate::args::ImageCommand;
use crate::failure::{DONE, Failure};
use crate::output::Table;
use crate::progress::Sent;
use crate::show::harmless;
use crate::units;

/// Sent at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait to be sent.
const CHUNKS_MAX: usize = 8;

pub(super) async fn image(context: &mut Context, command: ImageCommand) -> Result<u8, Failure> {
    match command {
        ImageCommand::Import { name, from } => import(context, &name, from).await,
        ImageCommand::Bootstrap { from, name } => {
            let client = context.client()?;
            let name = name.unwrap_or_else(|| from.clone());
            check(&name)?;
            let work = client.bootstrap_image(&name, &from);
            let made = context.during(format!("making {name} of packages"), work).await?;
            show(context, &made)
        }
        ImageCommand::Ls => list(context).await,
        ImageCommand::Rm { names } => {
            let client = context.client()?;
            for name in &names {
                check(name)?;
                context.during(format!("removing {name}"), client.remove_image(name)).await?;
                context.note(&format!("{} is removed", harmless(name)));
            }
            Ok(DONE)
        }
        ImageCommand::Inspect { name } => {
            let client = context.client()?;
            check(&name)?;
            let image = context.during("reading".to_owned(), client.image(&name)).await?;
            context.print_json(&image)?;
            Ok(DONE)
        }
    }
}

/// A name with a mistake is not worth an upload.
fn check(name: &str) -> Result<ImageName, Failure> {
    name.parse().map_err(|error| Failure::Usage(format!("{}: {error}", harmless(name))))
}

async fn import(context: &mut Context, name: &str, from: PathBuf) -> Result<u8, Failure> {
    check(name)?;
    let client = context.client()?;
    let (chunks, reading) =
        open(&from).map_err(|error| Failure::Io(format!("cannot read {}", from.display()), error))?;
    let count = Sent::default();
    let sending = client.import_image(name, counted(chunks, Sent::clone(&count)));
    let sent = context.during_upload(format!("importing {name}"), &count, sending).await;
    // What went wrong here is why the server was sent only a part.
    match reading.await {
        Ok(Err(error)) if !is_hung_up(&error) => {
            let told = error.get_ref().map_or_else(|| error.to_string(), ToString::to_string);
            return Err(Failure::Said(format!("cannot import {}: {told}", from.display()), None));
        }
        _ => {}
    }
    show(context, &sent?)
}

type Reading = tokio::task::JoinHandle<io::Result<()>>;

/// Begins to read an archive, or to make one of a directory.
fn open(from: &Path) -> io::Result<(BoxStream<'static, io::Result<Bytes>>, Reading)> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let source: Box<dyn Read + Send> = if from == Path::new("-") {
        Box::new(io::stdin())
    } else if from.is_dir() {
        let (from, out) = (from.to_owned(), Outlet(sender.clone()));
        let reading = tokio::task::spawn_blocking(move || ended(pack(&from, out), &sender));
        return Ok((chunks(receiver), reading));
    } else {
        Box::new(std::fs::File::open(from)?)
    };
    let out = Outlet(sender.clone());
    let reading = tokio::task::spawn_blocking(move || ended(copy(source, out), &sender));
    Ok((chunks(receiver), reading))
}

fn chunks(receiver: mpsc::Receiver<io::Result<Bytes>>) -> BoxStream<'static, io::Result<Bytes>> {
    stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|chunk| (chunk, receiver))).boxed()
}

fn counted(chunks: BoxStream<'static, io::Result<Bytes>>, count: Sent) -> BoxStream<'static, io::Result<Bytes>> {
    let count = move |chunk: &io::Result<Bytes>| {
        let bytes = chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
        count.fetch_add(bytes, Ordering::Relaxed);
    };
    chunks.inspect(count).boxed()
}

fn copy(mut source: impl Read, out: Outlet) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, out);
    io::copy(&mut source, &mut out)?;
    out.flush()
}

fn pack(directory: &Path, out: Outlet) -> io::Result<()> {
    let out = BufWriter::with_capacity(CHUNK_BYTES, out);
    match shipway_oci::pack(directory, out, &UnpackLimits::default()) {
        Ok(_) => Ok(()),
        Err(shipway_oci::UnpackError::Write { source, .. }) => Err(source),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Cuts the upload off when reading has failed: a part must not pass for the whole.
fn ended(read: io::Result<()>, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    if read.is_err() {
        let cut = Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        drop(sender.blocking_send(cut));
    }
    read
}

/// Whether the server stopped listening; its answer says why.
fn is_hung_up(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// What is written goes to the connection.
struct Outlet(mpsc::Sender<io::Result<Bytes>>);

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = Ok(Bytes::copy_from_slice(bytes));
        self.0.blocking_send(chunk).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn show(context: &mut Context, made: &ImageImported) -> Result<u8, Failure> {
    if context.globals.json {
        context.print_json(made)?;
        return Ok(DONE);
    }
    let left_out = [
        (made.devices_left_out, "devices left out"),
        (made.set_id_dropped, "set-id bits dropped"),
        (made.attributes_dropped, "extended attributes dropped"),
    ];
    let told: Vec<String> =
        left_out.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !told.is_empty() {
        context.note(&format!("note: {}", told.join(", ")));
    }
    let image = &made.image;
    if context.globals.quiet {
        context.print(&format!("{}\n", image.digest))?;
    } else {
        let size = units::size(image.size_bytes);
        context.print(&format!("{} is {}: {} entries, {size}\n", image.name, short(&image.digest), image.entries))?;
    }
    Ok(DONE)
}

fn short(digest: &str) -> String {
    digest.chars().skip("sha256:".len()).take(12).collect()
}

async fn list(context: &mut Context) -> Result<u8, Failure> {
    let client = context.client()?;
    let images = context.during("listing".to_owned(), client.images()).await?;
    if context.globals.json {
        context.print_json(&images)?;
        return Ok(DONE);
    }
    let mut table = Table::new(&["NAME", "DIGEST", "ENTRIES", "SIZE", "AGE", "SERVICES", "FROM"]);
    for image in &images {
        table.row(vec![
            image.name.clone(),
            short(&image.digest),
            image.entries.to_string(),
            units::size(image.size_bytes),
            units::age(&image.created_at, context.env.now_seconds),
            image.services.len().to_string(),
            harmless(&image.source),
        ]);
    }
    let text = table.render(|row, _, cell| context.paint((row == 0).then_some("2"), cell));
    context.print(&text)?;
    Ok(DONE)
}
