//! Studies that are opened before they are here: fetched once, read as they arrive, and never
//! short. What a doctor opens goes before what is fetched ahead.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::clouds::check_whole;
use crate::support::cloud::{Act, Asked, Cloud, Step};
use crate::support::evidence::{self, campaign_seed, campaign_time};
use crate::support::forepost::Forepost;
use crate::support::http::{self, Reply};
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;
use crate::support::setup::Setup;
use crate::support::study::Study;
use crate::support::{Dice, wait_for};

/// An appliance whose callers may have sources asked for studies that nobody registered.
fn asking(sources: &[String]) -> Setup {
    let mut setup = Setup::with(sources);
    setup.callers.push_str("ask_sources = true\n");
    setup
}

/// A source that sends no faster than this.
fn slowed(cloud: &Cloud, kilobytes: usize) -> String {
    let key = "[[source.patient_key]]";
    cloud.source("region").replace(key, &format!("kilobytes_per_second_max = {kilobytes}\n{key}"))
}

fn bytes_of(study: &Study) -> usize {
    study.objects().iter().map(|object| object.bytes.len()).sum()
}

/// The objects of a multipart answer, by SOP Instance UID as far as a test's study has them.
fn objects(reply: &Reply) -> Vec<Vec<u8>> {
    let media = reply.header("content-type").expect("a multipart names its boundary");
    let boundary = media.split("boundary=").nth(1).expect("a boundary").trim_matches('"');
    let mark = format!("--{boundary}");
    let mut rest = &reply.body[..];
    let mut found = Vec::new();
    loop {
        let at = position(rest, mark.as_bytes()).expect("a part or the end");
        rest = &rest[at + mark.len()..];
        if rest.starts_with(b"--") {
            return found;
        }
        let head = position(rest, b"\r\n\r\n").expect("a part's head") + 4;
        let next = position(rest, mark.as_bytes()).expect("a part ends");
        found.push(rest[head..next - 2].to_vec());
        rest = &rest[next..];
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The answer holds every object of the study, as it was made, once.
fn check_objects(reply: &Reply, study: &Study) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let mut got = objects(reply);
    let mut made: Vec<Vec<u8>> = study.objects().into_iter().map(|one| one.bytes).collect();
    got.sort();
    made.sort();
    assert!(got == made, "{} objects of {}", got.len(), made.len());
}

fn path(study: &Study) -> String {
    format!("/dicom-web/studies/{}", study.uid())
}

fn retrieved(cloud: &Cloud) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for asked in cloud.asked().into_iter().filter(Asked::retrieves) {
        *counts.entry(asked.target).or_insert(0) += 1;
    }
    counts
}

#[test]
fn a_study_that_nobody_registered_is_read_while_it_arrives() {
    let study = Study { series: vec![30], side: 128, ..Study::of(&Patient::new(1), 801) };
    let orthanc = Orthanc::with(&[&study]);
    let cloud = Cloud::before(&orthanc);
    let rate = bytes_of(&study) / 2_000 / 2;
    let forepost = Forepost::start(asking(&[slowed(&cloud, rate)]));
    let mut stream = TcpStream::connect(forepost.hospital()).unwrap();
    let began = Instant::now();
    let head = format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path(&study));
    stream.write_all(head.as_bytes()).unwrap();
    let (mut answer, mut first) = (Vec::new(), None);
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&piece[..read]);
        if first.is_none() && answer.len() > bytes_of(&study) / 30 {
            first = Some(began.elapsed());
        }
    }
    let (first, all) = (first.expect("a first instance"), began.elapsed());
    assert!(all > Duration::from_secs(2), "the source was slowed: {all:?}");
    assert!(first < all / 3, "the first instance came after {first:?} of {all:?}");
    assert!(answer.ends_with(b"0\r\n\r\n"), "the answer ends as it should");
    check_whole(&forepost, &study);
    check_objects(&forepost.get(&path(&study)), &study);
    assert!(forepost.get("/dicom-web/studies?PatientID=1&limit=5").body.len() > 1);
    forepost.check_privacy();
}

