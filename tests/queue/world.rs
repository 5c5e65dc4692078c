//! A project with a queue and a place outside, in a directory of their own.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use claude_failover::{
    host::queue::{self, QueueCache, perform},
    model::{ClaimId, Monotonic, Now, SessionName, TaskName},
    observed::{FileIdentity, Marker, QueueView, Seen},
    plan::{Effect, Failure, Happened, Outcome, QueueChange},
};
use jiff::Timestamp;
use tempfile::TempDir;

/// A project, whose queue is made, and a place outside of it. Removed when it is dropped.
pub struct World {
    /// The project.
    pub project: PathBuf,
    /// A directory that nobody may touch, with one file in it.
    pub outside: PathBuf,
    _dir: TempDir,
}

impl World {
    /// With an empty queue.
    pub fn new() -> Self {
        let world = Self::bare();
        assert_eq!(run(&QueueChange::Create.at(&world.project)), Outcome::Changed);
        world
    }

    /// With an empty queue, on a file system that keeps things in memory; `None` where there is none.
    pub fn in_memory() -> Option<Self> {
        let world = Self::within(tempfile::tempdir_in("/dev/shm").ok()?);
        assert_eq!(run(&QueueChange::Create.at(&world.project)), Outcome::Changed);
        Some(world)
    }

    /// The file system that it is on.
    pub fn device(&self) -> u64 {
        fs::metadata(&self.project).expect("the project").dev()
    }

    /// Without a queue.
    pub fn bare() -> Self {
        Self::within(tempfile::tempdir().expect("a directory"))
    }

    fn within(dir: TempDir) -> Self {
        let world = Self { project: dir.path().join("project"), outside: dir.path().join("outside"), _dir: dir };
        for path in [&world.project, &world.outside] {
            fs::create_dir(path).expect("a directory");
        }
        fs::write(world.outside.join("precious.md"), "precious\n").expect("a file outside");
        world
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.project.join(".agent-queue").join(path)
    }

    /// A file that was left alone for long.
    pub fn put(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(path);
        fs::write(&path, text).expect("a file");
        age(&path, Duration::from_mins(1));
        path
    }

    pub fn read(&self, path: &str) -> String {
        let bytes = fs::read(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// All names below the queue, with the content of the files; temporary names of ours too.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        for directory in ["inbox", "done", "failed", "archive"] {
            let Ok(entries) = fs::read_dir(self.at(directory)) else { continue };
            found.extend(entries.map(|entry| format!("{directory}/{}", entry.expect("an entry").file_name().to_string_lossy())));
        }
        found.sort();
        found
    }

    /// A look without a memory of the last one.
    pub fn look(&self) -> QueueView {
        self.look_with(&mut QueueCache::default(), now())
    }

    pub fn look_with(&self, cache: &mut QueueCache, now: Now) -> QueueView {
        match queue::look(&self.project, now, cache) {
            Seen::Known(fact) => fact.value,
            Seen::Unknown(why) => panic!("not known: {why}"),
        }
    }

    pub fn why_unknown(&self) -> String {
        match queue::look(&self.project, now(), &mut QueueCache::default()) {
            Seen::Known(fact) => panic!("known: {:?}", fact.value),
            Seen::Unknown(why) => why.to_string(),
        }
    }

    pub fn identity(&self, path: &str) -> FileIdentity {
        let found = fs::metadata(self.at(path)).expect("a file");
        let modified = found.mtime() * 1_000_000_000 + found.mtime_nsec();
        FileIdentity { device: found.dev(), inode: found.ino(), length: found.len(), modified }
    }

    pub fn claim(&self, task: &str, by: &str) -> Effect {
        let expect = self.identity(&format!("inbox/{task}"));
        QueueChange::Claim { task: name(task), expect, marker: marker(by) }.at(&self.project)
    }

    /// A task in the inbox that is claimed.
    pub fn put_claimed(&self, task: &str, by: &str) {
        self.put(&format!("inbox/{task}"), "do it\n");
        assert_eq!(run(&self.claim(task, by)), Outcome::Changed);
    }

    pub fn finish(&self, task: &str, by: &str) -> Effect {
        QueueChange::Finish { task: name(task), claim: ClaimId(by.to_owned()) }.at(&self.project)
    }

    pub fn fail(&self, task: &str, by: Option<&str>) -> Effect {
        let claim = by.map(|by| ClaimId(by.to_owned()));
        QueueChange::Fail { task: name(task), claim, reason: "it did not work\n".to_owned() }.at(&self.project)
    }

    pub fn release(&self, task: &str, by: Option<&str>) -> Effect {
        QueueChange::Release { task: name(task), claim: by.map(|by| ClaimId(by.to_owned())) }.at(&self.project)
    }

    pub fn retry(&self, task: &str) -> Effect {
        QueueChange::Retry { task: name(task) }.at(&self.project)
    }
}

pub fn run(effect: &Effect) -> Outcome {
    let Effect::Queue { project, change } = effect else { panic!("{effect:?} is no change of a queue") };
    perform(project, change)
}

/// The message of an effect that was refused before anything was done.
pub fn refused(effect: &Effect) -> String {
    match run(effect) {
        Outcome::Failed(failure @ Failure { happened: Happened::No, .. }) => failure.message(),
        other => panic!("{other:?}"),
    }
}

pub fn name(task: &str) -> TaskName {
    TaskName::new(task).expect("a name")
}

pub fn marker(claim: &str) -> Marker {
    Marker {
        session: SessionName::new("s-0").expect("a name"),
        attempt: 1,
        claim: ClaimId(claim.to_owned()),
        claimed_at: "2026-11-22T12:00:00Z".parse().expect("a time"),
        lease_until: "2026-11-22T12:10:00Z".parse().expect("a time"),
    }
}

pub fn now() -> Now {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let mono = Duration::new(boot.tv_sec.unsigned_abs(), u32::try_from(boot.tv_nsec).expect("nanoseconds"));
    Now { wall: Timestamp::now(), mono: Monotonic(mono) }
}

/// Lets a file look as if it had last been written some time ago.
pub fn age(path: &Path, by: Duration) {
    let file = fs::File::options().write(true).open(path).expect("a file");
    file.set_modified(std::time::SystemTime::now() - by).expect("a time");
}
