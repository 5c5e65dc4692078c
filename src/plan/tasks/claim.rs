//! Which idle session gets which task.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;

use super::{is_used_up, later, planner::Tasks};
use crate::{
    model::{Activity, ClaimId, ObjectRef, SessionName, TaskId, TaskName},
    observed::{FileIdentity, InboxView, Marker, QueueView, TaskHeader},
    plan::{AttemptVerdict, MAX_FACT_AGE, Phase, QueueChange, TaskRecord, Verb},
    spec::{Project, Session},
};

/// How many files with mistakes one pass puts aside in a project.
const REFUSED_AT_ONCE: usize = 32;

/// A task that could begin now, if a session were free.
pub(super) struct Candidate<'a> {
    project: usize,
    name: &'a TaskName,
    identity: FileIdentity,
    priority: i32,
    pin: Option<&'a SessionName>,
    record: Option<&'a TaskRecord>,
}

/// Why the tasks of a project wait, each with how many.
#[derive(Default)]
struct Tally<'a> {
    /// They could begin.
    ready: usize,
    /// Not offered again yet, and the first time at which one is.
    paused: usize,
    first: Option<Timestamp>,
    /// They come after another one, with an example.
    behind: usize,
    example: Option<(&'a TaskName, &'a TaskName)>,
    /// They are for a session that cannot do them, with an example.
    stranded: usize,
    stray: Option<(&'a TaskName, &'a SessionName)>,
}

impl<'a> Tasks<'a> {
    /// Goes through an inbox once: refuses what cannot be read, counts what waits, and picks what could begin.
    pub fn sift(&mut self, index: usize, project: &'a Project, queue: &'a QueueView, candidates: &mut Vec<Candidate<'a>>) {
        let mut tally = Tally::default();
        let mut refused = 0;
        for (name, file) in &queue.inbox {
            let record = self.record(&project.name, name);
            if queue.markers.contains_key(name) || record.is_some_and(|record| record.open().is_some()) {
                continue;
            }
            let header = match &file.header {
                Ok(header) => header,
                Err(why) => {
                    // The rest follows in the next pass: one with thousands of mistakes must not keep everything else waiting.
                    refused += 1;
                    if refused <= REFUSED_AT_ONCE {
                        self.reject(project, name, why);
                    }
                    continue;
                }
            };
            if let Some(candidate) = self.weigh(index, project, queue, (name, file, header), record, &mut tally) {
                candidates.push(candidate);
            }
        }
        self.report(project, &tally);
    }

    fn reject(&mut self, project: &Project, name: &TaskName, why: &str) {
        let task = TaskId { project: project.name.clone(), name: name.clone() };
        let effect = QueueChange::Fail { task: name.clone(), claim: None, reason: why.to_owned() }.at(&project.path);
        self.act(Phase::Settle, task, Verb::Settle, "refuse it and put it into failed/", why, effect);
    }

    fn weigh(
        &self,
        index: usize,
        project: &'a Project,
        queue: &'a QueueView,
        (name, file, header): (&'a TaskName, &'a InboxView, &'a TaskHeader),
        record: Option<&'a TaskRecord>,
        tally: &mut Tally<'a>,
    ) -> Option<Candidate<'a>> {
        if let Some(record) = record {
            if is_used_up(project, file, record) {
                return None;
            }
            if let Some(until) = record.not_before.filter(|until| *until > self.grounds.now.wall) {
                tally.paused += 1;
                tally.first = Some(tally.first.map_or(until, |first| first.min(until)));
                return None;
            }
        }
        // Done, and not in the inbox again as another task.
        let is_done = |other: &TaskName| queue.done.contains_key(other) && !queue.inbox.contains_key(other);
        if let Some(other) = header.after.iter().find(|other| !is_done(other)) {
            tally.behind += 1;
            tally.example.get_or_insert((name, other));
            return None;
        }
        if let Some(pin) = &header.session
            && !self.grounds.spec.sessions.get(pin).is_some_and(|session| self.grounds.spec.serves(session, project))
        {
            tally.stranded += 1;
            tally.stray.get_or_insert((name, pin));
            return None;
        }
        tally.ready += 1;
        let priority = header.priority.unwrap_or(project.priority);
        Some(Candidate { project: index, name, identity: file.identity, priority, pin: header.session.as_ref(), record })
    }

