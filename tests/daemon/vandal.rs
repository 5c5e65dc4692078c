//! Somebody who breaks links in the worst moment: when the active link has just been flipped.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    pool::Pool,
    waiting::{DEADLINE, found_at_pace},
};

/// The flip is verified at once: whoever looks less often comes too late.
const PACE: Duration = Duration::from_micros(100);

/// Lies in wait for the flip.
pub struct Vandal {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<bool>,
}

impl Vandal {
    /// Breaks the link `projects` of each of `homes` the moment the active link leads to `to`.
    pub fn start(pool: &Pool, to: &'static str, homes: &[&'static str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (root, homes, is_stopped) = (pool.root.clone(), homes.to_vec(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let is_flipped = || fs::read_link(root.join("active")).is_ok_and(|found| found == root.join(to));
            let seen = || (is_flipped() || is_stopped.load(Ordering::Relaxed)).then(is_flipped);
            let came = found_at_pace(DEADLINE, PACE, PACE, seen).unwrap_or(false);
            for home in homes.iter().filter(|_| came) {
                Pool::break_link(&root, home, "projects");
            }
            came
        });
        Self { stop, thread }
    }

    /// Waits until it has done it.
    #[track_caller]
    pub fn join(self) {
        assert!(self.thread.join().expect("it has only broken links"), "the active link was never flipped");
    }

    /// Tells it that there is nothing more to wait for.
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it has only broken links");
    }
}
