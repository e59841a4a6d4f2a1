//! An HTTP server that says what a test tells it to.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// One answer.
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    /// Whole lines.
    pub(crate) headers: &'static str,
    pub(crate) body: String,
}

/// Answers on a port of its own, as long as the test runs.
pub(crate) struct Server {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Answer {
    pub(crate) fn new(status: &'static str, body: &str) -> Self {
        Answer { status, headers: "", body: body.to_owned() }
    }
}

impl Server {
    /// Gives these answers, one after the other, then none.
    pub(crate) fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = requests.clone();
        let mut answers: VecDeque<_> = answers.into_iter().collect();
        std::thread::spawn(move || {
            while let (Ok((stream, _)), Some(answer)) = (listener.accept(), answers.pop_front()) {
                heard.lock().unwrap().push(talk(&stream, &answer));
            }
        });
        Server { port, requests }
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What was asked so far: head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn talk(stream: &TcpStream, answer: &Answer) -> String {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    let mut length = 0;
    let mut chunked = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        chunked |= lower.starts_with("transfer-encoding: chunked");
        request.push_str(&line);
    }
    request.push_str("\r\n");
    if chunked {
        length = chunks(&mut reader, &mut request);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request.push_str(&String::from_utf8_lossy(&body));
    let Answer { status, headers, body } = answer;
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = (&mut &*stream).write_all(format!("{head}{body}").as_bytes());
    request
}

/// Reads a chunked body; nothing of it is left to read.
fn chunks(reader: &mut impl BufRead, request: &mut String) -> usize {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).unwrap();
        if length == 0 {
            return 0;
        }
        request.push_str(&String::from_utf8_lossy(&chunk[..length]));
    }
}
