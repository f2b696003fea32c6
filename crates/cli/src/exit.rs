//! What the exit code says. The one place; `candor --help` shows the same list.

use std::process::ExitCode;

/// How a command ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Done.
    Ok = 0,
    /// The thing asked for is not so: the key is absent, `check` found something refused or not set up, the audit could
    /// judge nothing.
    No = 1,
    /// The command cannot be understood, or names what does not exist: a view, a level, a token.
    Usage = 2,
    /// The configuration cannot be read, or promises what cannot be kept.
    Config = 3,
    /// A source or the service cannot be reached, is too slow or takes no more.
    Unavailable = 4,
    /// The answer cannot be proven to be as fresh as was asked.
    Level = 5,
    /// A token is missing, unknown, or does not entitle to this.
    Unauthorised = 6,
    /// The audit found a false receipt, or a change of which the log told nothing.
    False = 7,
    /// A fault of ours.
    Internal = 70,
}

/// The list for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
   0  done
   1  the thing asked for is not so: the key is absent, check found something refused
   2  the command cannot be understood, or names what does not exist
   3  the configuration cannot be read, or promises what cannot be kept
   4  a source or the service cannot be reached, is too slow, or takes no more
   5  the answer cannot be proven to be as fresh as was asked
   6  not authorised: a token is missing, unknown, or does not entitle to this
   7  the audit found a false receipt, or a change of which the log told nothing
  70  a fault of Candor's own";

impl Code {
    /// The word in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::No => "no",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Unavailable => "unavailable",
            Self::Level => "level-unmet",
            Self::Unauthorised => "unauthorised",
            Self::False => "false",
            Self::Internal => "internal",
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_code() {
        use Code::*;
        for code in [Ok, No, Usage, Config, Unavailable, Level, Unauthorised, False, Internal] {
            assert!(HELP.contains(&format!("\n{:4}  ", code as u8)), "{}", code.word());
        }
    }
}
