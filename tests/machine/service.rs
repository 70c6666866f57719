//! Forepost as a service of a guest: its package, its configuration, and those who meet it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::ScopedJoinHandle;

use serde_json::{Value, json};

use crate::guest::{ARCHIVES, DOOR, GUEST_PATIENCE, Hardware, INSIDE, Machine, OUTSIDE};
use crate::packages::Packages;
use crate::support::cloud::Cloud;
use crate::support::forepost::REGISTER;
use crate::support::http::{self, Reply};
use crate::support::patient::{Patient, due_at};
use crate::support::study::Study;
use crate::support::wait_for;

/// Where the package has the configuration.
pub const CONFIGURATION: &str = "/etc/forepost/forepost.toml";

/// Connections at a time that a HIS under load has.
const SENDERS: usize = 4;

/// A server with Forepost installed and set up.
pub struct Service {
    pub machine: Machine,
    /// What the viewer shows to be let in; empty before the set-up.
    viewer: String,
}

/// The package under test, around the binary of the tests.
pub fn package() -> PathBuf {
    Packages::own().file(".deb")
}

impl Service {
    /// A new server with the package beside it, and nothing installed yet.
    pub fn on_new_machine(hardware: Hardware) -> Service {
        let mut hardware = hardware;
        hardware.brought.push(package());
        Service { machine: Machine::boot(hardware), viewer: String::new() }
    }

    /// Puts a disk of its own where the data will lie.
    pub fn give_data_disk(&self, megabytes: u32) {
        self.machine.sh(&format!(
            "truncate --size={megabytes}M /data && mkfs.ext4 -q -b 4096 /data && \
             mkdir -p /var/lib/forepost && \
             echo '/data /var/lib/forepost ext4 loop 0 0' >> /etc/fstab && \
             systemctl daemon-reload && mount /var/lib/forepost && \
             rmdir /var/lib/forepost/lost+found"
        ));
    }

    /// Installs the package under test as an administrator would. Nothing starts before it is set
    /// up. Returns what was said.
    pub fn install(&self) -> String {
        self.install_file(&package())
    }

    /// A new server on which the product serves.
    pub fn on_set_up_machine(hardware: Hardware, cloud: &Cloud) -> Service {
        let mut service = Service::on_new_machine(hardware);
        service.bring_up(cloud);
        service
    }

    /// Installs it, sets it up, and waits until it is ready.
    pub fn bring_up(&mut self, cloud: &Cloud) {
        self.install();
        self.set_up(cloud);
        self.await_ready();
    }

    /// Installs a package that was brought.
    pub fn install_file(&self, package: &Path) -> String {
        let name = package.file_name().unwrap().to_string_lossy();
        self.machine.sh(&format!("dpkg --install brought/{name}"))
    }

    /// Sets it up by a file of answers: studies come from `cloud`, and who is outside pushes as the
    /// HIS and, with a token, reads as a viewer. The set-up looks at all of them and starts the
    /// service; nobody edits a file.
    pub fn set_up(&mut self, cloud: &Cloud) {
        self.set_up_with(cloud, "");
    }

    /// The same with more answers.
    pub fn set_up_with(&mut self, cloud: &Cloud, more: &str) {
        let region = cloud.base().replace("127.0.0.1", OUTSIDE);
        let answers = format!(
            "[setup]\nlanguage = \"zh\"\n\
             [[hospital]]\ncode = \"123456\"\nnames = [\"本市第一人民医院\"]\n\
             [machine]\nhospital_address = \"{INSIDE}\"\nae_title = \"FOREPOST\"\n\
             [his]\naddresses = [\"{OUTSIDE}\"]\n\
             [[caller]]\nname = \"viewer\"\nkind = \"viewer\"\ntoken = true\n\
             [[source]]\nname = \"region\"\nurl = \"{region}\"\n{more}"
        );
        self.machine.write("/root/answers.toml", "600", &answers);
        let said = self.machine.sh("forepost setup --answers answers.toml --json");
        let said: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
        assert_eq!((&said["started"], &said["failures"]), (&json!(true), &json!([])), "{said:#}");
        let his = said["his"]["zh"].as_str().unwrap();
        assert!(his.contains(&format!("http://{INSIDE}{REGISTER}")), "for the HIS's vendor: {his}");
        self.viewer = format!("Bearer {}", said["tokens"]["viewer"].as_str().unwrap());
    }

