//! The published status: what `status` prints and what programs read.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Conditions, Inputs, ProjectRow, project_rows};
use crate::{
    model::{
        AccountName, Activity, Condition, ConditionKind, ConversationId, Generation, LinkName, ObjectRef, Percent, Pid, PoolId, PoolName,
        ReadingSource, SessionName, SwapId, TaskId, Truth, WindowKind,
    },
    observed::{LoginView, Seen},
    plan::{Latch, Waiting},
    swap::{Place, Stage},
};

/// The whole pool at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The pool.
    pub pool: PoolName,
    /// Its identity.
    pub pool_id: PoolId,
    /// The generation in force.
    pub generation: Generation,
    /// When the facts were put together. A status that is old is a status of a daemon that is stuck or gone.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// The account that the pool works under.
    pub active: Option<AccountName>,
    /// In order of preference.
    pub accounts: Vec<AccountRow>,
    /// By name.
    pub sessions: Vec<SessionRow>,
    /// Only those that are not as they must be.
    pub links: Vec<LinkRow>,
    /// The registered projects.
    #[serde(default)]
    pub projects: Vec<ProjectRow>,
    /// The swap that is open.
    pub swap: Option<SwapRow>,
    /// Durable degraded conditions, by object.
    pub latches: BTreeMap<ObjectRef, Latch>,
    /// The pool's conditions.
    pub conditions: Vec<Condition>,
    /// What is not done now, and why.
    pub waiting: Vec<Waiting>,
    /// What a person should look at.
    pub warnings: Vec<Waiting>,
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountRow {
    /// Its name.
    pub name: AccountName,
    /// Its home.
    pub home: PathBuf,
    /// Whether the pool works under it.
    pub active: bool,
    /// Whether it is cordoned.
    pub cordoned: bool,
    /// Its windows, as far as they are known.
    pub windows: Vec<WindowRow>,
    /// When its login ends, if the CLI says.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub login_ends_at: Option<Timestamp>,
    /// Whether and why it could or could not be a target, in words.
    pub standing: String,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// One usage window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowRow {
    /// Which.
    pub window: WindowKind,
    /// How much is used.
    pub used: Percent,
    /// Where the pool leaves it.
    pub threshold: Percent,
    /// When it begins anew.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub resets_at: Option<Timestamp>,
    /// When it was measured.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub measured_at: Timestamp,
    /// Where the figure comes from.
    pub source: ReadingSource,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRow {
    /// Its name.
    pub name: SessionName,
    /// The account that its agent runs under, as the process itself says; the recorded one when none runs.
    pub account: Option<AccountName>,
    /// What it does.
    pub activity: Activity,
    /// Since when.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// Tokens in its context.
    pub context_tokens: Option<u64>,
    /// The task that it has.
    #[serde(default)]
    pub task: Option<TaskId>,
    /// The conversation that it is bound to.
    pub conversation: Option<ConversationId>,
    /// Its agent's process.
    pub pid: Option<Pid>,
    /// How many people look at it.
    pub attached: u32,
    /// Whether it is cordoned.
    pub cordoned: bool,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// A link that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkRow {
    /// Whose.
    pub account: AccountName,
    /// Which.
    pub link: LinkName,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// The open swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwapRow {
    /// Which.
    pub id: SwapId,
    /// From where.
    pub from: AccountName,
    /// To where.
    pub to: AccountName,
    /// Since when.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub opened_at: Timestamp,
    /// How far the shared part is.
    pub stage: Stage,
    /// Sessions proven where they are going.
    pub proven: usize,
    /// Sessions given up for this swap.
    pub lost: usize,
    /// All of its sessions.
    pub total: usize,
    /// Why it goes back, once it does.
    pub turned_back: Option<String>,
}

/// Puts the published status together.
pub fn status(inputs: &Inputs<'_>, conditions: &Conditions) -> Status {
    let Inputs { spec, seen, memory, planned, now, .. } = *inputs;
    Status {
        pool: spec.pool.clone(),
        pool_id: memory.pool,
        generation: memory.generation,
        at: now.wall,
        active: memory.active.as_ref().map(|active| active.account.clone()),
        accounts: spec.accounts.iter().map(|account| account_row(inputs, account, conditions)).collect(),
        sessions: spec.sessions.keys().map(|name| session_row(inputs, name, conditions)).collect(),
        links: link_rows(inputs, conditions),
        projects: project_rows(spec, seen, memory, &planned.report),
        swap: memory.swap.as_ref().map(|swap| SwapRow {
            id: swap.plan.id,
            from: swap.plan.from.clone(),
            to: swap.plan.to.clone(),
            opened_at: swap.plan.opened_at,
            stage: swap.stage,
            proven: swap.moves.values().filter(|moved| matches!(moved.place, Place::Proven(_))).count(),
            lost: swap.moves.values().filter(|moved| moved.place == Place::Lost).count(),
            total: swap.moves.len(),
            turned_back: swap.turned_back.clone(),
        }),
        latches: memory.latches.clone(),
        conditions: of(&ObjectRef::Pool, conditions),
        waiting: planned.report.waiting.clone(),
        warnings: planned.report.warnings.clone(),
    }
    .with_active_home(seen)
}

impl Status {
    /// Fills in what only the processes can say: under which account each agent really runs.
    fn with_active_home(mut self, seen: &crate::observed::Snapshot) -> Self {
        for row in &mut self.sessions {
            let home = seen.agents.get(&row.name).and_then(Seen::value).and_then(|agent| agent.home.as_deref());
            if let Some(home) = home {
                row.account = self.accounts.iter().find(|account| account.home == home).map(|account| account.name.clone());
            }
        }
        self
    }
}

fn of(object: &ObjectRef, conditions: &Conditions) -> Vec<Condition> {
    let first = (object.clone(), ConditionKind::SpecAccepted);
    conditions.range(first..).take_while(|((of, _), _)| of == object).map(|(_, condition)| condition.clone()).collect()
}

fn account_row(inputs: &Inputs<'_>, account: &crate::spec::Account, conditions: &Conditions) -> AccountRow {
    let usage = inputs.seen.usage.get(&account.name);
    let object = ObjectRef::Account(account.name.clone());
    AccountRow {
        name: account.name.clone(),
        home: account.home.clone(),
        active: inputs.memory.active.as_ref().is_some_and(|active| active.account == account.name),
        cordoned: inputs.memory.cordoned.contains_key(&object),
        windows: usage.map_or_else(Vec::new, |usage| {
            let row = |(window, reading): (&WindowKind, &crate::model::WindowReading)| WindowRow {
                window: window.clone(),
                used: reading.used,
                threshold: account.thresholds.of(window),
                resets_at: reading.resets_at,
                measured_at: reading.measured_at,
                source: reading.source,
            };
            usage.windows.iter().map(row).collect()
        }),
        login_ends_at: match inputs.seen.homes.get(&account.name).and_then(Seen::value).map(|home| &home.login) {
            Some(LoginView::Valid { expires_at }) => *expires_at,
            _ => None,
        },
        standing: inputs.standing.get(&account.name).map(|(_, words)| words.clone()).unwrap_or_default(),
        conditions: of(&object, conditions),
    }
}

fn session_row(inputs: &Inputs<'_>, name: &SessionName, conditions: &Conditions) -> SessionRow {
    let record = inputs.memory.sessions.get(name);
    let agent = inputs.seen.agents.get(name).and_then(Seen::value);
    let pane = inputs.seen.tmux.value().and_then(|tmux| tmux.panes.get(name.as_str()));
    let object = ObjectRef::Session(name.clone());
    SessionRow {
        name: name.clone(),
        account: record.map(|record| record.account.clone()),
        activity: agent
            .map_or(if pane.is_none() && inputs.seen.tmux.value().is_some() { Activity::Exited } else { Activity::Unknown }, |agent| {
                agent.told_activity()
            }),
        since: agent.and_then(|agent| agent.activity_since),
        context_tokens: agent.and_then(|agent| agent.context_tokens),
        task: inputs.memory.open_attempts().find(|(_, attempt)| attempt.session == *name).map(|(task, _)| task.clone()),
        conversation: record.map(|record| record.conversation),
        pid: agent.and_then(|agent| agent.process).map(|process| process.pid),
        attached: pane.map_or(0, |pane| pane.attached),
        cordoned: inputs.memory.cordoned.contains_key(&object),
        conditions: of(&object, conditions),
    }
}

fn link_rows(inputs: &Inputs<'_>, conditions: &Conditions) -> Vec<LinkRow> {
    let mut rows = Vec::new();
    for account in &inputs.spec.accounts {
        for link in &inputs.spec.shared.links {
            let object = ObjectRef::Link(account.name.clone(), link.clone());
            let conditions = of(&object, conditions);
            let wrong = conditions.iter().any(|condition| condition.kind == ConditionKind::Synced && condition.status != Truth::True);
            if wrong {
                rows.push(LinkRow { account: account.name.clone(), link: link.clone(), conditions });
            }
        }
    }
    rows
}
