//! Ten thousand tasks over fifty sessions on real tmux, while agents are killed, the daemon is killed and the pool moves: how long it takes, and
//! whether anything is lost, given to two at once, or told otherwise than it was.
//!
//! What was done is read from the files and from the agents' own transcripts; what was told, from the events. A finding ends the benchmark.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    Fallible,
    figures::{Place, Row, rate},
    pool::{ACCOUNTS, Agent, Pool},
    raw,
    waiting::found_within,
    working::{drop_task, transcripts},
};

const SESSIONS: usize = 50;
const TASKS: usize = 10_000;
/// Tasks that come between two disturbances.
const WAVE: usize = 500;
/// Agents that are killed at once.
const KILLED: usize = 10;
/// How long nothing may be done before it counts as stuck.
const STUCK: Duration = Duration::from_mins(2);

/// How often each thing was done to the pool.
#[derive(Debug, Default)]
struct Disturbed {
    daemons: usize,
    agents: usize,
    swaps: usize,
}

pub fn rows() -> Fallible<Vec<Row>> {
    let mut pool = Pool::with_project(SESSIONS, Agent::StandIn(0))?;
    for account in ACCOUNTS {
        fs::write(pool.home(account).join("stand-in.json"), r#"{"turnMillis": 200}"#)?;
    }
    pool.start()?;
    let (mut events, mut disturbed) = (Events::default(), Disturbed::default());
    let begun = Instant::now();
    for wave in 0..TASKS / WAVE {
        let names: Vec<String> = (0..WAVE).map(|at| format!("t-{wave:02}-{at:03}.md")).collect();
        let (first, second) = names.split_at(WAVE / 2);
        drop_all(&pool, first)?;
        wait_for_done(&pool, wave * WAVE + WAVE / 4)?;
        events.read(&pool)?;
        match wave % 3 {
            0 => {
                // What comes while nobody listens is never announced.
                pool.kill()?;
                drop_all(&pool, second)?;
                pool.launch()?;
                disturbed.daemons += 1;
            }
            1 => {
                drop_all(&pool, second)?;
                disturbed.agents += kill_agents(&pool, wave * KILLED)?;
            }
            _ => {
                drop_all(&pool, second)?;
                let to = ACCOUNTS[(disturbed.swaps + 1) % ACCOUNTS.len()];
                pool.output(&["swap", "--yes", "--to", to])?;
                disturbed.swaps += 1;
            }
        }
        wait_for_done(&pool, (wave + 1) * WAVE - WAVE / 4)?;
        events.read(&pool)?;
    }
    wait_for_done(&pool, TASKS)?;
    let took = begun.elapsed();
    pool.settle()?;
    events.read(&pool)?;
    let attempts = check(&pool, &events)?;
    let Disturbed { daemons, agents, swaps } = disturbed;
    let what = format!("{TASKS} tasks over {SESSIONS} sessions; {daemons} × the daemon killed (-9), {agents} agents killed, {swaps} swaps");
    let beside = format!("{attempts} attempts, each with its end; what is found otherwise ends the benchmark");
    let row = Row::alone(Place::Tasks, what, rate(TASKS, took)?, beside);
    Ok(vec![Row { goal: "0 lost, 0 at two at once, 0 falsely done".to_owned(), met: Some(true), ..row }])
}

fn drop_all(pool: &Pool, names: &[String]) -> Fallible<()> {
    names.iter().try_for_each(|name| drop_task(&pool.queue(), name).map(drop))
}

/// Kills some of the agents, others each time: one that ends too often is put into quarantine.
fn kill_agents(pool: &Pool, from: usize) -> Fallible<usize> {
    let panes = pool.control()?.panes()?;
    let chosen = (from..from + KILLED).map(|at| panes[at % panes.len()].1);
    let agents: Vec<_> = chosen.filter_map(|pid| raw::open(pid).ok()).collect();
    raw::signal(&agents, Signal::KILL)?;
    Ok(agents.len())
}

fn names_in(pool: &Pool, place: &str) -> Fallible<BTreeSet<String>> {
    let entries = fs::read_dir(pool.queue().join(place))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Waits as long as anything is done now and then.
fn wait_for_done(pool: &Pool, wanted: usize) -> Fallible<()> {
    let mut done = names_in(pool, "done")?.len();
    while done < wanted {
        let more = || names_in(pool, "done").ok().map(|names| names.len()).filter(|now| *now > done);
        let Some(now) = found_within(STUCK, more) else {
            return Err(format!("stuck with {done} of {wanted} tasks done:\n{}", pool.output(&["task", "ls"])?).into());
        };
        done = now;
    }
    Ok(())
}

/// What was told, by number: the history forgets, so it is read now and then.
#[derive(Debug, Default)]
struct Events(BTreeMap<u64, Value>);

impl Events {
    fn read(&mut self, pool: &Pool) -> Fallible<()> {
        let found: Vec<Value> = serde_json::from_str(&pool.output(&["events", "-n", "5000", "-o", "json"])?)?;
        for event in found {
            self.0.insert(event["sequence"].as_u64().ok_or("an event without a number")?, event);
        }
        Ok(())
    }

    /// The claims that events of this reason name, with when that was.
    fn claims(&self, reason: &str) -> BTreeMap<String, Timestamp> {
        let of = self.0.values().filter(|event| event["event"]["reason"] == reason);
        of.filter_map(|event| {
            let claim = after(event["event"]["message"].as_str()?, "(claim ")?;
            Some((claim, event["event"]["at"].as_str()?.parse().ok()?))
        })
        .collect()
    }
}

/// One prompt, as an agent took it down.
#[derive(Debug)]
struct Prompt {
    claim: String,
    conversation: String,
    at: Timestamp,
}

/// Compares what was done with what was told. Answers how many attempts there were.
fn check(pool: &Pool, events: &Events) -> Fallible<usize> {
    let mut wrong = Vec::new();
    let done = names_in(pool, "done")?;
    wrong.extend((done.len() != TASKS).then(|| format!("{} of {TASKS} are in done/", done.len())));
    for place in ["inbox", "failed"] {
        let left = names_in(pool, place)?;
        wrong.extend((!left.is_empty()).then(|| format!("{} in {place}/: {left:?}", left.len())));
    }
    let prompts = prompts(pool)?;
    let (told_done, told_released) = (events.claims("TaskDone"), events.claims("TaskReleased"));
    let mut attempts = 0;
    for name in &done {
        let Some(prompts) = prompts.get(name) else {
            wrong.push(format!("{name} is done, and nobody was asked for it"));
            continue;
        };
        let mut claims: BTreeMap<&str, Vec<&Prompt>> = BTreeMap::new();
        for prompt in prompts {
            claims.entry(&prompt.claim).or_default().push(prompt);
        }
        attempts += claims.len();
        let ended_well = claims.keys().filter(|claim| told_done.contains_key(**claim)).count();
        wrong.extend((ended_well != 1).then(|| format!("{name}: {ended_well} of its attempts are told to have done it: {claims:?}")));
        for (claim, asked) in &claims {
            let conversations: BTreeSet<_> = asked.iter().map(|prompt| &prompt.conversation).collect();
            wrong.extend((conversations.len() != 1).then(|| format!("{name}: claim {claim} was given to {conversations:?}")));
            let released = told_released.get(*claim);
            wrong.extend((released.is_none() && !told_done.contains_key(*claim)).then(|| format!("{name}: claim {claim} has no end")));
            // Whoever else was asked for it was asked after this attempt had ended.
            let later = prompts.iter().filter(|other| other.claim != *claim && other.at >= asked[0].at);
            for other in later {
                let free = released.is_some_and(|at| *at <= other.at);
                wrong.extend((!free).then(|| format!("{name}: claim {} was given while {claim} was under way", other.claim)));
            }
        }
    }
    if wrong.is_empty() { Ok(attempts) } else { Err(wrong.join("\n").into()) }
}

/// The prompts of all conversations, by task.
fn prompts(pool: &Pool) -> Fallible<BTreeMap<String, Vec<Prompt>>> {
    let mut found: BTreeMap<String, Vec<Prompt>> = BTreeMap::new();
    for file in transcripts(pool)? {
        let conversation = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for line in fs::read_to_string(&file)?.lines() {
            let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
            let Some(text) = record["message"]["content"].as_str().filter(|_| record["type"] == "user") else { continue };
            let Some(name) = after(text, "/inbox/") else { continue };
            // One that asks once more names the attempt that it is about in its words, beside its own tag.
            let Some(claim) = after(text, " names claim ").or_else(|| after(text, "[claim ")) else { continue };
            let at = record["timestamp"].as_str().ok_or("a record without a time")?.parse()?;
            found.entry(name).or_default().push(Prompt { claim, conversation: conversation.clone(), at });
        }
    }
    for prompts in found.values_mut() {
        prompts.sort_by_key(|prompt| prompt.at);
    }
    Ok(found)
}

/// The word that stands behind `mark`.
fn after(text: &str, mark: &str) -> Option<String> {
    let rest = &text[text.find(mark)? + mark.len()..];
    Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect())
}
