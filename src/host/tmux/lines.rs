//! Operations as lines of tmux's command language: pure.

use super::{
    format::is_id,
    mark,
    op::{OpError, TmuxOp},
    quote::{literal, quote},
    script::{Line, Reply, Request, Tag},
};
use crate::{
    host::process::Exec,
    model::{PaneId, Pid, PoolId, SessionName, TmuxSessionId},
    observed::Mark,
};

/// What was looked up for an operation right before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Prepared {
    /// Nothing was needed.
    #[default]
    Nothing,
    /// For a respawn: what the session's environment holds now, as tmux says it, and whether the pane's process was seen to be gone.
    Respawn { variables: Vec<String>, gone: bool },
    /// For a close: the processes of all panes, as tmux printed them.
    Close { pids: String },
}

/// What must be looked up before the operation, if anything.
pub(super) fn look_before(op: &TmuxOp, tag: &Tag) -> Result<Option<Request>, OpError> {
    Ok(match op {
        TmuxOp::Respawn { session_id, .. } => Some(Request::line(format!("show-environment -s -t '{}'", session(session_id)?))),
        TmuxOp::Close { session_id, .. } => {
            let format = "panes #{session_id}|#{W:#{P:#{pane_pid} }}";
            Some(Request::line(tag.print(Some(&format!("{}:", session(session_id)?)), format)))
        }
        TmuxOp::Create { .. } | TmuxOp::Adopt { .. } | TmuxOp::Release { .. } | TmuxOp::Type { .. } => None,
    })
}

/// What is looked up after a creation that failed: whose session has the name.
pub(super) fn look_after(name: &SessionName, tag: &Tag) -> Request {
    Request::line(tag.print(Some(&format!("={name}:")), &format!("found #{{session_id}}|#{{{}}}", mark::OPTION)))
}

/// The lines of an answer to `show-environment -s`.
pub(super) fn variables(reply: &Reply) -> Vec<String> {
    let raw = |line: &Line| if let Line::Raw(text) = line { Some(text.clone()) } else { None };
    reply.lines.iter().filter_map(raw).collect()
}

/// The name in such a line: `NAME="value"; export NAME;`, or `unset NAME;` for one that is kept from the agent.
fn variable(line: &str) -> Option<&str> {
    let name = match line.split_once('=') {
        Some((name, _)) => name,
        None => line.strip_prefix("unset ")?.strip_suffix(';')?,
    };
    // A value over several lines may look like a variable; to unset one that does not exist is harmless.
    is_variable(name).then_some(name)
}

/// The whole line by which tmux says that a variable holds a text. No part of another value can look like it: its quotes would be escaped.
fn said(name: &str, text: &str) -> String {
    let mut line = format!("{name}=\"");
    for c in text.chars() {
        if matches!(c, '$' | '`' | '"' | '\\') {
            line.push('\\');
        }
        line.push(c);
    }
    line + &format!("\"; export {name};")
}

/// The line that does it. It prints `done`, or `same` when there was nothing to do, or `refused` with what was found instead.
pub(super) fn request(op: &TmuxOp, prepared: &Prepared, tag: &Tag) -> Result<Request, OpError> {
    let option = mark::OPTION;
    let done = tag.print(None, "done");
    let line = match op {
        TmuxOp::Create { exec, size: (width, height), mark } => {
            let (name, value) = (&mark.session, value(mark)?);
            // One line: were the name taken, tmux drops the rest, and nobody else's session is marked.
            format!(
                "new-session -d -s {name} -n {name} -x {width} -y {height} {start} ; set-option -t '={name}:' {option} {value} ; \
                 if-shell -F -t '={name}:' '#{{!=:#{{remain-on-exit}},on}}' {{ set-option -w -t '={name}:' remain-on-exit on }} ; {done}",
                start = start(exec)?
            )
        }
        TmuxOp::Respawn { session_id, pane, expect_pid, exec, mark } => respawn(session_id, pane, *expect_pid, exec, mark, prepared, tag)?,
        TmuxOp::Adopt { session_id, pane, mark } => {
            let (session, pane, value) = (session(session_id)?, pane_id(pane)?, value(mark)?);
            let (name, stem) = (&mark.session, mark::stem(mark));
            let same = format!("#{{&&:#{{==:#{{{option}}},{value}}},#{{==:#{{remain-on-exit}},on}}}}");
            // A mark that does not name its bearer is none; one of another pool that does is not ours to replace.
            let free = format!("#{{||:#{{m:{stem}*,#{{{option}}}}},#{{?#{{m:*.{name}.*,#{{{option}}}}},0,1}}}}");
            let right = format!("#{{&&:#{{==:#{{session_id}},{session}}},#{{==:#{{session_name}},{name}}}}}");
            format!(
                "if-shell -F -t '{pane}' '#{{&&:{right},{same}}}' {{ {same_said} }} {{ if-shell -F -t '{pane}' '#{{&&:{right},{free}}}' \
                 {{ set-option -t '{session}:' {option} {value} ; set-option -p -t '{pane}' remain-on-exit on ; {done} }} {{ {refused} }} }}",
                same_said = tag.print(None, "same"),
                refused = refused(&pane, tag),
            )
        }
        TmuxOp::Release { session_id, mark } => {
            let target = format!("{}:", session(session_id)?);
            format!(
                "if-shell -F -t '{target}' '#{{==:#{{{option}}},{value}}}' {{ set-option -u -t '{target}' {option} ; {done} }} {{ {refused} }}",
                value = value(mark)?,
                refused = refused(&target, tag),
            )
        }
        TmuxOp::Type { owner, pane, process, cursor, pastes } => type_line(owner, pane, *process, *cursor, pastes, tag)?,
        TmuxOp::Close { session_id, mark } => {
            let target = format!("{}:", session(session_id)?);
            let Prepared::Close { pids } = prepared else { return Err(OpError::Silent) };
            // The same panes with the same processes as were seen to be gone: one that a person opened since then stays.
            let guard = format!("#{{&&:#{{==:#{{{option}}},{}}},#{{==:#{{W:#{{P:#{{pane_pid}} }}}},{pids}}}}}", value(mark)?);
            format!(
                "if-shell -F -t '{target}' '{guard}' {{ kill-session -t '{target}' ; {done} }} {{ {refused} }}",
                refused = refused(&target, tag),
            )
        }
    };
    Ok(Request::line(line))
}

