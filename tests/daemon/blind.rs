//! A state that cannot be read: all action stops, and observation goes on.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    pool::{Pool, condition, row},
    waiting::wait_until,
};

/// Overwrites the state so that no row of it can be trusted, and answers what it was.
fn damage(pool: &Pool) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let state = pool.state_dir().join("state.db");
    let family: Vec<_> = ["", "-wal", "-shm"].map(|ending| state.with_file_name(format!("state.db{ending}"))).into();
    let kept = family.iter().filter_map(|path| Some((path.clone(), fs::read(path).ok()?))).collect();
    for path in family {
        let _ = fs::remove_file(path);
    }
    fs::write(&state, "this is no database, and has never been one ".repeat(500)).expect("written");
    kept
}

fn reason(status: &Value, kind: &str) -> String {
    let conditions = status["conditions"].as_array().expect("a list");
    conditions.iter().find(|found| found["type"] == kind).expect("it is there")["reason"].as_str().expect("a word").to_owned()
}

/// What the files alone show is shown, by a look of our own and by the daemon.
#[test]
fn without_its_memory_tasks_and_events_are_shown_as_far_as_files_tell() {
    let mut pool = crate::tasks::working(1);
    pool.stop_daemon(Signal::SIGTERM);
    let told = pool.events().len();
    assert!(told > 0);
    damage(&pool);
    crate::tasks::drop_task(&pool, "a.md", "Say hello.\n");
    for daemon in [false, true] {
        if daemon {
            pool.start_daemon();
        }
        wait_until("the file to have come to rest", || pool.cli(&["task", "ls"]).stdout.contains("api/a.md"));
        pool.cli(&["task", "ls"]).expect(5).says("api/a.md").says("memory cannot be used");
        pool.cli(&["task", "show", "api/a.md"]).expect(5).says("Say hello").says("memory cannot be used");
        let ended = pool.cli(&["events", "-n", "1000", "-o", "json"]).expect(5).says("memory cannot be used");
        let events: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        assert_eq!(events.as_array().expect("a list").len(), told);
        pool.cli(&["task", "retry", "api/a.md"]).expect(1);
    }
}

#[test]
fn without_its_memory_a_pool_is_shown_and_left_alone() {
    let mut pool = Pool::applied(2);
    let agents = pool.agents();
    let kept = damage(&pool);
    let harmed = fs::read(pool.state_dir().join("state.db")).expect("the file");

    pool.cli(&["status"]).expect(5).says("cannot be used").says("nothing will be done").says("s-1");
    let status = pool.status();
    assert_eq!(reason(&status, "Degraded"), "StateUnreadable");
    assert_eq!(row(&status, "s-0")["pid"], agents[0].pid, "what runs is seen");
    pool.cli(&["plan"]).expect(5).says("StateUnreadable").says("nothing is done");
    pool.cli(&["explain", "s-0"]).expect(5).says(&agents[0].pid.to_string());
    pool.cli(&["doctor"]).expect(1).says("state.db is damaged");
    pool.cli(&["apply", "--yes"]).expect(1).says("nothing was done");
    pool.cli(&["suspend", "--reason", "try"]).expect(1);

    // The daemon looks on, says so, and does nothing, also when there would be something to do.
    pool.start_daemon();
    let status = pool.status();
    assert_eq!((condition(&status, "Degraded").as_str(), reason(&status, "Degraded").as_str()), ("True", "StateUnreadable"));
    pool.cli(&["cordon", "s-0", "--reason", "try"]).expect(1).says("nothing is done");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(agents[0].pid), Signal::SIGKILL).expect("it runs");
    wait_until("the daemon sees it", || row(&pool.status(), "s-0")["activity"] == "exited");
    assert_eq!(pool.agents(), agents[1..], "nobody was started");
    assert_eq!(fs::read(pool.state_dir().join("state.db")).expect("the file"), harmed, "it was left as it was");

    // Somebody puts the state back: the daemon goes on by itself.
    for (path, bytes) in kept {
        fs::write(&path, bytes).expect("put back");
    }
    wait_until("the pool converges", || pool.agents().len() == 2 && condition(&pool.status(), "Degraded") == "False");
    pool.assert_whole("a", 2);
}
