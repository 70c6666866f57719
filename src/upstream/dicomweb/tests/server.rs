//! A server that answers exactly what a test says, and remembers what it was asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Path and query.
    pub target: String,
    /// The head's lines behind the first, in small letters.
    pub head: String,
}

impl Asked {
    /// The number behind `name=` in the query.
    pub fn number(&self, name: &str) -> usize {
        let (_, behind) = self.target.split_once(&format!("&{name}=")).expect("it is asked for");
        behind.split('&').next().unwrap().parse().unwrap()
    }
}

/// What the server does, in order. Behind the last act it closes.
pub enum Act {
    Send(Vec<u8>),
    Wait(Duration),
    /// Sends these bytes until the client goes away.
    Endless(Vec<u8>),
    /// Keeps silent until the client goes away.
    Hang,
    /// Takes the next request of the connection.
    KeepAlive,
}

type Script = dyn Fn(&Asked) -> Vec<Act> + Send + Sync;

/// A running server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Server {
    /// `http://127.0.0.1:port` or `https://localhost:port`.
    pub origin: String,
    /// All requests, in order.
    pub asked: Arc<Mutex<Vec<Asked>>>,
    /// Connections accepted.
    pub connections: Arc<AtomicUsize>,
    /// Requests being answered, and the most there were at a time.
    pub at_once: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Server {
    /// A server on a free port of loopback.
    pub async fn plain(script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Server {
        Server::start(None, Arc::new(script)).await
    }

    /// The same with TLS.
    pub async fn tls(
        tls: rustls::ServerConfig,
        script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static,
    ) -> Server {
        Server::start(Some(TlsAcceptor::from(Arc::new(tls))), Arc::new(script)).await
    }

    async fn start(tls: Option<TlsAcceptor>, script: Arc<Script>) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let origin = match tls {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let server = Server {
            origin,
            asked: Arc::default(),
            connections: Arc::default(),
            at_once: Arc::default(),
        };
        let running = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                running.connections.fetch_add(1, Ordering::SeqCst);
                let (server, script, tls) = (running.clone(), script.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => server.serve(stream, &script).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => server.serve(stream, &script).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        server
    }

    /// The targets of all requests.
    pub fn targets(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.target.clone()).collect()
    }

    async fn serve(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        script: &Arc<Script>,
    ) -> Option<()> {
        loop {
            let asked = read_request(&mut stream).await?;
            self.asked.lock().unwrap().push(asked.clone());
            let now = self.at_once.0.fetch_add(1, Ordering::SeqCst) + 1;
            self.at_once.1.fetch_max(now, Ordering::SeqCst);
            let kept = perform(&mut stream, script(&asked)).await;
            self.at_once.0.fetch_sub(1, Ordering::SeqCst);
            if !kept? {
                let _ = stream.shutdown().await;
                return None;
            }
        }
    }
}

/// Whether the connection is kept; `None` when the client is gone.
async fn perform(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    acts: Vec<Act>,
) -> Option<bool> {
    for act in acts {
        match act {
            Act::Send(bytes) => stream.write_all(&bytes).await.ok()?,
            Act::Wait(time) => tokio::time::sleep(time).await,
            Act::Endless(bytes) => loop {
                stream.write_all(&bytes).await.ok()?;
            },
            Act::Hang => {
                let _ = stream.read(&mut [0; 1]).await;
                return None;
            }
            Act::KeepAlive => return Some(true),
        }
        let _ = stream.flush().await;
    }
    Some(false)
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let (first, rest) = head.split_once("\r\n").unwrap();
    let target = first.split(' ').nth(1).unwrap().to_owned();
    Some(Asked { target, head: rest.to_ascii_lowercase() })
}

/// A whole answer with its length, after which the connection is kept.
pub fn reply(status: &str, content_type: &str, body: impl AsRef<[u8]>) -> Vec<Act> {
    let length = format!("Content-Length: {}\r\n", body.as_ref().len());
    vec![head(status, content_type, &length), Act::Send(body.as_ref().to_vec()), Act::KeepAlive]
}

/// The head of an answer, with more header lines.
pub fn head(status: &str, content_type: &str, lines: &str) -> Act {
    let content_type = match content_type {
        "" => String::new(),
        named => format!("Content-Type: {named}\r\n"),
    };
    Act::Send(format!("HTTP/1.1 {status}\r\n{content_type}{lines}\r\n").into_bytes())
}

/// A body of these objects.
pub fn multipart(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for object in objects {
        body.extend_from_slice(b"--b1\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend_from_slice(object);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b1--\r\n");
    body
}

/// The media type of [`multipart`].
pub const MULTIPART: &str = r#"multipart/related; type="application/dicom"; boundary="b1""#;
/// The media type of a search's answer.
pub const JSON: &str = "application/dicom+json";