    /// From now on it runs, and at every boot.
    pub fn switch_on(&self) {
        let doors = ["hospital", "hospital-tls", "console"];
        let sockets = doors.map(|door| format!("forepost-{door}.socket")).join(" ");
        self.machine.sh(&format!("systemctl enable --now {sockets} forepost.service"));
    }

    /// Makes another recovery key than set-up's, whose secret only the screen has seen, switches
    /// the nightly backups on, and has one made now.
    pub fn back_up_to(&self, folder: &str) {
        self.machine.sh(&format!(
            "forepost backup key --replace --by 李工 > recovery.key && \
             install --directory --owner=forepost --mode=700 {folder} && \
             printf '[backup]\\nto = \"{folder}\"\\n' >> {CONFIGURATION} && \
             systemctl reload forepost && \
             systemctl enable --now --quiet forepost-backup.timer && \
             systemctl start forepost-backup.service"
        ));
    }

    /// systemd is content with the whole machine.
    pub fn check_machine(&self) {
        let state = self.machine.run("systemctl is-system-running --wait");
        let failed = self.machine.run("systemctl --failed --no-legend --plain").output;
        assert_eq!((state.output.as_str(), failed.as_str()), ("running", ""));
        let cycles = "journalctl -b --no-pager --quiet --grep 'ordering cycle'";
        assert_eq!(self.machine.run(cycles).output, "");
    }

    /// Waits until systemd has been told that it is ready.
    pub fn await_ready(&self) {
        let state = "systemctl show forepost --property=ActiveState --value";
        self.machine.await_sh(state, |ran| ran.output == "active");
    }

    /// A property of the service as systemd tells it.
    pub fn property(&self, name: &str) -> String {
        self.machine.sh(&format!("systemctl show forepost --property={name} --value"))
    }

    /// Asks the hospital's door, on a connection of its own: as the viewer what is read, else as
    /// the HIS.
    pub fn ask(&self, method: &str, target: &str, body: &[u8]) -> std::io::Result<Reply> {
        let json = ("Content-Type", "application/json;charset=UTF-8");
        let headers = [json, ("Authorization", self.viewer.as_str())];
        let shown = if method == "GET" { &headers[..] } else { &headers[..1] };
        http::ask(&self.machine.door(DOOR), method, target, shown, body)
    }

    /// Pushes a registration as a HIS does, which must be accepted.
    pub fn accept(&self, registration: &Value) {
        let reply = self.ask("POST", REGISTER, registration.to_string().as_bytes());
        assert!(accepted(&reply), "{reply:?}");
    }

    /// Runs a verb of the installed binary that prints JSON, as an administrator would.
    pub fn verb_json(&self, verb: &str) -> Value {
        let text = self.machine.sh(&format!("forepost {verb} --json --config {CONFIGURATION}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{verb}: {error}: {text}"))
    }

    /// The moments of the visits that it has plans for, in order.
    pub fn visits(&self) -> Vec<i64> {
        let list = self.verb_json("plans list --limit 100000");
        let moment = |plan: &Value| plan["due_at_ms"].as_i64().unwrap();
        let mut visits: Vec<i64> = list.as_array().unwrap().iter().map(moment).collect();
        visits.sort_unstable();
        visits
    }

