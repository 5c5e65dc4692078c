//! What an agent is doing, combined from what is known of it, with the evidence.
//!
//! The best source that says something decides: the CLI's register, the hooks, the status file, the screen. What the others say is kept beside
//! it. The lesser ones are asked only where the register is silent, and only while they are fresh.
//!
//! # Guarantees
//! What a screen alone shows disturbs nothing: it makes an agent neither idle nor limited nor logged out for whoever decides, since it can draw
//! what it likes. It is told to people as what it is.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    model::{Activity, later},
    observed::{ActivitySign, ActivitySource, AgentView, RegisterStatus, RegisterView, ScreenView, Shown},
};

/// How long a process may live without a register entry before it is taken to be held up by a dialog at start-up.
///
/// The CLI was ready after 0.9 to 4.1 s on two cores; while a start-up dialog is open there is no entry at all
/// (facts/claude-code.md, section 1). A whole pool that starts at once takes longer.
pub const START_UP: Duration = Duration::from_secs(30);

/// How long the word of a hook or of a status file counts. Neither is taken back when an agent dies or hangs.
pub const FRESH: Duration = Duration::from_mins(5);

/// How far ahead of our clock a word may be dated: both are of this machine, and only roundings differ.
const AHEAD: Duration = Duration::from_secs(2);

/// How long behind the reset of its limit an agent still counts as limited: the CLI goes on by itself about a minute later
/// (facts/claude-code.md, section 5.4), and whoever gives it work before would be in its way.
const GOES_ON: Duration = Duration::from_mins(2);

/// All that bears on the activity of an agent that lives, but its screen.
#[derive(Debug, Clone, Copy)]
pub struct Signs<'a> {
    /// How long ago the process started.
    pub age: Duration,
    /// The register.
    pub register: Register<'a>,
    /// What a hook of this very process said last.
    pub hook: Option<&'a Word>,
    /// What the status file says of the session.
    pub status_file: Option<&'a Word>,
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

/// What a lesser source said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What that makes the agent do.
    pub activity: Activity,
    /// In its own words.
    pub says: String,
    /// When it was said.
    pub at: Timestamp,
    /// Since when it is so.
    pub since: Timestamp,
}

impl Word {
    /// Whether it was said lately, and by this process or about it: a word that is older than the process, or dated ahead, is about another one.
    fn counts(&self, age: Duration, now: Timestamp) -> bool {
        let old = now.duration_since(self.at);
        Duration::try_from(old).map_or_else(|_| old.unsigned_abs() <= AHEAD, |old| old <= FRESH && old <= age + AHEAD)
    }

    fn sign(&self, source: ActivitySource) -> ActivitySign {
        ActivitySign { source, activity: self.activity, says: self.says.clone(), at: Some(self.at) }
    }
}

/// What an agent does, and why that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What it does.
    pub activity: Activity,
    /// Since when, if the source says.
    pub since: Option<Timestamp>,
    /// What each source says; the first one decided.
    pub evidence: Vec<ActivitySign>,
    /// Whether it may change with the clock alone.
    pub timed: bool,
}

/// Judges what an agent does.
///
/// The register shows `idle` also while it waits for a limit to reset and after the login died, and `waiting` for the menu that a weekly
/// limit opens (sections 4 and 5.4): both are told apart here. A limit counts until `GOES_ON` behind its reset.
pub fn judge(signs: &Signs<'_>, now: Timestamp) -> Judgement {
    let words = [(ActivitySource::Hook, signs.hook), (ActivitySource::StatusFile, signs.status_file)];
    let mut words: Vec<(ActivitySource, &Word)> =
        words.into_iter().filter_map(|(source, word)| Some((source, word.filter(|word| word.counts(signs.age, now))?))).collect();
    let mut evidence = Vec::new();
    let (plain, since) = match signs.register {
        Register::Entry(entry) => {
            let activity = by_register(entry);
            evidence.push(ActivitySign { source: ActivitySource::Register, activity, says: register_words(entry), at: entry.status_since });
            (activity, entry.status_since)
        }
        Register::Unreadable | Register::Absent => {
            let silent = if matches!(signs.register, Register::Absent) { "no entry" } else { "cannot be read" };
            let alone = match signs.register {
                Register::Absent if signs.age < START_UP => Activity::Starting,
                Register::Absent => Activity::NeedsInput,
                Register::Unreadable | Register::Entry(_) => Activity::Unknown,
            };
            let sign = ActivitySign { source: ActivitySource::Register, activity: alone, says: silent.to_owned(), at: None };
            if words.is_empty() {
                evidence.push(sign);
                (alone, None)
            } else {
                let (source, word) = words.remove(0);
                evidence.extend([word.sign(source), sign]);
                (word.activity, Some(word.since))
            }
        }
    };
    let by_word = evidence.first().is_some_and(|first| first.source > ActivitySource::Transcript);
    let activity = combined(plain, signs, now);
    if activity != plain {
        let says = match (activity, signs.limit_until) {
            (Activity::LimitHit, Some(until)) => format!("a limit was hit until {until:.0}"),
            _ => "the login was refused".to_owned(),
        };
        evidence.insert(0, ActivitySign { source: ActivitySource::Transcript, activity, says, at: None });
    }
    evidence.extend(words.into_iter().map(|(source, word)| word.sign(source)));
    let timed = by_word || matches!(activity, Activity::Starting | Activity::LimitHit | Activity::Unknown);
    Judgement { activity, since, evidence, timed }
}