    /// What waits for something else than a free session.
    fn report(&mut self, project: &Project, tally: &Tally<'_>) {
        let object = || ObjectRef::Project(project.name.clone());
        if let (true, Some(hold)) = (tally.ready > 0, &self.gate.hold) {
            let until = hold.until.map_or_else(String::new, |until| format!(" until {until:.0}"));
            let message = format!("{}{until}: {}", count(tally.ready), hold.message);
            let reason = hold.reason.clone();
            self.wait(object(), &reason, message);
        }
        if let Some(first) = tally.first {
            let message = format!("{} to be offered again, the first at {first:.0}", count(tally.paused));
            self.wait(object(), "TaskPause", message);
        }
        if let Some((task, other)) = tally.example {
            self.wait(
                object(),
                "AfterOthers",
                format!("{} behind others that are not done, such as {task} behind {other}", count(tally.behind)),
            );
        }
        if let Some((task, session)) = tally.stray {
            let message = format!(
                "{} for sessions that do not serve it, such as {task} for {session}; declare the session with `dispatch: true`, or change the task",
                count(tally.stranded)
            );
            self.warn(object(), "NoSuchSession", message);
        }
    }

    /// Gives the free sessions what comes first: by priority, then age, then name.
    pub fn claim(&mut self, mut candidates: Vec<Candidate<'a>>) {
        if self.gate.hold.is_some() || candidates.is_empty() {
            return;
        }
        let mut floor = Floor::of(self);
        let projects = &self.grounds.spec.projects;
        if (0..projects.len()).any(|project| !floor.is_empty(project)) {
            candidates.sort_unstable_by_key(|candidate| {
                (Reverse(candidate.priority), candidate.identity.modified, candidate.name, &projects[candidate.project].name)
            });
        }
        let mut left = vec![0_usize; projects.len()];
        let mut room = self.gate.room;
        for candidate in &candidates {
            if room == 0 || floor.is_empty(candidate.project) {
                left[candidate.project] += 1;
                continue;
            }
            let project = &projects[candidate.project];
            let task = TaskId { project: project.name.clone(), name: candidate.name.clone() };
            match if self.is_backing_off(&task) { None } else { floor.take(candidate) } {
                Some(session) => {
                    room -= 1;
                    self.claim_one(project, task, candidate, session);
                }
                None => left[candidate.project] += 1,
            }
        }
        for (index, left) in left.into_iter().enumerate().filter(|(_, left)| *left > 0) {
            self.report_left(index, left, room == 0, &floor);
        }
    }

    fn claim_one(&mut self, project: &Project, task: TaskId, candidate: &Candidate<'_>, session: &SessionName) {
        let now = self.grounds.now.wall;
        let before = candidate.record.map_or(0, |record| record.attempts.len());
        let attempt = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        // Another attempt at a task of the same name must not be taken for this one, however much is forgotten in between.
        let claim = ClaimId::of(&task, session, attempt, &now.as_nanosecond().to_string());
        let marker = Marker { session: session.clone(), attempt, claim, claimed_at: now, lease_until: later(now, project.lease) };
        let stands = |queue: &QueueView| {
            [("done", &queue.done), ("failed", &queue.failed)].map(|(name, tasks)| (name, tasks.contains_key(&task.name)))
        };
        let older = self.grounds.queue(&project.name).map(|(queue, _)| stands(queue)).into_iter().flatten();
        let older: String =
            older.filter(|(_, stands)| *stands).map(|(name, _)| format!("; the older one in {name}/ gets another name")).collect();
        let why = format!("session {session} is idle; attempt {attempt}{older}");
        let effect = QueueChange::Claim { task: task.name.clone(), expect: candidate.identity, marker }.at(&project.path);
        self.act(Phase::Dispatch, task, Verb::Dispatch, format!("claim it for session {session}"), why, effect);
    }

    fn report_left(&mut self, index: usize, left: usize, no_room: bool, floor: &Floor<'_>) {
        let project = &self.grounds.spec.projects[index];
        let object = ObjectRef::Project(project.name.clone());
        let place = &floor.places[index];
        if no_room {
            let until = self.gate.more_at.map_or_else(String::new, |at| format!("; more at {at:.0}"));
            self.wait(object, "ReleasedSlowly", format!("{}: room came back a short while ago{until}", count(left)));
        } else if place.slots == 0 {
            self.wait(object, "MaxInFlight", format!("{}: as many are under way as maxInFlight allows", count(left)));
        } else if place.serving == 0 {
            let message = format!("{}: no session serves the project; declare one with `dispatch: true`", count(left));
            self.warn(object, "NoSession", message);
        } else {
            let others: Vec<_> = place.others.iter().map(|(why, sessions)| format!("{sessions} {why}")).collect();
            let attached = place.others.contains_key("attached to by a person") && place.others.len() == 1;
            let reason = if attached { "SessionAttached" } else { "NoIdleSession" };
            self.wait(object, reason, format!("{} for an idle session ({})", count(left), others.join(", ")));
        }
    }
}