#[test]
fn twenty_who_open_a_study_at_once_cause_one_fetch_and_each_gets_everything() {
    let study = Study { series: vec![25, 3], side: 64, ..Study::of(&Patient::new(2), 802) };
    let orthanc = Orthanc::with(&[&study]);
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(asking(&[slowed(&cloud, bytes_of(&study) / 1_000)]));
    let address = forepost.hospital();
    let one = study.objects().remove(7);
    let instance = format!("{}/series/{}/instances/{}", path(&study), one.series, one.sop);
    let metadata = format!("{}/metadata", path(&study));
    let readers: Vec<_> = (0..20)
        .map(|n| {
            let target = [path(&study), instance.clone(), metadata.clone()][n % 3].clone();
            let address = address.clone();
            thread::spawn(move || http::ask(&address, "GET", &target, &[], b"").unwrap())
        })
        .collect();
    for (n, reader) in readers.into_iter().enumerate() {
        let reply = reader.join().unwrap();
        match n % 3 {
            0 => check_objects(&reply, &study),
            1 => assert!(objects(&reply) == [one.bytes.clone()], "{}", reply.status),
            _ => assert_eq!(reply.json().as_array().unwrap().len(), study.instances()),
        }
    }
    let retrieved = retrieved(&cloud);
    assert!(retrieved.values().all(|times| *times == 1), "{retrieved:#?}");
    assert_eq!(cloud.count(Step::Search), 1, "asked once who has it");
    check_whole(&forepost, &study);
}

#[test]
fn a_frame_and_a_value_of_an_instance_that_is_not_here_are_waited_for() {
    let study = Study { series: vec![12], side: 64, ..Study::of(&Patient::new(10), 810) };
    let orthanc = Orthanc::with(&[&study]);
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(asking(&[cloud.source("region")]));
    let one = study.objects().remove(9);
    let instance = format!("{}/series/{}/instances/{}", path(&study), one.series, one.sop);
    let pixels = one.bytes[one.bytes.len() - 64 * 64 * 2..].to_vec();
    let frame = forepost.get(&format!("{instance}/frames/1"));
    assert!(objects(&frame) == [pixels.clone()], "{} {}", frame.status, frame.text());
    let value = forepost.get(&format!("{instance}/bulkdata/7fe00010"));
    assert!(objects(&value) == [pixels], "{} {}", value.status, value.text());
    assert_eq!(forepost.get(&format!("{instance}/frames/2")).status, 404);
    // Requests leave side by side; the series alone would have done for who waits for nothing.
    let asked: Vec<String> =
        cloud.asked().into_iter().filter(Asked::retrieves).map(|one| one.target).collect();
    let apart = asked.iter().any(|target| target.contains(&one.sop));
    assert!(apart, "what is waited for goes first: {asked:?}");
}

#[test]
fn an_archive_that_speaks_dimse_is_asked_for_what_nobody_registered_too() {
    let study = Study { series: vec![30, 2], ..Study::of(&Patient::new(11), 811) };
    let orthanc = Orthanc::with(&[&study]);
    let forepost = Forepost::start(asking(&[crate::dimse::source(&orthanc)]));
    assert_eq!(forepost.get("/dicom-web/studies/2.25.812").status, 404);
    let reply = forepost.get(&path(&study));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(objects(&reply).len(), study.instances());
    let metadata = forepost.get(&format!("{}/metadata", path(&study)));
    assert_eq!(metadata.json().as_array().unwrap().len(), study.instances());
}

#[test]
fn a_source_that_dies_breaks_every_answer_and_the_next_try_brings_the_rest() {
    let study = Study { series: vec![40], side: 64, ..Study::of(&Patient::new(3), 803) };
    let orthanc = Orthanc::with(&[&study]);
    let cloud = Cloud::before(&orthanc);
    let cut = bytes_of(&study) / 2;
    cloud.behave(move |asked| if asked.retrieves() { Act::Cut(cut) } else { Act::Pass });
    let forepost = Forepost::start(asking(&[slowed(&cloud, bytes_of(&study) / 1_000)]));
    let address = forepost.hospital();
    let readers: Vec<_> = (0..10)
        .map(|n| {
            let target = path(&study) + ["", "/metadata"][n % 2];
            let address = address.clone();
            thread::spawn(move || http::ask(&address, "GET", &target, &[], b""))
        })
        .collect();
    for reader in readers {
        let reply = reader.join().unwrap();
        assert!(reply.is_err(), "an answer that looks whole: {:?}", reply.map(|one| one.status));
    }
    cloud.behave(|_| Act::Pass);
    let reply = wait_for(Duration::from_secs(60), || {
        let reply = http::ask(&address, "GET", &path(&study), &[], b"").ok()?;
        (reply.status == 200).then_some(reply)
    });
    check_objects(&reply.expect("the study comes when the source is well"), &study);
    check_whole(&forepost, &study);
}

