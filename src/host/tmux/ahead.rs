//! A list that is asked for before anybody waits for it.

use std::time::Duration;

use tokio::{process::Child, time::Instant};

use super::{
    TmuxServer,
    error::TmuxError,
    format,
    script::{Batch, Reply},
    server::Purpose,
};

/// A list that was asked for longer ago is asked for anew.
const LASTS: Duration = Duration::from_secs(1);

/// A client that was asked for a list and has not been heard yet.
#[derive(Debug)]
pub(super) struct Ahead {
    client: Child,
    batch: Batch,
    since: Instant,
}

impl Ahead {
    /// Whether what it answers is still a look of now.
    pub(super) fn is_fresh(&self) -> bool {
        self.since.elapsed() < LASTS
    }
}

impl TmuxServer {
    /// Asks for the list that [`list`](Self::list) answers soon after, and does not wait for it: for a program that looks once and has something
    /// else to read meanwhile.
    pub fn ask_ahead(&mut self) {
        if self.config.socket.check().is_err() || self.client.has_no_socket() {
            return;
        }
        let batch = self.batch(&[format::request(&self.tag)]);
        self.ahead = self.client.begin(&batch).map(|client| Ahead { client, batch, since: Instant::now() });
    }

    /// The answer to it.
    pub(super) async fn hear_ahead(&mut self, ahead: Ahead) -> Result<Reply, TmuxError> {
        let patience = self.config.deadline.saturating_sub(ahead.since.elapsed());
        let exchange = self.client.hear(ahead.client, &self.tag, &ahead.batch, patience).await;
        let exchange = self.judged(exchange).await;
        self.note(&exchange, Purpose::List);
        self.one(exchange)
    }
}
