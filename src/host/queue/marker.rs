//! Markers: `NAME.md.dispatched` beside a task says who works on it.
//!
//! A marker is written whole under a temporary name and then renamed where nothing stands (`RENAME_NOREPLACE`): it is never half-written, and of two
//! that come at the same moment one is refused. It is changed by exchanging it for a whole new one, and looking at what came out.

use std::{ffi::OsStr, io::Read as _};

use jiff::Timestamp;

use super::{
    Change,
    aside::clear_way,
    error::{QueueError, Stopped, shown},
    place::{INBOX, Queue, clear_unfinished, kind_words, put_new, task_file, unfinished_name, write_unfinished},
};
use crate::{
    host::links::{
        Stamp,
        dir::{Dir, Renamed},
    },
    model::{ClaimId, TaskName},
    observed::{FileIdentity, Marker, MarkerView},
    spec::escaped,
};

/// What the name of a marker ends with.
pub const ENDING: &str = ".dispatched";
/// A marker has about 250 bytes; a larger file is none.
const MAX_MARKER: u64 = 4096;

/// The name of a task's marker.
pub(super) fn name(task: &TaskName) -> String {
    format!("{}{ENDING}", task.as_str())
}

/// What a file with the name of a marker is.
pub(super) fn view(inbox: &Dir, name: &OsStr, stamp: &Stamp) -> Result<MarkerView, QueueError> {
    Ok(match read(inbox, name, stamp)? {
        Ok(marker) => MarkerView::Marker(marker),
        Err(why) => {
            let modified_at = Timestamp::from_nanosecond(i128::from(stamp.identity.modified)).unwrap_or_default();
            MarkerView::Unreadable { why, modified_at }
        }
    })
}

fn read(inbox: &Dir, name: &OsStr, stamp: &Stamp) -> Result<Result<Marker, String>, QueueError> {
    if !stamp.is_file() {
        return Ok(Err(format!("it is {}", kind_words(stamp.kind))));
    }
    if stamp.identity.length > MAX_MARKER {
        return Ok(Err(format!("it has {} bytes", stamp.identity.length)));
    }
    let mut bytes = Vec::new();
    let file = match inbox.file(name) {
        Ok(file) => file,
        Err(error) => return Ok(Err(escaped(&crate::model::error_line(&error)))),
    };
    file.take(MAX_MARKER).read_to_end(&mut bytes).map_err(|source| QueueError::system("read", &inbox.join(name), source))?;
    Ok(serde_json::from_slice(&bytes).map_err(|error| escaped(&error.to_string())))
}

/// The marker of a task; `None` when there is none.
pub(super) fn find(inbox: &Dir, task: &TaskName) -> Result<Option<Result<Marker, String>>, QueueError> {
    let name = name(task);
    match inbox.stamp(name.as_ref())? {
        Some(stamp) => read(inbox, name.as_ref(), &stamp).map(Some),
        None => Ok(None),
    }
}

/// Whether the task has a marker that names `claim`: `false` when it has none.
pub(super) fn carries(inbox: &Dir, task: &TaskName, claim: &ClaimId) -> Result<bool, QueueError> {
    let path = || shown(&inbox.join(name(task).as_ref()));
    match find(inbox, task)? {
        None => Ok(false),
        Some(Ok(marker)) if marker.claim == *claim => Ok(true),
        Some(Ok(marker)) => Err(QueueError::OtherClaim { path: path(), found: marker.claim, expected: claim.clone() }),
        Some(Err(why)) => Err(QueueError::BadMarker { path: path(), why }),
    }
}

/// Refuses a task that has a marker.
pub(super) fn must_be_absent(inbox: &Dir, task: &TaskName) -> Result<(), QueueError> {
    let path = || shown(&inbox.join(name(task).as_ref()));
    match find(inbox, task)? {
        None => Ok(()),
        Some(Ok(marker)) => Err(QueueError::Marked { path: path(), found: marker.claim }),
        Some(Err(why)) => Err(QueueError::BadMarker { path: path(), why }),
    }
}

