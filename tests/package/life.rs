//! What becomes of a system and of what a hospital keeps in it: installed, upgraded, removed,
//! purged, by each kind of package.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::packages::Packages;
use crate::system::{Answer, System};

/// How long the service may take to listen, on a machine that does other things.
const START_WAIT: Duration = Duration::from_secs(60);

/// How long is waited between two looks at what it wrote.
const LOOK_AGAIN: Duration = Duration::from_millis(40);

/// What was written by whoever set the service up. Nobody listens where settlements go.
const CONFIGURATION: &str = r#"
data = "/var/lib/forepost"
[[hospital]]
code = "123456"
[zone.hospital]
listen = "127.0.0.1:0"
[[caller]]
name = "his"
addresses = ["127.0.0.1"]
push = true
[[destination]]
name = "cloud"
url = "http://127.0.0.1:9"
interfaces = ["ic-settlement-push"]
"#;

const SETTLEMENT: &str = r#"{"hospitalld":"123456","accessionNo":"ACC1","studyOrderId":"ORD1",
"setlId":"710000000000000001","feedetlSn":"720000000000000001","medListCodg":"C00012",
"examPart":"B02010ZZZ"}"#;

/// What `deb` and `rpm` and the tarball put there alike, with modes and owners.
const PLACES: [(&str, &str); 12] = [
    ("/usr/bin/forepost", "755 root:root"),
    ("/usr/lib/systemd/system/forepost.service", "644 root:root"),
    ("/usr/lib/sysusers.d/forepost.conf", "644 root:root"),
    ("/etc/forepost", "755 root:root"),
    ("/var/lib/forepost", "700 forepost:forepost"),
    ("/usr/share/doc/forepost/OPERATING.md", "644 root:root"),
    ("/usr/share/doc/forepost/CHANGELOG.md", "644 root:root"),
    ("/usr/share/doc/forepost/forepost.toml.sample", "644 root:root"),
    ("/usr/share/doc/forepost/licences.txt.gz", "644 root:root"),
    ("/usr/share/man/man1/forepost.1.gz", "644 root:root"),
    ("/usr/share/man/man1/forepost-queue.1.gz", "644 root:root"),
    ("/usr/share/bash-completion/completions/forepost", "644 root:root"),
];

const SAMPLE: &str = "/usr/share/doc/forepost/forepost.toml.sample";
const LEDGER: &str = "/var/lib/forepost/ledger/forepost.db";
const PREVIOUS: &str = "/usr/lib/forepost/forepost.previous";

/// A service that runs in a system, killed with the value if it was not stopped.
struct Service(Child);

