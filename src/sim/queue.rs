//! The queues of the projects, and what agents do with the tasks in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use super::{Violation, World, act::refused, files::DEVICE, process::Phase};
use crate::{
    host::Wake,
    model::{ClaimId, ConversationId, Pid, TaskName},
    observed::{Death, FileIdentity, InboxView, Marker, MarkerView, PromptView, QueueView, TaskHeader},
    plan::{Outcome, QueueChange},
};

/// How long an agent looks at a prompt that asks for nothing.
const GLANCE: Duration = Duration::from_secs(2);
/// Prompts that an agent is seen to remember.
const PROMPTS: usize = 20;
/// How many prompts of one attempt an agent knows; no scenario cuts its turns off more often.
const PROMPTS_OF_A_CLAIM: usize = 64;

type Tried = Result<Outcome, Outcome>;

/// All queues, and what is known of their tasks beside us.
#[derive(Debug, Default)]
pub(super) struct Queues {
    places: BTreeMap<PathBuf, Queue>,
    last_inode: u64,
    /// Every task that was ever put into an inbox and not removed by a person: it must be somewhere.
    given: BTreeSet<(PathBuf, TaskName)>,
    /// The tasks that an agent has done.
    worked: BTreeSet<(PathBuf, TaskName)>,
    work: BTreeMap<TaskName, Work>,
    /// Every claim that ever stood in a marker of ours.
    claims: BTreeSet<ClaimId>,
    /// Turns at tasks end at multiples of this, if it is set.
    grain: Option<Duration>,
    /// Prompts that are lost on their way, by session.
    swallows: BTreeMap<String, u32>,
    /// The sessions in whose box a person has begun to type something.
    drafts: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Queue {
    view: QueueView,
    /// The files in `done/` and `failed/`.
    kept: BTreeMap<TaskName, InboxView>,
}

/// What doing a task is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// How long a turn at it takes.
    pub length: Duration,
    /// What comes of it.
    pub result: WorkResult,
}

impl Default for Work {
    fn default() -> Self {
        Self { length: Duration::from_secs(30), result: WorkResult::Done }
    }
}

/// What comes of a turn at a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkResult {
    /// It is done, and the agent moves its file as it was told.
    Done,
    /// The turn ends with the task undone so often; then it is done.
    Forgotten(u32),
    /// The agent puts it into `failed/`.
    GivenUp,
    /// An error of the API cuts the turn off so often; then it is done.
    CutOff(u32),
    /// The agent ends in the middle of the turn so often; then it is done.
    Fatal(u32),
}

/// What an agent is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    project: PathBuf,
    task: TaskName,
    claim: ClaimId,
    /// Whether it was told to move the file.
    moves: bool,
}

impl World {
    /// The queue of a project, as it is.
    pub fn queue(&self, project: &Path) -> Option<&QueueView> {
        self.queues.places.get(project).map(|queue| &queue.view)
    }

    /// Every claim that ever stood in a marker of ours.
    pub const fn claims(&self) -> &BTreeSet<ClaimId> {
        &self.queues.claims
    }

    /// What doing a task of that name is like from now on.
    pub fn set_work(&mut self, task: &TaskName, work: Work) {
        self.queues.work.insert(task.clone(), work);
    }

    /// Lets turns at tasks end at whole multiples of a time from now on, so that many of them end at once.
    pub const fn set_work_grain(&mut self, grain: Duration) {
        self.queues.grain = Some(grain);
    }

    /// The next prompts that are typed into a session are lost on their way.
    pub fn swallow_prompts(&mut self, session: &str, prompts: u32) {
        self.queues.swallows.insert(session.to_owned(), prompts);
    }

    /// A person begins to type something into a session's box and leaves it there, or clears the box.
    pub(super) fn set_draft(&mut self, session: &str, stands: bool) {
        if stands {
            self.queues.drafts.insert(session.to_owned());
        } else {
            self.queues.drafts.remove(session);
        }
    }

    pub(super) fn has_draft(&self, session: &str) -> bool {
        self.queues.drafts.contains(session)
    }

    /// A queue as a look shows it.
    pub(super) fn queue_view(&self, project: &Path) -> QueueView {
        let project_exists = matches!(self.files.target(project), Some(super::Node::Directory));
        match self.queues.places.get(project) {
            Some(queue) => QueueView { project_exists, ..queue.view.clone() },
            None => QueueView { project_exists, ..QueueView::default() },
        }
    }

