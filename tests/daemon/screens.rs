//! Nothing is typed into what is no input box at rest, also when the register says that the agent is idle. The agents here draw screens that were
//! captured from the CLI, and write down every byte that they are given.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::json;

use crate::{
    pool::{Pool, contains},
    waiting::wait_until,
};

/// Says that it is idle, draws the screen of its session and keeps what is typed.
const AGENT: &str = r#"
while [ $# -gt 0 ]; do
    case "$1" in --session-id | --resume) conversation=$2 ;; esac
    shift
done
cd "$ROOT"
stty raw -echo
name=$CLAUDE_FAILOVER_SESSION
printf '\033[?2004h'
sed 's/$/\r/' "$name.ansi"
printf '%b' "$(cat "$name.cursor")"
mkdir -p "$CLAUDE_CONFIG_DIR/sessions"
started=$(cut -d ' ' -f 22 /proc/$$/stat)
entry="$CLAUDE_CONFIG_DIR/sessions/$$.json"
printf '{"pid":%s,"procStart":"%s","sessionId":"%s","cwd":"%s","version":"2.1.330","status":"idle"}' \
    $$ "$started" "$conversation" "$ROOT/work" > "$entry.new"
mv "$entry.new" "$entry"
exec cat > "$name.typed"
"#;

/// What each session shows: a capture, or a box at rest that is typed into.
const SCREENS: [&str; 11] = [
    "trust",
    "bypass",
    "login",
    "limit-menu",
    "permission-bash",
    "question",
    "draft",
    "limit-wait",
    "login-expired",
    "not-logged-in",
    "empty",
];

#[test]
fn nothing_is_typed_into_a_dialog_a_limit_or_a_login() {
    let mut pool = Pool::new(SCREENS.len());
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/screens/2.1.330");
    for (at, screen) in SCREENS.iter().enumerate() {
        let text = fs::read_to_string(captures.join(format!("{screen}.ansi"))).expect("a capture");
        let text = text.trim_end().to_owned();
        // The cursor goes to where the CLI has it: into the box, if there is one.
        let lines = text.lines().count();
        let boxed = text.lines().position(|line| line.contains('❯')).unwrap_or(0);
        fs::write(pool.path(&format!("s-{at}.ansi")), format!("{text}\n")).expect("written");
        fs::write(pool.path(&format!("s-{at}.cursor")), format!("\\033[{}A\\033[2C", lines - boxed)).expect("written");
    }
    fs::write(pool.path("agent.sh"), AGENT).expect("written");
    fs::create_dir(pool.path("api")).expect("made");
    let (agent, api, root) = (pool.path("agent.sh"), pool.path("api"), pool.root.clone());
    pool.edit(|spec| {
        spec["agent"]["command"] = json!(["/bin/sh", agent]);
        spec["agent"]["environment"] = json!({"ROOT": root});
        spec["sessions"][0]["dispatch"] = json!(true);
        spec["projects"] = json!([{"path": api}]);
    });
    pool.cli(&["apply", "--yes"]);
    pool.start_daemon();
    let typed = |at: usize| fs::read(pool.path(&format!("s-{at}.typed"))).unwrap_or_default();
    wait_until("every agent to draw its screen", || (0..SCREENS.len()).all(|at| pool.path(&format!("s-{at}.typed")).exists()));
    for at in 0..SCREENS.len() {
        pool.put(&format!("api/.agent-queue/t-{at}"), &format!("---\nsession: s-{at}\n---\nDo it.\n"));
        let inbox = pool.path(&format!("api/.agent-queue/inbox/t-{at}.md"));
        fs::rename(pool.path(&format!("api/.agent-queue/t-{at}")), inbox).expect("renamed");
    }
    let last = SCREENS.len() - 1;
    wait_until("the box at rest to be typed into", || contains(&typed(last), "[claim "));
    let mut told: BTreeMap<usize, String> = BTreeMap::new();
    wait_until("every other one to be refused", || {
        for at in 0..last {
            let explained = pool.cli(&["explain", &format!("task/api/t-{at}.md")]).stdout;
            let error = explained.lines().find_map(|line| line.trim().strip_prefix("last error: "));
            told.extend(error.map(|error| (at, error.to_owned())));
        }
        told.len() == last
    });
    for (at, screen) in SCREENS.iter().enumerate().take(last) {
        let expected = match *screen {
            "draft" => "somebody's draft",
            "limit-wait" | "login-expired" | "not-logged-in" => "takes no prompt now",
            _ => "shows no input box",
        };
        assert!(told[&at].contains(expected), "{screen}: {}", told[&at]);
        assert_eq!(String::from_utf8_lossy(&typed(at)), "", "{screen}");
    }
}
