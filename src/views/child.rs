//! The daemon's end of a reader: a process that ends when it is silent for too long.
//!
//! Under systemd it is a service of its own behind a socket, with its own user and limits; else a
//! child. Always holds: what a reader says is bounded in length and in time; a reader that dies,
//! floods or talks nonsense is a fault of the peer; dropping it ends it, a child by a signal, a
//! service by the end of its input. The connection string goes through the pipe or socket only.
//! Start at [`Reader::open`].

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::limits::{LINE_BYTES_MAX, READER_GRACE};
use super::wire::{DatabaseError, Open, Order, Read, Told};
use crate::fault::Fault;

/// Bytes taken from the pipe at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Where a reader is had.
#[derive(Debug, Clone)]
pub enum ReaderPlace {
    /// A program that is started with the argument `views-reader`.
    Program(PathBuf),
    /// The socket of a service that starts one for each connection.
    Socket(PathBuf),
}

/// A reader with a connection.
pub(super) struct Reader {
    /// Of a child; a service's ends with its input.
    process: Option<Child>,
    orders: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    lines: BufReader<Box<dyn AsyncRead + Send + Sync + Unpin>>,
    line: Vec<u8>,
    wait: Duration,
    /// What the database calls itself.
    pub system: String,
    /// The character around names.
    pub quote: Option<char>,
}

/// What a reader says while a statement runs.
pub(super) enum Line<'a> {
    /// A row as it is, without its end of line.
    Row(&'a [u8]),
    /// The statement has ended whole.
    End,
}

/// Why a statement gave nothing, or not all.
pub(super) enum Refused {
    /// The database said no; the connection can be used again.
    Database(DatabaseError),
    /// The reader is of no more use.
    Reader(Fault),
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Fault {
        match refused {
            Refused::Reader(fault) => fault,
            Refused::Database(error) => {
                let DatabaseError { state, native, words } = error;
                match state.is_empty() {
                    true => Fault::peer("reader", words),
                    false => {
                        Fault::peer("database", format!("SQLSTATE {state}, {native}: {words}"))
                    }
                }
            }
        }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        Refused::Reader(fault)
    }
}

impl Reader {
    /// Has a reader that connects.
    pub async fn open(place: &ReaderPlace, open: Open) -> Result<Reader, Refused> {
        let mut reader = match place {
            ReaderPlace::Program(program) => Reader::start(program)?,
            ReaderPlace::Socket(path) => {
                let absent = |error| {
                    let words = format!("{}: {error}", path.display());
                    Fault::ours("reader", format!("its service does not answer: {words}"))
                };
                let connected = UnixStream::connect(path).await.map_err(absent)?;
                let (lines, orders) = connected.into_split();
                Reader::over(None, Box::new(orders), Box::new(lines))
            }
        };
        reader.wait = Duration::from_secs(open.statement_seconds.into()) + READER_GRACE;
        reader.order(&Order::Open(open)).await?;
        match reader.told().await? {
            Told::Opened { system, quote } => {
                (reader.system, reader.quote) = (system, quote);
                Ok(reader)
            }
            Told::Error(error) => Err(Refused::Database(error)),
            Told::Columns(_) | Told::End(_) => Err(nonsense().into()),
        }
    }