    pub(super) fn change_queue(&mut self, project: &Path, change: &QueueChange) -> Tried {
        match change {
            QueueChange::Create => self.create_queue(project),
            QueueChange::Claim { task, expect, marker } => self.claim_task(project, task, *expect, marker),
            QueueChange::Renew { task, marker } => self.renew_claim(project, task, marker),
            QueueChange::Release { task, claim } => self.release_task(project, task, claim.as_ref()),
            QueueChange::Finish { task, claim } => self.finish_task(project, task, claim),
            QueueChange::Fail { task, claim, reason: _ } => self.fail_task(project, task, claim.as_ref()),
            QueueChange::Retry { task } => self.retry_task(project, task),
            QueueChange::Move { task, to } => self.move_task(project, to, task),
            QueueChange::Archive { month: _, tasks } => self.archive_done(project, tasks),
        }
    }

    fn archive_done(&mut self, project: &Path, tasks: &[TaskName]) -> Tried {
        let queue = self.known_queue(project)?;
        let archived: Vec<&TaskName> = tasks.iter().filter(|task| queue.view.done.remove(*task).is_some()).collect();
        for task in &archived {
            // It is kept, where nobody looks for it any more.
            self.queues.given.remove(&(project.to_owned(), (*task).clone()));
        }
        Ok(if archived.is_empty() { Outcome::Unchanged } else { Outcome::Changed })
    }

    fn known_queue(&mut self, project: &Path) -> Result<&mut Queue, Outcome> {
        self.queues.places.get_mut(project).filter(|queue| queue.view.exists).ok_or_else(|| refused("the queue is not there"))
    }

    fn create_queue(&mut self, project: &Path) -> Tried {
        if !matches!(self.files.target(project), Some(super::Node::Directory)) {
            return Err(refused("the project's directory is not there"));
        }
        let queue = self.queues.places.entry(project.to_owned()).or_default();
        if queue.view.exists {
            return Ok(Outcome::Unchanged);
        }
        queue.view.exists = true;
        self.wakes.insert(Wake::Queues);
        Ok(Outcome::Changed)
    }

    fn claim_task(&mut self, project: &Path, task: &TaskName, expect: FileIdentity, marker: &Marker) -> Tried {
        let queue = self.known_queue(project)?;
        match queue.view.markers.get(task) {
            Some(MarkerView::Marker(found)) if found.claim == marker.claim => return Ok(Outcome::Unchanged),
            Some(_) => return Err(refused("a marker stands beside the task")),
            None => {}
        }
        if queue.view.inbox.get(task).is_none_or(|file| file.identity != expect) {
            return Err(refused("the task is not the one that was read"));
        }
        queue.step_aside(task);
        queue.view.markers.insert(task.clone(), MarkerView::Marker(marker.clone()));
        self.queues.claims.insert(marker.claim.clone());
        self.wakes.insert(Wake::Queues);
        Ok(Outcome::Changed)
    }

    fn renew_claim(&mut self, project: &Path, task: &TaskName, marker: &Marker) -> Tried {
        let queue = self.known_queue(project)?;
        match queue.view.markers.get_mut(task) {
            Some(MarkerView::Marker(found)) if found == marker => Ok(Outcome::Unchanged),
            Some(MarkerView::Marker(found)) if found.claim == marker.claim => {
                *found = marker.clone();
                self.wakes.insert(Wake::Queues);
                Ok(Outcome::Changed)
            }
            _ => Err(refused("the marker is not ours")),
        }
    }

    fn release_task(&mut self, project: &Path, task: &TaskName, claim: Option<&ClaimId>) -> Tried {
        let queue = self.known_queue(project)?;
        match (queue.view.markers.get(task), claim) {
            (None, _) => return Ok(Outcome::Unchanged),
            (Some(MarkerView::Marker(found)), Some(claim)) if found.claim == *claim => {}
            (Some(MarkerView::Unreadable { .. }), None) => {}
            _ => return Err(refused("the marker is not the one that was expected")),
        }
        queue.view.markers.remove(task);
        self.wakes.insert(Wake::Queues);
        Ok(Outcome::Changed)
    }

