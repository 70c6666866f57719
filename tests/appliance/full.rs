//! A disk that is full: every answer is a success that is on the disk or the interface's own 500,
//! and with room again it goes on by itself.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::clouds::check_whole;
use crate::power::Disk;
use crate::support::cloud::{Act, Cloud};
use crate::support::forepost::Forepost;
use crate::support::http::{self, Reply};
use crate::support::orthanc::Orthanc;
use crate::support::patient::{Patient, due_at};
use crate::support::setup::Setup;
use crate::support::study::Study;
use crate::support::{PATIENCE, wait_for};

/// Where the document has settlements pushed to (imaging cloud's document, 3.6.2).
const SETTLE: &str = "/standardInterface/standardHttp/saveSetlInfoList";
/// Bytes that the filler takes between two messages.
const STEP: usize = 1 << 20;
/// Refusals of each kind that are wanted while nothing is left.
const REFUSALS: usize = 5;
/// More messages than this must not be needed: the disk has 256 steps.
const MESSAGES_MAX: u32 = 600;
/// Lines of errors and warnings that a minute of a full disk may make.
const LOUD_LINES_MAX: usize = 600;

/// A file that takes what room there is.
struct Filler {
    path: PathBuf,
    file: File,
}

impl Filler {
    fn new(disk: &Disk) -> Filler {
        let path = disk.folder().join("filler");
        Filler { file: File::create(&path).unwrap(), path }
    }

    /// Takes a step, or what is left.
    fn grow(&mut self) {
        let mut bytes = STEP;
        while bytes >= 512 {
            if self.file.write_all(&vec![1; bytes]).is_err() {
                bytes /= 2;
            } else if bytes == STEP {
                return;
            }
        }
    }

    /// Gives back so many bytes.
    fn shrink(&mut self, bytes: u64) {
        let length = self.file.metadata().unwrap().len();
        self.file.set_len(length - bytes).unwrap();
        self.file.sync_all().unwrap();
    }

    fn end(self) {
        std::fs::remove_file(&self.path).unwrap();
    }
}

/// What was sent, and how it was answered.
#[derive(Default)]
struct His {
    number: u32,
    registered: Vec<Value>,
    settled: u32,
    /// Registrations and settlements that were answered 500.
    refused: (usize, usize),
}

impl His {
    /// Pushes a registration and a settlement, each of its own.
    fn send(&mut self, forepost: &Forepost) {
        self.number += 1;
        assert!(self.number < MESSAGES_MAX, "the disk does not become full");
        let person = Patient::new(4_000 + self.number % 100);
        let registration = person.registration(30, i64::from(self.number));
        if succeeded(&forepost.push(&registration)) {
            self.registered.push(registration);
        } else {
            self.refused.0 += 1;
        }
        let settlement = json!({
            "accessionNo": format!("CT20250918{:04}", self.number),
            "hospitalld": "123456",
            "studyOrderId": format!("CT23544353{:04}", self.number),
            "setlId": format!("ST12343{:04}", self.number),
            "medListCodg": "12098674",
            "feedetlSn": format!("3456097{:04}", self.number),
            "examPart": "B02010ZZZ",
        });
        let secret = ["accessionNo", "studyOrderId", "setlId", "feedetlSn"];
        forepost.keep_secret(secret.map(|key| settlement[key].as_str().unwrap().to_owned()));
        let headers = [("Content-Type", "application/json")];
        let body = json!([settlement]).to_string();
        match succeeded(&forepost.ask("POST", SETTLE, &headers, body.as_bytes())) {
            true => self.settled += 1,
            false => self.refused.1 += 1,
        }
    }

    fn send_accepted(&mut self, forepost: &Forepost, times: u32) {
        let refused = self.refused;
        for _ in 0..times {
            self.send(forepost);
        }
        assert_eq!(self.refused, refused, "there is room for what was sent");
    }

    /// Everything that was acknowledged is there, and of settlements nothing else.
    fn check(&self, forepost: &Forepost) {
        let plans = forepost.plans();
        let lost = self.registered.iter().filter(|one| !plans.contains_key(&due_at(one))).count();
        assert_eq!(lost, 0, "of {} acknowledged registrations", self.registered.len());
        assert_eq!(forepost.metric("deliveries_accepted"), f64::from(self.settled));
        assert_eq!(forepost.metric("deliveries_unaccounted"), 0.0);
    }
}

