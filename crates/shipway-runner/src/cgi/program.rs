//! What is executed to run a script.
//!
//! The content is a blob of mode 0444 on a mount nobody writes to, so the kernel
//! would refuse to execute it. Its `#!` line is therefore read here, by the
//! kernel's own rules (execve(2), "Interpreter scripts"), and the interpreter is
//! started with the script as its argument, which is what the kernel would have
//! done. Without such a line it is `/bin/sh`'s. A file that *is* executable and no
//! script (a program) is left to the kernel.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How much of a file the kernel looks at (`BINPRM_BUF_SIZE`).
const LOOKED_AT: usize = 256;

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// What is executed.
    pub path: CString,
    /// Its arguments, its name first.
    pub arguments: Vec<CString>,
}

impl Program {
    /// Decides what runs the script at `path`.
    ///
    /// # Errors
    ///
    /// Any error of reading the file, or `InvalidInput` for a path with a NUL.
    pub fn of_script(path: &Path) -> io::Result<Self> {
        let mut start = Vec::with_capacity(LOOKED_AT);
        File::open(path)?.take(LOOKED_AT as u64).read_to_end(&mut start)?;
        let script = c_string(path.as_os_str().as_bytes())?;
        if start.starts_with(b"\x7fELF") {
            return Ok(Self { path: script.clone(), arguments: vec![script] });
        }
        let (interpreter, argument) = shebang(&start).unwrap_or((b"/bin/sh", None));
        let path = c_string(interpreter)?;
        let mut arguments = vec![path.clone()];
        if let Some(argument) = argument {
            arguments.push(c_string(argument)?);
        }
        arguments.push(script);
        Ok(Self { path, arguments })
    }

    /// The path of what is executed, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Says why it could not be started now, as far as looking at it tells.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        let path = Path::new(OsStr::from_bytes(self.path.as_bytes()));
        rustix::fs::access(path, rustix::fs::Access::EXEC_OK)
            .err()
            .map(|error| format!("{} cannot be executed here: {error}", self.name()))
    }
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(io::Error::from)
}

/// Reads a `#!` line: the interpreter, and everything after it as one argument.
/// `None` when there is none the kernel would accept.
///
/// A CR before the line's end is dropped, which the kernel does not do: a script
/// saved on Windows then finds its interpreter.
fn shebang(start: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let line = start.strip_prefix(b"#!")?;
    let (line, is_whole) = match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&line[..end], true),
        None => (line, start.len() < LOOKED_AT),
    };
    let line = trim(line.strip_suffix(b"\r").unwrap_or(line));
    let Some(space) = line.iter().position(|byte| is_blank(*byte)) else {
        // The name itself may have been cut.
        return (is_whole && !line.is_empty()).then_some((line, None));
    };
    Some((&line[..space], Some(trim(&line[space..]))))
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| !is_blank(*byte));
    let end = line.iter().rposition(|byte| !is_blank(*byte));
    match (start, end) {
        (Some(start), Some(end)) => &line[start..=end],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content: &[u8], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        io::Write::write_all(&mut File::create(&path).unwrap(), content).unwrap();
        let program = Program::of_script(&path).unwrap();
        let words: Vec<_> =
            program.arguments.iter().map(|word| word.to_str().unwrap().replace(path.to_str().unwrap(), "$0")).collect();
        assert_eq!(words.join("|"), expected);
        assert_eq!(program.path, program.arguments[0]);
    }

    #[test]
    fn a_script_is_run_by_what_its_first_line_names() {
        check(b"#!/usr/bin/python3\nprint()", "/usr/bin/python3|$0");
        check(b"#! \t/usr/bin/env  python3 -u \n", "/usr/bin/env|python3 -u|$0");
        check(b"#!/bin/sh -e\r\n", "/bin/sh|-e|$0");
        check(b"#!/bin/cat", "/bin/cat|$0");
    }

    #[test]
    fn anything_else_is_the_shells() {
        check(b"echo hello\n", "/bin/sh|$0");
        check(b"", "/bin/sh|$0");
        check(b"#!\nx", "/bin/sh|$0");
        check(b"#!  \nx", "/bin/sh|$0");
        check(format!("#!/{}\n", "a".repeat(300)).as_bytes(), "/bin/sh|$0");
    }

    #[test]
    fn a_program_is_left_to_the_kernel() {
        check(b"\x7fELF...", "$0");
    }
}
