//! Another configuration while it runs: what changes, what does not, and that nobody notices.

use std::time::Duration;

use serde_json::json;

use crate::deliveries::pair;
use crate::support::cloud::{Act, Cloud};
use crate::support::forepost::{Forepost, REGISTER};
use crate::support::http::Connection;
use crate::support::orthanc::Orthanc;
use crate::support::patient::{Patient, personal};
use crate::support::platform::{Platform, Weather, settlement};
use crate::support::setup::Setup;
use crate::support::study::Study;
use crate::support::{PATIENCE, wait_for};

const TAKEN: &str = "the configuration is taken up";
const REFUSED: &str = "the configuration is not taken up, the one before goes on";

#[test]
fn a_wrong_file_is_refused_with_line_and_key_and_the_old_one_goes_on() {
    let mut forepost = Forepost::start(Setup::default());
    forepost.setup.more = "[[caller]]\nname = \"lab\"\nadresses = [\"127.0.0.1\"]\n".into();
    let said = forepost.reload(REFUSED);
    let lines = std::fs::read_to_string(forepost.config_path()).unwrap();
    let line = 1 + lines.lines().position(|line| line.starts_with("adresses")).unwrap();
    for expected in [
        format!("forepost.toml:{line}: caller[1].adresses: is not known here; known are addresses"),
        "caller[1].addresses: a caller needs `addresses`, a `token_file`, or both".to_owned(),
    ] {
        assert!(said.contains(&expected), "{expected} in\n{said}");
    }
    forepost.accept(&Patient::new(910).registration(26, 0));
    let checked = forepost.verb(&["check"]);
    assert_eq!(checked.status.code(), Some(64), "{checked:?}");
    forepost.setup.more = String::new();
    forepost.reload(TAKEN);
    forepost.accept(&Patient::new(911).registration(26, 1));
}

#[test]
fn what_takes_a_restart_is_named_and_not_taken_up() {
    let mut forepost = Forepost::start(Setup::default());
    forepost.setup.hospital_zone = "listen = \"127.0.0.1:1\"\n".into();
    let said = forepost.reload(REFUSED);
    let expected = "zone.hospital.listen: changed, which takes a restart: systemctl restart";
    assert!(said.contains(expected), "{said}");
    forepost.accept(&Patient::new(912).registration(26, 0));
}

#[test]
fn callers_change_under_a_connection_that_stays_open() {
    let mut forepost = Forepost::start(Setup::default());
    let registration = Patient::new(913).registration(26, 0);
    forepost.keep_secret(personal(&registration));
    let body = registration.to_string();
    let mut his = Connection::open(&forepost.hospital()).unwrap();
    let mut push = |token: Option<&str>| {
        let bearer = format!("Bearer {}", token.unwrap_or_default());
        let json = ("Content-Type", "application/json");
        let both = [json, ("Authorization", bearer.as_str())];
        let headers = if token.is_some() { &both[..] } else { &both[..1] };
        his.ask("POST", REGISTER, headers, body.as_bytes()).unwrap().json()["code"].clone()
    };
    assert_eq!(push(None), 200);
    forepost.setup.callers = "[[caller]]\nname = \"his\"\naddresses = [\"127.0.0.1\"]\npush = \
                              true\ntoken_file = \"{folder}/his.token\"\n"
        .into();
    forepost.setup.files = vec![("his.token", "s3cret-of-1".into())];
    forepost.reload(TAKEN);
    assert_ne!(push(None), 200, "the token is needed from now on");
    assert_eq!(push(Some("s3cret-of-1")), 200);
    forepost.setup.files = vec![("his.token", "s3cret-of-2".into())];
    forepost.reload(TAKEN);
    assert_ne!(push(Some("s3cret-of-1")), 200);
    assert_eq!(push(Some("s3cret-of-2")), 200);
}

/// A study on its way and its reader are left alone; the next patient's is found at the new source.
#[test]
fn a_source_is_changed_while_a_study_arrives_and_is_read() {
    let [first, second] = [920, 921].map(Patient::new);
    let slow = Study { series: vec![30], side: 256, ..Study::of(&first, 920) };
    let other = Study::of(&second, 921);
    let archives = [Orthanc::with(&[&slow]), Orthanc::with(&[&other])];
    let clouds = archives.each_ref().map(Cloud::before);
    let key = "[[source.patient_key]]";
    let limit = format!("kilobytes_per_second_max = 500\n{key}");
    let source = clouds[0].source("region").replace(key, &limit);
    let mut forepost = Forepost::start(Setup::with(&[source]));
    let registration = first.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_plan(&registration, |plan| plan["studies"][0]["fetch"]["expected"] == 30);
    let (address, target) = (forepost.hospital(), format!("/dicom-web/studies/{}", slow.uid()));
    let reading = std::thread::spawn(move || {
        let accept = [("Accept", "multipart/related; type=\"application/dicom\"")];
        Connection::open(&address).unwrap().ask("GET", &target, &accept, b"").unwrap()
    });
    forepost.setup.sources = vec![clouds[1].source("other")];
    forepost.reload(TAKEN);
    let registration = second.registration(26, 1);
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    let found = forepost.qido(&format!("/studies/{}/instances", other.uid()));
    assert_eq!(found.len(), other.instances());
    let reply = reading.join().unwrap();
    assert_eq!(reply.status, 200);
    let bytes: usize = slow.objects().iter().map(|object| object.bytes.len()).sum();
    assert!(reply.body.len() > bytes, "{} of {bytes} bytes came", reply.body.len());
}

