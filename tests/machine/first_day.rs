//! The first day: the package is installed, set up and meets the hospital; it is restarted while
//! the HIS pushes, given a wrong configuration, and killed.

use std::time::Instant;

use crate::guest::Hardware;
use crate::service::{CONFIGURATION, Service};
use crate::support::cloud::Cloud;
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;
use crate::support::study::Study;

/// Restarts while the HIS pushes.
const RESTARTS: usize = 3;
/// Registrations between two of them.
const BETWEEN: usize = 20;

#[test]
fn a_server_is_installed_set_up_restarted_reloaded_and_killed() {
    let begun = Instant::now();
    let told = |what: &str| println!("{:>6.1} s: {what}", begun.elapsed().as_secs_f32());
    let patient = Patient::new(610);
    let study = Study::of(&patient, 610);
    let orthanc = Orthanc::with(&[&study]);
    let cloud = Cloud::before(&orthanc);
    let mut service = Service::on_new_machine(Hardware::default());
    told("booted");
    service.install();
    told("installed");
    service.set_up(&cloud);
    service.await_ready();
    told("ready");
    service.check_machine();
    check_exposure(&service);
    told("nothing failed");
    service.check_verification();
    let registration = patient.registration(26, 0);
    service.accept(&registration);
    service.await_plan_ready(&registration);
    service.check_images(&study);
    told("the study is here and read");
    restart_under_load(&service);
    told("restarted under load");
    reload_wrong(&service);
    told("reloaded");
    kill(&service);
    told("killed and back");
}

/// The manager itself judges how little the service may do, drop-ins included.
fn check_exposure(service: &Service) {
    let judged = service.machine.run("systemd-analyze security --no-pager --threshold=11 forepost");
    assert_eq!(judged.code, 0, "{}", judged.output);
}

fn restart_under_load(service: &Service) {
    let process = service.property("MainPID");
    service.under_load(1_000, |load| {
        for _ in 0..RESTARTS {
            load.await_more(BETWEEN);
            service.machine.sh("systemctl restart forepost");
            service.check_verification();
        }
        load.await_more(BETWEEN);
    });
    assert_ne!(service.property("MainPID"), process);
}

fn reload_wrong(service: &Service) {
    let machine = &service.machine;
    machine.sh(&format!("cp {CONFIGURATION} good && echo 'nonsense = 1' >> {CONFIGURATION}"));
    let process = service.property("MainPID");
    assert_ne!(machine.run("systemctl reload forepost").code, 0, "a wrong file is refused");
    assert_eq!(service.property("MainPID"), process);
    service.accept(&Patient::new(611).registration(26, 1));
    machine.sh(&format!("cp good {CONFIGURATION} && systemctl reload forepost"));
    assert_eq!(service.property("MainPID"), process);
}

fn kill(service: &Service) {
    let before = service.visits();
    let process = service.property("MainPID");
    service.machine.sh("systemctl kill --signal=KILL forepost");
    service.machine.await_sh("systemctl show forepost --property=MainPID --value", |ran| {
        ran.output != process && ran.output != "0"
    });
    service.await_ready();
    assert_eq!(service.property("NRestarts"), "1");
    assert_eq!(service.visits(), before);
    service.accept(&Patient::new(612).registration(26, 2));
}
