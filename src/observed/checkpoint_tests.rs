use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn pool() -> PoolName {
    PoolName::new("p").expect("a name")
}

fn session() -> SessionName {
    SessionName::new("s-0").expect("a name")
}

pub(crate) fn checkpoint() -> Checkpoint {
    Checkpoint {
        pool: pool(),
        pool_id: PoolId(Uuid::from_u128(1)),
        session: session(),
        taken_at: "2026-11-22T10:00:00.1234Z".parse().expect("an instant"),
        why: CheckpointCause::Periodic,
        conversation: ConversationId(Uuid::from_u128(2)),
        transcript: Some(TranscriptMark { path: "/t".into(), device: u64::MAX, inode: 2, length: 3, tail: "00".to_owned() }),
        workdir: "/w".into(),
        directory: "/w/d".into(),
        git: Some(GitState {
            branch: Some("main".to_owned()),
            head: None,
            dirty: vec!["a\n\u{1b}".to_owned()],
            dirty_count: 1,
            more: false,
        }),
        task: None,
        prompt: Some("do it".to_owned()),
        tool: Some(ToolAtHand { name: "Bash".to_owned(), finished: false }),
        answer: None,
        interrupted: false,
        account: AccountName::new("a").expect("a name"),
        context_tokens: Some(7),
        activity: Activity::Working,
    }
}

#[test]
fn what_is_written_reads_back_and_nothing_torn_does() {
    let checkpoint = checkpoint();
    let bytes = checkpoint.encode();
    assert_eq!(Checkpoint::decode(&bytes, &pool(), &session()), Ok(checkpoint));
    // The last byte is the line feed behind the JSON: without it all is there.
    for length in 0..bytes.len() - 1 {
        let torn = Checkpoint::decode(&bytes[..length], &pool(), &session());
        assert!(matches!(torn, Err(BadCheckpoint::Torn(_))), "{length} bytes of {}: {torn:?}", bytes.len());
    }
}

#[test]
fn a_changed_a_foreign_and_a_newer_one_are_refused() {
    let bytes = checkpoint().encode();
    let text = String::from_utf8(bytes.clone()).expect("JSON");
    let changed = text.replace("do it", "do IT").into_bytes();
    assert_eq!(Checkpoint::decode(&changed, &pool(), &session()), Err(BadCheckpoint::Changed));
    let other = PoolName::new("q").expect("a name");
    assert_eq!(Checkpoint::decode(&bytes, &other, &session()), Err(BadCheckpoint::OtherPool(pool())));
    let other = SessionName::new("s-1").expect("a name");
    assert_eq!(Checkpoint::decode(&bytes, &pool(), &other), Err(BadCheckpoint::OtherSession(session())));
    let newer = text.replacen("\"version\": 1", "\"version\": 2", 1).into_bytes();
    assert_eq!(Checkpoint::decode(&newer, &pool(), &session()), Err(BadCheckpoint::Newer(2)));
}

#[test]
fn the_time_and_the_cause_do_not_make_another_checkpoint() {
    let one = checkpoint();
    let later = Checkpoint { taken_at: Timestamp::UNIX_EPOCH, why: CheckpointCause::ByHand, ..one.clone() };
    assert_eq!(one.digest(), later.digest());
    assert_ne!(one.digest(), Checkpoint { activity: Activity::Idle, ..one.clone() }.digest());
    assert_ne!(one.digest(), Checkpoint { context_tokens: Some(8), ..one }.digest());
}

#[test]
fn a_name_reads_back_and_sorts_by_time() {
    let one = checkpoint();
    let id = CheckpointId::new(one.taken_at, &one.digest());
    assert!(id.as_str().starts_with("20261122T100000.123Z-"), "{id}");
    assert_eq!(CheckpointId::parse(id.as_str()), Ok(id.clone()));
    assert_eq!(id.taken_at(), "2026-11-22T10:00:00.123Z".parse().expect("an instant"));
    let later = CheckpointId::new(one.taken_at + std::time::Duration::from_millis(900), "000000000000");
    assert!(later > id && later.taken_at() > id.taken_at());
    for bad in ["", "x", "20261122T100000.123Z-", "20261322T100000.123Z-0123456789ab", "20261122T100000.123Z-0123456789aB", "../a"] {
        assert!(CheckpointId::parse(bad).is_err(), "{bad:?} was accepted");
    }
}

proptest! {
    #[test]
    fn no_bytes_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Checkpoint::decode(&bytes, &pool(), &session()).is_err());
    }

    #[test]
    fn a_flipped_byte_changes_nothing_unseen(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let good = checkpoint();
        let mut bytes = good.encode();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(read) = Checkpoint::decode(&bytes, &pool(), &session()) {
            prop_assert_eq!(read, good);
        }
    }

    #[test]
    fn no_name_harms(text in "\\PC{0,40}") {
        let _ = CheckpointId::parse(&text);
    }
}
