//! A cloud that misbehaves on demand: it stands in front of a real archive, or alone, counts what
//! it is asked, and does to each request what the test's rule says.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{self, Reply};
use super::orthanc::Orthanc;

/// How long a request that hangs is held while nobody ends it.
const HANG: Duration = Duration::from_secs(300);

/// What a request wants (PS3.18 10.4, 10.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `/studies?…`
    Search,
    /// `/studies/{study}/series?…`, `/studies/{study}/instances?…` and the instances of a series.
    Manifest,
    /// `/studies/{study}`
    Study,
    /// `/studies/{study}/series/{series}`
    Series,
    /// `/studies/{study}/series/{series}/instances/{instance}`
    Instance,
    /// Anything else.
    Other,
}

/// A request as it was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub step: Step,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// What came with it; empty where it broke off.
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Asked {
    /// Whether objects were asked for.
    pub fn retrieves(&self) -> bool {
        matches!(self.step, Step::Study | Step::Series | Step::Instance)
    }
}

/// What is done to a request.
pub enum Act {
    /// The archive behind answers.
    Pass,
    /// This status with these headers and this body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// 200 with the length of this body, and half of it.
    Half(Vec<u8>),
    /// Nothing is answered, and the connection ends.
    Break,
    /// The same, so much later.
    Later(Duration, Box<Act>),
    /// Nothing is answered, and the connection stays open.
    Hang,
    /// The archive's answer, broken off after so many bytes of its body. No length is told, so
    /// that only the missing end of the body shows it.
    Cut(usize),
    /// The archive's answer, changed.
    Change(Box<dyn FnOnce(&mut Reply) + Send>),
}

impl Act {
    /// Only a status.
    pub fn status(status: u16) -> Act {
        Act::Answer(status, Vec::new(), b"no".to_vec())
    }

    /// An answer to a search.
    pub fn json(value: &Value) -> Act {
        let media = ("Content-Type", "application/dicom+json".to_owned());
        Act::Answer(200, vec![media], value.to_string().into_bytes())
    }
}

type Rule = Box<dyn FnMut(&Asked) -> Act + Send>;

struct Shared {
    archive: Option<String>,
    rule: Mutex<Rule>,
    asked: Mutex<Vec<Asked>>,
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// The cloud. It ends with this value.
pub struct Cloud {
    /// `127.0.0.1:port`; stays the same while it is down.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Cloud {
    /// In front of an archive; everything passes.
    pub fn before(orthanc: &Orthanc) -> Cloud {
        Cloud::start(Some(orthanc.address.clone()), |_| Act::Pass)
    }

    /// Alone, with a rule that answers everything.
    pub fn alone(rule: impl FnMut(&Asked) -> Act + Send + 'static) -> Cloud {
        Cloud::start(None, rule)
    }

    fn start(archive: Option<String>, rule: impl FnMut(&Asked) -> Act + Send + 'static) -> Cloud {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Shared {
            archive,
            rule: Mutex::new(Box::new(rule)),
            asked: Mutex::default(),
            closed: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Some(accept(listener, Arc::clone(&shared)));
        Cloud { address, shared, accepting }
    }

    /// From now on requests are treated by this rule. What hangs is let go.
    pub fn behave(&self, rule: impl FnMut(&Asked) -> Act + Send + 'static) {
        *self.shared.rule.lock().expect("no rule panicked") = Box::new(rule);
        self.let_go();
    }

    /// Closes the door: connections are refused, open ones end.
    pub fn down(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // The accepting thread looks at the flag when somebody knocks.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().expect("the cloud did not panic");
        }
        self.let_go();
    }

    /// Opens the door again at the same address.
    pub fn up(&mut self) {
        assert!(self.accepting.is_none(), "the cloud is up already");
        self.shared.closed.store(false, Ordering::SeqCst);
        let listener = TcpListener::bind(self.address).expect("the cloud's own port is still free");
        self.accepting = Some(accept(listener, Arc::clone(&self.shared)));
    }

