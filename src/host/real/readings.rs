//! Readings on their way: from reports of agents and from the sources that are polled.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use super::ground::Ground;
use crate::{
    host::usage::{UsageError, api, cli, command, file},
    model::{AccountName, AccountUsage, PollOutcome, WindowReading},
    spec::QuotaSource,
};

/// What a reading came to.
type Ended = (AccountName, QuotaSource, Result<AccountUsage, UsageError>);

/// The same figure, measured this much later, is news again: readings grow stale.
const RENEWED: SignedDuration = SignedDuration::from_secs(10);

/// Readings that no look has taken yet.
#[derive(Debug)]
pub(super) struct Readings {
    waiting: BTreeMap<AccountName, AccountUsage>,
    /// What was worth a look, to tell what is new.
    told: BTreeMap<AccountName, AccountUsage>,
    /// Whether a poll brought something of the kind.
    news: bool,
    ended: Vec<(AccountName, QuotaSource, PollOutcome)>,
    sender: mpsc::UnboundedSender<Ended>,
    receiver: mpsc::UnboundedReceiver<Ended>,
    api: Option<Arc<api::ApiClient>>,
    /// The last failure of each source, so that one that lasts is logged once.
    failing: BTreeMap<(AccountName, QuotaSource), String>,
}

impl Default for Readings {
    fn default() -> Self {
        // Unbounded, and bounded all the same: one reading for each account and source is under way at a time.
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            waiting: BTreeMap::new(),
            told: BTreeMap::new(),
            news: false,
            ended: Vec::new(),
            sender,
            receiver,
            api: None,
            failing: BTreeMap::new(),
        }
    }
}

impl Readings {
    /// Keeps a reading for the next look. Answers whether it is worth one now: whether any figure is another than when that was last so, or is
    /// known to be true for a good while longer.
    pub fn put(&mut self, account: &AccountName, usage: &AccountUsage) -> bool {
        self.waiting.entry(account.clone()).or_default().merge(usage);
        let told = self.told.entry(account.clone()).or_default();
        let mut now = told.clone();
        now.merge(usage);
        let is_news = |(window, reading): (_, &WindowReading)| {
            told.windows
                .get(window)
                .is_none_or(|held| !reading.has_figures_of(held) || reading.measured_at.duration_since(held.measured_at) >= RENEWED)
        };
        let news = now.windows.iter().any(is_news);
        if news {
            *told = now;
        }
        news
    }

    /// Whether any reading since the last call was worth a look.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Hands out what came in.
    pub fn take(&mut self) -> BTreeMap<AccountName, AccountUsage> {
        self.receive();
        std::mem::take(&mut self.waiting)
    }

    /// Hands out what came of the polls that ended.
    pub fn take_ended(&mut self) -> Vec<(AccountName, QuotaSource, PollOutcome)> {
        self.receive();
        std::mem::take(&mut self.ended)
    }

    /// Waits until a poll has ended. Cancel-safe: its result is kept before this returns, with nothing to wait for in between.
    pub async fn arrived(&mut self) {
        match self.receiver.recv().await {
            Some(ended) => self.keep(ended),
            // We hold a sender ourselves, so the channel never closes.
            None => std::future::pending().await,
        }
    }

    fn receive(&mut self) {
        while let Ok(ended) = self.receiver.try_recv() {
            self.keep(ended);
        }
    }

    fn keep(&mut self, (account, source, result): Ended) {
        let outcome = match result {
            Ok(usage) => {
                self.news |= self.put(&account, &usage);
                self.failing.remove(&(account.clone(), source));
                PollOutcome::Read
            }
            Err(error) => {
                let line = crate::model::error_line(&error);
                if self.failing.insert((account.clone(), source), line.clone()).as_ref() != Some(&line) {
                    tracing::warn!(%account, ?source, "cannot read usage: {line}");
                }
                error.outcome()
            }
        };
        self.ended.push((account, source, outcome));
    }

    /// Starts one reading.
    pub fn start(&mut self, ground: &Arc<Ground>, account: &AccountName, source: QuotaSource) {
        let api = if source == QuotaSource::Api { self.client() } else { None };
        let (ground, account, sender) = (Arc::clone(ground), account.clone(), self.sender.clone());
        tokio::spawn(async move {
            let result = read(&ground, &account, source, api).await;
            // Nobody is left to tell when the host is gone.
            let _ = sender.send((account, source, result));
        });
    }

    /// Reads the readings file for every account.
    pub fn start_file(&mut self, ground: &Arc<Ground>) {
        for (account, _) in &ground.homes {
            self.start(ground, account, QuotaSource::File);
        }
    }

    fn client(&mut self) -> Option<Arc<api::ApiClient>> {
        if self.api.is_none() {
            match api::ApiClient::new() {
                Ok(client) => self.api = Some(Arc::new(client)),
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "cannot ask the usage endpoint"),
            }
        }
        self.api.clone()
    }
}

async fn read(
    ground: &Ground,
    account: &AccountName,
    source: QuotaSource,
    client: Option<Arc<api::ApiClient>>,
) -> Result<AccountUsage, UsageError> {
    let at = Timestamp::now();
    let home = ground.homes.iter().find(|(name, _)| name == account).map(|(_, home)| home.as_path());
    match (source, home, client) {
        (QuotaSource::Cli, Some(home), _) => {
            let poll = cli::CliPoll {
                command: &ground.command,
                environment: &ground.operator,
                home,
                workdir: &ground.scratch,
                at,
                deadline: cli::DEADLINE,
            };
            cli::read(&poll).await
        }
        (QuotaSource::Api, Some(home), Some(client)) => api::read(&client, home, at).await,
        (QuotaSource::File, _, _) => match &ground.file {
            Some(path) => tokio::time::timeout(FILE_WITHIN, file::read(path, account, at)).await.unwrap_or(Ok(AccountUsage::default())),
            None => Ok(AccountUsage::default()),
        },
        (QuotaSource::Command, _, _) => {
            let poll =
                command::CommandPoll { command: &ground.usage_command, account, workdir: &ground.scratch, at, deadline: command::DEADLINE };
            command::read(&poll).await
        }
        // The status line is not polled, and an account without a home has nothing to read.
        _ => Ok(AccountUsage::default()),
    }
}

/// How long a readings file may take to be read.
const FILE_WITHIN: Duration = Duration::from_secs(5);
