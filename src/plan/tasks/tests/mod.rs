//! The decisions about tasks: a project with a few tasks, idle sessions, and one deviation at a time.

mod absorbing;
mod claiming;
mod delivering;
mod gating;
mod linting;
mod past;
mod prompts;
mod properties;
mod recognising;
mod settling;

use super::*;
use crate::{
    model::{Activity, ClaimId, Event, EventReason, ObjectRef, TaskId},
    observed::{FileIdentity, Marker, MarkerView, PromptView, Seen, TaskHeader},
    plan::{
        Absorbed, AttemptVerdict, Effect, Memory, MemoryChange, Plan, Planned, QueueChange, TaskAttempt, filter, lint, plan,
        tests::world::{World, at, session, tell},
    },
    spec::Completion,
};

/// A converged world whose sessions take tasks, with the empty queue of one project.
struct Board {
    world: World,
    gate: Gate,
    truth: GroundTruth,
}

fn project_name() -> ProjectName {
    ProjectName::new("api").expect("a name")
}

fn name(name: &str) -> TaskName {
    TaskName::new(format!("{name}.md")).expect("a name")
}

fn task(text: &str) -> TaskId {
    TaskId { project: project_name(), name: name(text) }
}

/// The prompt of task `a` was never typed, or did not arrive; the agent is idle all the while.
fn untaken(board: &mut Board, typed: u32, seconds: i64) {
    let attempt = board.attempt("a");
    (attempt.typed, attempt.typed_at) = (typed, (typed > 0).then(|| at(-seconds).wall));
    (attempt.delivered_at, attempt.taken_at) = (None, None);
    board.world.agent("s-0").prompts.clear();
    board.rest("s-0", 200);
}

impl Board {
    fn new(sessions: usize) -> Self {
        let mut world = World::converged(sessions);
        world.spec.sessions.values_mut().for_each(|session| session.dispatch = true);
        world.put_project(project_name());
        let truth = GroundTruth::from([(session("s-0"), Truth { text: "the truth".to_owned(), at: world.now.wall })]);
        Self { world, gate: Gate::OPEN, truth }
    }

    fn queue(&mut self) -> &mut QueueView {
        self.world.seen.queues.get_mut(&project_name()).expect("a queue").value_mut().expect("known")
    }

    /// A task that was written so many seconds ago.
    fn put(&mut self, text: &str, age: i64) -> &mut TaskHeader {
        let modified = i64::try_from(at(-age).wall.as_nanosecond()).expect("in range");
        let identity = FileIdentity { device: 1, inode: 7, length: 10, modified };
        self.queue().inbox.insert(name(text), InboxView { identity, header: Ok(TaskHeader::default()) });
        self.queue().inbox.get_mut(&name(text)).expect("just put").header.as_mut().expect("just put")
    }

    /// A task that a session has: claimed 60 s ago, asked for 50 s ago, and taken 49 s ago by an agent that works since then.
    fn put_taken(&mut self, text: &str, by: &str) -> &mut TaskAttempt {
        self.put(text, 300);
        let claim = ClaimId::of(&task(text), &session(by), 1, "");
        let marker = Marker { session: session(by), attempt: 1, claim: claim.clone(), claimed_at: at(-60).wall, lease_until: at(540).wall };
        let attempt = TaskAttempt {
            typed: 1,
            typed_at: Some(at(-50).wall),
            delivered_at: Some(at(-49).wall),
            taken_at: Some(at(-49).wall),
            ..TaskAttempt::begun(&marker, World::conversation(by))
        };
        self.queue().markers.insert(name(text), MarkerView::Marker(marker));
        let agent = self.world.agent(by);
        (agent.activity, agent.activity_since) = (Activity::Working, Some(at(-49).wall));
        agent.prompts.push(PromptView { claim, at: at(-49).wall });
        self.world.memory.tasks.insert(task(text), TaskRecord { attempts: vec![attempt], ..TaskRecord::default() });
        self.attempt(text)
    }

    fn attempt(&mut self, text: &str) -> &mut TaskAttempt {
        self.record(text).attempts.last_mut().expect("an attempt")
    }

    fn record(&mut self, text: &str) -> &mut TaskRecord {
        self.world.memory.tasks.get_mut(&task(text)).expect("a record")
    }

    /// The agent of a session is idle since so many seconds ago, by the end of its turn.
    fn rest(&mut self, by: &str, since: i64) {
        let agent = self.world.agent(by);
        (agent.activity, agent.activity_since, agent.turn_ended_at) = (Activity::Idle, Some(at(-since).wall), Some(at(-since).wall));
    }

    fn plan(&self) -> Planned {
        let World { spec, seen, memory, now } = &self.world;
        let mut planned = plan(spec, seen, memory, *now);
        let grounds = TaskGrounds { spec, seen, memory, now: *now };
        plan_tasks(&grounds, &self.gate, &self.truth, &mut planned);
        filter(planned, memory, *now)
    }

    /// What keeps us from typing into `s-0`, so often until now.
    fn refuse_typing(&mut self, times: u32) {
        let agent = self.world.agent("s-0");
        let (process, idle_since) = (agent.process.expect("it lives"), agent.activity_since);
        let untyped = Untyped { message: "a draft stands in its box".to_owned(), times, until: at(20).wall, process, idle_since };
        self.world.memory.untyped.insert(session("s-0"), untyped);
    }

    /// The plan in short, checked by the lint.
    fn told(&self) -> Vec<String> {
        let planned = self.plan();
        assert_eq!(self.lint(&planned.plan), [""; 0]);
        tell(&planned)
    }

    fn lint(&self, plan: &Plan) -> Vec<&'static str> {
        self.world.lint(plan)
    }

    fn absorb(&self) -> Absorbed {
        let World { spec, seen, memory, now } = &self.world;
        let mut absorbed = Absorbed::default();
        absorb_tasks(&TaskGrounds { spec, seen, memory, now: *now }, &mut absorbed);
        absorbed
    }

    /// Takes over what the facts teach; the reasons of what is told.
    fn learn(&mut self) -> Vec<EventReason> {
        let absorbed = self.absorb();
        for change in &absorbed.changes {
            self.world.memory.apply(change);
        }
        absorbed.events.into_iter().map(|event: Event| event.reason).collect()
    }

    /// How the last attempt at a task ended.
    fn verdict(&self, text: &str) -> Option<AttemptVerdict> {
        let memory: &Memory = &self.world.memory;
        memory.tasks.get(&task(text))?.attempts.last()?.end.as_ref().map(|end| end.how)
    }

    fn deadline(&self) -> Option<Timestamp> {
        let World { spec, seen, memory, now } = &self.world;
        next_task_deadline(&TaskGrounds { spec, seen, memory, now: *now }, &self.gate)
    }
}