/// Adds to what is known of an agent what its screen shows. Where no other source has a word the screen tells what the agent does.
///
/// A dialog waits for somebody and a turn that runs is not disturbed: that much is taken from it. An input box at rest, a limit or a login that
/// is only read from it leaves the agent unknown.
pub fn see(agent: &mut AgentView, screen: ScreenView, now: Timestamp) {
    let sign = sign_of(&screen);
    let is_dialog = screen.shows.is_dialog();
    agent.screen = Some(screen);
    let Some(sign) = sign else { return };
    let is_silent = agent.register.is_none() && agent.evidence.first().is_some_and(|first| first.source == ActivitySource::Register);
    let is_fresh = sign.at.is_some_and(|at| Duration::try_from(now.duration_since(at)).is_ok_and(|old| old <= FRESH));
    if !(is_silent && is_fresh) {
        agent.evidence.push(sign);
        return;
    }
    agent.activity = match sign.activity {
        Activity::Working => Activity::Working,
        _ if is_dialog => Activity::NeedsInput,
        _ => Activity::Unknown,
    };
    agent.evidence.insert(0, sign);
}

/// What a screen says of the activity; `None` for one that shows nothing that is known.
fn sign_of(screen: &ScreenView) -> Option<ActivitySign> {
    let activity = match screen.shows {
        Shown::Unknown => return None,
        Shown::Working => Activity::Working,
        Shown::InputBox { .. } => Activity::Idle,
        Shown::LimitMenu { .. } | Shown::LimitWait { .. } => Activity::LimitHit,
        Shown::Login | Shown::LoginExpired | Shown::NotLoggedIn => Activity::LoggedOut,
        _ => Activity::NeedsInput,
    };
    Some(ActivitySign { source: ActivitySource::Pane, activity, says: screen.shows.to_string(), at: Some(screen.seen_at) })
}

fn by_register(entry: &RegisterView) -> Activity {
    match entry.status {
        RegisterStatus::Idle => Activity::Idle,
        RegisterStatus::Busy | RegisterStatus::Shell => Activity::Working,
        RegisterStatus::Waiting => Activity::NeedsInput,
        RegisterStatus::Other(_) => Activity::Unknown,
    }
}

/// With what the transcript knows: a limit, or a login that is refused.
fn combined(activity: Activity, signs: &Signs<'_>, now: Timestamp) -> Activity {
    let limited = signs.limit_until.is_some_and(|until| later(until, GOES_ON) > now);
    let menu = matches!(signs.register, Register::Entry(entry) if entry.waiting_for.as_deref() == Some("dialog open"));
    match activity {
        Activity::Idle if signs.login_dead => Activity::LoggedOut,
        Activity::Idle if limited => Activity::LimitHit,
        Activity::NeedsInput if limited && menu => Activity::LimitHit,
        other => other,
    }
}

