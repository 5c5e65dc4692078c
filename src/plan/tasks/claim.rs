//! Which idle session gets which task.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;

use super::{Hold, Predecessor, TaskWait, is_used_up, later, planner::Tasks, recognise::claim_of};
use crate::{
    model::{Activity, ObjectRef, SessionName, TaskId, TaskName},
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
struct Tally {
    /// They could begin.
    ready: usize,
    /// Not offered again yet, and the first time at which one is.
    paused: usize,
    first: Option<Timestamp>,
    /// They come after another one, with an example: one that waits for ever, if there is one.
    behind: usize,
    example: Option<(Predecessor, String)>,
    /// They are for a session that cannot do them, with the first one.
    stranded: usize,
    stray: Option<(TaskName, String)>,
}

impl Tally {
    fn count(&mut self, name: &TaskName, wait: &TaskWait) {
        match wait {
            TaskWait::Paused { until } => {
                self.paused += 1;
                self.first = Some(self.first.map_or(*until, |first| first.min(*until)));
            }
            TaskWait::After { task, found } => {
                self.behind += 1;
                if self.example.as_ref().is_none_or(|(known, _)| found < known) {
                    self.example = Some((*found, format!("{name} after {task}, {found}")));
                }
            }
            TaskWait::NoSuchSession { .. } | TaskWait::NotServing { .. } => {
                self.stranded += 1;
                self.stray.get_or_insert_with(|| (name.clone(), wait.to_string()));
            }
            _ => {}
        }
    }
}

impl<'a> Tasks<'a> {
    /// Goes through an inbox once: refuses what cannot be read, counts what waits, and picks what could begin.
    pub fn sift(&mut self, index: usize, project: &'a Project, queue: &'a QueueView, candidates: &mut Vec<Candidate<'a>>) {
        let mut tally = Tally::default();
        let (mut refused, mut resting) = (0, 0);
        for (name, file) in &queue.inbox {
            let record = self.record(&project.name, name);
            if queue.markers.contains_key(name) || record.is_some_and(|record| record.open().is_some()) {
                continue;
            }
            let header = match &file.header {
                Ok(header) => header,
                Err(why) => {
                    let task = TaskId { project: project.name.clone(), name: name.clone() };
                    // The rest follows in the next pass: one with thousands of mistakes must not keep everything else waiting. Nor do those
                    // that cannot be put aside now keep the others from it.
                    let before = if self.backing_off.contains_key(&task) { &mut resting } else { &mut refused };
                    *before += 1;
                    if *before <= REFUSED_AT_ONCE {
                        self.reject(project, task, why);
                    }
                    continue;
                }
            };
            match self.weigh(index, project, queue, (name, file, header), record) {
                Ok(candidate) => {
                    tally.ready += 1;
                    candidates.push(candidate);
                }
                Err(wait) => {
                    tally.count(name, &wait);
                    self.note(project, name, wait);
                }
            }
        }
        self.report(project, &tally);
    }

    fn reject(&mut self, project: &Project, task: TaskId, why: &str) {
        let effect = QueueChange::Fail { task: task.name.clone(), claim: None, reason: why.to_owned() }.at(&project.path);
        self.act(Phase::Settle, task, Verb::Settle, "refuse it and put it into failed/", why, effect);
    }

    fn weigh(
        &self,
        index: usize,
        project: &'a Project,
        queue: &'a QueueView,
        (name, file, header): (&'a TaskName, &'a InboxView, &'a TaskHeader),
        record: Option<&'a TaskRecord>,
    ) -> Result<Candidate<'a>, TaskWait> {
        if let Some(record) = record {
            if is_used_up(project, Some(file), record) {
                return Err(TaskWait::UsedUp);
            }
            if let Some(until) = record.not_before.filter(|until| *until > self.grounds.now.wall) {
                return Err(TaskWait::Paused { until });
            }
        }
        let undone = header.after.iter().filter(|other| !queue.is_done(other));
        // What waits for ever is worth more words than what waits for a while.
        if let Some((found, other)) = undone.map(|other| (self.find(project, queue, other), other)).min() {
            return Err(TaskWait::After { task: other.clone(), found });
        }
        if let Some(pin) = &header.session {
            match self.grounds.spec.sessions.get(pin) {
                None => return Err(TaskWait::NoSuchSession { session: pin.clone() }),
                Some(session) if !self.grounds.spec.serves(session, project) => return Err(TaskWait::NotServing { session: pin.clone() }),
                Some(_) => {}
            }
        }
        let priority = header.priority.unwrap_or(project.priority);
        Ok(Candidate { project: index, name, identity: file.identity, priority, pin: header.session.as_ref(), record })
    }

    /// Where a task is that is not done.
    fn find(&self, project: &Project, queue: &QueueView, task: &TaskName) -> Predecessor {
        match (queue.stands(task), queue.failed.contains_key(task)) {
            (true, _) if self.record(&project.name, task).is_some_and(|record| record.open().is_some()) => Predecessor::UnderWay,
            (true, _) => Predecessor::Waiting,
            (false, true) => Predecessor::Failed,
            (false, false) => Predecessor::Nowhere,
        }
    }

    /// What waits for something else than a free session.
    fn report(&mut self, project: &Project, tally: &Tally) {
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
        if let Some((_, example)) = &tally.example {
            self.wait(object(), "AfterOthers", format!("{} behind others that are not done, such as {example}", count(tally.behind)));
        }
        // Whoever wrote the task has to change it; nothing is wrong with the pool.
        if let Some((task, why)) = &tally.stray {
            let object = ObjectRef::Task(TaskId { project: project.name.clone(), name: task.clone() });
            let others = if tally.stranded > 1 { format!(" (like this, {})", count(tally.stranded)) } else { String::new() };
            self.wait(object, "NoSuchSession", format!("{why}{others}"));
        }
    }

    /// Gives the free sessions what comes first: by priority, then age, then name.
    pub fn claim(&mut self, mut candidates: Vec<Candidate<'a>>) {
        let projects = &self.grounds.spec.projects;
        if let Some(Hold { reason, message, until }) = &self.gate.hold {
            if self.waits.is_some() {
                for candidate in &candidates {
                    let wait = TaskWait::Held { hold: reason.clone(), message: message.clone(), until: *until };
                    self.note(&projects[candidate.project], candidate.name, wait);
                }
            }
            return;
        }
        if candidates.is_empty() {
            return;
        }
        let mut floor = Floor::of(self);
        if self.waits.is_some() || (0..projects.len()).any(|project| !floor.is_empty(project)) {
            candidates.sort_unstable_by_key(|candidate| {
                (Reverse(candidate.priority), candidate.identity.modified, candidate.name, &projects[candidate.project].name)
            });
        }
        let mut left = vec![0_usize; projects.len()];
        let mut room = self.gate.room;
        for candidate in &candidates {
            let project = &projects[candidate.project];
            let open = room > 0 && !floor.is_empty(candidate.project);
            let task = open.then(|| TaskId { project: project.name.clone(), name: candidate.name.clone() });
            let session = task.as_ref().filter(|task| !self.backing_off.contains_key(task)).and_then(|_| floor.take(candidate));
            if let (Some(task), Some(session)) = (task, session) {
                room -= 1;
                self.note(project, candidate.name, TaskWait::Next { session: session.clone() });
                self.claim_one(project, task, candidate, session);
            } else {
                if self.waits.is_some() {
                    let wait = self.left_wait(candidate, room == 0, &floor, &left);
                    self.note(project, candidate.name, wait);
                }
                left[candidate.project] += 1;
            }
        }
        for (index, left) in left.into_iter().enumerate().filter(|(_, left)| *left > 0) {
            self.report_left(index, left, room == 0, &floor);
        }
    }

    /// Why none of a project's tasks can begin now, whatever its sessions do: the word for it, and what they wait for. What needs a person is first.
    fn shut(&self, project: &Project, place: &Place<'_>, no_room: bool, behind: usize) -> Option<(&'static str, TaskWait)> {
        if place.serving.is_empty() {
            Some(("NoSession", TaskWait::NoSession))
        } else if place.slots == 0 {
            Some(("MaxInFlight", TaskWait::MaxInFlight { limit: project.max_in_flight.unwrap_or_default() }))
        } else {
            no_room.then_some(("ReleasedSlowly", TaskWait::ReleasedSlowly { behind, until: self.gate.more_at }))
        }
    }

    /// Why one that could begin does not. `left` is how many of each project come before it and do not either.
    fn left_wait(&self, candidate: &Candidate<'a>, no_room: bool, floor: &Floor<'a>, left: &[usize]) -> TaskWait {
        let grounds = self.grounds;
        let project = &grounds.spec.projects[candidate.project];
        let place = &floor.places[candidate.project];
        let task = TaskId { project: project.name.clone(), name: candidate.name.clone() };
        let failed = self.backing_off.get(&task).and_then(|attempts| Some((attempts.waits_until(grounds.now)?, attempts)));
        if let Some((until, attempts)) = failed {
            return TaskWait::BackingOff { until, message: attempts.last_error.clone().unwrap_or_default() };
        }
        let shares = |other: &usize| !floor.places[*other].serving.is_disjoint(&place.serving);
        let behind = (0..left.len()).filter(shares).map(|other| left[other]).sum();
        let retried = |session: &&'a SessionName| grounds.untyped(session).map(|untyped| untyped.until);
        if let Some((_, wait)) = self.shut(project, place, no_room, behind) {
            return wait;
        }
        match candidate.pin {
            Some(pin) => {
                let until = grounds.untyped(pin).map(|untyped| untyped.until);
                let is = match (grounds.untyped(pin), floor.states.get(pin)) {
                    (Some(untyped), _) => format!("not to be typed into: {}", untyped.message),
                    (None, Some(Err(why))) => (*why).to_owned(),
                    (None, _) => "not free".to_owned(),
                };
                TaskWait::SessionNotFree { session: pin.clone(), is, until }
            }
            None => {
                let sessions = place.others.iter().map(|(why, sessions)| format!("{sessions} {why}")).collect();
                // While any other session may become free, when this one is tried again is not what is waited for.
                let awaits_others = place.serving.iter().any(|session| grounds.untyped(session).is_none());
                let until = if awaits_others { None } else { place.serving.iter().filter_map(retried).min() };
                TaskWait::NoIdleSession { behind, sessions, until }
            }
        }
    }

    fn claim_one(&mut self, project: &Project, task: TaskId, candidate: &Candidate<'_>, session: &SessionName) {
        let now = self.grounds.now.wall;
        let before = candidate.record.map_or(0, |record| record.attempts.len());
        let attempt = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        let claim = claim_of(self.grounds.memory.pool, &task, session, attempt, now);
        let marker = Marker { session: session.clone(), attempt, claim, claimed_at: now, lease_until: later(now, project.lease) };
        let stands = |queue: &QueueView| queue.done.contains_key(&task.name) || queue.failed.contains_key(&task.name);
        let is_older = self.grounds.queue(&project.name).is_some_and(|(queue, _)| stands(queue));
        let older = if is_older { "; an older one of its name is renamed first" } else { "" };
        let why = format!("session {session} is idle; attempt {attempt}{older}");
        let effect = QueueChange::Claim { task: task.name.clone(), expect: candidate.identity, marker }.at(&project.path);
        self.act(Phase::Dispatch, task, Verb::Dispatch, format!("claim it for session {session}"), why, effect);
    }

    fn report_left(&mut self, index: usize, left: usize, no_room: bool, floor: &Floor<'_>) {
        let project = &self.grounds.spec.projects[index];
        let object = ObjectRef::Project(project.name.clone());
        let place = &floor.places[index];
        if let Some((reason, wait)) = self.shut(project, place, no_room, 0) {
            let message = format!("{}: {wait}", count(left));
            if wait == TaskWait::NoSession { self.warn(object, reason, message) } else { self.wait(object, reason, message) }
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
    /// Whether each session that takes tasks is free, or the word for why not.
    states: BTreeMap<&'a SessionName, Result<(), &'static str>>,
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
    serving: BTreeSet<&'a SessionName>,
    /// How many more of its tasks may be under way.
    slots: usize,
}

impl<'a> Floor<'a> {
    fn of(tasks: &Tasks<'a>) -> Self {
        let grounds = tasks.grounds;
        let takers = grounds.spec.sessions.values().filter(|session| session.dispatch);
        let known: Vec<(&'a Session, Result<(), &'static str>)> = takers.map(|session| (session, tasks.is_free(session))).collect();
        let place = |project: &'a Project| {
            let under_way = tasks.records.get(&project.name).into_iter().flatten().filter(|(_, record)| record.open().is_some()).count();
            let slots = project.max_in_flight.map_or(usize::MAX, |limit| limit.saturating_sub(under_way));
            let mut place =
                Place { free: BTreeSet::new(), at_home: BTreeSet::new(), others: BTreeMap::new(), serving: BTreeSet::new(), slots };
            for (session, state) in known.iter().filter(|(session, _)| grounds.spec.serves(session, project)) {
                place.serving.insert(&session.name);
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
        let places = grounds.spec.projects.iter().map(place).collect();
        Self { places, states: known.into_iter().map(|(session, state)| (&session.name, state)).collect(), blunders }
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
        self.states.insert(session, Err("given a task"));
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
