//! What an agent is doing, combined from what is known of it.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    model::Activity,
    observed::{RegisterStatus, RegisterView},
};

/// How long a process may live without a register entry before it is taken to be held up by a dialog at start-up.
///
/// The CLI was ready after 0.9 to 4.1 s on two cores; while a start-up dialog is open there is no entry at all
/// (facts/claude-code.md, section 1). A whole pool that starts at once takes longer.
pub const START_UP: Duration = Duration::from_secs(30);

/// All that bears on an agent's activity.
#[derive(Debug, Clone, Copy)]
pub struct Signs<'a> {
    /// Whether the agent's process lives (a zombie does not); `None` when that is not known.
    pub alive: Option<bool>,
    /// How long ago the process started.
    pub age: Duration,
    /// The register.
    pub register: Register<'a>,
    /// Until when a usage limit that this very process ran into holds.
    pub limit_until: Option<Timestamp>,
    /// Whether this very process was last told that its login is no longer accepted.
    pub login_dead: bool,
}

/// What the register says of a process.
#[derive(Debug, Clone, Copy)]
pub enum Register<'a> {
    /// It could not be read, or was just being written.
    Unreadable,
    /// It has no entry of this process.
    Absent,
    /// Its entry.
    Entry(&'a RegisterView),
}

/// The activity, and since when it is so if the register says.
///
/// The register shows `idle` also while it waits for a limit to reset and after the login died, and `waiting` for the menu that a weekly
/// limit opens (sections 4 and 5.4): both are told apart here. A limit whose reset has passed no longer counts.
pub fn activity(signs: &Signs<'_>, now: Timestamp) -> (Activity, Option<Timestamp>) {
    match signs.alive {
        None => return (Activity::Unknown, None),
        Some(false) => return (Activity::Exited, None),
        Some(true) => {}
    }
    let entry = match signs.register {
        Register::Unreadable => return (Activity::Unknown, None),
        Register::Absent if signs.age < START_UP => return (Activity::Starting, None),
        Register::Absent => return (Activity::NeedsInput, None),
        Register::Entry(entry) => entry,
    };
    let limited = signs.limit_until.is_some_and(|until| until > now);
    let activity = match entry.status {
        RegisterStatus::Idle if signs.login_dead => Activity::LoggedOut,
        RegisterStatus::Idle if limited => Activity::LimitHit,
        RegisterStatus::Idle => Activity::Idle,
        RegisterStatus::Busy | RegisterStatus::Shell => Activity::Working,
        RegisterStatus::Waiting if limited && entry.waiting_for.as_deref() == Some("dialog open") => Activity::LimitHit,
        RegisterStatus::Waiting => Activity::NeedsInput,
        RegisterStatus::Other(_) => Activity::Unknown,
    };
    (activity, entry.status_since)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::ConversationId;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn entry(status: RegisterStatus, waiting_for: Option<&str>) -> RegisterView {
        RegisterView {
            conversation: ConversationId(Uuid::nil()),
            status,
            waiting_for: waiting_for.map(str::to_owned),
            cwd: "/work".into(),
            version: "2.1.330".to_owned(),
            status_since: Some(NOW - Duration::from_mins(1)),
        }
    }

    fn seen(signs: Signs<'_>) -> Activity {
        activity(&signs, NOW).0
    }

    #[test]
    fn the_process_comes_first() {
        let idle = entry(RegisterStatus::Idle, None);
        let base = Signs { alive: Some(true), age: START_UP * 10, register: Register::Entry(&idle), limit_until: None, login_dead: false };
        for (alive, age, register, expected) in [
            (None, base.age, base.register, Activity::Unknown),
            (Some(false), base.age, base.register, Activity::Exited),
            (Some(false), Duration::ZERO, Register::Unreadable, Activity::Exited),
            (Some(true), base.age, Register::Unreadable, Activity::Unknown),
            (Some(true), Duration::ZERO, Register::Absent, Activity::Starting),
            (Some(true), START_UP, Register::Absent, Activity::NeedsInput),
            (Some(true), Duration::ZERO, base.register, Activity::Idle),
        ] {
            assert_eq!(seen(Signs { alive, age, register, ..base }), expected, "{alive:?} {age:?} {register:?}");
        }
    }

    #[test]
    fn a_limit_or_a_dead_login_is_told_from_being_idle() {
        use RegisterStatus::{Busy, Idle, Other, Shell, Waiting};
        let (past, ahead) = (Some(NOW), Some(NOW + Duration::from_secs(1)));
        for (status, waiting_for, limit_until, login_dead, expected) in [
            (Idle, None, None, false, Activity::Idle),
            (Idle, None, past, false, Activity::Idle),
            (Idle, None, ahead, false, Activity::LimitHit),
            (Idle, None, ahead, true, Activity::LoggedOut),
            (Idle, None, None, true, Activity::LoggedOut),
            (Busy, None, ahead, true, Activity::Working),
            (Shell, None, None, false, Activity::Working),
            (Waiting, Some("permission prompt"), None, false, Activity::NeedsInput),
            (Waiting, Some("permission prompt"), ahead, false, Activity::NeedsInput),
            (Waiting, Some("dialog open"), None, false, Activity::NeedsInput),
            (Waiting, Some("dialog open"), past, false, Activity::NeedsInput),
            (Waiting, Some("dialog open"), ahead, false, Activity::LimitHit),
            (Waiting, None, ahead, false, Activity::NeedsInput),
            (Other("dreaming".to_owned()), None, ahead, true, Activity::Unknown),
        ] {
            let entry = entry(status, waiting_for);
            let signs = Signs { alive: Some(true), age: START_UP, register: Register::Entry(&entry), limit_until, login_dead };
            assert_eq!(activity(&signs, NOW), (expected, entry.status_since), "{signs:?}");
        }
    }
}