/// The free sessions, by project.
struct Floor<'a> {
    places: Vec<Place<'a>>,
    /// How often a session was lately given a task that never reached it.
    blunders: BTreeMap<&'a SessionName, usize>,
}

/// What a project has.
struct Place<'a> {
    free: BTreeSet<&'a SessionName>,
    /// Those that start in the project itself.
    at_home: BTreeSet<&'a SessionName>,
    /// Why the others that serve it are not free.
    others: BTreeMap<&'static str, usize>,
    serving: usize,
    /// How many more of its tasks may be under way.
    slots: usize,
}

impl<'a> Floor<'a> {
    fn of(tasks: &Tasks<'a>) -> Self {
        let grounds = tasks.grounds;
        let states: Vec<(&'a Session, Result<(), &'static str>)> =
            grounds.spec.sessions.values().filter(|session| session.dispatch).map(|session| (session, tasks.is_free(session))).collect();
        let place = |project: &'a Project| {
            let under_way = tasks.records.get(&project.name).into_iter().flatten().filter(|(_, record)| record.open().is_some()).count();
            let slots = project.max_in_flight.map_or(usize::MAX, |limit| limit.saturating_sub(under_way));
            let mut place = Place { free: BTreeSet::new(), at_home: BTreeSet::new(), others: BTreeMap::new(), serving: 0, slots };
            for (session, state) in states.iter().filter(|(session, _)| grounds.spec.serves(session, project)) {
                place.serving += 1;
                match state {
                    Ok(()) => {
                        place.free.insert(&session.name);
                        if session.workdir == project.path {
                            place.at_home.insert(&session.name);
                        }
                    }
                    Err(why) => *place.others.entry(why).or_default() += 1,
                }
            }
            place
        };
        let mut blunders = BTreeMap::new();
        for attempt in grounds.memory.tasks.values().flat_map(|record| &record.attempts) {
            if attempt.end.as_ref().is_some_and(|end| end.how == AttemptVerdict::Undelivered) {
                *blunders.entry(&attempt.session).or_default() += 1;
            }
        }
        Self { places: grounds.spec.projects.iter().map(place).collect(), blunders }
    }

    fn is_empty(&self, project: usize) -> bool {
        self.places[project].slots == 0 || self.places[project].free.is_empty()
    }

    /// The session that fits best: not one that had the task before, one that starts in the project, one that could always be asked.
    fn take(&mut self, candidate: &Candidate<'_>) -> Option<&'a SessionName> {
        let Place { free, at_home, .. } = &self.places[candidate.project];
        let had =
            |name: &SessionName| candidate.record.is_some_and(|record| record.attempts.iter().any(|attempt| attempt.session == *name));
        let session = match candidate.pin {
            Some(pin) => free.get(pin).copied(),
            None => free
                .iter()
                .copied()
                .min_by_key(|name| (had(name), !at_home.contains(name), self.blunders.get(name).copied().unwrap_or(0), *name)),
        }?;
        for place in &mut self.places {
            if place.free.remove(session) {
                *place.others.entry("given a task").or_default() += 1;
            }
        }
        self.places[candidate.project].slots -= 1;
        Some(session)
    }
}

impl<'a> Tasks<'a> {
    /// Whether a session may be given a task, or the word for why not.
    fn is_free(&self, session: &'a Session) -> Result<(), &'static str> {
        if self.engaged.contains(&session.name) {
            return Err("at a task");
        }
        let pane = self.pane(&session.name)?;
        let grounds = self.grounds;
        let agent =
            grounds.seen.agents.get(&session.name).and_then(|agent| agent.fresh(grounds.now, MAX_FACT_AGE)).ok_or("not to be seen")?;
        if agent.process.is_none() || pane.dead.is_some() {
            return Err("not running");
        }
        if agent.activity != Activity::Idle {
            return Err(agent.activity.as_str());
        }
        let active = grounds.memory.active.as_ref().and_then(|active| grounds.spec.account(&active.account));
        let here = active.is_some_and(|account| agent.home.as_ref() == Some(&account.home));
        let bound = grounds.memory.sessions.get(&session.name).map(|record| record.conversation);
        let known = agent.register.as_ref().is_some_and(|register| Some(register.conversation) == bound);
        match (here, known) {
            (true, true) => Ok(()),
            (false, _) => Err("on another account"),
            (_, false) => Err("in another conversation"),
        }
    }
}

fn count(tasks: usize) -> String {
    if tasks == 1 { "1 task waits".to_owned() } else { format!("{tasks} tasks wait") }
}