#[test]
fn a_reader_that_reads_nothing_holds_up_no_fetch() {
    let study = Study { series: vec![60], side: 512, ..Study::of(&Patient::new(4), 804) };
    let orthanc = Orthanc::with(&[&study]);
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(asking(&[cloud.source("region")]));
    let mut lazy = TcpStream::connect(forepost.hospital()).unwrap();
    let head = format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path(&study));
    lazy.write_all(head.as_bytes()).unwrap();
    wait_for(Duration::from_secs(60), || {
        let target = format!("/studies/{}/instances?limit=1000", study.uid());
        (forepost.qido(&target).len() == study.instances()).then_some(())
    })
    .expect("the fetch ends while nobody reads");
    let mut answer = Vec::new();
    lazy.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"0\r\n\r\n"));
    assert!(answer.len() > bytes_of(&study), "everything is read at last");
}

#[test]
fn what_no_source_has_is_asked_for_once_a_minute_and_only_for_those_who_may() {
    let study = Study::of(&Patient::new(5), 805);
    let orthanc = Orthanc::start();
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(asking(&[cloud.source("region")]));
    for _ in 0..5 {
        assert_eq!(forepost.get(&path(&study)).status, 404);
    }
    assert_eq!(cloud.count(Step::Search), 1, "the answer is remembered");
    orthanc.store(&study);
    let refused = Forepost::start(Setup::with(&[cloud.source("region")]));
    assert_eq!(refused.get(&path(&study)).status, 404);
    assert_eq!(cloud.count(Step::Search), 1, "this caller may not ask");
}

#[test]
fn a_source_that_cannot_say_is_told_apart_from_one_that_has_nothing() {
    let cloud = Cloud::alone(|_| Act::status(500));
    let forepost = Forepost::start(asking(&[cloud.source("region")]));
    let reply = forepost.get("/dicom-web/studies/2.25.806");
    assert_eq!(reply.status, 502, "{}", reply.text());
    assert!(reply.text().contains("try again"), "{}", reply.text());
    let instance = "/dicom-web/studies/2.25.806/series/2.25.1/instances/2.25.2";
    assert_eq!(forepost.get(instance).status, 502);
}

