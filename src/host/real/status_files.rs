//! What the status files of projects say, for the agents whose registers say nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use crate::{
    host::agent::activity::Word,
    model::{Now, SessionName},
};

/// How long what they said is good for: while many sessions start, looks follow each other closely.
const PAUSE: Duration = Duration::from_secs(1);
/// The same, once one is known to have changed.
const NEWS_PAUSE: Duration = Duration::from_millis(100);

/// Where they may be, and what they said last.
#[derive(Debug, Default)]
pub(super) struct StatusFiles {
    places: Vec<PathBuf>,
    words: BTreeMap<SessionName, Word>,
    read_at: Option<Now>,
    /// Whether one has changed since.
    changed: bool,
}

impl StatusFiles {
    /// Notes where they may be; those that come first go first.
    pub fn look_in(&mut self, places: impl IntoIterator<Item = PathBuf>) {
        let mut seen = BTreeSet::new();
        self.places = places.into_iter().filter(|place| seen.insert(place.clone())).collect();
        self.read_at = None;
    }

    /// Those to read now, if they are due.
    pub fn due(&mut self, now: Now) -> Option<Vec<PathBuf>> {
        let pause = if self.changed { NEWS_PAUSE } else { PAUSE };
        if self.places.is_empty() || self.read_at.is_some_and(|at| now.since(at) < pause) {
            return None;
        }
        (self.read_at, self.changed) = (Some(now), false);
        Some(self.places.clone())
    }

    /// Notes that one has changed.
    pub const fn change(&mut self) {
        self.changed = true;
    }

    /// Whether one has changed that was not read since.
    pub const fn has_news(&self) -> bool {
        self.changed
    }

    /// Takes what they say; the newest word of each session counts. Answers the sessions that are told of otherwise than before.
    pub fn take(&mut self, said: Vec<(SessionName, Word)>) -> BTreeSet<SessionName> {
        let mut words: BTreeMap<SessionName, Word> = BTreeMap::new();
        for (name, word) in said {
            if words.get(&name).is_none_or(|held| held.at < word.at) {
                words.insert(name, word);
            }
        }
        let all = words.keys().chain(self.words.keys());
        let other = all.filter(|name| words.get(*name) != self.words.get(*name)).cloned().collect();
        self.words = words;
        other
    }

    /// What they say of a session.
    pub fn word(&self, name: &SessionName) -> Option<&Word> {
        self.words.get(name)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        model::{Activity, Monotonic},
        plan::tests::world::session,
    };

    fn later(millis: u64) -> Now {
        Now { wall: Timestamp::UNIX_EPOCH, mono: Monotonic(Duration::from_hours(1) + Duration::from_millis(millis)) }
    }

    #[test]
    fn they_are_not_read_again_and_again() {
        let mut files = StatusFiles::default();
        assert_eq!(files.due(later(0)), None, "there is none");
        files.look_in((0..100).flat_map(|at| [format!("/p/{at}"), "/p/0".to_owned()]).map(PathBuf::from));
        assert_eq!(files.due(later(0)).map(|places| places.len()), Some(100), "each once");
        for (millis, changed, due) in
            [(999, false, false), (1_000, false, true), (1_050, true, false), (1_100, false, true), (1_500, false, false)]
        {
            if changed {
                files.change();
            }
            assert_eq!(files.due(later(millis)).is_some(), due, "after {millis} ms");
            assert_eq!(files.has_news(), changed, "what changed too soon is not forgotten");
        }
    }

    #[test]
    fn the_newest_word_counts_and_who_has_another_one_is_named() {
        let mut files = StatusFiles::default();
        let word = |activity, second| {
            let at = Timestamp::from_second(second).expect("in range");
            Word { activity, says: String::new(), at, since: at }
        };
        let (older, newer) = (word(Activity::Idle, 1), word(Activity::Working, 2));
        let said = vec![(session("s-0"), newer.clone()), (session("s-0"), older.clone()), (session("s-1"), older.clone())];
        assert_eq!(files.take(said.clone()), BTreeSet::from([session("s-0"), session("s-1")]));
        assert_eq!(files.word(&session("s-0")), Some(&newer));
        assert_eq!(files.take(said), BTreeSet::new());
        assert_eq!(files.take(vec![(session("s-0"), newer)]), BTreeSet::from([session("s-1")]));
        assert_eq!(files.word(&session("s-1")), None);
    }
}
