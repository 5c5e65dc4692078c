use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use jiff::Timestamp;
use uuid::Uuid;

use super::{files, *};
use crate::{
    model::{AccountName, Activity, ConversationId, PoolId, PoolName, SessionName},
    observed::{CheckpointCause, CheckpointId},
};

fn pool() -> PoolName {
    PoolName::new("p").expect("a name")
}

fn session() -> SessionName {
    SessionName::new("s-0").expect("a name")
}

fn draft(directory: &Path) -> Checkpoint {
    Checkpoint {
        pool: pool(),
        pool_id: PoolId(Uuid::from_u128(1)),
        session: session(),
        taken_at: "2026-11-22T10:00:00Z".parse().expect("an instant"),
        why: CheckpointCause::ByHand,
        conversation: ConversationId(Uuid::from_u128(2)),
        transcript: None,
        workdir: directory.to_owned(),
        directory: directory.to_owned(),
        git: None,
        task: None,
        prompt: None,
        tool: None,
        answer: None,
        interrupted: false,
        account: AccountName::new("a").expect("a name"),
        context_tokens: Some(1),
        activity: Activity::Idle,
    }
}

fn at(draft: Checkpoint, minute: u64, context: u64) -> Checkpoint {
    let taken_at = draft.taken_at + Duration::from_mins(minute);
    Checkpoint { taken_at, context_tokens: Some(context), ..draft }
}

#[test]
fn the_same_is_not_written_again_and_what_is_newer_sorts_last() {
    let directory = tempfile::tempdir().expect("a directory");
    let (state, first) = (directory.path(), draft(directory.path()));
    let one = files::keep(state, &first).expect("kept");
    assert!(one.written);
    let same = files::keep(state, &at(first.clone(), 5, 1)).expect("kept");
    assert_eq!((same.id.clone(), same.written), (one.id.clone(), false));
    let two = files::keep(state, &at(first.clone(), 6, 2)).expect("kept");
    // A clock that was set back.
    let past = Checkpoint { taken_at: Timestamp::UNIX_EPOCH, context_tokens: Some(3), ..first };
    let three = files::keep(state, &past).expect("kept");
    assert_eq!(files::list(state, &session()).expect("listed"), [one.id, two.id, three.id.clone()]);
    let found = files::newest(state, &pool(), &session()).expect("looked");
    assert_eq!(found.newest.map(|(id, found)| (id, found.context_tokens)), Some((three.id.clone(), Some(3))));
    let path = files::directory(state, &session());
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join(format!("{}.json", three.id)))), (0o700, 0o600));
    assert_eq!(fs::read_dir(&path).expect("listed").count(), 3, "nothing is left beside them");
}

#[test]
fn a_name_at_the_end_of_time_harms_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (state, first) = (directory.path(), draft(directory.path()));
    files::keep(state, &first).expect("kept");
    let last = files::directory(state, &session()).join("99991230T220000.999Z-0123456789ab.json");
    fs::write(&last, "somebody's").expect("written");
    assert!(files::keep(state, &at(first.clone(), 1, 2)).expect("kept").written);
    assert!(files::keep(state, &at(first, 2, 3)).expect("kept").written);
    assert_eq!(fs::read(&last).expect("there"), b"somebody's");
}

#[test]
fn a_torn_one_is_refused_with_a_reason_and_the_one_before_it_is_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let (state, first) = (directory.path(), draft(directory.path()));
    let one = files::keep(state, &first).expect("kept").id;
    let two = files::keep(state, &at(first.clone(), 1, 2)).expect("kept").id;
    let path = files::directory(state, &session()).join(format!("{two}.json"));
    let bytes = fs::read(&path).expect("readable");
    for length in [0, 1, bytes.len() / 2, bytes.len() - 2] {
        fs::write(&path, &bytes[..length]).expect("torn");
        let found = files::newest(state, &pool(), &session()).expect("looked");
        assert_eq!(found.newest.map(|(id, _)| id), Some(one.clone()));
        assert!(found.refused.len() == 1 && found.refused[0].contains("torn"), "{:?}", found.refused);
    }
    // Whoever writes the next one is told, and goes on behind it; the torn one is left alone.
    let three = files::keep(state, &at(first, 2, 2)).expect("kept");
    assert!(three.written && three.refused.len() == 1 && three.id > two);
    assert!(path.exists());
    let other = PoolName::new("q").expect("a name");
    let found = files::newest(state, &other, &session()).expect("looked");
    assert!(found.newest.is_none() && found.refused.len() == 3, "{found:?}");
}

