//! The appliance under test: the real binary, in a process of its own.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, OpenOptions};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::http::{self, Connection, Reply};
use super::patient::{due_at, personal};
use super::platform;
use super::setup::Setup;
use super::{PATIENCE, wait_for};

/// Where a HIS pushes registrations (imaging cloud's document, 3.4.2).
pub const REGISTER: &str = "/standardInterface/standardHttp/saveDataStorage";

/// Where a HIS pushes settlements (imaging cloud's document, 3.6.2).
pub const SETTLE: &str = "/standardInterface/standardHttp/saveSetlInfoList";

/// How long a start may take.
const START_WAIT: Duration = Duration::from_secs(30);

/// Lines of the log that a failed test prints.
const LOG_LINES: usize = 120;

/// A running appliance, or one between a kill and a restart. It ends with this value, and then no
/// line of its log and no name of its files may show what was registered.
pub struct Forepost {
    pub setup: Setup,
    folder: TempDir,
    program: PathBuf,
    process: Option<Child>,
    ready: Value,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    personal: BTreeSet<String>,
    exchange: String,
}

impl Forepost {
    /// Starts with this set-up, and returns when every door listens.
    pub fn start(setup: Setup) -> Forepost {
        let mut forepost = Forepost::prepare(setup);
        forepost.restart();
        forepost
    }

    /// Where its configuration and its data lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything but the process.
    pub fn prepare(setup: Setup) -> Forepost {
        let folder = tempfile::tempdir().expect("a folder for the appliance");
        let (program, seen) = (env!("CARGO_BIN_EXE_forepost").into(), Mutex::default());
        Forepost { setup, folder, program, process: None, ready: Value::Null, seen }
    }

    /// From the next start on, service and verbs are those of another program.
    pub fn run_by(&mut self, program: &Path) {
        self.program = program.to_owned();
    }

    /// Starts again on the same data, with the set-up as it is now.
    pub fn restart(&mut self) {
        self.restart_with(&[], &[]);
    }

    /// The same as systemd does it: with listening sockets by their names, and with variables.
    pub fn restart_with(&mut self, sockets: &[(&str, &TcpListener)], variables: &[(&str, &str)]) {
        assert!(self.process.is_none(), "the appliance runs already");
        let ready = self.folder.path().join("ready.json");
        let _ = fs::remove_file(&ready);
        let process = self.spawn(&ready, sockets, variables);
        self.process = Some(process);
        let read = wait_for(START_WAIT, || {
            let process = self.process.as_mut().expect("it was just started");
            if let Some(status) = process.try_wait().expect("the appliance can be waited for") {
                panic!("the appliance ended while it started: {status}");
            }
            fs::read(&ready).ok()
        });
        let read = read.unwrap_or_else(|| panic!("no door listened within {START_WAIT:?}"));
        self.ready = serde_json::from_slice(&read).expect("the ready file is JSON");
    }

    fn spawn(
        &self,
        ready: &Path,
        sockets: &[(&str, &TcpListener)],
        variables: &[(&str, &str)],
    ) -> Child {
        let config = self.setup.write(self.folder.path());
        let log = OpenOptions::new().create(true).append(true).open(self.log_path());
        let log = log.expect("the appliance's log");
        let mut command = Command::new(&self.program);
        if !sockets.is_empty() {
            command = passing(&self.program, sockets);
        }
        command
            .args(["serve", "--log", self.setup.log, "--config"])
            .arg(config)
            .arg("--ready-file")
            .arg(ready)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the appliance's log"))
            .stderr(log)
            .spawn()
            .expect("the appliance starts")
    }

    /// A start that must fail: its exit code and what stands in the log.
    pub fn refused_start(&self, variables: &[(&str, &str)]) -> (Option<i32>, String) {
        let mut process = self.spawn(&self.folder.path().join("ready.json"), &[], variables);
        let ended = wait_for(START_WAIT, || process.try_wait().expect("it can be waited for"));
        let status = ended.unwrap_or_else(|| {
            let _ = process.kill();
            panic!("the appliance started")
        });
        (status.code(), self.log())
    }

    /// Writes the set-up as it is now and has it taken up; returns what the log said of it, up to
    /// `end`.
    pub fn reload(&self, end: &str) -> String {
        let before = self.log().len();
        self.setup.write(self.folder.path());
        self.hang_up();
        let said = wait_for(PATIENCE, || {
            let log = self.log();
            let at = log[before..].find(end)?;
            Some(log[before..before + at + end.len()].to_owned())
        });
        said.unwrap_or_else(|| panic!("the log did not say {end}"))
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        // SAFETY: kill takes two numbers; the process is our own child and not yet waited for.
        unsafe { libc::kill(self.process_id(), libc::SIGHUP) };
    }

