//! Tasks by name: the file that holds one, and the claim under which a session works on it.

use std::fmt::{self, Write as _};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NameError, ProjectName, SessionName, is_printable, sha256_hex};

/// The file name of a task in a project's inbox, such as `fix-login.md`.
///
/// It was chosen by whoever wrote the task, so it may hold anything that a file name may: spaces, newlines, control characters. Its text form
/// ([`fmt::Display`], serde) has those escaped as in a URL (RFC 3986, section 2.1), with everything else that a shell or a terminal takes for more
/// than itself, so that it is one word on one line and reads back, also from a command line; only [`Self::as_str`] gives the name as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskName(String);

impl TaskName {
    /// The ending of every task's name.
    pub const ENDING: &'static str = ".md";
    /// The longest name in bytes: the marker's ending must still fit into the 255 bytes of a file name.
    pub const MAX: usize = 200;

    /// Accepts one file name that ends with `.md` and does not begin with a dot.
    ///
    /// # Errors
    /// [`NameError::BadTask`] with the reason.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let stem = name.strip_suffix(Self::ENDING);
        let why = match stem {
            None => Some("it must end with .md"),
            Some("") => Some("it has nothing before .md"),
            Some(_) if name.starts_with('.') => Some("it begins with a dot, as the names of unfinished files do"),
            Some(_) if name.contains('/') || name.contains('\0') => Some("it must be one plain file name"),
            Some(_) if name.len() > Self::MAX => Some("it has more than 200 bytes"),
            Some(_) => None,
        };
        match why {
            Some(why) => Err(NameError::BadTask { name, why }),
            None => Ok(Self(name)),
        }
    }

    /// The text with the ending of a task's name, if it lacks it: people may leave it away.
    pub fn with_ending(text: &str) -> String {
        if text.ends_with(Self::ENDING) { text.to_owned() } else { format!("{text}{}", Self::ENDING) }
    }

    /// The file name as it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.chars().all(is_plain) {
            return f.pad(&self.0);
        }
        let mut text = String::with_capacity(self.0.len() + 16);
        for c in self.0.chars() {
            if is_plain(c) {
                text.push(c);
            } else {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "%{byte:02X}");
                }
            }
        }
        f.pad(&text)
    }
}

/// Whether a character of a file name stands for itself in the name's text form: it shows itself, and means nothing to a shell.
pub(crate) fn is_plain(c: char) -> bool {
    match c {
        '.' | '_' | '-' | '+' | '=' | ':' | ',' | '@' | '~' => true,
        _ if c.is_ascii() => c.is_ascii_alphanumeric(),
        _ => is_printable(c),
    }
}

impl From<TaskName> for String {
    fn from(name: TaskName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for TaskName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        let bad = |why| NameError::BadTask { name: text.clone(), why };
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'%' {
                let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
                let [Some(high), Some(low)] = digits else { return Err(bad("a % is not followed by two hexadecimal digits")) };
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
            } else {
                bytes.push(byte);
            }
        }
        Self::new(String::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?)
    }
}

/// A task of a project.
///
/// Its text form is `PROJECT/NAME.md`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId {
    /// The project whose queue it is in.
    pub project: ProjectName,
    /// Its file.
    pub name: TaskName,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.project, self.name))
    }
}

impl From<TaskId> for String {
    fn from(task: TaskId) -> Self {
        task.to_string()
    }
}

impl TryFrom<String> for TaskId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        let Some((project, name)) = text.split_once('/') else {
            return Err(NameError::BadTask { name: text, why: "it must be written PROJECT/NAME.md" });
        };
        Ok(Self { project: ProjectName::new(project)?, name: TaskName::try_from(name.to_owned())? })
    }
}

impl std::str::FromStr for TaskId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text.to_owned())
    }
}

/// The name of one attempt at a task by one session: 12 hexadecimal digits. It stands in the marker beside the task and in the prompt, so that the
/// agent's own word on what it was asked (the prompt hook, the transcript) proves which attempt it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ClaimId(pub String);

impl ClaimId {
    const DIGITS: usize = 12;
    const BEFORE: &'static str = "[claim ";

    /// The claim of an attempt. The same intent gives the same claim, so a crash between deciding and recording makes no second one.
    pub fn of(task: &TaskId, session: &SessionName, attempt: u32, salt: &str) -> Self {
        let mut digest = sha256_hex(format!("{task}\n{session}\n{attempt}\n{salt}").as_bytes());
        digest.truncate(Self::DIGITS);
        Self(digest)
    }

    /// The name of the prompt that asks once more: of the same attempt, and yet another one, so that its arrival is proven by itself.
    #[must_use]
    pub fn again(&self) -> Self {
        let mut digest = sha256_hex(format!("{}\nagain", self.0).as_bytes());
        digest.truncate(Self::DIGITS);
        Self(digest)
    }

    /// The names of the prompts of its attempt, without end: the first one bears the claim itself.
    pub fn prompts(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.clone()), |claim| Some(claim.again()))
    }

    /// The name of the prompt of that number, which counts from 0.
    #[must_use]
    pub fn prompt(&self, number: u32) -> Self {
        (0..number).fold(self.clone(), |claim, _| claim.again())
    }

    /// The claim as it stands in a prompt: `[claim 0123456789ab]`.
    pub fn tag(&self) -> String {
        format!("{}{}]", Self::BEFORE, self.0)
    }

    /// The claims whose tags stand in a text, in their order.
    pub fn all_in(text: &str) -> Vec<Self> {
        let tags = text.match_indices(Self::BEFORE).filter_map(|(at, before)| {
            let rest = text.get(at + before.len()..)?;
            let digits = rest.get(..Self::DIGITS)?;
            let is_claim = rest.get(Self::DIGITS..)?.starts_with(']') && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_claim.then(|| Self(digits.to_owned()))
        });
        tags.collect()
    }
}

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_and_reads_back() {
        for (name, text) in [
            ("a.md", "a.md"),
            ("a~2.md", "a~2.md"),
            ("two words.md", "two%20words.md"),
            ("a\n\u{1b}[31m%.md", "a%0A%1B%5B31m%25.md"),
            ("ü\u{85}.md", "ü%C2%85.md"),
            ("\u{202e}gnp.md", "%E2%80%AEgnp.md"),
            ("$(it's);*.md", "%24%28it%27s%29%3B%2A.md"),
        ] {
            let task = TaskName::new(name).expect("a name");
            assert_eq!(task.to_string(), text);
            assert_eq!(TaskName::try_from(text.to_owned()).expect("reads back").as_str(), name);
        }
        for bad in ["", ".md", "a", ".hidden.md", "a/b.md", "a\0.md", "a%2.md", "a%2Fb.md", "%FF.md"] {
            assert!(TaskName::try_from(bad.to_owned()).is_err(), "{bad:?} was accepted");
        }
        assert!(TaskName::new(format!("{}.md", "x".repeat(198))).is_err());
    }

    #[test]
    fn a_claim_is_found_in_a_prompt() {
        let task = TaskId { project: ProjectName::new("api").expect("a name"), name: TaskName::new("a.md").expect("a name") };
        let session = SessionName::new("s-0").expect("a name");
        let claim = ClaimId::of(&task, &session, 1, "");
        assert_eq!(claim, ClaimId::of(&task, &session, 1, ""));
        assert_ne!(claim, ClaimId::of(&task, &session, 2, ""));
        let text = format!("[claim short] [claim {}x] do it {} and [claim", claim.0, claim.tag());
        assert_eq!(ClaimId::all_in(&text), [claim]);
        assert_eq!(ClaimId::all_in("[claim ééééééé]"), []);
    }
}