    /// The marker must carry the claim; with none, there must be no marker.
    fn check_claim(queue: &Queue, task: &TaskName, claim: Option<&ClaimId>) -> Result<(), Outcome> {
        match (queue.view.markers.get(task), claim) {
            (None, _) => Ok(()),
            (Some(MarkerView::Marker(found)), Some(claim)) if found.claim == *claim => Ok(()),
            _ => Err(refused("the marker is not the one that was expected")),
        }
    }

    fn finish_task(&mut self, project: &Path, task: &TaskName, claim: &ClaimId) -> Tried {
        let key = (project.to_owned(), task.clone());
        let (worked, at) = (self.queues.worked.contains(&key), self.now);
        let queue = self.known_queue(project)?;
        Self::check_claim(queue, task, Some(claim))?;
        if !queue.view.inbox.contains_key(task) {
            let marker = queue.view.markers.remove(task);
            return match (queue.view.done.contains_key(task), marker) {
                (true, None) => Ok(Outcome::Unchanged),
                (true, Some(_)) => Ok(Outcome::Changed),
                (false, _) => Err(refused("the task is not in the inbox")),
            };
        }
        queue.put_away(task, true);
        queue.view.markers.remove(task);
        if !worked {
            self.noticed.push(Violation::FalselyDone { at, task: task.clone() });
        }
        self.wakes.insert(Wake::Queues);
        Ok(Outcome::Changed)
    }

    fn fail_task(&mut self, project: &Path, task: &TaskName, claim: Option<&ClaimId>) -> Tried {
        let queue = self.known_queue(project)?;
        Self::check_claim(queue, task, claim)?;
        if !queue.view.inbox.contains_key(task) {
            queue.view.markers.remove(task);
            return if queue.view.failed.contains_key(task) {
                Ok(Outcome::Unchanged)
            } else {
                Err(refused("the task is not in the inbox"))
            };
        }
        queue.put_away(task, false);
        queue.view.markers.remove(task);
        self.wakes.insert(Wake::Queues);
        Ok(Outcome::Changed)
    }

    fn retry_task(&mut self, project: &Path, task: &TaskName) -> Tried {
        let queue = self.known_queue(project)?;
        if queue.view.inbox.contains_key(task) {
            return Err(refused("a task of that name is in the inbox"));
        }
        let file = queue.view.failed.remove(task).and_then(|_| queue.kept.remove(task)).ok_or_else(|| refused("it is not in failed/"))?;
        queue.view.inbox.insert(task.clone(), file);
        self.wakes.insert(Wake::Queues);
        Ok(Outcome::Changed)
    }

    fn move_task(&mut self, project: &Path, to: &Path, task: &TaskName) -> Tried {
        let taken = self.known_queue(to)?.view.inbox.contains_key(task);
        let queue = self.known_queue(project)?;
        if taken || queue.view.markers.contains_key(task) {
            return Err(refused("the task has a marker, or a task of that name is there"));
        }
        let file = queue.view.inbox.remove(task).ok_or_else(|| refused("the task is not in the inbox"))?;
        self.known_queue(to)?.view.inbox.insert(task.clone(), file);
        self.queues.given.remove(&(project.to_owned(), task.clone()));
        self.queues.given.insert((to.to_owned(), task.clone()));
        self.wakes.insert(Wake::Queues);
        Ok(Outcome::Changed)
    }

    /// A person puts a task into an inbox, or another text into one that is there.
    pub(super) fn put_task(&mut self, project: &Path, task: &TaskName, header: Result<TaskHeader, String>) {
        self.queues.last_inode += 1;
        let modified = i64::try_from(self.host_wall_at(self.now).as_nanosecond()).unwrap_or(i64::MAX);
        let identity = FileIdentity { device: DEVICE, inode: self.queues.last_inode, length: 100, modified };
        let queue = self.queues.places.entry(project.to_owned()).or_default();
        queue.view.inbox.insert(task.clone(), InboxView { identity, header });
        self.queues.given.insert((project.to_owned(), task.clone()));
        self.queues.worked.remove(&(project.to_owned(), task.clone()));
        self.wakes.insert(Wake::Queues);
    }

