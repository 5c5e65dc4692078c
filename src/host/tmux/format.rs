//! The list of panes: what is asked of tmux, and the pure reading of its answer.

use std::collections::BTreeMap;

use super::{
    ANCHOR, mark,
    script::{Line, Reply, Request, Tag},
};
use crate::{
    model::{PaneId, Pid, TmuxSessionId},
    observed::{Death, PaneView},
};

/// Asks for every pane of the server. Each field costs about 1.4 µs for each pane (`facts/tmux.md`, section 2), so there are few.
///
/// The name and the mark may hold any text of others, but not our tag; so it stands between them.
pub(super) fn request(tag: &Tag) -> Request {
    let tag = tag.as_str();
    Request::line(format!(
        "list-panes -a -F '{tag} #{{session_id}}|#{{pane_id}}|#{{pane_pid}}|#{{pane_dead}}|#{{pane_dead_status}}|#{{pane_dead_signal}}|\
         #{{session_attached}}|#{{session_name}}{tag}#{{{}}}'",
        mark::OPTION
    ))
}

/// Reads the answer to [`request`]: the oldest pane of each session, by session name, without our anchor.
///
/// The oldest is the one with the lowest id: it is the one that the session was made with, also after a person split the window in front
/// of it.
///
/// # Errors
/// The row that is not in the form that was asked for.
pub(super) fn panes(reply: &Reply, tag: &Tag) -> Result<BTreeMap<String, PaneView>, String> {
    let mut rows: Vec<Row> = Vec::with_capacity(reply.lines.len());
    for line in &reply.lines {
        match line {
            Line::Ours(text) => rows.push(Row::parse(text, tag).ok_or_else(|| text.clone())?),
            // The mark before it holds a line end, so it is none of ours.
            Line::Raw(_) => {
                if let Some(row) = rows.last_mut() {
                    row.view.mark = None;
                }
            }
        }
    }
    // As tmux lists them: by name.
    rows.sort_by(|one, other| (&one.name, one.age).cmp(&(&other.name, other.age)));
    rows.dedup_by(|later, oldest| later.name == oldest.name);
    Ok(rows.into_iter().filter(|row| row.name != ANCHOR).map(|row| (row.name, row.view)).collect())
}

/// One pane.
struct Row {
    name: String,
    /// The pane's number: they count up.
    age: u64,
    view: PaneView,
}

impl Row {
    fn parse(text: &str, tag: &Tag) -> Option<Self> {
        let mut fields = text.splitn(8, '|');
        let session_id = fields.next().filter(|id| is_id(id, '$'))?;
        let pane = fields.next().filter(|id| is_id(id, '%'))?;
        let pid = fields.next()?;
        let dead = fields.next()?;
        let (status, signal) = (fields.next()?, fields.next()?);
        let attached = fields.next()?.parse().ok()?;
        let (name, value) = fields.next()?.split_once(tag.as_str())?;
        let view = PaneView {
            session_id: TmuxSessionId(session_id.to_owned()),
            pane: PaneId(pane.to_owned()),
            // Empty in a dead pane from tmux 3.8 on, and -1 in one that never had a process.
            pid: pid.parse().ok().filter(|&pid: &i32| pid > 0).map(Pid),
            dead: match dead {
                "0" | "" => None,
                _ => Some(Death { code: status.parse().ok(), signal: signal.parse().ok() }),
            },
            mark: mark::decode(value, name),
            attached,
        };
        Some(Self { name: name.to_owned(), age: pane[1..].parse().ok()?, view })
    }
}

