//! What is to be seen of a queue. Nothing is changed, not even what a crash left behind.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::{OsStr, OsString},
    fmt::Write as _,
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use super::{
    error::{QueueError, shown},
    header, marker,
    place::{DONE, FAILED, INBOX, Queue, kind_words},
};
use crate::{
    host::links::{Stamp, dir::Dir},
    model::{Monotonic, Now, TaskName, error_line, is_plain},
    observed::{InboxView, MarkerView, QueueView, Seen, TaskHeader, Unseen},
    spec::escaped,
};

/// The longest task in bytes.
pub const MAX_TASK: u64 = 256 * 1024;
/// How long a file must have been left alone before it is taken: whoever writes slower than this writes under another name first.
pub const REST: Duration = Duration::from_millis(25);
/// The most entries of one directory. Beyond it nothing is known, since a task that is not listed must not look as if it were gone.
const MAX_ENTRIES: usize = 100_000;
/// The most entries that are named as ignored.
const MAX_IGNORED: usize = 100;
/// A listing is believed again when the directory was last changed this much before it was taken: file systems count time in steps of up to two
/// seconds, so that a later change may bear the same time.
const CLOCK_STEP: Duration = Duration::from_secs(2);
/// The endings of names under which programs write what they rename later.
const UNFINISHED_ENDINGS: [&[u8]; 8] = [b"~", b".tmp", b".temp", b".swp", b".swx", b".part", b".partial", b".crdownload"];

/// What was read at the last look at one queue, so that the next reads only what changed. It may be empty at any time; that costs time only.
#[derive(Debug, Default)]
pub struct QueueCache {
    inbox: HashMap<OsString, Kept>,
    done: Shelf,
    failed: Shelf,
}

/// An entry of the inbox.
#[derive(Debug, Clone)]
struct Kept {
    stamp: Stamp,
    /// When it was first seen in this state.
    since: Monotonic,
    /// What was read; `None` while it has not come to rest.
    read: Option<Read>,
    /// The newest header of a task, whatever happened to its file since.
    header: Option<Arc<Result<TaskHeader, String>>>,
}

#[derive(Debug, Clone)]
enum Read {
    Task(Arc<Result<TaskHeader, String>>),
    Marker(Arc<MarkerView>),
    /// It says nothing, or cannot be read.
    Ignored(String),
}

/// A directory whose tasks only need a time.
#[derive(Debug, Default)]
struct Shelf {
    /// The directory's stamp when it was listed, if a later change is sure to have given it another one.
    listed: Option<Stamp>,
    tasks: BTreeMap<TaskName, (u64, Timestamp)>,
}

/// Looks at the queue of the project at `path`. A project or a queue that does not exist is known to be empty; what cannot be looked at is
/// unknown as a whole.
pub fn look(path: &Path, now: Now, cache: &mut QueueCache) -> Seen<QueueView> {
    match view(path, now, cache) {
        Ok(view) => Seen::known(view, now),
        Err(error) => {
            let message = error_line(&error);
            Seen::Unknown(Unseen::Failed { source_name: format!("queue of {}", shown(path)), message })
        }
    }
}

fn view(path: &Path, now: Now, cache: &mut QueueCache) -> Result<QueueView, QueueError> {
    let mut view = QueueView::default();
    let Some(project) = Queue::project(path)? else { return Ok(view) };
    view.project_exists = true;
    let Some(queue) = Queue::within(&project)? else { return Ok(view) };
    let inbox = queue.find(INBOX)?;
    let done = queue.find(DONE)?;
    let failed = queue.find(FAILED)?;
    view.exists = inbox.is_some() && done.is_some() && failed.is_some();
    // The inbox first: a task that is moved meanwhile is then seen at both places, and not at neither.
    if let Some(inbox) = inbox {
        look_at_inbox(&inbox, now, &mut cache.inbox, &mut view)?;
    }
    if let Some(done) = done {
        view.done = cache.done.look(&done, &view.markers, now)?;
    }
    if let Some(failed) = failed {
        view.failed = cache.failed.look(&failed, &view.markers, now)?;
    }
    Ok(view)
}