fn respawn(
    session_id: &TmuxSessionId,
    pane: &PaneId,
    expect_pid: Option<Pid>,
    exec: &Exec,
    mark: &Mark,
    prepared: &Prepared,
    tag: &Tag,
) -> Result<String, OpError> {
    let Prepared::Respawn { variables, gone } = prepared else { return Err(OpError::Silent) };
    let (session, pane, value) = (session(session_id)?, pane_id(pane)?, value(mark)?);
    let option = mark::OPTION;
    // From tmux 3.8 on a dead pane has no process number; before that, it keeps the last one.
    let forgotten = "#{&&:#{pane_dead},#{||:#{==:#{pane_pid},},#{==:#{pane_pid},-1}}}";
    let process = match expect_pid {
        Some(pid) if *gone => format!("#{{||:#{{==:#{{pane_pid}},{pid}}},{forgotten}}}"),
        // Somebody else may have the number by now: then tmux must say itself that the pane is dead.
        Some(pid) => format!("#{{&&:#{{pane_dead}},#{{||:#{{==:#{{pane_pid}},{pid}}},{forgotten}}}}}"),
        None => forgotten.to_owned(),
    };
    let ours = format!("#{{&&:#{{==:#{{session_id}},{session}}},#{{m:{}*,#{{{option}}}}}}}", mark::stem(mark));
    let mut body: Vec<String> = variables
        .iter()
        .filter_map(|line| variable(line))
        .filter(|name| !exec.environment.contains_key(*name))
        .map(|name| format!("set-environment -t '{session}' -u {name}"))
        .collect();
    for (name, text) in &exec.environment {
        check_variable(name, text)?;
        // Each command costs the server time in proportion to its sessions, and mostly nothing has changed.
        if variables.contains(&said(name, text)) {
            continue;
        }
        body.push(format!("set-environment -t '{session}' {name} {}", quote(text)));
    }
    // The mark before the start: should the second fail, a dead pane is left, which the next look repairs. The other way round a running
    // agent would be taken for outdated and be stopped.
    body.push(format!("if-shell -F -t '{pane}' '#{{!=:#{{{option}}},{value}}}' {{ set-option -t '{session}:' {option} {value} }}"));
    // -k: a pidfd tells of the end before tmux has noticed it, and tmux would call the pane still active.
    body.push(format!("respawn-pane -k -t '{pane}' {}", start(exec)?));
    body.push(tag.print(None, "done"));
    Ok(format!(
        "if-shell -F -t '{pane}' '#{{&&:{ours},{process}}}' {{ {body} }} {{ {refused} }}",
        body = body.join(" ; "),
        refused = refused(&pane, tag),
    ))
}