    /// Everything that was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("no rule panicked").clone()
    }

    /// How often that was asked.
    pub fn count(&self, step: Step) -> usize {
        self.asked().iter().filter(|asked| asked.step == step).count()
    }

    /// A `[[source]]` of the configuration that leads here, patients known by `idCardNo`.
    pub fn source(&self, name: &str) -> String {
        format!(
            "[[source]]\nname = \"{name}\"\nurl = \"{}\"\n[[source.patient_key]]\n\
             kind = \"idCardNo\"\n",
            self.base()
        )
    }

    /// Where its services begin.
    pub fn base(&self) -> String {
        format!("http://{}/dicom-web", self.address)
    }

    fn let_go(&self) {
        for stream in self.shared.open.lock().expect("no rule panicked").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if self.accepting.is_some() {
            self.down();
        }
    }
}

fn accept(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if shared.closed.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                // A peer that leaves early is part of many tests.
                let _ = serve(stream, &shared);
            });
        }
    })
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (first, headers) = http::read_head(&mut reader)?;
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let asked = Asked { step: step(&target), target, headers, body, at: Instant::now() };
    shared.asked.lock().expect("no rule panicked").push(asked.clone());
    let mut act = (shared.rule.lock().expect("no rule panicked"))(&asked);
    while let Act::Later(wait, then) = act {
        std::thread::sleep(wait);
        act = *then;
    }
    match act {
        Act::Pass => write_reply(stream, &pass(&asked, shared)?, None),
        Act::Answer(status, headers, body) => {
            let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value));
            write_reply(stream, &Reply { status, headers: headers.collect(), body }, None)
        }
        Act::Half(body) => {
            let mut stream = stream;
            write!(stream, "HTTP/1.1 200 Told\r\nContent-Length: {}\r\n\r\n", body.len())?;
            stream.write_all(&body[..body.len() / 2])?;
            stream.shutdown(Shutdown::Write)
        }
        Act::Cut(bytes) => write_reply(stream, &pass(&asked, shared)?, Some(bytes)),
        Act::Change(change) => {
            let mut reply = pass(&asked, shared)?;
            change(&mut reply);
            write_reply(stream, &reply, None)
        }
        Act::Break => stream.shutdown(Shutdown::Both),
        Act::Later(..) => unreachable!("waited for above"),
        Act::Hang => {
            stream.set_read_timeout(Some(HANG))?;
            shared.open.lock().expect("no rule panicked").push(stream.try_clone()?);
            let _ = reader.read(&mut [0; 1]);
            Ok(())
        }
    }
}

fn pass(asked: &Asked, shared: &Shared) -> std::io::Result<Reply> {
    let archive = shared.archive.as_deref().expect("a cloud alone never passes a request on");
    let own = ["host", "connection", "content-length"];
    let mut headers: Vec<(&str, &str)> = vec![("Connection", "close")];
    for (name, value) in &asked.headers {
        if !own.contains(&name.as_str()) {
            headers.push((name, value));
        }
    }
    http::ask(archive, "GET", &asked.target, &headers, b"")
}

/// Writes an answer; with `cut`, without its length and only so many bytes of its body.
fn write_reply(mut stream: TcpStream, reply: &Reply, cut: Option<usize>) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Told\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        let framing = ["content-length", "transfer-encoding", "connection", "keep-alive"];
        if !framing.contains(&name.to_ascii_lowercase().as_str()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let end = cut.unwrap_or(reply.body.len()).min(reply.body.len());
    if cut.is_none() {
        head.push_str(&format!("Content-Length: {end}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&reply.body[..end])?;
    stream.shutdown(Shutdown::Write)
}

fn step(target: &str) -> Step {
    let path = target.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
    match parts.as_slice() {
        ["studies"] => Step::Search,
        ["studies", _] => Step::Study,
        ["studies", _, "series" | "instances"] | ["studies", _, "series", _, "instances"] => {
            Step::Manifest
        }
        ["studies", _, "series", _] => Step::Series,
        ["studies", _, "series", _, "instances", _] => Step::Instance,
        _ => Step::Other,
    }
}