/// Markers first: what is claimed is shown in any state, since what is not shown counts as gone.
fn look_at_inbox(inbox: &Dir, now: Now, cache: &mut HashMap<OsString, Kept>, view: &mut QueueView) -> Result<(), QueueError> {
    let own = inbox.own_stamp()?;
    let foreign = Foreign { us: rustix::process::geteuid().as_raw(), all_may_write: own.mode & 0o002 != 0 };
    let mut before = std::mem::take(cache);
    let mut ignored = BTreeMap::new();
    let mut tasks = Vec::new();
    for (name, _) in list(inbox)? {
        match classify(&name) {
            Name::Unfinished => {}
            Name::Ignored(why) => drop(ignored.insert(escaped_name(&name), why)),
            Name::Task(task) => tasks.push((name, task)),
            Name::Marker(task) => {
                let Some(stamp) = inbox.stamp(&name)? else { continue };
                let mut kept = Kept::after(before.remove(&name), stamp, now);
                let read = match &kept.read {
                    Some(Read::Marker(read)) => Arc::clone(read),
                    _ => Arc::new(marker::view(inbox, &name, &stamp)?),
                };
                view.markers.insert(task, read.as_ref().clone());
                kept.read = Some(Read::Marker(read));
                cache.insert(name, kept);
            }
        }
    }
    // A file that is replaced while the names are listed may be left out (readdir(3p)); whether it is there, its name tells.
    let listed: HashSet<&TaskName> = tasks.iter().map(|(_, task)| task).collect();
    let left_out: Vec<_> =
        view.markers.keys().filter(|task| !listed.contains(task)).map(|task| (task.as_str().into(), task.clone())).collect();
    tasks.extend(left_out);
    for (name, task) in tasks {
        // It may have gone since it was listed.
        let Some(stamp) = inbox.stamp(&name)? else { continue };
        let mut kept = Kept::after(before.remove(&name), stamp, now);
        let is_claimed = view.markers.contains_key(&task) && stamp.is_file();
        let read = match foreign.refuses(&stamp).or_else(|| refuses(&stamp)) {
            Some(why) => Some(Read::Ignored(why)),
            None => read_task(inbox, &task, &mut kept, now),
        };
        let shown = |header: &Result<TaskHeader, String>| InboxView { identity: stamp.identity, header: header.clone() };
        match read {
            Some(Read::Task(header)) => {
                view.inbox.insert(task, shown(&header));
                kept.header = Some(header);
            }
            read if is_claimed => {
                let header = kept.header.clone().unwrap_or_else(|| match read_beginning(inbox, &task, None) {
                    Ok(Some(Read::Task(header))) => header,
                    _ => Arc::new(Ok(TaskHeader::default())),
                });
                view.unsettled |= read.is_none();
                view.inbox.insert(task, shown(&header));
                kept.header = Some(header);
            }
            Some(Read::Ignored(why)) => {
                ignored.insert(escaped_name(&name), why);
                view.restless.insert(task);
            }
            Some(Read::Marker(_)) | None => {
                view.unsettled = true;
                view.restless.insert(task);
            }
        }
        cache.insert(name, kept);
    }
    while ignored.len() > MAX_IGNORED {
        ignored.pop_last();
    }
    view.ignored = ignored;
    Ok(())
}

impl Kept {
    /// What is kept of an entry, if it is in the same state; else only the header that it had.
    fn after(before: Option<Self>, stamp: Stamp, now: Now) -> Self {
        match before {
            Some(kept) if kept.stamp == stamp => kept,
            before => Self { stamp, since: now.mono, read: None, header: before.and_then(|kept| kept.header) },
        }
    }
}

/// What a name in the inbox means.
enum Name {
    Task(TaskName),
    Marker(TaskName),
    /// A file that is not finished, or none of our business.
    Unfinished,
    Ignored(String),
}

fn classify(name: &OsStr) -> Name {
    let bytes = name.as_bytes();
    if bytes.starts_with(b".") || UNFINISHED_ENDINGS.iter().any(|ending| bytes.ends_with(ending)) {
        return Name::Unfinished;
    }
    let Some(text) = name.to_str() else { return Name::Ignored("its name is not UTF-8".to_owned()) };
    if let Some(task) = text.strip_suffix(marker::ENDING)
        && let Ok(task) = TaskName::new(task)
    {
        return Name::Marker(task);
    }
    if text.ends_with(super::relocate::ENDING) {
        return Name::Ignored("moving it to another file system was cut off; move it once more".to_owned());
    }
    match TaskName::new(text) {
        Ok(task) => Name::Task(task),
        Err(crate::model::NameError::BadTask { why, .. }) => Name::Ignored(format!("it is no task: {why}")),
        Err(error) => Name::Ignored(escaped(&error.to_string())),
    }
}

/// A name as the list of what is ignored shows it: like that of a task, with the bytes that are no text escaped too.
fn escaped_name(name: &OsStr) -> String {
    let mut shown = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let text = character.encode_utf8(&mut bytes);
            if is_plain(character) { shown.push(character) } else { escape_bytes(text.as_bytes(), &mut shown) }
        }
        escape_bytes(chunk.invalid(), &mut shown);
    }
    shown
}

fn escape_bytes(bytes: &[u8], shown: &mut String) {
    for byte in bytes {
        // Writing to a `String` cannot fail.
        let _ = write!(shown, "%{byte:02X}");
    }
}

/// Whose files are taken. Who may write into the inbox may give tasks; an inbox that is open to everybody gives them to nobody else.
struct Foreign {
    us: u32,
    all_may_write: bool,
}

