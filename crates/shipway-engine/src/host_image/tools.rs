//! The two programs that finish an image: the host's `ldconfig` writes the linker's
//! cache, and the image's own python3 compiles its modules.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::HostImageError;
use super::run::run;

/// `ldconfig` takes 50 ms on a slow disk.
const LDCONFIG_MAX: Duration = Duration::from_secs(60);
/// Compiling the standard library takes five seconds on a slow processor.
const COMPILE_MAX: Duration = Duration::from_secs(300);
/// `python3 -m compileall`, apart from the umask, which belongs to whoever started
/// this process: it would show in the modes, and so in the image's name.
const COMPILE: &str = "\
import compileall, os, sys
os.umask(0o022)
sys.exit(not compileall.main())
";
/// Enough of a tool's last words for an error message.
const SAID_BYTES: u64 = 2 << 10;

/// Writes `etc/ld.so.cache` from the image's own `etc/ld.so.conf`, so that
/// libraries of Debian's multi-architecture directories are found.
pub(super) fn write_linker_cache(tree: &Path) -> Result<(), HostImageError> {
    if !tree.join("etc/ld.so.conf").is_file() {
        return Ok(());
    }
    let program = ["/usr/sbin/ldconfig", "/sbin/ldconfig"].into_iter().find(|path| Path::new(path).exists());
    let mut command = Command::new(program.unwrap_or("/sbin/ldconfig"));
    // -X: the packages bring their links; -i: no cache of inode numbers.
    command.arg("-X").arg("-i").arg("-r").arg(tree);
    let (code, said) = finish("ldconfig", command, LDCONFIG_MAX)?;
    // It keeps inode numbers and times for its next run all the same, which would
    // give every build another digest.
    drop(std::fs::remove_dir_all(tree.join("var/cache")));
    match code {
        0 => Ok(()),
        code => Err(failed("ldconfig", code, &said)),
    }
}

/// Compiles the modules of the image's python3, if it has one.
///
/// By that very python3 inside its tree: another version's bytecode would be
/// ignored. `unchecked-hash`: the tree never changes, so no start of Python looks
/// at a module's source again. `-f` and `-B`: what Python compiles for itself on
/// the way carries times and must not stay. One process and a fixed hash seed: the
/// order in which modules are seen shows in the bytecode.
pub(super) fn compile_python(tree: &Path) -> Result<(), HostImageError> {
    let folders = python_folders(tree);
    if folders.is_empty() || !tree.join("usr/bin/python3").exists() {
        return Ok(());
    }
    let mut command = Command::new("/usr/sbin/chroot");
    command.arg(tree);
    command.args(["/usr/bin/python3", "-s", "-S", "-B", "-c", COMPILE]);
    command.args(["-q", "-f"]);
    command.args(["--invalidation-mode", "unchecked-hash"]);
    command.args(&folders);
    let (code, said) = finish("python3", command, COMPILE_MAX)?;
    match code {
        0 => Ok(()),
        // Some packages carry files for other versions of Python, which do not
        // compile and are never imported. A full disk is another matter.
        1 if !said.contains("[Errno") => {
            tracing::debug!(said, "some Python modules do not compile");
            Ok(())
        }
        code => Err(failed("python3", code, &said)),
    }
}

/// `/usr/lib/python3.11`, `/usr/lib/python3`: as the image names them.
fn python_folders(tree: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(tree.join("usr/lib")) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let mut folders: Vec<PathBuf> = names
        .filter(|name| name.to_string_lossy().starts_with("python3"))
        .map(|name| Path::new("/usr/lib").join(name))
        .collect();
    folders.sort();
    folders
}

/// Runs a tool; returns its exit status (128 and more: a signal) and last words.
fn finish(tool: &'static str, command: Command, longest: Duration) -> Result<(i32, String), HostImageError> {
    let mut ended = run(command, longest).map_err(|error| HostImageError::Tool { tool, said: error.to_string() })?;
    let said = ended.tail(SAID_BYTES);
    match ended.status {
        Some(status) => Ok((status.code().unwrap_or(128), said)),
        None => Err(HostImageError::Tool { tool, said: format!("it took longer than {} s", longest.as_secs()) }),
    }
}

fn failed(tool: &'static str, code: i32, said: &str) -> HostImageError {
    HostImageError::Tool { tool, said: format!("exit status {code}: {said}") }
}