/// How many settlements came; the doctor, who looks after each change, brings none.
fn settled(platform: &Platform) -> usize {
    platform.bodies().iter().filter(|body| body.is_object()).count()
}

#[test]
fn what_waits_leaves_for_the_address_that_a_change_gave_and_once() {
    let (away, mut forepost) = pair();
    away.behave(|_| Weather::status(503));
    forepost.accept_settlements(&settlement(930));
    forepost.await_delivery(1, |one| one["attempts"].as_array().is_some_and(|a| !a.is_empty()));
    let here = Platform::start();
    forepost.setup.more = here.for_settlements();
    forepost.reload(TAKEN);
    forepost.accept_settlements(&settlement(931));
    let retried = forepost.verb(&["queue", "retry", "1"]);
    assert!(retried.status.success(), "{retried:?}");
    for number in [1, 2] {
        forepost.await_delivery_state(number, "delivered");
    }
    assert_eq!(settled(&here), 2);
}

/// A peer that takes its time is not asked a second time while the first attempt is under way.
#[test]
fn an_attempt_under_way_ends_as_it_began() {
    let (platform, forepost) = pair();
    platform.behave(|_| Weather::Slow(Duration::from_millis(600)));
    forepost.accept_settlements(&settlement(935));
    let came = wait_for(PATIENCE, || (settled(&platform) > 0).then_some(()));
    came.expect("the platform is asked");
    forepost.reload(TAKEN);
    let delivered = forepost.await_delivery_state(1, "delivered");
    let attempts = delivered["attempts"].as_array().unwrap();
    assert_eq!(settled(&platform), attempts.len());
    for two in attempts.windows(2) {
        let at = |attempt: &serde_json::Value, key: &str| attempt[key].as_i64().unwrap();
        assert!(at(&two[1], "began_at_ms") >= at(&two[0], "ended_at_ms"), "{attempts:#?}");
    }
}

#[test]
fn a_new_certificate_is_shown_to_who_connects_next() {
    let make = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (old, new) = (make(), make());
    let zone = "listen_tls = \"127.0.0.1:0\"\ncertificate = \"{folder}/door.pem\"\n\
                certificate_key = \"{folder}/door.key\"\n";
    let files = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        vec![("door.pem", made.cert.pem()), ("door.key", made.signing_key.serialize_pem())]
    };
    let setup = Setup { hospital_zone: zone.to_owned(), files: files(&old), ..Setup::default() };
    let mut forepost = Forepost::start(setup);
    let shown = |forepost: &Forepost| {
        let output = std::process::Command::new("openssl")
            .args(["s_client", "-connect", &forepost.hospital_tls(), "-servername", "localhost"])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).replace('\r', "")
    };
    let body = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        made.cert.pem().replace('\r', "").lines().nth(1).unwrap().to_owned()
    };
    assert!(shown(&forepost).contains(&body(&old)));
    forepost.setup.files = files(&new);
    forepost.reload(TAKEN);
    assert!(shown(&forepost).contains(&body(&new)));
    // A key that does not fit changes nothing.
    forepost.setup.files = vec![files(&new)[0].clone(), files(&old)[1].clone()];
    forepost.reload(REFUSED);
    assert!(shown(&forepost).contains(&body(&new)));
}

/// A source that was resting after faults is asked anew: what was wrong may be what was changed.
#[test]
fn a_source_that_rested_is_asked_at_once_by_its_new_address() {
    let patient = Patient::new(940);
    let study = Study::of(&patient, 940);
    let archive = Orthanc::with(&[&study]);
    let (dead, good) = (Cloud::alone(|_| Act::status(500)), Cloud::before(&archive));
    let mut forepost = Forepost::start(Setup::with(&[dead.source("region")]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_plan(&registration, |plan| {
        plan["searches"][0]["fault"].as_str().is_some_and(|fault| !fault.is_empty())
    });
    forepost.setup.sources = vec![good.source("region")];
    forepost.reload(TAKEN);
    forepost.await_state(&registration, "ready");
    assert_eq!(forepost.plan(&registration)["studies"][0]["fetch"]["state"], json!("here"));
}