impl Foreign {
    fn refuses(&self, stamp: &Stamp) -> Option<String> {
        let is_foreign = stamp.owner != self.us && stamp.owner != 0;
        (is_foreign && self.all_may_write)
            .then(|| format!("it belongs to user {}, and everybody may write into the inbox; take that away with `chmod o-w`", stamp.owner))
    }
}

/// Why a file is no task whatever it says. Another name of the same file elsewhere (a hard link) is no reason: backups make such names, and a
/// task is its name here.
fn refuses(stamp: &Stamp) -> Option<String> {
    if !stamp.is_file() {
        Some(format!("it is {}, not a regular file", kind_words(stamp.kind)))
    } else if stamp.identity.length > MAX_TASK {
        Some(format!("it has {} bytes; a task has at most {} KiB", stamp.identity.length, MAX_TASK / 1024))
    } else if stamp.identity.length == 0 {
        Some("it is empty".to_owned())
    } else {
        None
    }
}

/// What a file says, once it has come to rest; `None` before.
fn read_task(inbox: &Dir, task: &TaskName, kept: &mut Kept, now: Now) -> Option<Read> {
    if kept.read.is_none() {
        if !has_come_to_rest(kept, now) {
            return None;
        }
        match read_beginning(inbox, task, Some(&kept.stamp)) {
            Ok(read) => kept.read = read,
            // It may be readable next time, without having changed.
            Err(why) => return Some(Read::Ignored(why)),
        }
    }
    kept.read.clone()
}

/// By the wall clock, or, where the file's time lies in the future, by having been seen in the same state before.
fn has_come_to_rest(kept: &Kept, now: Now) -> bool {
    let age = i128::from(kept.stamp.identity.modified) + i128::try_from(REST.as_nanos()).unwrap_or(i128::MAX);
    age <= now.wall.as_nanosecond() || now.mono.0.saturating_sub(kept.since.0) >= REST
}

/// `None` when the file must be in the state of a stamp, and is not; an error is why it cannot be read.
fn read_beginning(inbox: &Dir, task: &TaskName, stamp: Option<&Stamp>) -> Result<Option<Read>, String> {
    let name: &OsStr = task.as_str().as_ref();
    let unreadable = |error: &dyn std::error::Error| escaped(&format!("it cannot be read: {}", error_line(error)));
    let file = inbox.file(name).map_err(|error| unreadable(&error))?;
    let mut bytes = Vec::new();
    let window = u64::try_from(header::WINDOW).unwrap_or(u64::MAX);
    (&file).take(window).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if stamp.is_some_and(|stamp| !Stamp::of(&file).is_ok_and(|now| now == *stamp)) {
        return Ok(None);
    }
    Ok(Some(match header::read(task, &bytes) {
        Some(header) => Read::Task(Arc::new(header)),
        None => Read::Ignored("it says nothing yet".to_owned()),
    }))
}

impl Shelf {
    /// Lists the directory again only if it changed, and asks for times only of what was not there. Of tasks that are claimed it always asks: a file
    /// that is written over in its place is one that was put there.
    fn look(&mut self, dir: &Dir, claimed: &BTreeMap<TaskName, MarkerView>, now: Now) -> Result<BTreeMap<TaskName, Timestamp>, QueueError> {
        let stamp = dir.own_stamp()?;
        if self.listed != Some(stamp) {
            let names = list(dir)?;
            let before = std::mem::take(&mut self.tasks);
            for (name, inode) in names {
                let Some(task) = name.to_str().and_then(|text| TaskName::new(text).ok()) else { continue };
                match before.get(&task) {
                    Some((known, at)) if *known == inode => drop(self.tasks.insert(task, (inode, *at))),
                    _ => self.ask(dir, task)?,
                }
            }
            let step = i128::try_from(CLOCK_STEP.as_nanos()).unwrap_or(i128::MAX);
            let is_sure = i128::from(stamp.changed) + step <= now.wall.as_nanosecond();
            self.listed = is_sure.then_some(stamp);
        }
        for task in claimed.keys() {
            self.ask(dir, task.clone())?;
        }
        Ok(self.tasks.iter().map(|(task, (_, at))| (task.clone(), *at)).collect())
    }

    fn ask(&mut self, dir: &Dir, task: TaskName) -> Result<(), QueueError> {
        match dir.stamp(task.as_str().as_ref())? {
            Some(found) if found.is_file() => {
                let at = time(found.changed.max(found.identity.modified));
                self.tasks.insert(task, (found.identity.inode, at));
            }
            _ => drop(self.tasks.remove(&task)),
        }
        Ok(())
    }
}

fn list(dir: &Dir) -> Result<Vec<(OsString, u64)>, QueueError> {
    dir.list(MAX_ENTRIES)?.ok_or_else(|| QueueError::Crowded { path: shown(dir.path()), limit: MAX_ENTRIES })
}

fn time(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default()
}
