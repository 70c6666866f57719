//! A small HTTP/1.1 client that sends exactly the bytes it is given, and reads what comes back
//! whole or says how it was broken. The appliance is not tested with its own HTTP library.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long one read may take.
const READ_WAIT: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of that name, in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; a text that is none fails the test with its words.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {} {}", self.status, self.text()))
    }
}

/// One connection, for as many requests as the peer allows.
pub struct Connection {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(address: &str) -> Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_WAIT))?;
        stream.set_write_timeout(Some(READ_WAIT))?;
        Ok(Connection { host: address.to_owned(), stream: BufReader::new(stream) })
    }

    /// Sends a request and reads its answer.
    pub fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        // A peer that refuses a long body answers before it has read it and closes: the answer
        // counts, not the pipe that broke.
        let sent = self.stream.get_mut().write_all(&message);
        let reply = self.read_reply(method);
        match (sent, reply) {
            (_, Ok(reply)) => Ok(reply),
            (Err(sent), Err(_)) => Err(sent),
            (Ok(()), Err(read)) => Err(read),
        }
    }

    fn read_reply(&mut self, method: &str) -> Result<Reply> {
        let (first, headers) = read_head(&mut self.stream)?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| broken("no status line"))?;
        let mut reply = Reply { status, headers, body: Vec::new() };
        if method != "HEAD" && !matches!(status, 204 | 304) {
            reply.body = read_body(&mut self.stream, &reply)?;
        }
        Ok(reply)
    }
}

/// One request on a connection of its own.
pub fn ask(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Reply> {
    Connection::open(address)?.ask(method, target, headers, body)
}

/// The first line of a message and its headers, their names in small letters.
pub fn read_head(stream: &mut impl BufRead) -> Result<(String, Vec<(String, String)>)> {
    let first = read_line(stream)?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok((first, headers));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| broken("a header without colon"))?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(Error::new(ErrorKind::UnexpectedEof, "the peer closed"));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_body(stream: &mut BufReader<TcpStream>, reply: &Reply) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if reply.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        loop {
            let size = read_line(stream)?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| broken("a chunk's size"))?;
            let start = body.len();
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..])?;
            read_line(stream)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    match reply.header("content-length") {
        Some(length) => {
            let length = length.parse().map_err(|_| broken("a content-length"))?;
            body.resize(length, 0);
            stream.read_exact(&mut body)?;
        }
        None => {
            stream.read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}
