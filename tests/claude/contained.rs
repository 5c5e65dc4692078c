//! The laboratory itself: nothing gets out.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::api::{Api, Connect};

/// Asks the proxy for a connection and gives its first line.
fn ask(api: &Api, first_line: &str) -> String {
    let address = api.proxy_url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "{first_line}\r\nhost: x\r\n\r\n").expect("it reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("it answers");
    String::from_utf8_lossy(&answer).into_owned()
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
