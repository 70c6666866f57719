//! What takes too long for every run: other versions, a full disk, a server without network or
//! clock, power cuts, and new hardware. Each test boots machines of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use forepost::clock;
use serde_json::json;

use crate::guest::{GUEST_PATIENCE, Hardware, INSIDE, OUTSIDE};
use crate::packages::Packages;
use crate::service::{Service, package};
use crate::support::cloud::Cloud;
use crate::support::databases::{DRIVERS, Database, System};
use crate::support::forepost::REGISTER;
use crate::support::his;
use crate::support::orthanc::Orthanc;
use crate::support::patient::{Patient, due_at};
use crate::support::{Dice, wait_for};

/// Registrations before and after another version is installed.
const BETWEEN: usize = 10;
/// Times that the power is cut.
const CUTS: u32 = 5;
/// Registrations after which it is cut at the latest.
const REGISTRATIONS_MAX: u64 = 40;
/// Registrations that a full disk may still take: what is free in files that are there already.
const LAST_MAX: u32 = 400;

/// How long the start of the service may take after the shell's; the network's own wait is longer.
const START_MAX: Duration = Duration::from_secs(90);

#[test]
fn night_a_later_version_and_an_earlier_one_go_on_where_the_other_stopped() {
    let orthanc = Orthanc::start();
    let cloud = Cloud::before(&orthanc);
    let later = Packages::later().file(".deb");
    let brought = vec![later.clone()];
    let service = Service::on_set_up_machine(Hardware { brought, ..Hardware::default() }, &cloud);
    let first = service.machine.sh("dpkg-query --show forepost");
    for (number, package) in [(1_000, &later), (2_000, &package())] {
        let process = service.property("MainPID");
        let version = service.machine.sh("dpkg-query --show forepost");
        service.under_load(number, |load| {
            load.await_more(BETWEEN);
            service.install_file(package);
            service.await_ready();
            load.await_more(BETWEEN);
        });
        assert_ne!(service.property("MainPID"), process, "the new binary runs");
        assert_ne!(service.machine.sh("dpkg-query --show forepost"), version);
        service.check_machine();
    }
    assert_eq!(service.machine.sh("dpkg-query --show forepost"), first);
}

#[test]
fn night_a_full_disk_refuses_in_the_documents_words_and_goes_on_with_room() {
    let orthanc = Orthanc::start();
    let cloud = Cloud::before(&orthanc);
    let mut service = Service::on_new_machine(Hardware::default());
    service.give_data_disk(256);
    service.bring_up(&cloud);
    let process = service.property("MainPID");
    let filler = "/var/lib/forepost/filler";
    service.machine.run(&format!("cat /dev/zero > {filler}"));
    let mut accepted = Vec::new();
    let refused = (0..LAST_MAX).find_map(|number| {
        let registration = Patient::new(640).registration(26, number.into());
        let reply = service.ask("POST", REGISTER, registration.to_string().as_bytes()).unwrap();
        if reply.json()["code"] != 200 {
            return Some(reply);
        }
        accepted.push(due_at(&registration));
        None
    });
    let refused = refused.expect("a full disk refuses");
    assert_eq!(refused.json()["code"], json!(500), "{}", refused.text());
    assert_eq!(service.property("MainPID"), process);
    service.machine.sh(&format!("rm {filler}"));
    let again = Patient::new(641).registration(26, 0);
    let taken = wait_for(GUEST_PATIENCE, || {
        let reply = service.ask("POST", REGISTER, again.to_string().as_bytes()).unwrap();
        (reply.json()["code"] == 200).then_some(())
    });
    assert!(taken.is_some(), "with room again it is accepted");
    accepted.push(due_at(&again));
    accepted.sort_unstable();
    assert_eq!(service.visits(), accepted);
    assert_eq!(service.property("MainPID"), process);
    service.check_machine();
}

