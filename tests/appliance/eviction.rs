//! What leaves a cache whose disk becomes full, what stays, and what is found damaged in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clouds::check_whole;
use crate::power::Disk;
use crate::support::cloud::Cloud;
use crate::support::forepost::Forepost;
use crate::support::http;
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;
use crate::support::setup::Setup;
use crate::support::study::Study;
use crate::support::{PATIENCE, wait_for};

/// A patient with one study in the region, and the registration of a visit.
struct Visit {
    patient: Patient,
    study: Study,
    registration: Value,
}

impl Visit {
    /// `objects` of half a megabyte.
    fn new(number: u32, objects: usize) -> Visit {
        let patient = Patient::new(number);
        let seed = u64::from(number);
        let study = Study { series: vec![objects], side: 512, ..Study::of(&patient, seed) };
        let registration = patient.registration(30, i64::from(number));
        Visit { patient, study, registration }
    }

    /// Registers the visit and waits until its study is here.
    fn prepare(&self, forepost: &Forepost) {
        forepost.accept(&self.registration);
        forepost.await_state(&self.registration, "ready");
    }

    /// The registration of a patient who was seen.
    fn seen(&self) -> Value {
        let mut seen = self.registration.clone();
        seen["outpatientType"] = json!("1");
        seen
    }

    fn end(&self, forepost: &Forepost) {
        forepost.accept(&self.seen());
        forepost.await_state(&self.registration, "over");
    }

    /// The same patient comes again.
    fn again(&self) -> Visit {
        let registration = self.patient.registration(50, i64::from(self.patient.number));
        Visit { patient: self.patient.clone(), study: self.study.clone(), registration }
    }

    fn target(&self) -> String {
        format!("/dicom-web/studies/{}", self.study.uid())
    }

    fn is_here(&self, forepost: &Forepost) -> bool {
        forepost.study_folder(&self.study.uid()).exists()
    }

    fn fetch_state(&self, forepost: &Forepost) -> String {
        let plan = forepost.plan(&self.registration);
        plan["studies"][0]["fetch"]["state"].as_str().unwrap().to_owned()
    }
}

/// What the studies are fetched from.
struct Region {
    // Declared before the archive, so that the cloud in front of it goes first.
    cloud: Cloud,
    _orthanc: Orthanc,
}

fn visits(numbers: std::ops::Range<u32>, objects: usize) -> (Vec<Visit>, Region) {
    let visits: Vec<Visit> = numbers.map(|number| Visit::new(number, objects)).collect();
    let studies: Vec<&Study> = visits.iter().map(|visit| &visit.study).collect();
    let orthanc = Orthanc::with(&studies);
    (visits, Region { cloud: Cloud::before(&orthanc), _orthanc: orthanc })
}

fn setup(region: &Region, eviction: &str) -> Setup {
    let more = format!("[eviction]\n{eviction}\n");
    Setup { more, ..Setup::with(&[region.cloud.source("region")]) }
}

fn await_metric(forepost: &Forepost, name: &str, wanted: impl Fn(f64) -> bool) -> f64 {
    let mut last = 0.0;
    let found = wait_for(PATIENCE, || {
        last = forepost.metric(name);
        wanted(last).then_some(last)
    });
    found.unwrap_or_else(|| panic!("after {PATIENCE:?} {name} is still {last}"))
}

#[test]
fn a_disk_too_small_for_all_visits_serves_each_of_them_in_turn() {
    let Some(mut disk) = Disk::make() else {
        println!("skipped: no disk of its own (needs root, mkfs.ext4 and a loop device)");
        return;
    };
    disk.mount();
    // 18 studies of 12.6 MB on a disk of 256 MB, of which 60 % may be used.
    let (visits, region) = visits(4_300..4_318, 24);
    let data = Some(disk.folder().join("data"));
    let marks = "high_percent = 60\nlow_percent = 45";
    let forepost = Forepost::start(Setup { data, ..setup(&region, marks) });
    let (wanted, passing) = visits.split_at(3);
    for visit in wanted {
        visit.prepare(&forepost);
    }
    let opened = &passing[0];
    opened.prepare(&forepost);
    opened.end(&forepost);
    assert_eq!(forepost.get(&opened.target()).status, 200);
    for visit in &passing[1..] {
        visit.prepare(&forepost);
        visit.end(&forepost);
    }
    let gone = await_metric(&forepost, "cache_evicted_studies_total", |gone| gone >= 4.0);
    println!("{gone} of {} studies left the cache", visits.len());
    for visit in wanted.iter().chain([opened]) {
        check_whole(&forepost, &visit.study);
        assert_eq!(forepost.get(&visit.target()).status, 200);
    }
    let left: Vec<&Visit> =
        passing.iter().filter(|visit| visit.fetch_state(&forepost) == "evicted").collect();
    assert!(left.len() >= 4);
    for visit in left {
        assert!(!visit.is_here(&forepost));
    }
    // Fetches may have been held back for a moment, until what left had left the disk.
    await_metric(&forepost, "cache_fetches_held_back", |held| held == 0.0);

    // Who comes again after the study left has it fetched again.
    let back = passing[1..].iter().find(|visit| !visit.is_here(&forepost)).unwrap().again();
    back.prepare(&forepost);
    check_whole(&forepost, &back.study);
    // So has who opens it.
    let gone = passing[1..].iter().rev().find(|visit| !visit.is_here(&forepost)).unwrap();
    assert_eq!(forepost.get(&gone.target()).status, 200);
    check_whole(&forepost, &gone.study);
}

