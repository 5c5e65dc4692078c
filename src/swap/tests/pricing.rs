//! The price of a swap.

use std::collections::BTreeSet;

use super::*;
use crate::{
    model::{Monotonic, Now},
    observed::{AgentView, Seen, Snapshot},
};

#[test]
fn the_price_counts_what_is_known_and_says_what_is_not() {
    let now = Now { wall: at(0), mono: Monotonic::default() };
    let agent = |activity, context_tokens| {
        let (process, death, home, register, started, activity_since) = (None, None, None, None, None, None);
        Seen::known(
            AgentView { process, death, home, register, started, activity, activity_since, context_tokens, ..AgentView::default() },
            now,
        )
    };
    let mut seen = Snapshot::default();
    seen.agents.insert(session("s0"), agent(Activity::Idle, Some(40_000)));
    seen.agents.insert(session("s1"), agent(Activity::LimitHit, Some(2_000)));
    seen.agents.insert(session("s2"), agent(Activity::NeedsInput, None));
    seen.agents.insert(session("other"), agent(Activity::Working, Some(1)));
    let names = ["s0", "s1", "s2", "s3"].map(session);
    let price = price(&names, &seen, &BTreeSet::from([&names[0], &names[2]]));
    assert_eq!(price, Price { quiet: 2, busy: 1, unknown: 1, context_tokens: 42_000, unmeasured: 2, at_tasks: 2 });
    assert_eq!(
        price.to_string(),
        "2 idle, 1 busy, 1 unknown; 42000 context tokens to pay again, and those of 2 not measured; 2 tasks go along with their sessions"
    );
    assert_eq!(Price::default().to_string(), "0 idle, 0 busy; 0 context tokens to pay again");
}
