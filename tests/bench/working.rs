//! Tasks: from a file in the inbox to its text in a pane, and how many are done in a second.
//!
//! The floor is the same text typed by hand into an idle pane, through a control connection, with nothing checked and nothing kept. Both ends are
//! read from the agent's own transcript, to the millisecond.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    Fallible,
    figures::{Pairs, Place, Row, rate, shown},
    pool::{Agent, PATIENCE, Pool},
    waiting::found_within,
};

/// How many sessions take tasks.
const SESSIONS: usize = 20;
/// How many tasks are measured one by one.
const SINGLE: usize = 40;
/// How many are dropped at once.
const MANY: usize = 400;
/// The goal for the median, from the drop to the text in the pane.
const GOAL: Duration = Duration::from_millis(100);

pub fn rows() -> Fallible<Vec<Row>> {
    let mut pool = Pool::with_project(SESSIONS, Agent::StandIn(0))?;
    for account in crate::pool::ACCOUNTS {
        fs::write(pool.home(account).join("stand-in.json"), r#"{"turnMillis": 0}"#)?;
    }
    pool.start()?;
    Ok(vec![latency(&pool)?, throughput(&pool)?])
}

fn latency(pool: &Pool) -> Fallible<Row> {
    let queue = pool.queue();
    let mut control = pool.control()?;
    let panes = control.panes()?;
    let mut pairs = Pairs::default();
    for round in 0..SINGLE {
        let name = format!("single-{round}.md");
        let dropped = drop_task(&queue, &name)?;
        wait_until(|| queue.join("done").join(&name).exists())?;
        pairs.ours.push(since(dropped, prompted(pool, &name)?));
        let (pane, _) = panes[round % panes.len()];
        let word = format!("by-hand-{round}.");
        let typed = Timestamp::now();
        control.send(&[
            format!("set-buffer -b bench 'do {word}'"),
            format!("paste-buffer -p -d -b bench -t %{pane}"),
            format!("send-keys -t %{pane} Enter"),
        ])?;
        control.answers(3, true)?;
        let at = found_within(PATIENCE, || prompted(pool, &word).ok()).ok_or("the prompt never came")?;
        pairs.floor.push(since(typed, at));
    }
    let mut row = pairs.row(Place::Tasks, "a file dropped into an inbox → its prompt is taken", "the same text pasted by hand", 0.0);
    let median = crate::figures::median(&pairs.ours);
    row.goal = format!("< {}", shown(GOAL));
    row.met = Some(median < GOAL);
    row.beside.push_str("claim and intents are on disk; the file must have come to rest first");
    Ok(row)
}

fn throughput(pool: &Pool) -> Fallible<Row> {
    let queue = pool.queue();
    let before = fs::read_dir(queue.join("done"))?.count();
    let begun = Instant::now();
    for at in 0..MANY {
        drop_task(&queue, &format!("many-{at}.md"))?;
    }
    wait_until(|| fs::read_dir(queue.join("done")).is_ok_and(|done| done.count() >= before + MANY))?;
    let what = format!("{MANY} tasks over {SESSIONS} sessions whose turns take no time");
    let beside = "each claimed, typed, proven and accounted for".to_owned();
    Ok(Row::alone(Place::Tasks, what, rate(MANY, begun.elapsed())?, beside))
}

/// Puts a task into the inbox in one step; when.
pub fn drop_task(queue: &Path, name: &str) -> Fallible<Timestamp> {
    let temporary = queue.join(name);
    fs::write(&temporary, "Do it.\n")?;
    let at = Timestamp::now();
    fs::rename(temporary, queue.join("inbox").join(name))?;
    Ok(at)
}

/// The transcripts of all conversations.
pub fn transcripts(pool: &Pool) -> Fallible<Vec<PathBuf>> {
    let folders = fs::read_dir(pool.shared().join("projects"))?.flatten();
    Ok(folders.filter_map(|folder| fs::read_dir(folder.path()).ok()).flatten().flatten().map(|entry| entry.path()).collect())
}

/// When a prompt with that word was taken, as the transcripts say.
fn prompted(pool: &Pool, word: &str) -> Fallible<Timestamp> {
    for file in transcripts(pool)? {
        let text = fs::read_to_string(file)?;
        let records =
            text.lines().rev().filter(|line| line.contains(word)).filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        for record in records {
            let is_prompt = record["type"] == "user" && record["message"]["content"].as_str().is_some_and(|text| text.contains(word));
            if let Some(at) = record["timestamp"].as_str().filter(|_| is_prompt) {
                return Ok(at.parse()?);
            }
        }
    }
    Err(format!("no transcript has a prompt with {word}").into())
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    // Records have whole milliseconds: one that was written within the same one counts as one.
    Duration::try_from(to.duration_since(from)).unwrap_or_default().max(Duration::from_millis(1))
}

fn wait_until(mut look: impl FnMut() -> bool) -> Fallible<()> {
    found_within(PATIENCE, || look().then_some(())).ok_or_else(|| "waited in vain for tasks to be done".into())
}