#[test]
fn fetches_that_can_wait_leave_the_last_room_to_those_that_cannot() {
    let (visits, region) = visits(4_400..4_402, 2);
    let [waiting, _] = &visits[..] else { unreachable!() };
    let urgent = {
        let registration = visits[1].patient.registration(1, 0);
        Visit { registration, ..visits[1].again() }
    };
    // No disk of this world has so much room.
    let mut forepost = Forepost::start(setup(&region, "floor_megabytes = 1000000000"));
    await_metric(&forepost, "cache_fetches_held_back", |held| held == 1.0);
    forepost.accept(&waiting.registration);
    let held = |plan: &Value| plan["cause"] == "disk full";
    let plan = forepost.await_plan(&waiting.registration, held);
    assert_eq!((&plan["state"], &plan["have"]), (&json!("fetching"), &json!(0)), "{plan:#}");
    urgent.prepare(&forepost);
    check_whole(&forepost, &urgent.study);
    assert!(!waiting.is_here(&forepost));
    assert!(forepost.log().contains("the disk has no room for fetches, they wait"));
    assert!(forepost.metric("cache_disk_free_bytes") > 0.0);

    assert!(forepost.stop().success());
    forepost.setup = setup(&region, "");
    forepost.restart();
    forepost.await_state(&waiting.registration, "ready");
    assert_eq!(forepost.metric("cache_fetches_held_back"), 0.0);
}

#[test]
fn what_a_dry_run_counts_is_what_goes_and_a_running_service_is_left_alone() {
    let (visits, region) = visits(4_320..4_325, 2);
    let mut forepost = Forepost::start(setup(&region, ""));
    for visit in &visits {
        visit.prepare(&forepost);
    }
    for visit in &visits[1..] {
        visit.end(&forepost);
    }
    let all = ["cache", "evict", "--bytes", "1000000000", "--json"];
    let verb = |forepost: &Forepost, more: &[&str]| forepost.verb_json(&[&all[..], more].concat());
    let told = verb(&forepost, &["--dry-run"]);
    assert_eq!((&told["count"], &told["evicted"]), (&json!(4), &json!(false)), "{told:#}");
    let first = &told["studies"][0];
    assert_eq!(first["reason"], "visits over for 0 days, never opened");

    let refused = forepost.verb(&[&all[..], &["--yes"]].concat());
    assert_eq!(refused.status.code(), Some(1));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("the service runs"), "{words}");
    assert!(visits.iter().all(|visit| visit.is_here(&forepost)));

    assert!(forepost.stop().success());
    assert_eq!(verb(&forepost, &[])["evicted"], false, "without --yes nothing goes");
    assert_eq!(verb(&forepost, &["--dry-run"]), told);
    let some = ["cache", "evict", "--bytes", "1", "--json", "--yes", "--by", "张工"];
    let one = forepost.verb_json(&some);
    assert_eq!(one["studies"], json!([first]), "the first of the list, and no more");
    let rest = verb(&forepost, &["--yes", "--by", "张工"]);
    let listed = told["studies"].as_array().unwrap();
    assert_eq!(rest["studies"], json!(listed[1..]));
    let bytes = |told: &Value| told["bytes"].as_u64().unwrap();
    assert_eq!(bytes(&one) + bytes(&rest), bytes(&told));
    assert_eq!(visits.iter().filter(|visit| visit.is_here(&forepost)).count(), 1);
    let deeds = forepost.verb_json(&["audit", "show", "--caller", "张工", "--json"]);
    let deeds = deeds.as_array().unwrap();
    assert_eq!(deeds.len(), 4);
    assert!(deeds.iter().all(|deed| deed["what"] == "cache evict"), "{deeds:#?}");

    forepost.restart();
    check_whole(&forepost, &visits[0].study);
    assert_eq!(forepost.qido("/studies").len(), 1);
}

/// Study folders, as the disk has them.
fn folders(forepost: &Forepost) -> usize {
    std::fs::read_dir(forepost.data().join("cache/studies")).map_or(0, Iterator::count)
}

