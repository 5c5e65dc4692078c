//! A witness who looks at the store and at the links all the time, while others work.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use claude_failover::store::Reader;

use crate::pool::{LINKS, Pool};

/// How often the witness looks.
const EVERY: Duration = Duration::from_millis(2);

/// Looks until it is asked what it has seen.
pub struct Witness {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<String>>>,
    looks: JoinHandle<usize>,
}

impl Witness {
    /// Watches that the account which the store names as the active one never has a link that is not right.
    pub fn watch(pool: &Pool) -> Self {
        let (state, root) = (pool.state_dir(), pool.root.clone());
        Self::start(move || {
            let before = active(&state)?;
            let home = root.join(if before == "primary" { "a" } else { "b" });
            let wrong = LINKS.iter().find(|name| std::fs::read_link(home.join(name)).ok() != Some(root.join("shared").join(name)))?;
            // What changed between the two looks proves nothing.
            (active(&state)? == before).then(|| format!("{before} is declared active while its link {wrong} is not right"))
        })
    }

    /// Watches that the store never names `account` as the active one.
    pub fn never_active(pool: &Pool, account: &'static str) -> Self {
        let state = pool.state_dir();
        Self::start(move || (active(&state)? == account).then(|| format!("{account} was declared active")))
    }

    fn start(look: impl Fn() -> Option<String> + Send + 'static) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (until, found) = (Arc::clone(&stop), Arc::clone(&seen));
        let looks = thread::spawn(move || {
            let mut looks = 0;
            while !until.load(Ordering::Relaxed) {
                if let Some(what) = look() {
                    found.lock().expect("not poisoned").push(what);
                }
                looks += 1;
                thread::sleep(EVERY);
            }
            looks
        });
        Self { stop, seen, looks }
    }

    /// Asserts that nothing wrong was seen, and that somebody has looked.
    #[track_caller]
    pub fn found_nothing(self) {
        self.stop.store(true, Ordering::Relaxed);
        let looks = self.looks.join().expect("the witness lives");
        let seen = self.seen.lock().expect("not poisoned");
        assert!(seen.is_empty(), "{} times: {}", seen.len(), seen[0]);
        assert!(looks > 20, "the witness has looked {looks} times only");
    }
}

fn active(state: &Path) -> Option<String> {
    Some(Reader::attach(state).ok()?.memory().ok()?.active?.account.to_string())
}
