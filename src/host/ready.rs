//! What is there already, without waiting for more.

use std::{future::poll_fn, pin::pin, task::Poll};

/// The outcome of a future that needs nothing more to happen; `None` for any other one, which is dropped. The future must be cancel-safe.
///
/// A timeout of no length is no substitute: tokio's timers go off at the next millisecond, and the runtime sleeps until then.
pub(super) async fn now<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_there_is_answered() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        assert_eq!(now(receiver.recv()).await, None);
        sender.send(7).await.expect("open");
        assert_eq!(now(receiver.recv()).await, Some(Some(7)));
        assert_eq!(now(std::future::pending::<()>()).await, None);
    }
}