/// Whether a text is an id as tmux gives them, so that it can stand in a command: `$3`, `%5`.
pub(super) fn is_id(text: &str, sign: char) -> bool {
    text.strip_prefix(sign).is_some_and(|number| (1..=19).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::{super::script::Speaker, *};
    use crate::{
        model::{PoolId, SessionName, StartDigest},
        observed::Mark,
    };

    fn reply(lines: Vec<Line>) -> Reply {
        Reply { lines, errors: vec![], speaker: Speaker { pid: Pid(1), version: "3.3a".into() } }
    }

    fn row(tag: &Tag, fixed: &str, name: &str, mark: &str) -> Line {
        Line::Ours(format!("{fixed}|{name}{}{mark}", tag.as_str()))
    }

    fn mark(session: &str) -> Mark {
        Mark {
            pool: PoolId(Uuid::from_u128(9)),
            session: SessionName::new(session).expect("a name"),
            digest: StartDigest("0123456789ab".into()),
        }
    }

    fn encoded(session: &str) -> String {
        mark::encode(&mark(session)).expect("plain")
    }

    #[test]
    fn a_thousand_rows_are_a_thousand_sessions() {
        let tag = Tag::random();
        let rows =
            (0..1000).map(|n| row(&tag, &format!("${n}|%{n}|{}|0|||0", n + 1), &format!("s{n}"), &encoded(&format!("s{n}")))).collect();
        let panes = panes(&reply(rows), &tag).expect("well formed");
        assert_eq!(panes.len(), 1000);
        for n in [0, 1, 10, 999] {
            let name = format!("s{n}");
            let expected = PaneView {
                session_id: TmuxSessionId(format!("${n}")),
                pane: PaneId(format!("%{n}")),
                pid: Some(Pid(n + 1)),
                dead: None,
                mark: Some(mark(&name)),
                attached: 0,
            };
            assert_eq!(panes.get(&name), Some(&expected));
        }
    }

    #[test]
    fn every_kind_of_death_is_told_apart() {
        let tag = Tag::random();
        let death = |fields: &str| {
            let mut panes = panes(&reply(vec![row(&tag, &format!("$1|%1|5|{fields}|0"), "a", "")]), &tag).expect("well formed");
            panes.remove("a").expect("listed").dead
        };
        assert_eq!(death("0||"), None);
        assert_eq!(death("1|3|"), Some(Death { code: Some(3), signal: None }));
        assert_eq!(death("1||9"), Some(Death { code: None, signal: Some(9) }));
        assert_eq!(death("1||"), Some(Death { code: None, signal: None }), "tmux lost the child: legal, and unknown");
    }

    #[test]
    fn the_oldest_pane_is_the_agents() {
        let tag = Tag::random();
        let rows = vec![row(&tag, "$1|%12|7|0|||1", "a", &encoded("a")), row(&tag, "$1|%9|8|0|||1", "a", &encoded("a"))];
        assert_eq!(panes(&reply(rows), &tag).expect("well formed")["a"].pane, PaneId("%9".into()));
    }

    #[test]
    fn our_anchor_is_left_out_and_strangers_are_not() {
        let tag = Tag::random();
        let rows = vec![row(&tag, "$0|%0|5|0|||1", ANCHOR, ""), row(&tag, "$1|%1|6|0|||0", "odd | name $(x)", "")];
        let panes = panes(&reply(rows), &tag).expect("well formed");
        assert_eq!(panes.keys().collect::<Vec<_>>(), ["odd | name $(x)"]);
        assert_eq!(panes.values().next().and_then(|pane| pane.mark.clone()), None);
    }

    #[test]
    fn a_mark_of_another_bearer_or_over_two_lines_is_none() {
        let tag = Tag::random();
        let rows = vec![
            row(&tag, "$1|%1|5|0|||0", "web10", &encoded("web1")),
            row(&tag, "$2|%2|6|0|||0", "b", &encoded("b")),
            Line::Raw("$3|%3|7|0|||0|c".into()),
            row(&tag, "$4|%4|8|0|||0", "d", &encoded("d")),
        ];
        let panes = panes(&reply(rows), &tag).expect("well formed");
        assert_eq!(
            panes.iter().map(|(name, pane)| (name.as_str(), pane.mark.is_some())).collect::<Vec<_>>(),
            [("b", false), ("d", true), ("web10", false)]
        );
    }

    #[test]
    fn a_row_that_is_none_spoils_the_list() {
        let tag = Tag::random();
        for text in ["", "$1", "x|%1|5|0|||0|a", "$1|%1|5|0|||0|a without the tag", "$1|%1|5|0|||many|a", "$|%1|5|0|||0|a"] {
            let line = if text.ends_with("|a") { format!("{text}{}", tag.as_str()) } else { text.to_owned() };
            assert_eq!(panes(&reply(vec![Line::Ours(line.clone())]), &tag), Err(line), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(texts in proptest::collection::vec((any::<bool>(), "[$%0-9|a-z ]{0,40}|.{0,60}"), 0..20)) {
            let tag = Tag::random();
            let lines = texts.into_iter().map(|(ours, text)| if ours { Line::Ours(text) } else { Line::Raw(text) }).collect();
            let _ = panes(&reply(lines), &tag);
        }

        #[test]
        fn what_others_write_never_hides_a_session_of_ours(name in "[^\n]{0,40}", value in "[^\n]{0,80}") {
            let tag = Tag::random();
            prop_assume!(name != "ours");
            let rows = vec![row(&tag, "$1|%1|5|0|||0", &name, &value), row(&tag, "$2|%2|6|0|||0", "ours", &encoded("ours"))];
            let panes = panes(&reply(rows), &tag).expect("well formed");
            prop_assert_eq!(panes.get("ours").and_then(|pane| pane.mark.clone()), Some(mark("ours")));
            prop_assert!(panes.contains_key(&name) || name == ANCHOR);
        }
    }
}
