//! As much of HTTP as the tests need: a question to the registry, and a server for a step to ask.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::engine::{output, setup};

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer(String);

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let lines = self.0.lines().take_while(|line| !line.is_empty());
        let mut headers = lines.filter_map(|line| line.split_once(':'));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    }
}

/// Sends a request without a body.
pub(crate) fn ask(address: &str, method: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let accept = "application/vnd.docker.distribution.manifest.v2+json, \
                  application/vnd.oci.image.manifest.v1+json, \
                  application/vnd.oci.image.index.v1+json";
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    Answer(String::from_utf8_lossy(&answer).into_owned())
}

/// Answers every request with a JSON text, until the tests end. Gives its origin as containers see it.
pub(crate) fn serve(body: &'static str) -> String {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + body).as_bytes());
        }
    });
    // What a container reaches this machine by.
    let routes = output(&["run", "--rm", &setup().unwrap().base, "ip", "route"]);
    let route = routes.lines().find_map(|line| line.strip_prefix("default via ")).unwrap();
    let gateway = route.split_whitespace().next().unwrap();
    format!("http://{gateway}:{port}")
}