#[test]
fn night_a_server_without_network_starts_and_keeps_what_it_has() {
    let orthanc = Orthanc::start();
    let cloud = Cloud::before(&orthanc);
    let mut service = Service::on_set_up_machine(Hardware::default(), &cloud);
    service.accept(&Patient::new(650).registration(26, 0));
    let before = service.visits();
    service.machine.sh("sync");
    service.machine.cut();
    service.machine.hardware.network = false;
    service.machine.power_on();
    let begun = Instant::now();
    service.await_ready();
    // systemd itself waits two minutes for a network that does not come.
    assert!(begun.elapsed() < START_MAX, "ready after {:?}", begun.elapsed());
    assert_eq!(service.visits(), before);
    let health = service.machine.sh("curl --silent --max-time 20 http://127.0.0.1:9180/health");
    println!("without network: {health}");
}

#[test]
fn night_a_clock_that_stands_in_1970_stops_nobody() {
    let orthanc = Orthanc::start();
    let cloud = Cloud::before(&orthanc);
    let mut service = Service::on_set_up_machine(Hardware::default(), &cloud);
    service.accept(&Patient::new(660).registration(26, 0));
    service.machine.sh("sync");
    service.machine.cut();
    service.machine.hardware.clock = Some("1970-01-01T00:00:00");
    service.machine.power_on();
    service.await_ready();
    // systemd moves such a clock to the day of its own making, and no further.
    let shown: i64 = service.machine.sh("date +%s").parse().unwrap();
    let behind = clock::now().0 / 1_000 - shown;
    assert!(behind > 86_400, "its clock is {behind} s behind");
    service.accept(&Patient::new(661).registration(26, 1));
    // Somebody sets it right.
    service.machine.sh(&format!("date --set=@{}", clock::now().0 / 1_000));
    service.accept(&Patient::new(662).registration(26, 2));
    assert_eq!(service.visits().len(), 3);
    service.check_machine();
}

#[test]
fn night_a_power_cut_in_the_middle_loses_nothing_that_was_acknowledged() {
    let orthanc = Orthanc::start();
    let cloud = Cloud::before(&orthanc);
    let mut service = Service::on_set_up_machine(Hardware::default(), &cloud);
    service.machine.sh("sync");
    let mut dice = Dice::new(6);
    let mut acknowledged = Vec::new();
    let mut number = 0;
    for cut in 0..CUTS {
        for _ in 0..1 + dice.below(REGISTRATIONS_MAX) {
            number += 1;
            let registration = Patient::new(670).registration(26, number);
            service.accept(&registration);
            acknowledged.push(due_at(&registration));
        }
        service.machine.cut();
        service.machine.power_on();
        service.await_ready();
        let visits = service.visits();
        let lost = acknowledged.iter().filter(|due| visits.binary_search(due).is_err()).count();
        assert_eq!(lost, 0, "of {} after cut {cut}", acknowledged.len());
    }
    service.check_machine();
}

/// PostgreSQL's driver with the libraries that it loads, as a vendor's installer brings them.
fn pack_driver(folder: &Path) -> PathBuf {
    let driver = format!("{DRIVERS}/psqlodbcw.so");
    let loads = Command::new("ldd").arg(&driver).output().expect("ldd starts").stdout;
    let loads = String::from_utf8_lossy(&loads).into_owned();
    let paths = loads.lines().filter_map(|line| line.split_whitespace().nth(2));
    // The C library is the system's own, and so are those that are made with it.
    let parts = ["libc", "libm", "libdl", "librt", "libpthread", "libresolv"];
    let own = |path: &&str| parts.iter().any(|part| path.contains(&format!("/{part}.so.")));
    let paths = paths.filter(|path| !own(path));
    let file = folder.join("driver.tar");
    let packed = Command::new("tar")
        .args(["--create", "--dereference", "--absolute-names", "--transform=s,.*/,,", "--file"])
        .arg(&file)
        .arg(&driver)
        .args(paths)
        .status();
    assert!(packed.expect("tar starts").success(), "the driver can be packed: {loads}");
    file
}