    /// Waits until everything that a registration wants is on the guest's disk.
    pub fn await_plan_ready(&self, registration: &Value) {
        let due = due_at(registration);
        let mut last = Value::Null;
        let found = wait_for(GUEST_PATIENCE, || {
            let list = self.verb_json("plans list --limit 100000");
            let plans = list.as_array().unwrap();
            last = plans.iter().find(|plan| plan["due_at_ms"] == due).cloned().unwrap_or_default();
            (last["state"] == "ready").then_some(())
        });
        assert!(found.is_some(), "after {GUEST_PATIENCE:?} the plan is still {last:#}");
    }

    /// A viewer reads every object of a study and compares it byte by byte.
    pub fn check_images(&self, study: &Study) {
        for object in study.objects() {
            let target = study.target(&object);
            let reply = self.ask("GET", &target, b"").unwrap();
            assert_eq!(reply.status, 200, "{target}: {}", reply.text());
            let found = reply.body.windows(object.bytes.len()).any(|part| part == object.bytes);
            assert!(found, "{target} comes through unchanged");
        }
    }

    /// An archive, DCMTK's, verifies its way here.
    pub fn check_verification(&self) {
        let address = self.machine.door(ARCHIVES);
        let (host, port) = address.rsplit_once(':').unwrap();
        let echoed = Command::new("echoscu").args(["--call", "FOREPOST", host, port]).output();
        let echoed = echoed.expect("echoscu starts; .ci/setup installs dcmtk");
        assert!(echoed.status.success(), "{}", String::from_utf8_lossy(&echoed.stderr));
    }

    /// A HIS whose [`SENDERS`] open a connection for each registration, as fast as it is answered,
    /// while `work` is done. None may be refused, and none that was acknowledged may be lost.
    /// `first` numbers the registrations.
    pub fn under_load(&self, first: i64, work: impl FnOnce(&Load)) {
        let load = Load { next: AtomicI64::new(first), ..Load::default() };
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(|| load.send(self))).collect();
            // A panic in here ends the senders, too; its words are what the test fails with.
            let done = catch_unwind(AssertUnwindSafe(|| work(&load)));
            load.stop.store(true, Ordering::SeqCst);
            let ended: Vec<_> = senders.into_iter().map(ScopedJoinHandle::join).collect();
            done.unwrap_or_else(|panic| resume_unwind(panic));
            ended.into_iter().for_each(|sender| sender.unwrap());
        });
        let acknowledged = load.acknowledged.into_inner().unwrap();
        let visits = self.visits();
        let lost = acknowledged.iter().filter(|due| visits.binary_search(due).is_err()).count();
        assert_eq!(lost, 0, "of {}", acknowledged.len());
        println!("{} registrations, none refused and none lost", acknowledged.len());
    }
}

/// What a HIS sends while something is done to the service.
#[derive(Default)]
pub struct Load {
    next: AtomicI64,
    stop: AtomicBool,
    acknowledged: Mutex<Vec<i64>>,
}

impl Load {
    fn send(&self, service: &Service) {
        while !self.stop.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let patient = Patient::new((number % 8_000) as u32);
            let registration = patient.registration(26, number);
            let reply = service.ask("POST", REGISTER, registration.to_string().as_bytes());
            assert!(accepted(&reply), "registration {number}: {reply:?}");
            self.acknowledged.lock().unwrap().push(due_at(&registration));
        }
    }

    /// Waits until so many more registrations were acknowledged.
    pub fn await_more(&self, more: usize) {
        let count = || self.acknowledged.lock().unwrap().len();
        let wanted = count() + more;
        let came = wait_for(GUEST_PATIENCE, || (count() >= wanted).then_some(()));
        assert!(came.is_some(), "{} of {wanted} after {GUEST_PATIENCE:?}", count());
    }
}

/// Whether an answer is the document's success.
pub fn accepted(reply: &std::io::Result<Reply>) -> bool {
    let success = json!({"message": "请求成功", "code": 200});
    reply.as_ref().is_ok_and(|reply| reply.status == 200 && reply.json() == success)
}