    /// SIGKILL: no chance to tidy up.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the appliance runs");
        process.kill().expect("the appliance can be killed");
        process.wait().expect("the appliance can be waited for");
    }

    /// SIGTERM, and its way out.
    pub fn stop(&mut self) -> ExitStatus {
        let id = self.process_id();
        let mut process = self.process.take().expect("the appliance runs");
        // SAFETY: kill takes two numbers; the process is our own child and not yet waited for.
        unsafe { libc::kill(id, libc::SIGTERM) };
        let ended = wait_for(Duration::from_secs(40), || {
            process.try_wait().expect("the appliance can be waited for")
        });
        ended.unwrap_or_else(|| {
            let _ = process.kill();
            panic!("the appliance did not drain within 40 s")
        })
    }

    /// For a signal from another thread, while it runs.
    pub fn process_id(&self) -> i32 {
        let process = self.process.as_ref().expect("the appliance runs");
        i32::try_from(process.id()).expect("a process id")
    }

    /// `127.0.0.1:port` of the hospital zone.
    pub fn hospital(&self) -> String {
        self.ready["hospital"].as_str().expect("the hospital zone listens").to_owned()
    }

    /// The same with TLS.
    pub fn hospital_tls(&self) -> String {
        self.ready["hospital_tls"].as_str().expect("the hospital zone speaks TLS").to_owned()
    }

    /// `127.0.0.1:port` of the cloud zone.
    pub fn cloud(&self) -> String {
        self.ready["cloud"].as_str().expect("the cloud zone listens").to_owned()
    }

    /// `127.0.0.1:port` of the cloud zone with TLS.
    pub fn cloud_tls(&self) -> String {
        self.ready["cloud_tls"].as_str().expect("the cloud zone speaks TLS").to_owned()
    }

    /// `127.0.0.1:port` of the console zone.
    pub fn console(&self) -> String {
        self.ready["console"].as_str().expect("the console zone listens").to_owned()
    }

    /// `127.0.0.1:port` of the DICOM zone.
    pub fn dicom(&self) -> String {
        self.ready["dicom"].as_str().expect("the DICOM zone listens").to_owned()
    }

    /// The same with TLS.
    pub fn dicom_tls(&self) -> String {
        self.ready["dicom_tls"].as_str().expect("the DICOM zone speaks TLS").to_owned()
    }

    pub fn data(&self) -> PathBuf {
        self.setup.data(self.folder.path())
    }

    /// Where a study lies, whether it is there or not.
    pub fn study_folder(&self, study: &str) -> PathBuf {
        self.data().join("cache/studies").join(study)
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("forepost.toml")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The file of [`Forepost::log`].
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("forepost.log")
    }

    /// Asks the hospital zone.
    pub fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_ask(method, target, headers, body).expect("the hospital zone answers")
    }

    pub fn try_ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Reply> {
        let reply = Connection::open(&self.hospital())
            .and_then(|mut connection| connection.ask(method, target, headers, body));
        let sent = String::from_utf8_lossy(&body[..body.len().min(2_000)]);
        let told = match &reply {
            Ok(reply) => format!("{} {}", reply.status, reply.text()),
            Err(error) => error.to_string(),
        };
        self.seen.lock().expect("no test thread panicked").exchange =
            format!("{method} {target} {headers:?}\n{sent}\n→ {told}");
        reply
    }

    pub fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, &[], b"")
    }

    /// The rows of a QIDO-RS search, `/dicom-web` before the target.
    pub fn qido(&self, target: &str) -> Vec<Value> {
        let reply = self.get(&format!("/dicom-web{target}"));
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        reply.json().as_array().expect("QIDO-RS answers with a list").clone()
    }

    /// Pushes a registration as a HIS does.
    pub fn push(&self, registration: &Value) -> Reply {
        self.try_push(registration).expect("the hospital zone answers")
    }

    pub fn try_push(&self, registration: &Value) -> std::io::Result<Reply> {
        self.keep_secret(personal(registration));
        let json = [("Content-Type", "application/json;charset=UTF-8")];
        self.try_ask("POST", REGISTER, &json, registration.to_string().as_bytes())
    }

    /// Pushes a registration that must be accepted.
    pub fn accept(&self, registration: &Value) {
        let reply = self.push(registration);
        let told = (reply.status, reply.json());
        let expected = serde_json::json!({"message": "请求成功", "code": 200});
        assert_eq!(told, (200, expected));
    }

    /// Pushes settlements as a HIS does: one, an array, or `{"list": …}`.
    pub fn settle(&self, settlements: &Value) -> Reply {
        self.try_settle(settlements).expect("the hospital zone answers")
    }

    pub fn try_settle(&self, settlements: &Value) -> std::io::Result<Reply> {
        self.keep_secret(platform::personal(settlements));
        let json = [("Content-Type", "application/json;charset=UTF-8")];
        self.try_ask("POST", SETTLE, &json, settlements.to_string().as_bytes())
    }

    /// Pushes settlements that must be accepted.
    pub fn accept_settlements(&self, settlements: &Value) {
        let reply = self.settle(settlements);
        let told = (reply.status, reply.json());
        assert_eq!(told, (200, serde_json::json!({"message": "请求成功", "code": 200})));
    }

    /// What `queue list` tells of everything.
    pub fn queue(&self) -> Value {
        self.verb_json(&["queue", "list", "--json", "--limit", "100000"])
    }

    /// Every delivery, by its number.
    pub fn deliveries(&self) -> BTreeMap<i64, Value> {
        let queue = self.queue();
        let list = queue["deliveries"].as_array().expect("deliveries are a list");
        let number = |one: &Value| one["id"].as_i64().expect("a delivery has a number");
        list.iter().map(|one| (number(one), one.clone())).collect()
    }

    /// One delivery with its attempts.
    pub fn delivery(&self, id: i64) -> Value {
        self.verb_json(&["queue", "show", &id.to_string(), "--json", "--bodies"])
    }

    /// Waits until a delivery is as `wanted` says.
    pub fn await_delivery(&self, id: i64, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = wait_for(PATIENCE, || {
            last = self.delivery(id);
            wanted(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("after {PATIENCE:?} the delivery is still {last:#}"))
    }

    /// Waits until a delivery stands there.
    pub fn await_delivery_state(&self, id: i64, state: &str) -> Value {
        self.await_delivery(id, |one| one["state"] == state)
    }

    /// What was accepted to leave is all accounted for, and none of it can be read in the ledger's
    /// files. `unaccounted` is what the running service said of itself.
    fn check_accounts(&self, unaccounted: Option<f64>) {
        if let Some(unaccounted) = unaccounted {
            assert_eq!(unaccounted, 0.0, "deliveries_unaccounted");
        }
        let queue = self.queue();
        for one in queue["interfaces"].as_array().expect("interfaces are a list") {
            let states = one["states"].as_object().expect("states are an object");
            let sum: u64 = states.values().filter_map(Value::as_u64).sum();
            assert_eq!(
                (&one["holds"], one["accepted"].as_u64()),
                (&true.into(), Some(sum)),
                "{one}"
            );
        }
        let seen = self.seen.lock().expect("no test thread panicked");
        for file in self.files().iter().filter(|file| file.is_file()) {
            if file.parent().is_some_and(|folder| folder.ends_with("ledger")) {
                let bytes = fs::read(file).unwrap_or_default();
                let at = first_of(&seen.personal, &bytes);
                assert!(at.is_none(), "personal data at byte {at:?} of {}", file.display());
            }
        }
    }

    fn sends(&self) -> bool {
        self.setup.more.contains("[[destination]]")
    }

    /// From now on these texts may show in no log line and no file name.
    pub fn keep_secret(&self, texts: impl IntoIterator<Item = String>) {
        self.seen.lock().expect("no test thread panicked").personal.extend(texts);
    }

    /// Runs another verb of the binary on the same configuration.
    pub fn verb(&self, arguments: &[&str]) -> Output {
        Command::new(&self.program)
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("forepost.toml"))
            .output()
            .expect("the binary starts")
    }

    /// Runs a verb that prints JSON and must succeed.
    pub fn verb_json(&self, arguments: &[&str]) -> Value {
        let output = self.verb(arguments);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} failed: {words}");
        serde_json::from_slice(&output.stdout).expect("--json prints JSON")
    }

    /// Every plan, by the moment of its visit.
    pub fn plans(&self) -> BTreeMap<i64, Value> {
        let list = self.verb_json(&["plans", "list", "--json", "--limit", "100000"]);
        let list = list.as_array().expect("plans are a list");
        let by_visit: BTreeMap<i64, Value> = list
            .iter()
            .map(|plan| (plan["due_at_ms"].as_i64().expect("a visit"), plan.clone()))
            .collect();
        assert_eq!(by_visit.len(), list.len(), "the visits of a test are all different");
        by_visit
    }

    /// The plan of a registration, with its searches and studies.
    pub fn plan(&self, registration: &Value) -> Value {
        let plans = self.plans();
        let plan = plans.get(&due_at(registration)).expect("the registration has a plan");
        let id = plan["id"].as_i64().expect("a plan has a number").to_string();
        self.verb_json(&["plans", "show", &id, "--json"])
    }

    /// Waits until the plan of a registration is as `wanted` says.
    pub fn await_plan(&self, registration: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = wait_for(PATIENCE, || {
            last = self.plan(registration);
            wanted(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("after {PATIENCE:?} the plan is still {last:#}"))
    }

    /// Waits until the plan of a registration stands there.
    pub fn await_state(&self, registration: &Value, state: &str) -> Value {
        self.await_plan(registration, |plan| plan["state"] == state)
    }

    /// The value of a metric, summed over its labels; 0 before it was ever counted.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics();
        let lines = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .fold(0.0, |a, b| a + b)
    }

    /// All metrics as they are served.
    pub fn metrics(&self) -> String {
        let reply = http::ask(&self.console(), "GET", "/metrics", &[], b"");
        reply.expect("the console answers").text()
    }

    /// Every file under the data folder.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        list(&self.data(), &mut files);
        files
    }

    /// No line of the log and no file name may show what was registered.
    pub fn check_privacy(&self) {
        let seen = self.seen.lock().expect("no test thread panicked");
        let log = self.log();
        if let Some(at) = first_of(&seen.personal, log.as_bytes()) {
            let line = log[..at].lines().count();
            panic!(
                "personal data in line {line} of the log: {}",
                log[at..].lines().next().unwrap()
            );
        }
        let mut names = String::new();
        for file in self.files() {
            names.push_str(&file.to_string_lossy());
            names.push('\n');
        }
        if let Some(at) = first_of(&seen.personal, names.as_bytes()) {
            panic!("personal data in a file name: {}", names[at..].lines().next().unwrap());
        }
    }

    fn tell(&self) {
        let config = fs::read_to_string(self.folder.path().join("forepost.toml"));
        eprintln!("--- configuration\n{}", config.unwrap_or_default());
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.len().saturating_sub(LOG_LINES);
        eprintln!("--- log, last of {} lines\n{}", lines.len(), lines[tail..].join("\n"));
        let files: Vec<String> = self.files().iter().map(|f| f.display().to_string()).collect();
        eprintln!("--- files\n{}", files[..files.len().min(200)].join("\n"));
        if let Ok(seen) = self.seen.lock() {
            eprintln!("--- last exchange\n{}", seen.exchange);
        }
    }
}