/// Guard and act are one step of the server, so the pane cannot die, and nobody can type, between them.
fn type_line(
    (pool, session): &(PoolId, SessionName),
    pane: &PaneId,
    process: Pid,
    (x, y): (u32, u32),
    pastes: &[String],
    tag: &Tag,
) -> Result<String, OpError> {
    let pane = pane_id(pane)?;
    for text in pastes {
        // An Escape would end the brackets of the paste early, and the rest would be keys.
        if text.contains(|c: char| c.is_control() && c != '\n') {
            return Err(OpError::Unspeakable { what: "prompt", text: super::error::shorten(text), why: "it holds a control character" });
        }
    }
    let ours = format!("#{{m:{pool}.{session}.*,#{{{}}}}}", mark::OPTION);
    let takes_input =
        "#{?#{pane_dead},0,#{?#{pane_input_off},0,#{?#{pane_synchronized},0,#{?#{pane_in_mode},#{?#{session_attached},0,1},1}}}}";
    let as_seen = format!("#{{&&:#{{==:#{{pane_pid}},{process}}},#{{==:#{{cursor_x}}.#{{cursor_y}},{x}.{y}}}}}");
    let buffer = format!("cf-{}-{}", tag.as_str(), &pane[1..]);
    let mut body = vec![format!("if-shell -F -t '{pane}' '#{{pane_in_mode}}' {{ copy-mode -q -t '{pane}' }}")];
    // tmux makes no empty buffer, and what is not made cannot be pasted.
    for text in pastes.iter().filter(|text| !text.is_empty()) {
        body.push(format!("set-buffer -b {buffer} -- {}", quote(text)));
        body.push(format!("paste-buffer -p -d -b {buffer} -t '{pane}'"));
    }
    body.push(format!("send-keys -t '{pane}' Enter"));
    body.push(tag.print(None, "done"));
    Ok(format!(
        "if-shell -F -t '{pane}' '#{{&&:{ours},#{{&&:{takes_input},{as_seen}}}}}' {{ {body} }} {{ {untyped} }}",
        body = body.join(" ; "),
        untyped = tag.print(
            Some(&pane),
            &format!(
                "untyped #{{pane_pid}}|#{{pane_dead}}|#{{pane_in_mode}}|#{{pane_input_off}}|#{{pane_synchronized}}|{ours}|#{{session_attached}}"
            )
        ),
    ))
}

/// Says what stands there instead. The mark comes last: it may hold any text.
fn refused(target: &str, tag: &Tag) -> String {
    tag.print(Some(target), &format!("refused #{{session_id}}|#{{pane_pid}}|#{{pane_dead}}|#{{{}}}", mark::OPTION))
}

/// Directory, variables and program, for `new-session` and `respawn-pane`.
fn start(exec: &Exec) -> Result<String, OpError> {
    let unspeakable = |what, text: &str, why| OpError::Unspeakable { what, text: text.to_owned(), why };
    let workdir =
        exec.workdir.to_str().ok_or_else(|| unspeakable("start directory", &exec.workdir.to_string_lossy(), "it is not UTF-8"))?;
    let program = exec.program.to_str().ok_or_else(|| unspeakable("program", &exec.program.to_string_lossy(), "it is not UTF-8"))?;
    let workdir = literal(workdir).ok_or_else(|| unspeakable("start directory", workdir, "tmux reads #[ as a style; rename it"))?;
    let mut words = vec!["-c".to_owned(), quote(&workdir)];
    for (name, text) in &exec.environment {
        check_variable(name, text)?;
        words.push("-e".to_owned());
        words.push(quote(&format!("{name}={text}")));
    }
    words.push("--".to_owned());
    // A single word would go through the user's shell, which would then be the pane's process (`facts/tmux.md`, section 1).
    if exec.arguments.is_empty() {
        words.extend(["/bin/sh", "-c", "exec \"$0\""].map(quote));
    }
    words.push(quote(program));
    words.extend(exec.arguments.iter().map(|argument| quote(argument)));
    match std::iter::once(program)
        .chain(exec.arguments.iter().map(String::as_str))
        .chain([workdir.as_str()])
        .find(|text| text.contains('\0'))
    {
        Some(text) => Err(unspeakable("argument", text, "it holds a NUL character")),
        None => Ok(words.join(" ")),
    }
}

fn check_variable(name: &str, text: &str) -> Result<(), OpError> {
    let why = if !is_variable(name) {
        "its name may hold only letters, digits and _"
    } else if text.contains('\0') {
        "it holds a NUL character"
    } else {
        return Ok(());
    };
    Err(OpError::Unspeakable { what: "variable", text: name.to_owned(), why })
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn session(id: &TmuxSessionId) -> Result<String, OpError> {
    id_text(&id.0, '$', "session id")
}

fn pane_id(id: &PaneId) -> Result<String, OpError> {
    id_text(&id.0, '%', "pane id")
}

fn id_text(id: &str, sign: char, what: &'static str) -> Result<String, OpError> {
    let why = "it is none that tmux gives";
    if is_id(id, sign) { Ok(id.to_owned()) } else { Err(OpError::Unspeakable { what, text: id.to_owned(), why }) }
}

fn value(mark: &Mark) -> Result<String, OpError> {
    let why = "it may hold only letters and digits";
    mark::encode(mark).ok_or_else(|| OpError::Unspeakable { what: "digest", text: mark.digest.to_string(), why })
}
