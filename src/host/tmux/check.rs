//! What `doctor` asks about the server.

use super::{TmuxError, TmuxServer, launch::is_service, script::Request, server::Purpose};
use crate::{
    host::process::{ProcessError, cgroup, descriptor_limit},
    model::Pid,
};

/// The server as a process of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCheck {
    /// Its process.
    pub pid: Pid,
    /// Its version.
    pub version: String,
    /// Its soft limit of descriptors.
    pub descriptor_limit: Option<u64>,
    /// Its control group.
    pub cgroup: Option<String>,
    /// Ours.
    pub our_cgroup: Option<String>,
}

impl ServerCheck {
    /// Whether the next restart of our service would end the server and every session: it lives in the service's control group.
    pub fn ends_with_us(&self) -> bool {
        match (&self.cgroup, &self.our_cgroup) {
            (Some(its), Some(ours)) => {
                is_service(ours) && its.strip_prefix(ours.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            _ => false,
        }
    }
}

impl TmuxServer {
    /// Looks at the server that answers on the socket.
    ///
    /// # Errors
    /// [`TmuxError::NoServer`] when there is none, or why it could not be looked at.
    pub async fn check(&mut self) -> Result<ServerCheck, TmuxError> {
        let speaker = self.ask(Request::default(), Purpose::Look).await?.speaker;
        let us = i32::try_from(std::process::id()).map(Pid).map_err(|_| ProcessError::Malformed { pid: Pid(0), file: "self" })?;
        Ok(ServerCheck {
            pid: speaker.pid,
            version: speaker.version,
            descriptor_limit: descriptor_limit(speaker.pid)?,
            cgroup: cgroup(speaker.pid)?,
            our_cgroup: cgroup(us)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_in_our_service_ends_with_it() {
        let ends = |its: &str, ours: &str| {
            ServerCheck {
                pid: Pid(1),
                version: "3.3a".into(),
                descriptor_limit: None,
                cgroup: Some(its.into()),
                our_cgroup: Some(ours.into()),
            }
            .ends_with_us()
        };
        assert!(ends("/a/x.service", "/a/x.service"));
        assert!(ends("/a/x.service/tmux-spawn-1.scope", "/a/x.service"));
        assert!(!ends("/a/run-1.scope", "/a/x.service"));
        assert!(!ends("/a/x.service2", "/a/x.service"));
        assert!(!ends("/a/session-2.scope", "/a/session-2.scope"), "a login's scope is not restarted");
        assert!(!ends("/", "/"), "no systemd");
    }
}