/// Makes the marker of a task that is in the state in which it was read. An older task of its name steps aside first, so that nothing is in the way
/// of the agent that will move this one.
pub(super) fn claim(queue: &Queue, task: &TaskName, expect: &FileIdentity, marker: &Marker) -> Result<Change, Stopped> {
    let inbox = &queue.child(INBOX)?;
    let path = || shown(&inbox.join(task.as_str().as_ref()));
    let found = task_file(inbox, task)?.ok_or_else(|| QueueError::Gone(path()))?;
    if carries(inbox, task, &marker.claim)? {
        return Ok(Change::None);
    }
    if found.identity != *expect {
        return Err(QueueError::Changed(path()).into());
    }
    clear_way(queue, task)?;
    match put_new(inbox, name(task).as_ref(), &written(inbox, task, marker)?)? {
        Renamed::Done => inbox.sync().map(|()| Change::Made).map_err(Stopped::midway),
        // Somebody was quicker.
        Renamed::Taken | Renamed::Apart if carries(inbox, task, &marker.claim)? => Ok(Change::None),
        Renamed::Taken | Renamed::Apart => Err(QueueError::Taken(shown(&inbox.join(name(task).as_ref()))).into()),
    }
}

/// Exchanges a marker for one of the same claim with a later lease. A lease that is lost with the power is no loss: nobody works on the task then.
pub(super) fn renew(inbox: &Dir, task: &TaskName, marker: &Marker) -> Result<Change, Stopped> {
    let name = name(task);
    let unfinished = unfinished_name(name.as_ref());
    match find(inbox, task)? {
        Some(Ok(standing)) if standing.claim == marker.claim && standing.lease_until >= marker.lease_until => {
            clear_unfinished(inbox, &unfinished)?;
            return Ok(Change::None);
        }
        _ if carries(inbox, task, &marker.claim)? => {}
        _ => return Err(QueueError::Unmarked(shown(&inbox.join(name.as_ref()))).into()),
    }
    write_unfinished(inbox, &unfinished, &written(inbox, task, marker)?)?;
    let exchanged = inbox.exchange(unfinished.as_ref(), inbox, name.as_ref());
    if !matches!(exchanged, Ok(true)) {
        inbox.unlink(unfinished.as_ref())?;
        exchanged?;
        return Err(QueueError::Unmarked(shown(&inbox.join(name.as_ref()))).into());
    }
    // What came out must be what was there a moment ago.
    let came_out = match inbox.stamp(unfinished.as_ref()).map_err(Stopped::midway)? {
        Some(stamp) => read(inbox, unfinished.as_ref(), &stamp).map_err(Stopped::midway)?,
        None => return Err(Stopped::midway(QueueError::Unmarked(shown(&inbox.join(name.as_ref()))))),
    };
    match came_out {
        Ok(old) if old.claim == marker.claim => {
            inbox.unlink(unfinished.as_ref()).map_err(Stopped::midway)?;
            Ok(Change::Made)
        }
        _ => {
            inbox.exchange(unfinished.as_ref(), inbox, name.as_ref()).map_err(Stopped::midway)?;
            inbox.unlink(unfinished.as_ref()).map_err(Stopped::midway)?;
            Err(QueueError::Changed(shown(&inbox.join(name.as_ref()))).into())
        }
    }
}

/// Takes the marker of a claim away; `None` stands for a marker that cannot be read.
pub(super) fn release(inbox: &Dir, task: &TaskName, claim: Option<&ClaimId>) -> Result<Change, Stopped> {
    let path = || inbox.join(name(task).as_ref());
    match (find(inbox, task)?, claim) {
        (None, _) => return Ok(Change::None),
        (Some(_), Some(claim)) => drop(carries(inbox, task, claim)?),
        (Some(Ok(marker)), None) => return Err(QueueError::Marked { path: shown(&path()), found: marker.claim }.into()),
        // A directory or a pipe of that name is nobody's marker.
        (Some(Err(why)), None) => {
            if inbox.stamp(name(task).as_ref())?.is_some_and(|stamp| !stamp.is_file()) {
                return Err(QueueError::BadMarker { path: shown(&path()), why }.into());
            }
        }
    }
    inbox.unlink(name(task).as_ref())?;
    inbox.sync().map(|()| Change::Made).map_err(Stopped::midway)
}

fn written(inbox: &Dir, task: &TaskName, marker: &Marker) -> Result<Vec<u8>, QueueError> {
    let mut text = serde_json::to_vec(marker)
        .map_err(|error| QueueError::BadMarker { path: shown(&inbox.join(name(task).as_ref())), why: error.to_string() })?;
    text.push(b'\n');
    Ok(text)
}
