//! The laboratory itself: nothing gets out.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::api::{Api, Connect};

/// Set by `.ci/contained`, which `make test-claude` runs this in where namespaces are allowed.
const CONTAINED: &str = "CLAUDE_FAILOVER_CONTAINED";

/// Asks the proxy for a connection and gives its first line.
fn ask(api: &Api, first_line: &str) -> String {
    let address = api.proxy_url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "{first_line}\r\nhost: x\r\n\r\n").expect("it reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("it answers");
    String::from_utf8_lossy(&answer).into_owned()
}

/// There is no other interface, and no way to anywhere: what is not said to the played API is said to nobody.
#[test]
fn nothing_but_loopback_exists() {
    if std::env::var_os(CONTAINED).is_none() {
        // Past the test runner, which would keep it to itself.
        let _ = writeln!(
            std::io::stderr(),
            "not in a network namespace of its own: connections are looked at, not made impossible; see .ci/contained"
        );
        return;
    }
    let devices = std::fs::read_to_string("/proc/self/net/dev").expect("readable");
    let names: Vec<_> = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    assert_eq!(names, ["lo"], "{devices}");
    // An address of the documentation (RFC 5737): here, it is not even tried.
    let nowhere = std::net::SocketAddr::from(([192, 0, 2, 1], 443));
    let error = TcpStream::connect_timeout(&nowhere, std::time::Duration::from_secs(5)).expect_err("there is no way");
    assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable, "{error}");
}

#[test]
fn the_proxy_connects_to_nowhere() {
    let directory = tempfile::tempdir().expect("a directory");
    let api = Api::start(directory.path());
    for line in ["CONNECT example.com:443 HTTP/1.1", "CONNECT api.anthropic.com:80 HTTP/1.1", "GET http://example.com/ HTTP/1.1"] {
        assert_eq!(ask(&api, line), "HTTP/1.1 502", "{line}");
    }
    assert_eq!(ask(&api, "CONNECT api.anthropic.com:443 HTTP/1.1"), "HTTP/1.1 200");
    let played = Connect { to: "api.anthropic.com:443".to_owned(), played: true };
    assert_eq!(api.connects().into_iter().filter(|connect| connect.played).collect::<Vec<_>>(), [played]);
}
