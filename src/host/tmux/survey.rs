//! What panes show, many at once.

use super::{
    TmuxError, TmuxServer,
    format::is_id,
    script::{Line, Reply, Request, Tag},
};
use crate::model::{PaneId, Pid};

/// The most of one screen that is kept, in bytes: a line of 200 columns in changing colours has about 4 KB.
const SCREEN_LIMIT: usize = 256 << 10;

/// One pane as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaneScreen {
    /// Its process as tmux names it; stale once the pane is dead.
    pub pid: Option<Pid>,
    /// Whether tmux has seen the process end.
    pub dead: bool,
    /// Whether somebody has it in copy mode or another mode of tmux.
    pub in_mode: bool,
    /// Whether tmux takes no input for it.
    pub input_off: bool,
    /// Whether what is typed into it also goes to other panes.
    pub synchronized: bool,
    /// How many people are attached to its session.
    pub attached: u32,
    /// Column and row of the program's cursor.
    pub cursor: (u32, u32),
    /// The rows, with colours as escape sequences and nothing else that a terminal would obey. Untrusted text.
    pub text: String,
}

impl TmuxServer {
    /// What panes show; `None` for one that is not there. One client of its own for all of them: through the connection, a screen that imitates
    /// the protocol could throw it out of step.
    ///
    /// # Errors
    /// As [`list`](Self::list). Nothing is known then.
    pub async fn survey(&mut self, panes: &[PaneId]) -> Result<Vec<Option<PaneScreen>>, TmuxError> {
        let asked: Vec<usize> = (0..panes.len()).filter(|&at| is_id(&panes[at].0, '%')).collect();
        let requests: Vec<Request> = asked.iter().map(|&at| request(&panes[at], &self.tag)).collect();
        let mut screens = vec![None; panes.len()];
        if requests.is_empty() {
            return Ok(screens);
        }
        let exchange = self.run_client(&requests, self.config.deadline).await;
        if let Some(error) = exchange.error {
            return Err(error);
        }
        for (at, reply) in asked.into_iter().zip(&exchange.replies) {
            screens[at] = screen(reply);
        }
        Ok(screens)
    }
}

fn request(pane: &PaneId, tag: &Tag) -> Request {
    let format =
        "pane #{pane_pid}|#{pane_dead}|#{pane_in_mode}|#{pane_input_off}|#{pane_synchronized}|#{session_attached}|#{cursor_x}|#{cursor_y}";
    Request(vec![tag.print(Some(&pane.0), format), format!("capture-pane -p -e -t '{pane}'")])
}

/// Reads the answer to [`request`]. A pane that is not there has no process number and no cursor.
fn screen(reply: &Reply) -> Option<PaneScreen> {
    let mut fields = reply.word("pane")?.split('|');
    let mut field = || fields.next().unwrap_or_default();
    let (pid, dead, in_mode, input_off, synchronized) = (field(), field(), field(), field(), field());
    let (attached, x, y) = (field(), field(), field());
    let is_set = |flag: &str| !matches!(flag, "" | "0");
    let cursor = (x.parse().ok()?, y.parse().ok()?);
    let mut text = String::new();
    for line in &reply.lines {
        if let Line::Raw(line) = line
            && text.len() + line.len() < SCREEN_LIMIT
        {
            text.push_str(line);
            text.push('\n');
        }
    }
    Some(PaneScreen {
        pid: pid.parse().ok().filter(|&pid: &i32| pid > 0).map(Pid),
        dead: is_set(dead),
        in_mode: is_set(in_mode),
        input_off: is_set(input_off),
        synchronized: is_set(synchronized),
        attached: attached.parse().ok()?,
        cursor,
        text,
    })
}