    /// A person takes a task away.
    pub(super) fn remove_task(&mut self, project: &Path, task: &TaskName) {
        if let Some(queue) = self.queues.places.get_mut(project)
            && queue.view.inbox.remove(task).is_some()
        {
            self.queues.given.remove(&(project.to_owned(), task.clone()));
            self.wakes.insert(Wake::Queues);
        }
    }

    /// A faulty effect of ours loses a task.
    #[cfg(test)]
    pub(super) fn mislay_task(&mut self, project: &Path, task: &TaskName) {
        if let Some(queue) = self.queues.places.get_mut(project) {
            queue.view.inbox.remove(task);
        }
    }

    /// A person puts a marker beside a task, or takes one away.
    pub(super) fn put_marker(&mut self, project: &Path, task: &TaskName, marker: Option<MarkerView>) {
        let queue = self.queues.places.entry(project.to_owned()).or_default();
        match marker {
            Some(marker) => drop(queue.view.markers.insert(task.clone(), marker)),
            None => drop(queue.view.markers.remove(task)),
        }
        self.wakes.insert(Wake::Queues);
    }

    /// A prompt reaches an idle agent: it remembers it, and a turn begins.
    pub(super) fn take_prompt(&mut self, pid: Pid, session: &str, text: &str) {
        if let Some(left) = self.queues.swallows.get_mut(session).filter(|left| **left > 0) {
            *left -= 1;
            return;
        }
        let Some(conversation) = self.alive(pid).and_then(|process| process.agent.as_ref()).map(|agent| agent.conversation) else { return };
        let at = self.host_wall_at(self.now);
        let claims = ClaimId::all_in(text);
        let job = claims.first().and_then(|claim| self.job(claim, text));
        if let Some(job) = &job {
            self.judge_job(job, conversation);
        }
        let length = job.as_ref().map_or(GLANCE, |job| self.queues.work.get(&job.task).copied().unwrap_or_default().length);
        let length = self.queues.grain.map_or(length, |grain| {
            let over = self.now.plus(length).0.as_nanos() % grain.as_nanos().max(1);
            length + grain.saturating_sub(Duration::from_nanos(u64::try_from(over).unwrap_or_default()))
        });
        let talk = self.talks.entry(conversation).or_default();
        talk.prompts.extend(claims.into_iter().map(|claim| PromptView { claim, at }));
        let surplus = talk.prompts.len().saturating_sub(PROMPTS);
        talk.prompts.drain(..surplus);
        talk.job = job;
        self.begin_turn(pid, length);
    }

    /// What a prompt asks for, if the marker beside the task names its claim.
    fn job(&self, tag: &ClaimId, text: &str) -> Option<Job> {
        let job = |project: &PathBuf, task: &TaskName, marker: &MarkerView| match marker {
            MarkerView::Marker(marker) => {
                let claim = marker.claim.clone();
                Some((claim.clone(), Job { project: project.clone(), task: task.clone(), claim, moves: text.contains("/done/") }))
            }
            MarkerView::Unreadable { .. } => None,
        };
        let places = self.queues.places.iter();
        let mut jobs: Vec<(ClaimId, Job)> = places
            .flat_map(|(project, queue)| queue.view.markers.iter().filter_map(move |(task, marker)| job(project, task, marker)))
            .collect();
        // The first prompts of all before the second ones: nearly every tag is one of them, and the next one has to be reckoned.
        for _ in 0..PROMPTS_OF_A_CLAIM {
            if let Some(at) = jobs.iter().position(|(prompt, _)| prompt == tag) {
                return Some(jobs.swap_remove(at).1);
            }
            for (prompt, _) in &mut jobs {
                *prompt = prompt.again();
            }
        }
        None
    }

    /// Nobody else may be at the task: neither a living agent, nor a conversation that goes on with it once its agent is back.
    fn judge_job(&mut self, job: &Job, conversation: ConversationId) {
        let at_it = |other: &ConversationId| {
            let living = self.processes.values().filter(|process| process.is_alive()).filter_map(|process| process.agent.as_ref());
            let works = |phase: &Phase| matches!(phase, Phase::Busy(_) | Phase::Asking(_) | Phase::Limited(_));
            living.clone().any(|agent| agent.conversation == *other && works(&agent.phase))
                || self.talks.get(other).is_some_and(|talk| talk.left.is_some())
        };
        let same =
            |talk: &super::process::Talk| talk.job.as_ref().is_some_and(|other| other.project == job.project && other.task == job.task);
        let others: Vec<_> = self
            .talks
            .iter()
            .filter(|(other, talk)| **other != conversation && same(talk) && at_it(other))
            .map(|(other, _)| *other)
            .collect();
        if !others.is_empty() {
            self.noticed.push(Violation::TaskTwice { at: self.now, task: job.task.clone(), conversation, others });
        }
    }

