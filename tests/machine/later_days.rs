//! The days after: the disk hangs and the watchdog sees it, the server is backed up and rebooted,
//! and the package is removed and comes back.

use std::time::Instant;

use crate::guest::Hardware;
use crate::service::{CONFIGURATION, Service};
use crate::support::cloud::Cloud;
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;

/// Seconds without a commit after which the service is restarted, for this test.
const WATCHDOG_SECONDS: u32 = 10;

#[test]
fn a_server_outlives_a_disk_that_hangs_a_reboot_and_the_removal_of_the_package() {
    let begun = Instant::now();
    let told = |what: &str| println!("{:>6.1} s: {what}", begun.elapsed().as_secs_f32());
    let orthanc = Orthanc::start();
    let cloud = Cloud::before(&orthanc);
    let mut service = Service::on_new_machine(Hardware::default());
    service.give_data_disk(256);
    service.bring_up(&cloud);
    told("ready");
    for number in 0..3 {
        service.accept(&Patient::new(620).registration(26, number));
    }
    hang_the_disk(&service);
    told("the watchdog acted");
    seal_keys(&service);
    told("its keys are sealed");
    back_up(&service);
    told("backed up");
    reboot(&service);
    told("rebooted");
    remove_and_install_again(&service);
    told("removed, purged and installed again");
}

/// A frozen file system is a disk that does not answer: whoever writes waits, and cannot even be
/// killed before it does.
fn hang_the_disk(service: &Service) {
    let machine = &service.machine;
    machine.write(
        "/etc/systemd/system/forepost.service.d/test.conf",
        "644",
        &format!("[Service]\nWatchdogSec={WATCHDOG_SECONDS}s\n"),
    );
    machine.sh("systemctl daemon-reload && systemctl restart forepost");
    service.await_ready();
    let before = service.visits();
    let process = service.property("MainPID");
    // While it is idle, it shows that it is alive by itself.
    machine.sh(&format!("sleep {}", 2 * WATCHDOG_SECONDS));
    assert_eq!(service.property("MainPID"), process, "the idle service is left alone");
    machine.sh("fsfreeze --freeze /var/lib/forepost");
    let seen = "journalctl --no-pager -b -q -u forepost --grep 'Watchdog timeout'";
    machine.await_sh(seen, |ran| !ran.output.is_empty());
    machine.sh("fsfreeze --unfreeze /var/lib/forepost");
    machine.await_sh("systemctl show forepost --property=MainPID --value", |ran| {
        ran.output != process && ran.output != "0"
    });
    service.await_ready();
    assert_eq!(service.visits(), before);
    service.accept(&Patient::new(621).registration(26, 10));
}

/// As the manual has it: the recovery key is printed, the folder is the hospital's.
fn back_up(service: &Service) {
    let machine = &service.machine;
    service.back_up_to("/srv/backup");
    assert_eq!(machine.sh("systemctl show forepost-backup --property=Result --value"), "success");
    let list = service.verb_json("backup list");
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list:#}");
    let next = machine.sh("systemctl list-timers --all --no-legend forepost-backup.timer");
    assert!(next.contains("forepost-backup.service"), "{next}");
}

/// The keys of the ledger leave the disk and come from systemd, sealed to this machine.
fn seal_keys(service: &Service) {
    let before = service.visits();
    service.machine.sh("forepost keys seal --yes && systemctl restart forepost");
    service.await_ready();
    assert_ne!(service.machine.run("test -e /var/lib/forepost/keys/ledger.keys").code, 0);
    assert_eq!(service.visits(), before);
    service.accept(&Patient::new(624).registration(26, 15));
}

fn reboot(service: &Service) {
    let before = service.visits();
    service.machine.reboot();
    service.await_ready();
    service.check_machine();
    assert_eq!(service.visits(), before);
    service.accept(&Patient::new(622).registration(26, 20));
}

fn remove_and_install_again(service: &Service) {
    let machine = &service.machine;
    let before = service.visits();
    machine.sh("dpkg --remove forepost");
    assert_ne!(machine.run("systemctl cat forepost.service").code, 0, "the unit is gone");
    assert!(service.ask("GET", "/health", b"").is_err(), "nobody listens");
    service.check_machine();
    // Nobody is there to be asked, so nothing is deleted.
    machine.sh("dpkg --purge forepost");
    machine.sh(&format!("test -s /var/lib/forepost/ledger/forepost.db && test -s {CONFIGURATION}"));
    // What the package says is to be done switches everything on again.
    let said = service.install();
    let line = said.lines().find_map(|line| line.trim().strip_prefix("forepost check && "));
    machine.sh(line.unwrap_or_else(|| panic!("it says how to go on: {said}")));
    service.await_ready();
    assert_eq!(service.visits(), before);
    service.accept(&Patient::new(623).registration(26, 30));
    service.check_verification();
    machine.sh("systemctl is-active forepost-backup.timer forepost-hospital-tls.socket");
}
