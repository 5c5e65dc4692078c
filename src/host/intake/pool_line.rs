//! What the pool does, in a few words beside the socket: `8 idle 2 working`. The daemon writes it when it changes; a status line reads it.
//!
//! # Guarantees
//! The file is replaced as a whole, in the runtime directory, which does not outlive a reboot. Reading it costs one small read, and it is shown only
//! when the daemon took the report of the same status line, or, where that says nothing new, when somebody still listens at the socket: words that
//! nobody keeps true are not shown.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::model::Activity;

/// The longest words that are shown.
const LIMIT: u64 = 256;
/// In which order activities are told; the rest is not worth a word.
const TOLD: [Activity; 5] = [Activity::Idle, Activity::Working, Activity::NeedsInput, Activity::LimitHit, Activity::LoggedOut];

/// Where the words stand, beside the socket of the intake.
pub fn path(socket: &Path) -> PathBuf {
    socket.with_extension("pool")
}

/// The words for these activities.
pub fn words(activities: impl Iterator<Item = Activity>) -> String {
    let mut counts = [0_usize; TOLD.len()];
    for activity in activities {
        if let Some(at) = TOLD.iter().position(|told| *told == activity) {
            counts[at] += 1;
        }
    }
    let part = |(count, activity): (&usize, &Activity)| match (count, activity) {
        (0, Activity::Idle | Activity::Working) => Some(format!("0 {activity}")),
        (0, _) => None,
        (count, activity) => Some(format!("{count} {activity}")),
    };
    counts.iter().zip(&TOLD).filter_map(part).collect::<Vec<_>>().join(" ")
}

/// Puts the words in place.
///
/// # Errors
/// That of the file system.
pub fn write(path: &Path, words: &str) -> std::io::Result<()> {
    let draft = path.with_extension("pool.new");
    fs::write(&draft, words)?;
    fs::rename(draft, path)
}

/// Reads the words; `None` when there are none, or none that can be shown.
pub(super) fn read(path: &Path) -> Option<String> {
    let mut words = String::new();
    fs::File::open(path).ok()?.take(LIMIT).read_to_string(&mut words).ok()?;
    let plain = words.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ');
    (plain && !words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_count_what_is_worth_a_word() {
        use Activity::{Exited, Idle, NeedsInput, Starting, Unknown, Working};
        assert_eq!(words([].into_iter()), "0 idle 0 working");
        assert_eq!(words([Idle, Working, Idle, NeedsInput, Exited, Unknown, Starting].into_iter()), "2 idle 1 working 1 needs input");
    }

    #[test]
    fn only_plain_words_are_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = path(&directory.path().join("intake.sock"));
        assert_eq!(read(&path), None);
        write(&path, "8 idle 2 working").expect("written");
        assert_eq!(read(&path).as_deref(), Some("8 idle 2 working"));
        for odd in ["", "\u{1b}[31m", "ü", "two\nlines"] {
            fs::write(&path, odd).expect("written");
            assert_eq!(read(&path), None, "{odd:?}");
        }
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }
}