#[test]
fn what_a_crash_left_is_no_checkpoint_and_does_not_stay() {
    let directory = tempfile::tempdir().expect("a directory");
    let (state, first) = (directory.path(), draft(directory.path()));
    files::keep(state, &first).expect("kept");
    let path = files::directory(state, &session());
    fs::write(path.join(".unfinished"), &first.encode()[..40]).expect("written");
    assert_eq!(files::list(state, &session()).expect("listed").len(), 1);
    files::keep(state, &at(first, 1, 2)).expect("kept");
    assert!(!path.join(".unfinished").exists());
    assert_eq!(files::Shelf::default().list(state).expect("listed")[&session()].as_ref().expect("listed").len(), 2);
}

#[test]
fn nothing_is_followed_out_of_the_state_directory_and_only_checkpoints_are_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (state, elsewhere) = (directory.path().join("state"), directory.path().join("elsewhere"));
    fs::create_dir_all(state.join("checkpoints")).expect("made");
    fs::set_permissions(state.join("checkpoints"), fs::Permissions::from_mode(0o700)).expect("protected");
    fs::create_dir(&elsewhere).expect("made");
    symlink(&elsewhere, state.join("checkpoints/s-0")).expect("linked");
    let first = draft(directory.path());
    assert!(matches!(files::keep(&state, &first), Err(CheckpointError::NotOurs { .. })));
    let id = CheckpointId::new(first.taken_at, &first.digest());
    fs::write(elsewhere.join(format!("{id}.json")), first.encode()).expect("written");
    assert!(files::remove(&state, &session(), std::slice::from_ref(&id)).is_err());
    assert!(elsewhere.join(format!("{id}.json")).exists());
    fs::remove_file(state.join("checkpoints/s-0")).expect("removed");
    let id = files::keep(&state, &first).expect("kept").id;
    let path = files::directory(&state, &session());
    fs::write(path.join("note.json"), "of a person").expect("written");
    assert!(files::remove(&state, &session(), std::slice::from_ref(&id)).expect("removed"));
    assert!(!files::remove(&state, &session(), std::slice::from_ref(&id)).expect("gone"), "done twice is done once");
    assert_eq!(fs::read_dir(&path).expect("listed").count(), 1);
}

#[tokio::test]
async fn what_the_transcript_tells_is_gathered() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = fs::canonicalize(directory.path()).expect("resolved");
    let draft = draft(&root);
    let projects = root.join("projects");
    fs::create_dir_all(projects.join("x")).expect("made");
    let lines = [
        r#"{"type":"user","cwd":"/gone","message":{"content":"fix it"}}"#,
        r#"{"type":"assistant","cwd":"/gone","message":{"content":[{"type":"text","text":"on it"},{"type":"tool_use","id":"t1","name":"Bash"}],"usage":{"input_tokens":5}}}"#,
    ];
    fs::write(projects.join("x").join(format!("{}.jsonl", draft.conversation)), lines.join("\n") + "\n").expect("written");
    let mut checkpoints = Checkpoints::default();
    checkpoints.start(vec![draft.clone()], &projects, &root);
    checkpoints.finish(Duration::from_secs(30)).await;
    let [ended] = &checkpoints.take_ended()[..] else { panic!("one has ended") };
    let CheckpointEnd::Written(id) = &ended.how else { panic!("{:?}", ended.how) };
    let read = files::read(&root, &pool(), &session(), id).expect("readable").expect("there").expect("good");
    assert_eq!(read, ended.checkpoint);
    assert_eq!((read.prompt.as_deref(), read.answer.as_deref(), read.context_tokens), (Some("fix it"), Some("on it"), Some(5)));
    assert_eq!(read.tool, Some(ToolAtHand { name: "Bash".to_owned(), finished: false }));
    assert_eq!(read.directory, Path::new("/gone"));
    assert_eq!(read.transcript.map(|mark| mark.length), Some((lines.join("\n").len() + 1) as u64));
}

#[tokio::test]
async fn each_of_many_ends_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let named = |name: &str| Checkpoint { session: SessionName::new(name).expect("a name"), ..draft(directory.path()) };
    let mut checkpoints = Checkpoints::default();
    for names in [&["s-0", "s-1", "s-2", "s-3", "s-4", "s-5", "s-6", "s-7", "s-8"][..], &["s-9"], &[]] {
        checkpoints.start(names.iter().copied().map(named).collect(), directory.path(), directory.path());
        checkpoints.finish(Duration::from_secs(30)).await;
        let mut ended: Vec<_> = checkpoints.take_ended().into_iter().map(|ended| ended.checkpoint.session.to_string()).collect();
        ended.sort();
        assert_eq!(ended, names);
    }
}

#[test]
fn a_full_disk_is_an_error_that_says_so() {
    let error = CheckpointError::io("write", Path::new("/x"))(std::io::ErrorKind::StorageFull.into());
    assert!(matches!(&error, CheckpointError::Full { .. }) && error.to_string().contains("free some space"), "{error}");
}