#[test]
fn an_opened_study_goes_before_what_is_fetched_ahead_and_that_goes_on_after_it() {
    let patient = Patient::new(7);
    let ahead = Study { series: vec![60], side: 128, ..Study::of(&patient, 807) };
    let opened = Study { series: vec![10], side: 128, ..Study::of(&Patient::new(8), 808) };
    let orthanc = Orthanc::with(&[&ahead, &opened]);
    let cloud = Cloud::before(&orthanc);
    // Ten seconds for the one, under two for the other.
    let forepost = Forepost::start(asking(&[slowed(&cloud, bytes_of(&ahead) / 10_000)]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let here = |study: &Study| {
        forepost.qido(&format!("/studies/{}/instances?limit=1000", study.uid())).len()
    };
    wait_for(Duration::from_secs(30), || (here(&ahead) > 3).then_some(())).expect("it begins");
    let began = Instant::now();
    check_objects(&forepost.get(&path(&opened)), &opened);
    let took = began.elapsed();
    let left = ahead.instances() - here(&ahead);
    assert!(left > 20, "the background was not finished first: {left} left after {took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["studies"][0]["fetch"]["attempts"], 1, "making room is no attempt: {plan:#}");
    check_whole(&forepost, &ahead);
    let twice: Vec<String> = retrieved(&cloud)
        .into_iter()
        .filter(|(target, times)| target.contains("/instances/") && *times > 1)
        .map(|(target, _)| target)
        .collect();
    assert!(twice.len() <= 4, "only what was under way is asked for again: {twice:?}");
}

#[test]
fn a_planned_study_is_hastened_by_whoever_opens_it() {
    let patient = Patient::new(9);
    let study = Study { series: vec![5], ..Study::of(&patient, 809) };
    let orthanc = Orthanc::with(&[&study]);
    let cloud = Cloud::before(&orthanc);
    let broken = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&broken);
    cloud.behave(move |asked| {
        let take = |left: usize| left.checked_sub(1);
        let fails = asked.retrieves()
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        if fails { Act::status(500) } else { Act::Pass }
    });
    let forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_plan(&registration, |plan| plan["studies"][0]["fetch"]["attempts"] == 1);
    // It would be tried again in seconds to minutes by itself.
    check_objects(&forepost.get(&path(&study)), &study);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["studies"][0]["fetch"]["state"], "here", "{plan:#}");
}

#[test]
fn a_source_that_hangs_takes_no_turn_of_another() {
    let patients: Vec<Patient> = (20..27).map(Patient::new).collect();
    let slow: Vec<Study> = patients.iter().zip(820..).map(|(p, seed)| Study::of(p, seed)).collect();
    let other = Patient::new(30);
    let quick = Study::of(&other, 830);
    let (behind_slow, behind_quick) =
        (Orthanc::with(&slow.iter().collect::<Vec<_>>()), Orthanc::with(&[&quick]));
    let (hanging, well) = (Cloud::before(&behind_slow), Cloud::before(&behind_quick));
    let waiting = Arc::new(Mutex::new(0));
    let count = Arc::clone(&waiting);
    hanging.behave(move |asked| {
        if !asked.retrieves() {
            return Act::Pass;
        }
        *count.lock().unwrap() += 1;
        Act::Hang
    });
    // A search of a source waits for one of its places too, until a request that hangs is given up.
    let key = "[[source.patient_key]]";
    let slow = hanging.source("slow").replace(key, &format!("head_seconds = 3\n{key}"));
    let forepost = Forepost::start(Setup::with(&[slow, well.source("quick")]));
    for (patient, seconds) in patients.iter().zip(0..) {
        forepost.accept(&patient.registration(26, seconds));
    }
    wait_for(Duration::from_secs(30), || (*waiting.lock().unwrap() >= 4).then_some(()))
        .expect("the slow source is asked as much as it may be");
    let registration = other.registration(48, 0);
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    check_whole(&forepost, &quick);
}

/// Fewer rounds than this prove nothing.
const ROUNDS_MIN: u32 = 40;
/// Studies in the archive; every other one is of a patient who is registered.
const STUDIES: u64 = 16;

/// Studies that are opened, lost and fetched again in random order, while the source breaks off
/// and the appliance dies. The model is what the studies were made of.
struct Lives {
    seed: u64,
    dice: Dice,
    studies: Vec<Study>,
    cloud: Cloud,
    _orthanc: Orthanc,
    began: Instant,
    rounds: u32,
    kills: u32,
    whole: u32,
    broken: u32,
}

/// What is opened, and how.
#[derive(Clone)]
struct Open {
    study: Study,
    form: u64,
}

impl Open {
    fn ask(&self, address: &str) -> std::io::Result<Reply> {
        let one = &self.study.objects()[self.study.series[0] / 2];
        let series = format!("{}/series/{}", path(&self.study), one.series);
        let target = match self.form {
            0 | 1 => path(&self.study),
            2 => series,
            3 => format!("{series}/instances/{}", one.sop),
            _ => format!("{}/metadata", path(&self.study)),
        };
        http::ask(address, "GET", &target, &[], b"")
    }

    /// An answer that looks whole is.
    fn check(&self, reply: &Reply) {
        let first: Vec<_> = self.study.objects();
        match self.form {
            0 | 1 => check_objects(reply, &self.study),
            2 => {
                let series = Study { series: vec![self.study.series[0]], ..self.study.clone() };
                check_objects(reply, &series);
            }
            3 => assert!(objects(reply) == [first[self.study.series[0] / 2].bytes.clone()]),
            _ => assert_eq!(reply.json().as_array().unwrap().len(), self.study.instances()),
        }
    }
}

impl Lives {
    fn new() -> Lives {
        let seed = campaign_seed();
        let study = |n: u64| {
            let series = vec![6 + n as usize % 7, 3];
            Study { series, side: 64, ..Study::of(&Patient::new(850 + n as u32), 85_000 + n) }
        };
        let studies: Vec<Study> = (0..STUDIES).map(study).collect();
        let orthanc = Orthanc::with(&studies.iter().collect::<Vec<_>>());
        let cloud = Cloud::before(&orthanc);
        let mut dice = Dice::new(seed ^ 0xc10d);
        cloud.behave(move |asked| match dice.below(30) {
            0 => Act::status(500),
            1..=3 if asked.retrieves() => Act::Cut(dice.below(60_000) as usize),
            4..=8 => Act::Later(Duration::from_millis(dice.below(60)), Box::new(Act::Pass)),
            _ => Act::Pass,
        });
        let (began, dice) = (Instant::now(), Dice::new(seed));
        let (rounds, kills, whole, broken) = (0, 0, 0, 0);
        Lives { seed, dice, studies, cloud, _orthanc: orthanc, began, rounds, kills, whole, broken }
    }

    fn goes_on(&self) -> bool {
        self.began.elapsed() < campaign_time() || self.rounds < ROUNDS_MIN
    }

    /// Several open studies at once, and now and then the appliance dies meanwhile.
    fn round(&mut self, forepost: &mut Forepost) {
        self.rounds += 1;
        let popular = self.dice.below(STUDIES) as usize;
        let opens: Vec<Open> = (0..2 + self.dice.below(4))
            .map(|_| {
                let other = self.dice.below(STUDIES) as usize;
                let at = if self.dice.below(2) == 0 { popular } else { other };
                Open { study: self.studies[at].clone(), form: self.dice.below(5) }
            })
            .collect();
        let dies = self.dice.below(4) == 0;
        let life = Duration::from_millis(self.dice.below(150));
        let (address, pid) = (forepost.hospital(), forepost.process_id());
        let replies: Vec<_> = thread::scope(|scope| {
            if dies {
                scope.spawn(move || {
                    thread::sleep(life);
                    // SAFETY: kill takes two numbers; the process is our own child, not waited for.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                });
            }
            let ask = |open: &Open| {
                let (open, address) = (open.clone(), address.clone());
                scope.spawn(move || open.ask(&address))
            };
            let asks: Vec<_> = opens.iter().map(ask).collect();
            asks.into_iter().map(|one| one.join().unwrap()).collect()
        });
        for (open, reply) in opens.iter().zip(replies) {
            match reply {
                Ok(reply) if reply.status == 200 => {
                    open.check(&reply);
                    self.whole += 1;
                }
                Ok(reply) => {
                    assert!([500, 502, 503].contains(&reply.status), "{}", reply.text());
                    self.broken += 1;
                }
                Err(_) => self.broken += 1,
            }
        }
        if dies {
            forepost.kill();
            self.kills += 1;
            self.lose(forepost);
            forepost.restart();
        } else if self.dice.below(8) == 0 {
            assert_eq!(forepost.stop().code(), Some(0));
            self.lose(forepost);
            forepost.restart();
        }
    }

    /// Some studies are gone while nothing runs: a disk was changed, or somebody made room.
    fn lose(&mut self, forepost: &Forepost) {
        for _ in 0..6 {
            let study = &self.studies[self.dice.below(STUDIES) as usize];
            let _ = std::fs::remove_dir_all(forepost.study_folder(&study.uid()));
        }
    }

    /// With a source that is well, everything opens.
    fn check_end(&self, forepost: &Forepost) {
        self.cloud.behave(|_| Act::Pass);
        for study in &self.studies {
            let reply = wait_for(Duration::from_secs(90), || {
                let reply = http::ask(&forepost.hospital(), "GET", &path(study), &[], b"").ok()?;
                (reply.status == 200).then_some(reply)
            });
            check_objects(&reply.expect("a study opens at last"), study);
            check_whole(forepost, study);
        }
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        let rows = [
            ("seed", self.seed.to_string()),
            ("rounds", self.rounds.to_string()),
            ("rounds in which the appliance was killed", self.kills.to_string()),
            ("seconds", self.began.elapsed().as_secs().to_string()),
            ("answers that were whole, compared", self.whole.to_string()),
            ("answers that broke off or were refused", self.broken.to_string()),
            ("failures", u32::from(thread::panicking()).to_string()),
        ];
        evidence::write("campaign_open", &rows);
    }
}

#[test]
fn campaign_open() {
    let mut lives = Lives::new();
    let mut forepost = Forepost::start(asking(&[lives.cloud.source("region")]));
    for n in (0..STUDIES as u32).step_by(2) {
        forepost.accept(&Patient::new(850 + n).registration(26, i64::from(n)));
    }
    while lives.goes_on() {
        lives.round(&mut forepost);
    }
    lives.check_end(&forepost);
    assert!(lives.whole > ROUNDS_MIN && lives.kills > 0, "{} whole", lives.whole);
}