#[test]
fn night_a_database_is_read_in_a_service_of_its_own_by_a_real_driver() {
    let database = Database::start(System::Postgres);
    his::make(&database, "his", "View_Register_Info", None);
    let registrations = his::registrations(60);
    his::insert(&database, "his", 0, &registrations[..50]);
    let orthanc = Orthanc::start();
    let cloud = Cloud::before(&orthanc);
    let folder = tempfile::tempdir().unwrap();
    let brought = vec![pack_driver(folder.path())];
    let mut service = Service::on_new_machine(Hardware { brought, ..Hardware::default() });
    service.machine.sh("tar -x -f brought/driver.tar -C /usr/local/lib && ldconfig");
    service.install();
    let connection = database.connection("his");
    let connection = connection.replace("127.0.0.1", OUTSIDE).replace(DRIVERS, "/usr/local/lib");
    let answers = format!("[[database]]\nname = \"his\"\nconnection = \"{connection}\"\n");
    service.set_up_with(&cloud, &answers);
    service.await_ready();
    let wanted = |count: usize| {
        let mut due: Vec<i64> = registrations[..count].iter().map(due_at).collect();
        due.sort_unstable();
        due
    };
    let read = |count: usize| {
        let wanted = wanted(count);
        wait_for(GUEST_PATIENCE, || (service.visits() == wanted).then_some(()))
            .unwrap_or_else(|| panic!("{} of {count} are here", service.visits().len()));
    };
    read(50);
    let machine = &service.machine;
    let process = service.property("MainPID");
    let children = format!("test -d /proc/{process} && ! pgrep --parent {process}");
    machine.sh(&children);
    let journal = |text: &str| format!("journalctl -b -q --no-pager --grep '{text}' | grep -q .");
    machine.sh(&journal("Started.*[Rr]eads one hospital database"));
    // A reader waits for a lock that somebody holds, and is killed: it costs its own poll.
    let mut holder = database.client("his");
    let mut lines = holder.stdin.take().unwrap();
    // Idle in its transaction, the server sees at once when it is gone.
    writeln!(lines, "BEGIN; LOCK TABLE visits;").unwrap();
    let waits = "systemctl is-active 'forepost-views-reader@*'";
    machine.await_sh(&format!("{waits}; sleep 5; {waits}"), |ran| {
        ran.output.lines().filter(|line| *line == "active").count() == 2
    });
    machine.sh("systemctl kill --signal=KILL 'forepost-views-reader@*'");
    holder.kill().unwrap();
    holder.wait().unwrap();
    machine.sh(&journal("code=killed, status=9/KILL"));
    his::insert(&database, "his", 50, &registrations[50..]);
    read(60);
    assert_eq!(service.property("MainPID"), process);
    service.check_machine();
}

#[test]
fn night_a_backup_is_restored_on_a_new_server() {
    let orthanc = Orthanc::start();
    let cloud = Cloud::before(&orthanc);
    let old = Service::on_set_up_machine(Hardware::default(), &cloud);
    for number in 0..5 {
        old.accept(&Patient::new(680).registration(26, number));
    }
    old.machine.sh("forepost keys seal --yes && systemctl restart forepost");
    old.await_ready();
    old.back_up_to("/srv/backup");
    let visits = old.visits();
    let files = tempfile::tempdir().unwrap();
    let brought = vec![
        old.machine.take("/srv/backup/*.age", &files.path().join("backup.tar.age")),
        old.machine.take("/root/recovery.key", &files.path().join("recovery.key")),
    ];
    // The old one burned.
    drop(old);
    let new = Service::on_new_machine(Hardware { brought, ..Hardware::default() });
    new.install();
    new.machine.sh("forepost restore brought/backup.tar.age --key-file brought/recovery.key");
    // What systemd knows is not in a backup: set-up asks for the addresses and starts everything.
    let answers = format!("[machine]\nhospital_address = \"{INSIDE}\"\nae_title = \"FOREPOST\"\n");
    new.machine.write("/root/answers.toml", "600", &answers);
    new.machine.sh("forepost setup --answers answers.toml");
    new.await_ready();
    new.check_verification();
    assert_eq!(new.visits(), visits);
    new.accept(&Patient::new(681).registration(26, 10));
    new.check_machine();
}
