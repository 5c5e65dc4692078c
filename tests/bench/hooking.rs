//! What a hook costs the agent: from exec to exit, with a daemon's socket that takes the report and a project's status file to keep.

use std::{
    fs::{self, File},
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    Fallible,
    figures::{Pairs, Place, Row, median, shown, timed},
    pool::PROGRAM,
};

/// How many pairs are taken of each event.
const PAIRS: usize = 201;
/// The most that a hook may take.
const GOAL: Duration = Duration::from_millis(5);

pub fn rows() -> Fallible<Vec<Row>> {
    let directory = tempfile::Builder::new().prefix("bench-hook-").tempdir()?;
    let root = directory.path();
    let project = root.join("project");
    fs::create_dir_all(project.join(".agent-queue/inbox"))?;
    let socket = root.join("intake.sock");
    let listener = UnixDatagram::bind(&socket)?;
    listener.set_nonblocking(true)?;
    let body = root.join("body.json");
    let say = serde_json::json!({
        "session_id": "0b0e7c1e-6f0f-4c58-9b52-1d6a3f2b9c10", "transcript_path": root.join("t.jsonl"), "cwd": project,
        "hook_event_name": "UserPromptSubmit", "prompt": "go on",
    });
    fs::write(&body, say.to_string())?;
    let run = |command: &mut Command| {
        timed(|| match command.stdout(Stdio::null()).stderr(Stdio::null()).status()?.code() {
            Some(0) => Ok(()),
            code => Err(format!("{command:?} ended with {code:?}").into()),
        })
    };
    let mut received = 0;
    let pairs = Pairs::take(
        PAIRS,
        || {
            let mut command = Command::new(PROGRAM);
            command.args(["hook", "UserPromptSubmit", "--socket"]).arg(&socket).arg("--spool").arg(root.join("spool"));
            command.env("CLAUDE_PID", std::process::id().to_string()).env("CLAUDE_FAILOVER_SESSION", "s1");
            let took = run(command.stdin(File::open(&body)?))?;
            received += usize::from(listener.recv(&mut [0; 4096]).is_ok());
            Ok(took)
        },
        || run(Command::new("/bin/true").stdin(Stdio::null())),
    )?;
    if received != PAIRS + 1 || !project.join(".agent-queue/status.json").exists() {
        return Err(format!("{received} of {} hooks reported", PAIRS + 1).into());
    }
    let took = median(&pairs.ours);
    Ok(vec![Row {
        place: Place::Hook,
        what: "a hook, from exec to exit: one report, one status file".to_owned(),
        ours: shown(took),
        floor: format!("{} (`/bin/true`)", shown(median(&pairs.floor))),
        ratio: format!("{:.2}", pairs.ratio()),
        goal: format!("< {}", shown(GOAL)),
        met: Some(took < GOAL),
        beside: String::new(),
    }])
}
