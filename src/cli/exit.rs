//! Exit codes: a contract, the same for every command.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Fine, or in sync.
    Ok,
    /// An error.
    Error,
    /// Changes are pending (`plan`).
    Changes,
    /// The spec is invalid.
    SpecInvalid,
    /// The saved plan is stale.
    PlanStale,
    /// Applied, but something is degraded or latched.
    Degraded,
    /// The daemon cannot be reached, or the state is locked.
    Unreachable,
    /// The command line is wrong.
    Usage,
}

impl Exit {
    /// Every code with its meaning, for `--help` and the documentation.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Ok, "fine, or in sync"),
        (Self::Error, "error"),
        (Self::Changes, "changes pending (plan)"),
        (Self::SpecInvalid, "the spec is invalid"),
        (Self::PlanStale, "the saved plan is stale"),
        (Self::Degraded, "applied, but something is degraded or latched"),
        (Self::Unreachable, "the daemon is not reachable, or the state is locked"),
        (Self::Usage, "the command line is wrong"),
    ];

    /// All of them on one line.
    pub fn help() -> String {
        let codes = Self::ALL.map(|(exit, meaning)| format!("{} {meaning}", exit.code()));
        format!("Exit codes: {}", codes.join(" · "))
    }

    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Changes => 2,
            Self::SpecInvalid => 3,
            Self::PlanStale => 4,
            Self::Degraded => 5,
            Self::Unreachable => 6,
            Self::Usage => 64,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract of docs and scripts. A number never changes its meaning.
    #[test]
    fn the_numbers_are_the_contract() {
        let contract = [
            (Exit::Ok, 0),
            (Exit::Error, 1),
            (Exit::Changes, 2),
            (Exit::SpecInvalid, 3),
            (Exit::PlanStale, 4),
            (Exit::Degraded, 5),
            (Exit::Unreachable, 6),
            (Exit::Usage, 64),
        ];
        assert_eq!(Exit::ALL.map(|(exit, _)| (exit, exit.code())), contract);
    }

    #[test]
    fn every_code_is_in_the_help() {
        for (exit, meaning) in Exit::ALL {
            assert!(Exit::help().contains(&format!("{} {meaning}", exit.code())), "{exit:?}");
        }
    }
}
