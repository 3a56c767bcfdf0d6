//! The few programs of the exam, as a POSIX shell runs them.

/// What a container of the exam does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// Exits with this status.
    Exit(i32),
    /// Prints `ready`, then stays until SIGTERM, which it answers with status 143.
    Stay,
    /// Prints `ready`, then stays and ignores SIGTERM.
    Stubborn,
    /// Prints `line 1` … `line n` on stdout, `done` on stderr, exits with 0.
    Print(u32),
    /// Prints `line 1` … `line n`, then stays like [`Script::Stay`].
    PrintAndStay(u32),
    /// Copies its input to its output.
    Echo,
    /// For every line of input prints its terminal's size, `rows columns`.
    TerminalSize,
}

const STAY: &str = "trap 'exit 143' TERM; ";
const WAIT: &str = "; while :; do sleep 1000 & wait; done";

impl Script {
    /// Returns the command.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        let script = match self {
            Self::Exit(code) => format!("exit {code}"),
            Self::Stay => format!("{STAY}echo ready{WAIT}"),
            Self::Stubborn => format!("trap '' TERM; echo ready{WAIT}"),
            Self::Print(lines) => format!("{}; echo done >&2", print(*lines)),
            Self::PrintAndStay(lines) => format!("{STAY}{}{WAIT}", print(*lines)),
            Self::Echo => "exec cat".to_owned(),
            Self::TerminalSize => "stty -echo; while read line; do stty size; done".to_owned(),
        };
        ["/bin/sh", "-c", &script].map(str::to_owned).to_vec()
    }

    /// Recognises a command made by [`Script::argv`]; the fake driver's eye.
    #[must_use]
    pub fn from_argv(argv: &[String]) -> Option<Self> {
        let text = argv.get(2)?;
        let number = text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<u32>().ok());
        let mut guesses = vec![Self::Stay, Self::Stubborn, Self::Echo, Self::TerminalSize];
        for n in number {
            guesses.extend([Self::Print(n), Self::PrintAndStay(n)]);
            guesses.extend(i32::try_from(n).map(Self::Exit));
        }
        guesses.into_iter().find(|guess| guess.argv() == argv)
    }
}

fn print(lines: u32) -> String {
    format!("i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo line $i; done")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_recognised_by_its_command() {
        for script in [
            Script::Exit(3),
            Script::Stay,
            Script::Stubborn,
            Script::Print(12),
            Script::PrintAndStay(7),
            Script::Echo,
            Script::TerminalSize,
        ] {
            assert_eq!(Script::from_argv(&script.argv()), Some(script));
        }
        assert_eq!(Script::from_argv(&["/bin/true".to_owned()]), None);
    }
}
