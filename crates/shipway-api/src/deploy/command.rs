//! A deploy of a command in an image: what belongs to it, and what does not.

use shipway_api_types::{self as api, ProblemCode, ServicePut};
use shipway_model::task::DeployProgram;
use shipway_model::{Digest, ProjectName, Protocol};
use shipway_oci::ImageName;

use super::Mistakes;
use crate::app::App;
use crate::reply::Reject;

/// Program and arguments together: with the environment's half, what the kernel takes.
const COMMAND_BYTES_MAX: usize = 64 << 10;
const COMMAND_WORDS_MAX: usize = 256;

/// Reads it; the image's digest is what its name means now.
pub(super) async fn read(
    app: &App,
    project: &ProjectName,
    image: &str,
    put: &ServicePut,
    mistakes: &mut Mistakes,
) -> Result<Option<DeployProgram>, Reject> {
    of_content_only(put, mistakes);
    let command = command(put, mistakes);
    let port = put.port.filter(|port| *port > 0);
    if port.is_none() {
        mistakes.add("#/port", "expected the port that the command listens on, 1 to 65535");
    }
    let (Some(name), Some(command), Some(port)) = (name(image, mistakes), command, port) else {
        return Ok(None);
    };
    if !mistakes.0.is_empty() {
        return Ok(None);
    }
    let protocol = match put.protocol.unwrap_or_default() {
        api::Protocol::Http1 => Protocol::Http1,
        api::Protocol::H2c => Protocol::H2c,
    };
    let image_digest = digest(app, project, &name).await?;
    Ok(Some(DeployProgram::Command { image: name.to_string(), image_digest, command, port, protocol }))
}

/// Reads an image's name.
pub(super) fn name(image: &str, mistakes: &mut Mistakes) -> Option<ImageName> {
    image.parse().map_err(|error| mistakes.add("#/image", format!("{error}"))).ok()
}

/// What an image's name means now.
pub(super) async fn digest(app: &App, project: &ProjectName, name: &ImageName) -> Result<Digest, Reject> {
    let found = app.parts.store.find_image(project, name.as_str()).await?;
    let found = found.ok_or_else(|| {
        let detail = format!("there is no image `{name}`");
        Reject::new(ProblemCode::NoSuchImage, detail.clone())
            .field("#/image", detail)
            .hint("`shipway image import` makes one; `shipway image ls` lists them")
    })?;
    Ok(found.digest)
}

fn command(put: &ServicePut, mistakes: &mut Mistakes) -> Option<Vec<String>> {
    let words = put.command.clone().unwrap_or_default();
    let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
    if words.first().is_none_or(String::is_empty) {
        mistakes.add("#/command", "expected a program and its arguments, as [\"httpd\", \"-f\"]");
    } else if words.len() > COMMAND_WORDS_MAX || bytes > COMMAND_BYTES_MAX {
        mistakes.add("#/command", format!("at most {COMMAND_WORDS_MAX} words and {COMMAND_BYTES_MAX} bytes"));
    } else if words.iter().any(|word| word.contains('\0')) {
        mistakes.add("#/command", "a word has no zero byte");
    } else {
        return Some(words);
    }
    None
}

fn of_content_only(put: &ServicePut, mistakes: &mut Mistakes) {
    let given = [
        ("#/url", put.url.is_some()),
        ("#/upload", put.upload.is_some()),
        ("#/file_name", put.file_name.is_some()),
        ("#/content_type", put.content_type.is_some()),
        ("#/kind", put.kind.is_some()),
    ];
    for (pointer, _) in given.into_iter().filter(|(_, given)| *given) {
        mistakes.add(pointer, "an image has a command instead; with the runner nginx it can have content");
    }
    if put.runner.is_some() {
        mistakes.add("#/runner", "a command serves itself: a runner is for a url or an upload");
    }
}

/// Without an image there is nothing for a command to run in.
pub(super) fn of_image_only(put: &ServicePut, mistakes: &mut Mistakes) {
    without_command(put, mistakes, "only an image has one: give its name as image");
}

/// What is served by nginx is not served by a command.
pub(super) fn of_command_only(put: &ServicePut, mistakes: &mut Mistakes) {
    without_command(put, mistakes, "nginx serves this: leave out either the runner or the command");
}

fn without_command(put: &ServicePut, mistakes: &mut Mistakes, why: &str) {
    let given =
        [("#/command", put.command.is_some()), ("#/port", put.port.is_some()), ("#/protocol", put.protocol.is_some())];
    for (pointer, given) in given {
        if given {
            mistakes.add(pointer, why);
        }
    }
}
