//! Real database servers, which play a hospital's: PostgreSQL and MariaDB of Debian. Each listens
//! on 127.0.0.1 and keeps its data in a folder of its own; both refuse to run as root, so as root
//! they are started as the users that their packages made.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::wait_for;

/// Starts that are tried: a port may be taken between its choice and its use.
const STARTS_MAX: usize = 3;

/// Where Debian puts drivers.
pub const DRIVERS: &str = "/usr/lib/x86_64-linux-gnu/odbc";

/// How long a server may take to start.
const START_WAIT: Duration = Duration::from_secs(60);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    Postgres,
    MariaDb,
}

/// A running server. It ends with this value.
pub struct Database {
    pub system: System,
    port: u16,
    folder: TempDir,
    process: Option<Child>,
}

impl Database {
    /// A server with an empty database `his`.
    pub fn start(system: System) -> Database {
        let folder = tempfile::tempdir().expect("a folder for the server");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        if let Some((user, group)) = account(system) {
            chown(folder.path(), Some(user), Some(group)).expect("its owner");
        }
        let mut database = Database { system, port: 0, folder, process: None };
        database.install();
        let started = (0..STARTS_MAX).any(|_| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            database.port = listener.local_addr().expect("a free port").port();
            drop(listener);
            database.try_start()
        });
        assert!(started, "{system:?} did not start:\n{}", database.log());
        match system {
            System::Postgres => database.sql("postgres", "CREATE DATABASE his"),
            System::MariaDb => database.sql("mysql", "CREATE DATABASE his CHARACTER SET utf8mb4"),
        }
        database
    }

    fn install(&self) {
        let data = self.data();
        let output = match self.system {
            System::Postgres => self
                .command("initdb")
                .args(["--no-sync", "-A", "trust", "-U", "admin", "-E", "UTF8", "--locale", "C"])
                .arg("-D")
                .arg(data)
                .output(),
            System::MariaDb => self
                .command("mariadb-install-db")
                .args(["--no-defaults", "--auth-root-authentication-method=normal"])
                .arg(format!("--datadir={}", data.display()))
                .output(),
        };
        check(output.expect("the server's set-up starts; .ci/setup installs it"));
    }

    /// Starts it again on the same data and port.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        assert!(self.try_start(), "{:?} did not start:\n{}", self.system, self.log());
    }

    /// False when it ended at its start: somebody else took the port in the meantime.
    fn try_start(&mut self) -> bool {
        let (port, data) = (self.port.to_string(), self.data());
        let mut command = match self.system {
            System::Postgres => {
                let mut command = self.command("postgres");
                command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-p", &port]);
                command.arg("-k").arg(self.folder.path()).arg("-D").arg(data);
                command
            }
            System::MariaDb => {
                let mut command = self.command("mariadbd");
                command.args(["--no-defaults", "--bind-address=127.0.0.1", "--port", &port]);
                command.arg(format!("--socket={}/socket", self.folder.path().display()));
                command.arg(format!("--pid-file={}/pid", self.folder.path().display()));
                command.arg(format!("--datadir={}", data.display()));
                command
            }
        };
        let log = File::create(self.folder.path().join("log")).expect("the server's log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("its log")).stderr(log);
        self.process = Some(command.spawn().expect("the server starts"));
        let base = if self.system == System::Postgres { "postgres" } else { "mysql" };
        // Asked by the socket in its own folder, so that no other server can answer for it.
        let up = wait_for(START_WAIT, || {
            let process = self.process.as_mut().expect("it was just started");
            if process.try_wait().expect("the server can be waited for").is_some() {
                return Some(false);
            }
            self.try_sql(base, "SELECT 1").status.success().then_some(true)
        });
        if up != Some(true) {
            self.stop();
        }
        up == Some(true)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the server runs");
        process.kill().expect("the server can be killed");
        process.wait().expect("the server can be waited for");
        // What a killed server leaves, PostgreSQL's own processes among it, ends by itself.
        let freed = wait_for(START_WAIT, || TcpListener::bind(("127.0.0.1", self.port)).ok());
        assert!(freed.is_some(), "the port of a killed server is free again");
    }

    fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // SIGQUIT ends all of PostgreSQL's processes at once, SIGKILL only the first.
        let signal = if self.system == System::Postgres { libc::SIGQUIT } else { libc::SIGKILL };
        if let (Ok(None), Ok(id)) = (process.try_wait(), i32::try_from(process.id())) {
            // SAFETY: kill takes two numbers; the process is our own child and not yet waited for.
            unsafe { libc::kill(id, signal) };
        }
        let _ = process.wait();
    }

    /// The connection string of a database of it, without a password.
    pub fn connection(&self, database: &str) -> String {
        let port = self.port;
        match self.system {
            System::Postgres => format!(
                "Driver={DRIVERS}/psqlodbcw.so;Server=127.0.0.1;Port={port};Database={database};\
                 UID=admin;UseDeclareFetch=1;Fetch=500"
            ),
            System::MariaDb => format!(
                "Driver={DRIVERS}/libmaodbc.so;Server=127.0.0.1;Port={port};Database={database};\
                 UID=root"
            ),
        }
    }

    /// Runs statements that must succeed.
    pub fn sql(&self, database: &str, text: &str) {
        check(self.try_sql(database, text));
    }

    /// The first column of what a query gives.
    pub fn ask(&self, database: &str, query: &str) -> String {
        let output = self.try_sql(database, query);
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        check(output);
        text
    }

    fn try_sql(&self, database: &str, text: &str) -> Output {
        let mut client = self.client(database);
        // A client that finds no server ends without reading; its status tells.
        let _ = client.stdin.take().expect("a pipe").write_all(text.as_bytes());
        client.wait_with_output().expect("the client ends")
    }

    /// The server's own client, which reads statements from its standard input.
    pub fn client(&self, database: &str) -> Child {
        let (port, folder) = (self.port.to_string(), self.folder.path());
        let mut command = match self.system {
            System::Postgres => {
                let mut command = Command::new(program("psql"));
                command.args(["-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "admin"]);
                command.args(["-p", &port, "-d", database, "-h"]).arg(folder);
                command
            }
            System::MariaDb => {
                let mut command = Command::new("mariadb");
                command.args(["--no-defaults", "--default-character-set=utf8mb4", "-N", "-B"]);
                command.args(["-u", "root", database, "-S"]).arg(folder.join("socket"));
                command
            }
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the server's client starts")
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        // MariaDB deletes every table it finds in its folder for scratch files at its start: in a
        // shared one those of a server beside it.
        command.current_dir(self.folder.path()).env("TMPDIR", self.folder.path());
        if let Some((user, group)) = account(self.system) {
            command.uid(user).gid(group);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.stop();
    }
}

fn check(output: Output) {
    let (told, words) = (&output.stdout, &output.stderr);
    let [told, words] = [told, words].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{}\n{words}\n{told}", output.status);
}

/// Debian keeps PostgreSQL's programs in a folder of their version.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let own = versions.map(|version| version.path().join("bin").join(name));
    own.filter(|path| path.exists()).max().unwrap_or_else(|| Path::new(name).to_owned())
}

/// The user and group that the server runs as; `None` when that is who runs the tests.
fn account(system: System) -> Option<(u32, u32)> {
    // SAFETY: geteuid asks for a number and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let name = if system == System::Postgres { "postgres" } else { "mysql" };
    let users = fs::read_to_string("/etc/passwd").expect("the list of users");
    let line = users.lines().find(|line| line.starts_with(&format!("{name}:")));
    let fields: Vec<&str> = line.expect(".ci/setup installs the servers").split(':').collect();
    Some((fields[2].parse().expect("a user id"), fields[3].parse().expect("a group id")))
}