    /// Whether an error of the API cuts off the turn that an agent is in, and not its end.
    pub(super) fn is_cut_off(&mut self, pid: Pid) -> bool {
        let conversation = self.alive(pid).and_then(|process| process.agent.as_ref()).map(|agent| agent.conversation);
        let job = conversation.and_then(|conversation| self.talks.get(&conversation)).and_then(|talk| talk.job.as_ref());
        let Some(work) = job.and_then(|job| self.queues.work.get_mut(&job.task)) else { return false };
        let WorkResult::CutOff(times) = &mut work.result else { return false };
        let is_cut_off = *times > 0;
        *times = times.saturating_sub(1);
        is_cut_off
    }

    /// The end of a turn: what came of its task.
    pub(super) fn end_job(&mut self, pid: Pid, conversation: ConversationId) {
        let Some(job) = self.talks.get_mut(&conversation).and_then(|talk| talk.job.take()) else { return };
        let key = (job.project.clone(), job.task.clone());
        let work = self.queues.work.entry(job.task.clone()).or_default();
        let result = work.result;
        match result {
            WorkResult::Forgotten(times) if times > 0 => work.result = WorkResult::Forgotten(times - 1),
            WorkResult::Fatal(times) if times > 0 => {
                work.result = WorkResult::Fatal(times - 1);
                let left = work.length;
                let talk = self.talks.entry(conversation).or_default();
                (talk.left, talk.job) = (Some(left), Some(job));
                self.end(pid, Death { code: Some(1), signal: None });
            }
            WorkResult::GivenUp => self.put_task_away(&job, false),
            WorkResult::Done | WorkResult::Forgotten(_) | WorkResult::CutOff(_) | WorkResult::Fatal(_) => {
                self.queues.worked.insert(key);
                if job.moves {
                    self.put_task_away(&job, true);
                }
            }
        }
    }

    fn put_task_away(&mut self, job: &Job, done: bool) {
        if let Some(queue) = self.queues.places.get_mut(&job.project) {
            queue.put_away(&job.task, done);
            self.wakes.insert(Wake::Queues);
        }
    }

    /// Tasks that are in no place any more.
    pub(super) fn lost_tasks(&self) -> impl Iterator<Item = Violation> {
        let lost = self.queues.given.iter().filter(|(project, task)| {
            self.queues.places.get(project).is_none_or(|queue| {
                let QueueView { inbox, done, failed, .. } = &queue.view;
                !inbox.contains_key(task) && !done.contains_key(task) && !failed.contains_key(task)
            })
        });
        lost.map(|(_, task)| Violation::TaskLost { task: task.clone() })
    }
}

impl Queue {
    /// What has the task's name in `done/` and `failed/` gets a numbered one.
    fn step_aside(&mut self, task: &TaskName) {
        let stem = task.as_str().strip_suffix(TaskName::ENDING).unwrap_or_default();
        for place in [&mut self.view.done, &mut self.view.failed] {
            let free = (2..).find_map(|number| {
                let name = TaskName::new(format!("{stem}~{number}{}", TaskName::ENDING)).ok()?;
                (!place.contains_key(&name)).then_some(name)
            });
            if let (Some(at), Some(free)) = (place.remove(task), free) {
                place.insert(free.clone(), at);
                if let Some(file) = self.kept.remove(task) {
                    self.kept.insert(free, file);
                }
            }
        }
    }

    /// Moves a task out of the inbox, over what stands there: as `mv` does.
    fn put_away(&mut self, task: &TaskName, done: bool) {
        let Some(file) = self.view.inbox.remove(task) else { return };
        let modified: Timestamp = file.identity.modified_at();
        let place = if done { &mut self.view.done } else { &mut self.view.failed };
        place.insert(task.clone(), modified);
        self.kept.insert(task.clone(), file);
    }
}