#[test]
fn a_kill_or_a_power_cut_in_the_middle_of_evictions_lists_no_study_that_is_not_whole() {
    const STAYING: usize = 3;
    const ROUNDS_MAX: u64 = 100;
    let (visits, region) = visits(4_330..4_370, 1);
    // Where it can be made, every other kill is a power cut.
    let mut disk = Disk::make();
    disk.iter_mut().for_each(Disk::mount);
    let data = disk.as_ref().map(|disk| disk.folder().join("data"));
    let mut forepost = Forepost::start(Setup { data: data.clone(), ..setup(&region, "") });
    for visit in &visits {
        forepost.accept(&visit.registration);
    }
    let ready = wait_for(PATIENCE, || {
        let plans = forepost.plans();
        plans.values().all(|plan| plan["state"] == "ready").then_some(())
    });
    ready.expect("every plan is ready");
    for visit in &visits[STAYING..] {
        forepost.accept(&visit.seen());
    }
    forepost.setup = Setup { data, ..setup(&region, "megabytes_max = 1") };
    forepost.kill();
    forepost.restart();
    let mut left = Vec::new();
    let mut last = visits.len();
    for round in 0..ROUNDS_MAX {
        // The kill falls when a few more have left.
        let few = last.saturating_sub(2 + round as usize % 5).max(STAYING);
        let until = Instant::now() + PATIENCE;
        while folders(&forepost) > few && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut cut = disk.as_mut().filter(|_| round % 2 == 1);
        cut.iter().for_each(|disk| disk.cut());
        forepost.kill();
        cut.iter_mut().for_each(|disk| disk.come_back());
        let here: Vec<&Visit> = visits.iter().filter(|visit| visit.is_here(&forepost)).collect();
        for visit in &here {
            for (at, object) in visit.study.objects().iter().enumerate() {
                let file = object_file(&forepost, &visit.study, at);
                assert!(std::fs::read(&file).unwrap() == object.bytes, "{}", object.sop);
            }
        }
        last = here.len();
        left.push(last);
        forepost.restart();
        if last == STAYING {
            break;
        }
    }
    println!("studies that were there after each kill: {left:?}");
    let between = left.iter().filter(|left| (STAYING + 1..visits.len()).contains(left)).count();
    assert!(between >= 2, "the kills came before or after the evictions: {left:?}");
    for visit in &visits[..STAYING] {
        forepost.await_state(&visit.registration, "ready");
        check_whole(&forepost, &visit.study);
    }
    assert_eq!(forepost.qido("/studies?limit=100").len(), STAYING);
    assert!(forepost.stop().success());
    let whole = forepost.verb(&["cache", "verify"]);
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stdout));
    // What left is fetched again by who wants it, however the machine died when it left.
    forepost.setup.more = String::new();
    forepost.restart();
    let back = visits[STAYING].again();
    back.prepare(&forepost);
    check_whole(&forepost, &back.study);
}

/// Flips one bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

fn object_file(forepost: &Forepost, study: &Study, at: usize) -> PathBuf {
    let name = format!("{}.dcm", study.objects()[at].sop);
    forepost.study_folder(&study.uid()).join(name)
}

#[test]
fn a_bit_that_flips_is_found_and_the_object_is_fetched_again() {
    let (visits, region) = visits(4_392..4_394, 4);
    let [object, records] = &visits[..] else { unreachable!() };
    let mut forepost = Forepost::start(setup(&region, ""));
    object.prepare(&forepost);
    records.prepare(&forepost);
    assert!(forepost.stop().success());

    // By hand, while the service is stopped.
    flip(&object_file(&forepost, &object.study, 1));
    let found = forepost.verb(&["cache", "verify"]);
    assert_eq!(found.status.code(), Some(1));
    let words = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(words.contains("another checksum"), "{words}");
    let told = forepost.verb_json(&["cache", "verify", "--repair", "--json", "--by", "张工"]);
    let uid = object.study.uid();
    assert_eq!(told["mended"], json!([{"study": uid, "taken": 1, "left": 3}]));
    assert!(!object_file(&forepost, &object.study, 1).exists());
    forepost.restart();
    forepost.await_state(&object.registration, "ready");
    check_whole(&forepost, &object.study);

    // By the service itself: an object of one study, the records of the other.
    assert!(forepost.stop().success());
    flip(&object_file(&forepost, &object.study, 2));
    flip(&forepost.study_folder(&records.study.uid()).join("study.records"));
    forepost.restart();
    await_metric(&forepost, "cache_damaged_total", |damaged| damaged == 1.0);
    let log = wait_for(PATIENCE, || {
        let log = forepost.log();
        let both = ["another checksum", "behind the last whole record"];
        both.iter().all(|words| log.contains(words)).then_some(())
    });
    log.expect("both findings are told");
    for visit in &visits {
        forepost
            .await_plan(&visit.registration, |plan| plan["state"] == "ready" && plan["have"] == 4);
        check_whole(&forepost, &visit.study);
        assert_eq!(forepost.get(&visit.target()).status, 200);
    }

    // By a reader, who is told that it failed and not that it is whole.
    let cut = std::fs::File::options().write(true).open(object_file(&forepost, &object.study, 0));
    cut.unwrap().set_len(1_000).unwrap();
    assert_eq!(forepost.get(&object.target()).status, 500);
    let served =
        wait_for(PATIENCE, || (forepost.get(&object.target()).status == 200).then_some(()));
    served.expect("what a reader stumbled over is taken out");
    forepost.await_plan(&object.registration, |plan| plan["state"] == "ready" && plan["have"] == 4);
    check_whole(&forepost, &object.study);
    assert!(forepost.verb(&["cache", "verify"]).status.success());
    let of_object = ["audit", "show", "--study", &uid, "--json"];
    let deeds = forepost.verb_json(&of_object);
    let found = |who: &str| {
        let deeds = deeds.as_array().unwrap().iter();
        deeds.filter(|deed| deed["what"] == "damage found" && deed["who"] == who).count()
    };
    assert_eq!((found("张工"), found("forepost")), (1, 2), "{deeds:#}");
}