impl Drop for Forepost {
    fn drop(&mut self) {
        let asks = self.sends() && self.process.is_some() && !std::thread::panicking();
        let unaccounted = asks.then(|| self.metric("deliveries_unaccounted"));
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            self.tell();
            return;
        }
        self.check_privacy();
        if self.sends() {
            self.check_accounts(unaccounted);
        }
    }
}

/// The appliance's command, as systemd starts it: sockets from the third descriptor on, and its own
/// number, which only itself knows. A shell sees to both.
fn passing(program: &Path, sockets: &[(&str, &TcpListener)]) -> Command {
    let mut moves = String::new();
    for (at, (_, socket)) in sockets.iter().enumerate() {
        // SAFETY: dup takes a number. The copy is inherited, which the socket's own is not; it
        // lives until the test's process ends.
        let copy = unsafe { libc::dup(socket.as_raw_fd()) };
        assert!(copy >= 0, "a socket can be copied");
        moves.push_str(&format!("{}<&{copy} {copy}<&- ", 3 + at));
    }
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    let mut command = Command::new("bash");
    let script = format!("LISTEN_PID=$$ exec \"$0\" \"$@\" {moves}");
    command.args(["-c", &script]).arg(program);
    command.env("LISTEN_FDS", sockets.len().to_string());
    command.env("LISTEN_FDNAMES", names.join(":"));
    command
}

/// Where the first of these texts stands. A campaign has thousands of them: the texts of each
/// length are looked up together.
pub fn first_of(texts: &BTreeSet<String>, bytes: &[u8]) -> Option<usize> {
    let mut begins = [false; 256];
    for text in texts {
        begins[usize::from(text.as_bytes()[0])] = true;
    }
    let lengths: BTreeSet<usize> = texts.iter().map(String::len).collect();
    let set: HashSet<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    (0..bytes.len()).filter(|at| begins[usize::from(bytes[*at])]).find(|at| {
        let texts = lengths.iter().filter_map(|length| bytes.get(*at..at + length));
        texts.into_iter().any(|text| set.contains(text))
    })
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            list(&path, files);
        }
        files.push(path);
    }
}
