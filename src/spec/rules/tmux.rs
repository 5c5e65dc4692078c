//! The tmux server.

use super::{Checked, Reported, Rules, paths};
use crate::{
    model::PoolName,
    spec::{
        diagnostic::{Code, quoted},
        document,
        load::FieldPath,
        pool::{SocketSpec, Tmux},
    },
};

/// What tmux calls the server that a person gets without asking for one (tmux(1), `-L`).
pub(super) const PERSONAL_SERVER: &str = "default";

/// The longest path of a socket, in bytes (unix(7): `sun_path` has 108, the last of them a NUL).
const LONGEST_SOCKET: usize = 107;

/// Checks the socket. The sizes were checked with the shape.
pub(super) fn resolve(wanted: &document::Tmux, pool: Option<&PoolName>, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Tmux> {
    let socket_at = at.field("socket");
    let socket = match wanted.socket.as_deref() {
        Some(socket) => socket_spec(socket, &socket_at, rules),
        None => rules.in_shape(&socket_at).and(pool.ok_or(Reported)).map(|pool| SocketSpec::Name(pool.as_str().to_owned())),
    };
    Ok(Tmux { socket: socket?, width: wanted.width, height: wanted.height, history_limit: wanted.history_limit })
}

/// Tells a name from a path.
fn socket_spec(text: &str, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<SocketSpec> {
    if paths::is_path(text) {
        let path = paths::resolve(text, at, rules)?;
        if path.as_os_str().len() > LONGEST_SOCKET {
            let message = format!("the path of the socket has {} bytes; the system takes at most {LONGEST_SOCKET}", path.as_os_str().len());
            return Err(rules.refuse(Code::BadPath, at, message, "choose a shorter one, or a name"));
        }
        return Ok(SocketSpec::Path(path));
    }
    if text == PERSONAL_SERVER {
        let message = format!("a socket cannot be called {}: that is the name of a person's own server", quoted(text));
        return Err(rules.refuse(Code::ReservedName, at, message, "choose another name, or leave it out"));
    }
    // A socket's name has the alphabet of the pool's, which is its default.
    match PoolName::new(text) {
        Ok(name) => Ok(SocketSpec::Name(name.as_str().to_owned())),
        Err(error) => Err(rules.refuse(Code::BadName, at, error.to_string(), "write a name or a path with a /")),
    }
}
