//! A pass over a pool in which nothing has to be done, inside the daemon and as a whole process.

use std::process::{Command, Stdio};

use claude_failover::host::Look;

use crate::{
    Fallible,
    figures::{Pairs, Place, Row, median, shown, timed},
    pool::Pool,
    raw,
};

/// How many pairs are taken.
const fn pairs(size: usize) -> usize {
    match size {
        ..100 => 31,
        100..1000 => 15,
        _ => 11,
    }
}

/// The rows of one size.
pub fn rows(mut pool: Pool) -> Fallible<Vec<Row>> {
    // How people use it: the daemon answers from what it saw last. `plan` always looks itself.
    pool.settle()?;
    let mut rows = processes(&pool, &[(Place::Asked, "status", "a daemon runs")])?;
    pool.stop()?;
    rows.extend(passes(&pool)?);
    rows.extend(processes(&pool, &[(Place::Plan, "plan", "no daemon runs"), (Place::Status, "status", "no daemon runs")])?);
    let peer = loop_of_has_session(&pool)?;
    for row in rows.iter_mut().filter(|row| row.place == Place::NoOp) {
        row.beside.clone_from(&peer);
    }
    Ok(rows)
}

/// The engine's pass, in this process.
fn passes(pool: &Pool) -> Fallible<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut engine = runtime.block_on(pool.engine())?;
    let mut control = pool.control()?;
    let list = format!("list-panes -a -F '{}'", raw::FIELDS);
    let mut compare = |place, what: String, look: Look| -> Fallible<Row> {
        let mut idle = true;
        let pairs = Pairs::take(
            pairs(pool.size),
            || {
                timed(|| {
                    let pass = runtime.block_on(engine.pass(look.clone()))?;
                    idle &= pass.changed == 0 && pass.failed == 0 && !pass.again;
                    Ok(())
                })
            },
            || timed(|| control.ask(&list).map(drop)),
        )?;
        if !idle {
            return Err("the pass was not idle".into());
        }
        Ok(pairs.row(place, what, "one control-mode `list-panes -a`, same fields", 1.3))
    };
    // Once everything, so that the first notice finds what the daemon would know.
    compare(Place::Resync, String::new(), Look::all())?;
    let notice = Look { tmux: true, agents: true, ..Look::default() };
    Ok(vec![
        compare(Place::NoOp, format!("no-op pass over {} sessions after a notice of tmux", pool.size), notice)?,
        compare(Place::Resync, format!("resync of {} sessions: every process, register and link read again", pool.size), Look::all())?,
    ])
}

/// Commands as whole processes, each with the words for what it finds.
fn processes(pool: &Pool, commands: &[(Place, &str, &str)]) -> Fallible<Vec<Row>> {
    let socket = pool.socket();
    let run = |mut command: Command| {
        timed(|| match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?.code() {
            Some(0) => Ok(()),
            code => Err(format!("{command:?} ended with {code:?}").into()),
        })
    };
    let list = || {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&socket).args(["list-panes", "-a", "-F", raw::FIELDS]);
        run(command)
    };
    let mut rows = Vec::new();
    for &(place, word, found) in commands {
        let pairs = Pairs::take(pairs(pool.size), || run(pool.program(&[word])), list)?;
        let what = format!("`{word}` of {} sessions, whole process; {found}", pool.size);
        rows.push(pairs.row(place, what, "`tmux list-panes -a`, same fields", 1.5));
    }
    Ok(rows)
}

/// What a watchdog script does: one `tmux has-session` for each session.
fn loop_of_has_session(pool: &Pool) -> Fallible<String> {
    let mut samples = Vec::new();
    for _ in 0..3 {
        samples.push(timed(|| {
            for session in 0..pool.size {
                let target = format!("=s{session}");
                let status = Command::new("tmux").arg("-S").arg(pool.socket()).args(["has-session", "-t", &target]).status()?;
                if !status.success() {
                    return Err(format!("session {target} is gone").into());
                }
            }
            Ok(())
        })?);
    }
    Ok(format!("a loop of `has-session`: {}", shown(median(&samples))))
}
