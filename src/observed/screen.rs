//! What the screen of an agent shows that does not go on by itself.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One screen as it was captured. It explains what an agent does. The agent can draw what it likes, so as evidence it is the weakest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScreenView {
    /// What it shows.
    pub shows: Shown,
    /// The last lines that say something, oldest first. Untrusted, bounded, without control characters.
    pub lines: Vec<String>,
    /// When it was captured.
    pub seen_at: Timestamp,
    /// Whether it has come to rest. One that shows no dialog while its agent waits for an answer may not be drawn yet.
    pub at_rest: bool,
}

impl ScreenView {
    /// What it shows, in words. Where these are not known, its last lines.
    pub fn words(&self) -> String {
        if self.shows != Shown::Unknown {
            return self.shows.to_string();
        }
        let last = self.lines.len().saturating_sub(LAST);
        match &self.lines[last..] {
            [] => "its screen is empty or cannot be read".to_owned(),
            lines => format!("{}; it ends with: {}", self.shows, lines.join(" / ")),
        }
    }
}

/// How many lines stand for a screen that is not known.
const LAST: usize = 3;

/// What a screen shows, as far as its wording is known. Texts that it names are untrusted, bounded and of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shown {
    /// The choice of colours at a first start.
    Theme,
    /// The notes that follow it.
    SecurityNotes,
    /// The choice or the course of a login.
    Login,
    /// Whether the start directory is trusted.
    Trust {
        /// Which, if it can be read.
        directory: Option<String>,
    },
    /// The disclaimer of the mode without permissions.
    Bypass,
    /// Whether a key in the environment is used.
    ApiKey,
    /// Whether a server that the project names is started.
    McpServer {
        /// Which.
        name: Option<String>,
    },
    /// Whether files outside of the project are read as instructions.
    Imports,
    /// A tool asks for permission.
    Permission {
        /// The tool as the dialog names it.
        tool: Option<String>,
        /// What the tool is about to be used on.
        subject: Option<String>,
        /// The question.
        question: String,
    },
    /// Whether a plan is carried out.
    Plan,
    /// The agent asks something itself.
    Question {
        /// What.
        text: String,
    },
    /// The menu behind a usage limit.
    LimitMenu {
        /// The limit, in the words of the CLI.
        limit: Option<String>,
    },
    /// It waits for a usage limit to reset, and goes on by itself.
    LimitWait {
        /// Until when, in the words of the CLI.
        until: Option<String>,
    },
    /// The login is no longer accepted.
    LoginExpired,
    /// There is no login.
    NotLoggedIn,
    /// The choice of a conversation.
    ResumePicker,
    /// Whether a long conversation is taken up whole or as a summary.
    ResumeSummary,
    /// A turn runs.
    Working,
    /// The input box.
    InputBox {
        /// Whether somebody has left a text in it.
        draft: bool,
    },
    /// Nothing that is known. The last lines tell.
    Unknown,
}

impl Shown {
    /// Whether it waits for an answer, as opposed to a prompt.
    pub const fn is_dialog(&self) -> bool {
        !matches!(
            self,
            Self::Working | Self::InputBox { .. } | Self::LimitWait { .. } | Self::LoginExpired | Self::NotLoggedIn | Self::Unknown
        )
    }
}

/// What it asks, for a sentence that begins with the session.
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Theme => f.write_str("it asks for its colours, as a first start does"),
            Self::SecurityNotes => f.write_str("it shows the security notes of a first start"),
            Self::Login => f.write_str("it asks for a login"),
            Self::Trust { directory: Some(directory) } => write!(f, "it asks whether {directory} is trusted"),
            Self::Trust { directory: None } => f.write_str("it asks whether its start directory is trusted"),
            Self::Bypass => f.write_str("it asks to accept the risks of the mode without permissions"),
            Self::ApiKey => f.write_str("it asks whether to use the API key in its environment"),
            Self::McpServer { name: Some(name) } => write!(f, "it asks whether to use the project's MCP server {name}"),
            Self::McpServer { name: None } => f.write_str("it asks whether to use the project's MCP servers"),
            Self::Imports => f.write_str("it asks whether to read instructions from outside of the project"),
            Self::Permission { tool, subject, question } => {
                f.write_str(question)?;
                match (tool, subject) {
                    (Some(tool), Some(subject)) => write!(f, " ({tool}: {subject})"),
                    (Some(one), None) | (None, Some(one)) => write!(f, " ({one})"),
                    (None, None) => Ok(()),
                }
            }
            Self::Plan => f.write_str("it asks whether to carry out its plan"),
            Self::Question { text } => write!(f, "it asks: {text}"),
            Self::LimitMenu { limit: Some(limit) } => write!(f, "it asks what to do about a limit: {limit}"),
            Self::LimitMenu { limit: None } => f.write_str("it asks what to do about a usage limit"),
            Self::LimitWait { until: Some(until) } => write!(f, "it waits for a limit to reset: {until}"),
            Self::LimitWait { until: None } => f.write_str("it waits for a limit to reset"),
            Self::LoginExpired => f.write_str("its login has expired"),
            Self::NotLoggedIn => f.write_str("it is not logged in"),
            Self::ResumePicker => f.write_str("it asks which conversation to take up"),
            Self::ResumeSummary => f.write_str("it asks whether to take its conversation up whole or as a summary"),
            Self::Working => f.write_str("it works"),
            Self::InputBox { draft: true } => f.write_str("its input box holds a text"),
            Self::InputBox { draft: false } => f.write_str("its input box is empty"),
            Self::Unknown => f.write_str("its screen shows nothing that is known"),
        }
    }
}