/// Whether an answer says success; if not, it is the interface's 500 in its own envelope.
fn succeeded(reply: &Reply) -> bool {
    let told = (reply.status, reply.json());
    if told == (200, json!({"message": "请求成功", "code": 200})) {
        return true;
    }
    assert_eq!(told, (200, json!({"message": "服务异常", "code": 500})));
    false
}

/// A destination that takes everything, and a study behind a source whose objects do not come.
struct Scene {
    disk: Disk,
    patient: Patient,
    study: Study,
    source: Cloud,
    destination: Cloud,
    _orthanc: Orthanc,
}

impl Scene {
    fn new(disk: Disk) -> Scene {
        let patient = Patient::new(4_200);
        // 24 objects of half a megabyte.
        let study = Study { series: vec![24], side: 512, ..Study::of(&patient, 4_200) };
        let orthanc = Orthanc::with(&[&study]);
        let source = Cloud::before(&orthanc);
        source.behave(|asked| if asked.retrieves() { Act::Hang } else { Act::Pass });
        let destination = Cloud::alone(|_| Act::json(&json!({"message": "请求成功", "code": 200})));
        Scene { disk, patient, study, source, destination, _orthanc: orthanc }
    }

    fn start(&self) -> Forepost {
        let more = format!(
            "[[destination]]\nname = \"platform\"\nurl = \"http://{}\"\n\
             interfaces = [\"ic-settlement-push\"]\n",
            self.destination.address
        );
        let data = Some(self.disk.folder().join("data"));
        Forepost::start(Setup { data, more, ..Setup::with(&[self.source.source("region")]) })
    }
}

fn health(forepost: &Forepost) -> Reply {
    http::ask(&forepost.console(), "GET", "/health", &[], b"").expect("the console answers")
}

fn loud_lines(forepost: &Forepost) -> usize {
    let log = forepost.log();
    log.lines().filter(|line| line.contains("ERROR") || line.contains("WARN")).count()
}

#[test]
fn a_full_disk_is_told_to_every_sender_and_with_room_again_everything_goes_on() {
    let Some(mut disk) = Disk::make() else {
        println!("skipped: no disk of its own (needs root, mkfs.ext4 and a loop device)");
        return;
    };
    disk.mount();
    let scene = Scene::new(disk);
    let mut forepost = scene.start();
    let wanted = scene.patient.registration(20, 0);
    forepost.accept(&wanted);
    let asked = wait_for(PATIENCE, || {
        scene.source.asked().iter().any(|asked| asked.retrieves()).then_some(())
    });
    asked.expect("the study is asked for before the disk is full");
    let mut his = His { registered: vec![wanted.clone()], ..His::default() };
    let reserve = forepost.data().join("ledger/reserve");
    assert!(reserve.exists());

    let mut filler = Filler::new(&scene.disk);
    while his.refused.0 < REFUSALS || his.refused.1 < REFUSALS {
        filler.grow();
        his.send(&forepost);
    }
    assert!(!reserve.exists(), "the ledger gave up its reserve");
    // The probe's own write is small and may find a last place in the log.
    let told = wait_for(PATIENCE, || {
        let health = health(&forepost);
        (health.status == 503).then(|| health.json()["ledger"].clone())
    });
    assert_eq!(told, Some(json!("ledger: disk full")));
    assert!(loud_lines(&forepost) < LOUD_LINES_MAX, "{} lines", loud_lines(&forepost));

    // Room for the ledger, and not for studies.
    filler.shrink(24 << 20);
    his.send_accepted(&forepost, 10);
    scene.source.behave(|_| Act::Pass);
    let plan = forepost.await_plan(&wanted, |plan| plan["cause"] == "disk full");
    assert_eq!(plan["state"], "fetching", "{plan:#}");
    his.send_accepted(&forepost, 10);
    his.check(&forepost);

    filler.end();
    forepost.await_state(&wanted, "ready");
    check_whole(&forepost, &scene.study);
    his.send_accepted(&forepost, 10);
    assert_eq!(health(&forepost).status, 200);
    let back = wait_for(PATIENCE, || reserve.exists().then_some(()));
    back.expect("the reserve is made again");
    println!("{} messages, {:?} refused", his.number, his.refused);
    forepost.kill();
    forepost.restart();
    his.check(&forepost);
    check_whole(&forepost, &scene.study);
}