fn register_words(entry: &RegisterView) -> String {
    let status = match &entry.status {
        RegisterStatus::Idle => "idle",
        RegisterStatus::Busy => "busy",
        RegisterStatus::Waiting => "waiting",
        RegisterStatus::Shell => "shell",
        RegisterStatus::Other(word) => word,
    };
    entry.waiting_for.as_ref().map_or_else(|| status.to_owned(), |what| format!("{status} for {what}"))
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
        judge(&signs, NOW).activity
    }

    const ALIVE: Signs<'_> = Signs {
        age: Duration::from_hours(1),
        register: Register::Unreadable,
        hook: None,
        status_file: None,
        limit_until: None,
        login_dead: false,
    };

    fn word(activity: Activity, ago: i64) -> Word {
        let at = NOW - jiff::SignedDuration::from_secs(ago);
        Word { activity, says: "a word".to_owned(), at, since: at }
    }

    #[test]
    fn where_the_register_is_silent_the_hooks_speak_and_then_the_status_file() {
        let (working, idle) = (word(Activity::Working, 10), word(Activity::Idle, 5));
        for register in [Register::Unreadable, Register::Absent] {
            let judged = judge(&Signs { register, hook: Some(&working), status_file: Some(&idle), ..ALIVE }, NOW);
            assert_eq!((judged.activity, judged.since, judged.timed), (Activity::Working, Some(working.since), true));
            let sources: Vec<_> = judged.evidence.iter().map(|sign| sign.source).collect();
            assert_eq!(sources, [ActivitySource::Hook, ActivitySource::Register, ActivitySource::StatusFile]);
            assert_eq!(seen(Signs { register, status_file: Some(&idle), ..ALIVE }), Activity::Idle);
        }
        let busy = entry(RegisterStatus::Busy, None);
        let judged = judge(&Signs { register: Register::Entry(&busy), hook: Some(&idle), status_file: Some(&idle), ..ALIVE }, NOW);
        assert_eq!(judged.activity, Activity::Working, "the register has the last word");
        let said: Vec<_> = judged.evidence.iter().map(|sign| (sign.source, sign.activity)).collect();
        let expected = [
            (ActivitySource::Register, Activity::Working),
            (ActivitySource::Hook, Activity::Idle),
            (ActivitySource::StatusFile, Activity::Idle),
        ];
        assert_eq!(said, expected, "and who says otherwise is kept");
    }

    #[test]
    fn a_word_that_is_old_or_dated_ahead_or_older_than_the_process_does_not_count() {
        let fresh = i64::try_from(FRESH.as_secs()).expect("small");
        for (ago, age, counts) in [
            (0, 3600, true),
            (fresh, 3600, true),
            (fresh + 1, 3600, false),
            (-1, 3600, true),
            (-60, 3600, false),
            (40, 35, false),
            (30, 35, true),
        ] {
            let (word, age) = (word(Activity::Working, ago), Duration::from_secs(age));
            let expected = if counts { Activity::Working } else { Activity::Unknown };
            assert_eq!(seen(Signs { age, status_file: Some(&word), ..ALIVE }), expected, "{ago} s ago, process of {age:?}");
        }
    }

    #[test]
    fn a_limit_counts_for_an_idle_agent_whoever_says_that_it_is_idle() {
        let idle = word(Activity::Idle, 1);
        let until = Some(NOW + Duration::from_mins(1));
        let judged = judge(&Signs { hook: Some(&idle), limit_until: until, ..ALIVE }, NOW);
        assert_eq!(judged.activity, Activity::LimitHit);
        assert_eq!(judged.evidence[0].source, ActivitySource::Transcript);
        assert_eq!(seen(Signs { hook: Some(&idle), login_dead: true, ..ALIVE }), Activity::LoggedOut);
    }

    #[test]
    fn a_process_without_an_entry_is_starting_for_a_while() {
        let idle = entry(RegisterStatus::Idle, None);
        for (age, register, expected) in [
            (ALIVE.age, Register::Unreadable, Activity::Unknown),
            (Duration::ZERO, Register::Unreadable, Activity::Unknown),
            (Duration::ZERO, Register::Absent, Activity::Starting),
            (START_UP, Register::Absent, Activity::NeedsInput),
            (Duration::ZERO, Register::Entry(&idle), Activity::Idle),
        ] {
            assert_eq!(seen(Signs { age, register, ..ALIVE }), expected, "{age:?} {register:?}");
        }
    }

    /// The agent of these signs, whose screen showed this so many seconds ago.
    fn looked_at(signs: Signs<'_>, shows: Shown, ago: u64) -> AgentView {
        let judged = judge(&signs, NOW);
        let register = match signs.register {
            Register::Entry(entry) => Some(entry.clone()),
            Register::Absent | Register::Unreadable => None,
        };
        let mut agent = AgentView {
            register,
            activity: judged.activity,
            activity_since: judged.since,
            evidence: judged.evidence,
            ..AgentView::default()
        };
        see(&mut agent, ScreenView { shows, lines: Vec::new(), seen_at: NOW - Duration::from_secs(ago), at_rest: true }, NOW);
        agent
    }

    #[test]
    fn a_screen_tells_what_an_agent_does_that_is_silent_and_disturbs_nothing() {
        use Activity::{Idle, LimitHit, LoggedOut, NeedsInput, Unknown, Working};
        let young = Duration::from_secs(12);
        for register in [Register::Absent, Register::Unreadable] {
            for (age, shows, told, decided) in [
                (young, Shown::Trust { directory: None }, NeedsInput, NeedsInput),
                (START_UP, Shown::Bypass, NeedsInput, NeedsInput),
                (START_UP, Shown::Working, Working, Working),
                (START_UP, Shown::InputBox { draft: false }, Idle, Unknown),
                (young, Shown::InputBox { draft: true }, Idle, Unknown),
                (START_UP, Shown::LimitMenu { limit: None }, LimitHit, NeedsInput),
                (START_UP, Shown::LimitWait { until: None }, LimitHit, Unknown),
                (START_UP, Shown::Login, LoggedOut, NeedsInput),
                (START_UP, Shown::NotLoggedIn, LoggedOut, Unknown),
                (START_UP, Shown::LoginExpired, LoggedOut, Unknown),
            ] {
                let agent = looked_at(Signs { age, register, ..ALIVE }, shows.clone(), 3);
                assert_eq!((agent.told_activity(), agent.activity), (told, decided), "{shows:?} {register:?}");
                assert!(!agent.activity.is_quiet(), "{shows:?}");
                assert_eq!(agent.activity_since, None);
                let first = &agent.evidence[0];
                assert_eq!((first.source, first.at), (ActivitySource::Pane, Some(NOW - Duration::from_secs(3))));
                assert_eq!(agent.evidence[1].source, ActivitySource::Register);
            }
        }
    }

    #[test]
    fn a_screen_only_agrees_or_disagrees_where_another_source_has_a_word() {
        let (idle, waiting) = (entry(RegisterStatus::Idle, None), entry(RegisterStatus::Waiting, Some("dialog open")));
        let (working, old) = (word(Activity::Working, 10), word(Activity::Working, 600));
        for (signs, expected) in [
            (Signs { register: Register::Entry(&idle), ..ALIVE }, Activity::Idle),
            (Signs { register: Register::Entry(&waiting), ..ALIVE }, Activity::NeedsInput),
            (Signs { hook: Some(&working), ..ALIVE }, Activity::Working),
            (Signs { status_file: Some(&working), register: Register::Absent, ..ALIVE }, Activity::Working),
        ] {
            let agent = looked_at(signs, Shown::LimitWait { until: None }, 1);
            assert_eq!((agent.activity, agent.told_activity()), (expected, expected), "{signs:?}");
            assert_eq!(agent.evidence.last().map(|sign| sign.source), Some(ActivitySource::Pane));
        }
        let agent = looked_at(Signs { hook: Some(&old), ..ALIVE }, Shown::Working, 1);
        assert_eq!((agent.activity, agent.evidence[0].source), (Activity::Working, ActivitySource::Pane), "a word that is too old is none");
    }

    #[test]
    fn a_screen_that_is_old_or_not_known_decides_nothing() {
        let absent = Signs { register: Register::Absent, ..ALIVE };
        let agent = looked_at(absent, Shown::Unknown, 0);
        assert_eq!((agent.activity, agent.evidence.len()), (Activity::NeedsInput, 1));
        for ago in [FRESH.as_secs() + 1, u64::from(u32::MAX)] {
            let agent = looked_at(absent, Shown::Working, ago);
            assert_eq!((agent.activity, agent.told_activity()), (Activity::NeedsInput, Activity::NeedsInput), "{ago}");
        }
    }

    #[test]
    fn a_limit_or_a_dead_login_is_told_from_being_idle() {
        use RegisterStatus::{Busy, Idle, Other, Shell, Waiting};
        let (past, ahead) = (Some(NOW - GOES_ON), Some(NOW + Duration::from_secs(1)));
        let just_past = Some(NOW - Duration::from_secs(1));
        for (status, waiting_for, limit_until, login_dead, expected) in [
            (Idle, None, None, false, Activity::Idle),
            (Idle, None, past, false, Activity::Idle),
            (Idle, None, ahead, false, Activity::LimitHit),
            // It will go on by itself in a moment.
            (Idle, None, just_past, false, Activity::LimitHit),
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
            let signs = Signs { age: START_UP, register: Register::Entry(&entry), limit_until, login_dead, ..ALIVE };
            let judged = judge(&signs, NOW);
            assert_eq!((judged.activity, judged.since), (expected, entry.status_since), "{signs:?}");
            assert_eq!(judged.evidence[0].activity, expected, "what decided stands first: {signs:?}");
        }
    }
}