/// What is done to the disk under the cache, and undone at the end whatever happens.
struct Trouble {
    undo: (&'static str, Vec<String>),
}

impl Trouble {
    fn make(program: &'static str, on: &str, off: &str, path: &Path) -> Trouble {
        let path = path.display().to_string();
        let made = Command::new(program).args([on, &path]).status().unwrap();
        assert!(made.success(), "{program} {on}");
        Trouble { undo: (program, vec![off.to_owned(), path]) }
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        let _ = Command::new(self.undo.0).args(&self.undo.1).status();
    }
}

#[test]
fn a_cache_that_cannot_be_written_or_stands_still_keeps_nobody_from_what_is_here() {
    let Some(mut disk) = Disk::make() else {
        println!("skipped: no disk of its own (needs root, mkfs.ext4 and a loop device)");
        return;
    };
    disk.mount();
    let (visits, region) = visits(4_395..4_399, 2);
    let [here, refused, slow, last] = &visits[..] else { unreachable!() };
    let cache = disk.folder().join("cache");
    let root = format!("cache = \"{}\"\n", cache.display());
    let mut forepost = Forepost::start(Setup { root, ..setup(&region, "") });
    here.prepare(&forepost);

    let unwritable = Trouble::make("chattr", "+i", "-i", &cache.join("studies"));
    forepost.accept(&refused.registration);
    let fault = |plan: &Value| plan["studies"][0]["fetch"]["fault"].as_str().map(str::to_owned);
    let plan = forepost.await_plan(&refused.registration, |plan| fault(plan).is_some());
    assert_eq!(plan["state"], "fetching");
    assert!(fault(&plan).unwrap().contains("making a study folder"), "{plan:#}");
    assert_eq!(forepost.get(&here.target()).status, 200);
    assert_eq!(forepost.get(&refused.target()).status, 503, "ours, and not the source's");
    assert_eq!(forepost.qido("/studies").len(), 1, "nothing is half listed");
    drop(unwritable);
    forepost.await_state(&refused.registration, "ready");

    let still = Trouble::make("fsfreeze", "-f", "-u", &disk.folder());
    forepost.accept(&slow.registration);
    forepost.await_state(&slow.registration, "fetching");
    assert_eq!(forepost.get(&here.target()).status, 200);
    assert_eq!(forepost.get(&refused.target()).status, 200);
    assert_eq!(forepost.qido("/studies").len(), 2);
    drop(still);
    forepost.await_state(&slow.registration, "ready");
    let target = format!("{}/metadata", slow.target());
    assert_eq!(forepost.get(&target).json().as_array().unwrap().len(), 2);

    // The disk is gone: every open and every write on it fails.
    disk.cut();
    forepost.accept(&last.registration);
    let plan = forepost.await_plan(&last.registration, |plan| fault(plan).is_some());
    assert_eq!(plan["state"], "fetching");
    assert_eq!(forepost.qido("/studies").len(), 3, "nothing is half listed");
    for visit in [here, refused, slow] {
        let reply = forepost.get(&visit.target());
        assert_eq!((reply.status, reply.text().contains("x-request-id")), (500, true));
    }
    let health = http::ask(&forepost.console(), "GET", "/health", &[], b"").unwrap();
    assert_eq!(health.status, 200, "registrations are accepted all the same");
    forepost.kill();
    disk.come_back();
    forepost.restart();
    for visit in &visits {
        forepost.await_state(&visit.registration, "ready");
    }
}