    /// Starts a child.
    fn start(program: &Path) -> Result<Reader, Fault> {
        let mut process = Command::new(program)
            .arg("views-reader")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Fault::ours("reader", format!("does not start: {error}")))?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (orders, lines) = pipes.ok_or_else(|| Fault::ours("reader", "has no pipes"))?;
        Ok(Reader::over(Some(process), Box::new(orders), Box::new(lines)))
    }

    fn over(
        process: Option<Child>,
        orders: Box<dyn AsyncWrite + Send + Sync + Unpin>,
        lines: Box<dyn AsyncRead + Send + Sync + Unpin>,
    ) -> Reader {
        let lines = BufReader::with_capacity(BUFFER_BYTES, lines);
        let (line, wait, system) = (Vec::new(), READER_GRACE, String::new());
        Reader { process, orders, lines, line, wait, system, quote: None }
    }

    /// Runs a statement and gives its columns; then [`Reader::next`] gives its rows.
    pub async fn read(&mut self, sql: String, rows_max: u64) -> Result<Vec<String>, Refused> {
        self.order(&Order::Read(Read { sql, rows_max })).await?;
        match self.told().await? {
            Told::Columns(names) => Ok(names),
            Told::Error(error) => Err(Refused::Database(error)),
            Told::Opened { .. } | Told::End(_) => Err(nonsense().into()),
        }
    }

    /// The next row, or the end.
    pub async fn next(&mut self) -> Result<Line<'_>, Refused> {
        self.fill().await?;
        if self.line.first() == Some(&b'[') {
            return Ok(Line::Row(&self.line));
        }
        match parse(&self.line)? {
            Told::End(_) => Ok(Line::End),
            Told::Error(error) => Err(Refused::Database(error)),
            Told::Opened { .. } | Told::Columns(_) => Err(nonsense().into()),
        }
    }

    /// Lets the reader disconnect and end; one that does not is killed.
    pub async fn close(self) {
        let Reader { process, mut orders, .. } = self;
        let _ = timeout(READER_GRACE, orders.shutdown()).await;
        drop(orders);
        if let Some(mut process) = process {
            let _ = timeout(READER_GRACE, process.wait()).await;
        }
    }

    async fn order(&mut self, order: &Order) -> Result<(), Fault> {
        let mut line = serde_json::to_vec(order).expect("texts and numbers are JSON");
        line.push(b'\n');
        match timeout(self.wait, self.orders.write_all(&line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.dead()),
            Err(_) => Err(self.silent()),
        }
    }

    async fn told(&mut self) -> Result<Told, Fault> {
        self.fill().await?;
        parse(&self.line)
    }

    /// Reads one line, without its end, into `self.line`.
    async fn fill(&mut self) -> Result<(), Fault> {
        self.line.clear();
        loop {
            // A buffer that holds something is taken without asking for the time.
            let some = if self.lines.buffer().is_empty() {
                match timeout(self.wait, self.lines.fill_buf()).await {
                    Ok(Ok(some)) => some,
                    Ok(Err(_)) => return Err(self.dead()),
                    Err(_) => return Err(self.silent()),
                }
            } else {
                self.lines.buffer()
            };
            if some.is_empty() {
                return Err(self.dead());
            }
            let end = memchr::memchr(b'\n', some);
            let taken = end.unwrap_or(some.len());
            if self.line.len() + taken > LINE_BYTES_MAX {
                let detail = format!("said a line of more than {LINE_BYTES_MAX} bytes");
                return Err(Fault::peer("reader", detail));
            }
            self.line.extend_from_slice(&some[..taken]);
            self.lines.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(());
            }
        }
    }

    fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.start_kill();
        }
    }

    /// The fault of a reader that said nothing in its time. It is killed.
    fn silent(&mut self) -> Fault {
        self.kill();
        Fault::peer("deadline", format!("the database was silent for {} s", self.wait.as_secs()))
    }

    /// The fault of a reader whose pipe is closed.
    fn dead(&mut self) -> Fault {
        self.kill();
        Fault::peer("reader", "ended by itself, in the driver or for lack of memory")
    }
}

fn parse(line: &[u8]) -> Result<Told, Fault> {
    serde_json::from_slice(line).map_err(|_| nonsense())
}

fn nonsense() -> Fault {
    Fault::peer("reader", "said what it should not")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::wire::Charset;
    use super::*;

    /// A reader that is this script.
    async fn play(script: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("reader");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let connection = "PWD=secret-1".to_owned();
        let open = Open { connection, charset: Charset::Wide, statement_seconds: 0 };
        let said = |refused: Refused| Fault::from(refused).to_string();
        let place = ReaderPlace::Program(program);
        let mut reader = Reader::open(&place, open).await.map_err(said)?;
        reader.read("SELECT 1 FROM a".to_owned(), 5).await.map_err(said)?;
        loop {
            match reader.next().await.map_err(said)? {
                Line::Row(_) => {}
                Line::End => return Ok(()),
            }
        }
    }

    const OPENED: &str = r#"read order; echo '{"opened":{"system":"A","quote":null}}'"#;
    const COLUMNS: &str = r#"read order; echo '{"columns":["a"]}'"#;

    #[tokio::test]
    async fn a_reader_that_does_as_it_should_is_believed() {
        let script = format!("{OPENED}\n{COLUMNS}\necho '[\"1\"]'\necho '{{\"end\":1}}'");
        assert_eq!(play(&script).await, Ok(()));
    }

    #[tokio::test]
    async fn a_reader_that_dies_floods_hangs_or_talks_nonsense_is_a_fault() {
        let after = |more: &str| format!("{OPENED}\n{COLUMNS}\n{more}");
        let flood = after("head -c 3000000 /dev/zero | tr '\\0' '['; sleep 60");
        for (script, expected) in [
            ("read order; exit 3".to_owned(), "ended by itself"),
            ("read order; kill -SEGV $$".to_owned(), "ended by itself"),
            ("echo hello; sleep 60".to_owned(), "said what it should not"),
            ("exec sleep 60".to_owned(), "the database was silent"),
            (after("echo '[\"1\"]'; exec sleep 60"), "the database was silent"),
            (after("echo '{\"columns\":[]}'; sleep 60"), "said what it should not"),
            (flood, "said a line of more than"),
        ] {
            let said = play(&script).await.expect_err("it is a fault");
            assert!(said.contains(expected), "{script}: {said}");
            assert!(!said.contains("secret-1"));
        }
    }
}