impl Service {
    fn start(system: &System) -> (Service, String) {
        let ready = system.path("/var/lib/forepost/ready.json");
        let _ = fs::remove_file(&ready);
        let child = Command::new("chroot")
            .args(["--userspec=forepost:forepost", system.path("/").to_str().unwrap()])
            .args(["/usr/bin/forepost", "serve", "--ready-file", "/var/lib/forepost/ready.json"])
            .stdin(Stdio::null())
            .spawn()
            .expect("chroot starts: run these tests as root");
        let service = Service(child);
        let began = Instant::now();
        loop {
            let read = fs::read(&ready).ok().and_then(|text| serde_json::from_slice(&text).ok());
            if let Some(said) = read {
                let said: serde_json::Value = said;
                return (service, said["hospital"].as_str().unwrap().to_owned());
            }
            assert!(began.elapsed() < START_WAIT, "the service does not listen");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn stop(mut self) {
        // SAFETY: kill takes two numbers; the process is our own child and not yet waited for.
        unsafe { libc::kill(i32::try_from(self.0.id()).unwrap(), libc::SIGTERM) };
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The hospital's configuration, and one settlement that nobody has taken.
fn live(system: &System) {
    fs::write(system.path("/etc/forepost/forepost.toml"), CONFIGURATION).unwrap();
    let (service, address) = Service::start(system);
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /standardInterface/standardHttp/saveSetlInfoList HTTP/1.1\r\nHost: forepost\r\n\
         Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        SETTLEMENT.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(SETTLEMENT.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"code\":200"), "{answer}");
    service.stop();
}

#[track_caller]
fn check_installed(system: &System, said: &str) {
    assert!(said.contains("forepost setup"), "the next step is not said:\n{said}");
    assert!(said.contains("尚无配置"), "the next step is not said in Chinese:\n{said}");
    for (place, stat) in PLACES {
        assert_eq!(system.stat(place), stat, "{place}");
    }
    let version = system.run("forepost --version").done();
    assert!(version.starts_with("forepost "), "{version}");
    system.run(&format!("forepost check --config {SAMPLE}")).done();
    assert_eq!(system.run("find /etc/systemd/system -name 'forepost*'").done(), "");
    let account = system.run("getent passwd forepost").done();
    assert!(account.trim().ends_with("nologin"), "{account}");
    assert!(!system.has(PREVIOUS), "there is nothing before the first version");
}

#[track_caller]
fn check_kept(system: &System) {
    for place in ["/etc/forepost/forepost.toml", LEDGER, "/var/lib/forepost/keys/ledger.keys"] {
        assert!(system.has(place), "{place} is gone");
    }
    assert_eq!(system.stat("/var/lib/forepost"), "700 forepost:forepost");
}

#[track_caller]
fn check_upgraded(system: &System) {
    check_kept(system);
    assert_eq!(system.stat(PREVIOUS), "755 root:root");
    system.run(&format!("{PREVIOUS} --version")).done();
    let queue = system.run("forepost queue list").done();
    assert!(queue.contains("1 accepted") && queue.contains("1 waiting"), "{queue}");
}

/// Removed, with what a hospital keeps still there, and said so.
#[track_caller]
fn check_removed(system: &System, said: &str) {
    check_kept(system);
    for place in ["/usr/bin/forepost", "/usr/lib/forepost", "/usr/share/doc/forepost"] {
        assert!(!system.has(place), "{place} is still there");
    }
    assert!(system.run("find /usr -name 'forepost*'").done().is_empty());
    assert!(said.contains("还有 1 条"), "what is undelivered is not counted:\n{said}");
    assert!(said.contains("rm -rf /var/lib/forepost /etc/forepost"), "{said}");
}

#[track_caller]
fn check_gone(system: &System) {
    assert_eq!(system.run("find / -xdev -name '*forepost*' -not -path '/root/*'").done(), "");
    assert_ne!(system.run("getent passwd forepost").code, 0, "the account is still there");
}

fn dpkg(system: &System, arguments: &str) -> Answer {
    system.run(&format!("dpkg {arguments}"))
}

/// A whole life by dpkg. `later` is a version that comes after `packages`.
pub fn by_dpkg(system: &System, packages: &Packages, later: &Packages) {
    let deb = system.bring(&packages.file(".deb"));
    let said = dpkg(system, &format!("-i {deb}")).done();
    check_installed(system, &said);
    // An installation that nobody used leaves nothing behind, and asks nothing.
    dpkg(system, "--purge forepost").done();
    check_gone(system);
    dpkg(system, &format!("-i {deb}")).done();
    live(system);

    let newer = system.bring(&later.file(".deb"));
    dpkg(system, &format!("-i {newer}")).done();
    check_upgraded(system);

    let said = dpkg(system, "-r forepost").done();
    check_removed(system, &said);

    // Without a terminal nobody can be asked, so all of it stays.
    let said = dpkg(system, "--purge forepost").done();
    check_kept(system);
    assert!(said.contains("rm -rf /var/lib/forepost"), "{said}");

    // A yes to the question alone does not delete what is undelivered.
    dpkg(system, &format!("-i {deb}")).done();
    let answer = "echo forepost forepost/purge boolean true | debconf-set-selections";
    system.run(answer).done();
    dpkg(system, "--purge forepost").done();
    check_kept(system);

    dpkg(system, &format!("-i {deb}")).done();
    check_kept(system);
    let links = "/etc/systemd/system/multi-user.target.wants";
    let unit = "/usr/lib/systemd/system/forepost.service";
    system.run(&format!("mkdir -p {links} && ln -s {unit} {links}")).done();
    let answer = system.run_on_terminal("dpkg --purge forepost", "yes\nyes\n");
    let said = answer.done();
    assert!(said.contains("not reached their platform: 1."), "the count is not asked:\n{said}");
    check_gone(system);
}

fn switch_on(system: &System) {
    system.run("systemctl enable forepost.service forepost-hospital.socket").done();
}

/// How many of our units start at the next boot.
fn switched_on(system: &System) -> usize {
    system.run("find /etc/systemd/system -lname '*forepost*'").done().lines().count()
}

/// A whole life by rpm, from outside as an image is made.
pub fn by_rpm(system: &System, packages: &Packages, later: &Packages) {
    let root = system.path("/").to_str().unwrap().to_owned();
    let rpm = |arguments: &[&str]| -> Answer {
        let mut command = Command::new("rpm");
        command.args(["--root", &root, "--dbpath", "/var/lib/rpm", "--nodeps"]).args(arguments);
        let output: Output = command.output().expect("rpm starts; .ci/setup installs it");
        output.into()
    };
    let file = |packages: &Packages| packages.file(".rpm").to_str().unwrap().to_owned();
    let said = rpm(&["-i", &file(packages)]).done();
    check_installed(system, &said);
    live(system);
    switch_on(system);
    rpm(&["-U", &file(later)]).done();
    check_upgraded(system);
    assert_eq!(switched_on(system), 2);
    let said = rpm(&["-e", "forepost"]).done();
    check_removed(system, &said);
    assert_eq!(switched_on(system), 0);
}

/// A whole life by the tarball's own script.
pub fn by_hand(system: &System, packages: &Packages, later: &Packages) {
    let unpack = |packages: &Packages| {
        let tarball = system.bring(&packages.file(".tar.gz"));
        system.run(&format!("tar -xzf {tarball} -C /root")).done();
        tarball.trim_end_matches(".tar.gz").to_owned()
    };
    let folder = unpack(packages);
    let said = system.run(&format!("{folder}/install.sh")).done();
    check_installed(system, &said);
    live(system);
    switch_on(system);
    let newer = unpack(later);
    system.run(&format!("{newer}/install.sh")).done();
    check_upgraded(system);
    assert_eq!(switched_on(system), 2);
    let said = system.run(&format!("{newer}/install.sh --remove")).done();
    check_removed(system, &said);
    assert_eq!(switched_on(system), 0);
}

#[test]
fn the_deb_is_installed_upgraded_removed_and_purged() {
    by_dpkg(&System::debian12(), &Packages::own(), &Packages::later());
}

#[test]
fn the_rpm_is_installed_upgraded_and_removed() {
    by_rpm(&System::debian12(), &Packages::own(), &Packages::later());
}

#[test]
fn the_tarball_is_installed_upgraded_and_removed() {
    by_hand(&System::debian12(), &Packages::own(), &Packages::later());
}

/// Where there is no systemd at all, an account and a folder are made all the same.
#[test]
fn the_tarball_needs_no_systemd() {
    let system = System::debian12();
    system.run("rm /bin/systemd-sysusers /bin/systemd-tmpfiles /bin/systemctl").done();
    let tarball = system.bring(&Packages::own().file(".tar.gz"));
    system.run(&format!("tar -xzf {tarball} -C /root")).done();
    let said = system.run(&format!("{}/install.sh", tarball.trim_end_matches(".tar.gz"))).done();
    check_installed(&system, &said);
}

/// Two that believe to own the same files end in neither knowing what is installed.
#[test]
fn the_tarball_refuses_where_dpkg_has_installed() {
    let (system, packages) = (System::debian12(), Packages::own());
    let deb = system.bring(&packages.file(".deb"));
    dpkg(&system, &format!("-i {deb}")).done();
    let tarball = system.bring(&packages.file(".tar.gz"));
    system.run(&format!("tar -xzf {tarball} -C /root")).done();
    let answer = system.run(&format!("{}/install.sh", tarball.trim_end_matches(".tar.gz")));
    assert_eq!(answer.code, 1, "{}", answer.said);
    assert!(answer.said.contains("upgrade by the .deb"), "{}", answer.said);
}

/// What rpm knows of a file that it has not installed.
pub fn check_rpm(file: &Path) {
    let rpm = |arguments: &[&str]| {
        let output = Command::new("rpm").args(arguments).arg(file).output();
        Answer::from(output.expect("rpm starts; .ci/setup installs it")).done()
    };
    let list = rpm(&["-qpl"]);
    for (place, _) in PLACES.iter().filter(|(place, _)| *place != "/var/lib/forepost") {
        assert!(list.lines().any(|line| line == *place), "{place} in\n{list}");
    }
    assert!(rpm(&["-K"]).contains("digests OK"));
    let needs = rpm(&["-qp", "--requires"]);
    assert!(needs.contains("libc.so.6(GLIBC_2."), "{needs}");
}

#[test]
fn the_rpm_is_whole_and_says_what_it_needs() {
    check_rpm(&Packages::own().file(".rpm"));
}
