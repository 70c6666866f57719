//! Crashes, lost indexes, leftovers.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use forepost_cache::{Cache, CacheError, Finding, IndexState};

use crate::support::{Slice, object, offer, put, study, uid, wait_until_whole};

const FOLDER: &str = "FOREPOST_TEST_CACHE_FOLDER";

fn slice(n: u32) -> Slice {
    Slice { pixels: 5_000, ..Slice::new("1.2", 1 + n / 100, n) }
}

/// Not a test by itself: what the next one starts and kills.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let cache = Cache::open(Path::new(&folder)).unwrap();
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    let first = arrival.instances();
    for n in first + 1..first + 5000 {
        offer(&mut arrival, &slice(n).bytes()).unwrap();
        if n % 7 == 0 {
            let sealed = arrival.seal().unwrap().instances;
            let mut out = std::io::stderr();
            writeln!(out, "sealed {sealed}").unwrap();
        }
    }
}

#[test]
fn what_was_sealed_before_a_kill_is_whole_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["surviving::child_that_writes_until_it_is_killed", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut sealed = before;
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // The kill falls at another point of the writer's work each round.
        for line in lines.take(3 + round * 5) {
            let line = line.unwrap();
            let number = line.strip_prefix("sealed ").unwrap_or_else(|| panic!("child: {line}"));
            sealed = number.parse().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let cache = Cache::open(folder.path()).unwrap();
        let study = study(&cache, "1.2");
        let listed = study.instances().len() as u32;
        assert!(listed >= sealed, "{listed} listed of {sealed} sealed");
        for n in 1..=listed {
            let slice = slice(n);
            assert_eq!(object(&study, &uid(&slice.sop)), slice.bytes());
        }
        before = listed;
    }
    assert!(before > 100);
    let report = Cache::rebuild(folder.path(), &mut |_, _| {}).unwrap();
    assert_eq!((report.studies, report.refused), (1, 0));
    let report = Cache::verify(folder.path(), &mut |_, _| {}).unwrap();
    assert_eq!(report.findings, []);
}

const STUDIES: u32 = 6;

fn study_of(n: u32) -> String {
    format!("1.3.{n}")
}

/// Not a test by itself: what the next one starts and kills.
#[test]
fn child_that_evicts_and_mends_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let cache = Cache::open(Path::new(&folder)).unwrap();
    for round in 0..100_000 {
        let of = study_of(round % STUDIES);
        let mut arrival = cache.arrival(&uid(&of)).unwrap();
        for n in 1..=8 {
            offer(&mut arrival, &Slice::new(&of, 1, n).bytes()).unwrap();
        }
        arrival.seal().unwrap();
        drop(arrival);
        writeln!(std::io::stderr(), "whole {of}").unwrap();
        // One loses an object, another leaves.
        let damaged = study_of((round + 2) % STUDIES);
        let path = Path::new(&folder).join(format!("studies/{damaged}/{damaged}.1.3.dcm"));
        if path.exists() {
            std::fs::write(path, b"other bytes").unwrap();
            let found = cache.verify_study(&uid(&damaged), &mut |_| true).unwrap();
            cache.mend(&uid(&damaged), &found.findings).unwrap();
        }
        let leaving = cache.leaving(&uid(&study_of((round + 4) % STUDIES))).unwrap();
        leaving.remove().unwrap();
    }
}

#[test]
fn a_kill_while_studies_leave_and_are_mended_lists_nothing_that_is_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["surviving::child_that_evicts_and_mends_until_it_is_killed", "--exact"])
            .arg("--nocapture")
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let told = lines.take(2 + round * 3).filter(|line| {
            let line = line.as_ref().unwrap();
            assert!(line.starts_with("whole "), "child: {line}");
            true
        });
        assert_eq!(told.count(), 2 + round * 3);
        child.kill().unwrap();
        child.wait().unwrap();

        let cache = Cache::open(folder.path()).unwrap();
        wait_until_whole(&cache);
        for n in 0..STUDIES {
            let of = uid(&study_of(n));
            let found = cache.verify_study(&of, &mut |_| true).unwrap();
            // The kill may have come when the child had damaged an object, or moved it away, and
            // its record was not taken out yet: that is found, and mended now.
            if found.damaged() {
                cache.mend(&of, &found.findings).unwrap();
            }
            let Some(study) = cache.study(&of).unwrap() else { continue };
            for one in study.instances() {
                let slice = Slice::new(of.as_str(), 1, one.number as u32);
                assert_eq!(object(&study, &one.sop), slice.bytes());
            }
        }
        cache.close().unwrap();
    }
}

#[test]
fn repair_takes_out_what_is_damaged_and_leaves_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let slices: Vec<Slice> = (1..=4).map(|n| Slice::new("1.2", n, n)).collect();
    put(&cache, &slices);
    put(&cache, &[Slice::new("1.3", 1, 1)]);
    let held = study(&cache, "1.2");
    let path = folder.path().join("studies/1.2/1.2.3.3.dcm");
    let mut changed = std::fs::read(&path).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&path, changed).unwrap();
    assert!(matches!(Cache::repair(folder.path(), &mut |_, _| {}), Err(CacheError::Locked),));
    cache.close().unwrap();
    drop(cache);

    let report = Cache::repair(folder.path(), &mut |_, _| {}).unwrap();
    let expected = forepost_cache::Mended { taken: 1, left: 3 };
    assert_eq!(report.mended, [(uid("1.2"), expected)]);
    assert_eq!((report.verified.studies, report.verified.instances), (2, 5));
    // Who held the study from before the damage cannot open the object either.
    let gone = held.instance(&uid("1.2.3.3")).unwrap();
    assert!(matches!(held.object(gone), Err(CacheError::ObjectDamaged { got: None, .. })));
    let cache = Cache::open(folder.path()).unwrap();
    assert_eq!(cache.stats().index, IndexState::Whole);
    let now = study(&cache, "1.2");
    assert_eq!((now.series().len(), now.instances().len()), (3, 3));
    let query = forepost_cache::SeriesQuery::default();
    assert_eq!(cache.search_series(&query).unwrap().len(), 4, "three and the other study's");
    assert_eq!(Cache::verify(folder.path(), &mut |_, _| {}).unwrap().findings, []);
    put(&cache, &[slices[2].clone()]);
    assert_eq!(object(&study(&cache, "1.2"), &uid("1.2.3.3")), slices[2].bytes());
}

#[test]
fn an_index_that_was_damaged_behind_a_clean_marker_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    put(&cache, &[Slice::new("1.2", 1, 1)]);
    cache.close().unwrap();
    drop(cache);
    for entry in std::fs::read_dir(folder.path().join("index")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
            std::fs::write(path, bytes).unwrap();
        }
    }
    let cache = Cache::open(folder.path()).unwrap();
    wait_until_whole(&cache);
    assert_eq!(cache.instances_here(&uid("1.2")), 1);
    assert_eq!(cache.stats().studies, 1);
}

#[test]
fn studies_answer_and_arrive_while_the_index_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    for n in 0..60 {
        put(&cache, &[Slice::new(&format!("1.{n}"), 1, 1)]);
    }
    drop(cache);
    let cache = Cache::open(folder.path()).unwrap();
    for n in (0..60).rev() {
        let of = uid(&format!("1.{n}"));
        assert_eq!(cache.instances_here(&of), 1);
        match n % 3 {
            0 => put(&cache, &[Slice::new(of.as_str(), 1, 2)]),
            1 => assert!(cache.remove_study(&of).unwrap() > 0),
            _ => {}
        }
    }
    wait_until_whole(&cache);
    let stats = cache.stats();
    assert_eq!((stats.studies, stats.instances), (40, 60));
    cache.close().unwrap();
    drop(cache);
    let cache = Cache::open(folder.path()).unwrap();
    assert_eq!(cache.stats().index, IndexState::Whole);
    assert_eq!(cache.stats(), stats);
}

#[test]
fn a_torn_record_is_left_out_and_cut_off_by_the_next_arrival() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    put(&cache, &[Slice::new("1.2", 1, 1), Slice::new("1.2", 1, 2)]);
    drop(cache);
    let records = folder.path().join("studies/1.2/study.records");
    let whole = std::fs::read(&records).unwrap();
    std::fs::write(&records, &whole[..whole.len() - 3]).unwrap();

    let report = Cache::verify(folder.path(), &mut |_, _| {}).unwrap();
    let torn = |finding: &Finding| matches!(finding, Finding::TornRecords { .. });
    assert!(report.findings.iter().any(torn));
    assert!(
        report.findings.contains(&Finding::Unrecorded { study: uid("1.2"), sop: uid("1.2.1.2") })
    );

    let cache = Cache::open(folder.path()).unwrap();
    assert_eq!(cache.instances_here(&uid("1.2")), 1);
    put(&cache, &[Slice::new("1.2", 1, 2)]);
    drop(cache);
    assert_eq!(std::fs::read(&records).unwrap(), whole);
}

#[test]
fn rebuild_takes_in_whole_objects_without_a_record_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    put(&cache, &[Slice::new("1.2", 1, 1)]);
    cache.close().unwrap();
    drop(cache);
    let path = folder.path().join("studies/1.2");
    let lost = Slice::new("1.2", 1, 2).bytes();
    std::fs::write(path.join("1.2.1.2.dcm"), &lost).unwrap();
    std::fs::write(path.join("1.2.1.3.dcm"), &lost[..lost.len() - 1]).unwrap();
    std::fs::write(path.join("1.2.1.4.dcm"), &lost).unwrap();
    let mut steps = Vec::new();
    let report = Cache::rebuild(folder.path(), &mut |done, of| steps.push((done, of))).unwrap();
    assert_eq!((report.adopted, report.refused), (1, 2));
    assert_eq!((report.studies, report.instances, steps), (1, 2, vec![(1, 1)]));
    let cache = Cache::open(folder.path()).unwrap();
    assert_eq!(object(&study(&cache, "1.2"), &uid("1.2.1.2")), lost);
    // Refused objects are left where they are.
    assert!(path.join("1.2.1.3.dcm").exists());
}

#[test]
fn verify_sees_each_kind_of_damage() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let slices: Vec<Slice> = (1..=4).map(|n| Slice::new("1.2", 1, n)).collect();
    put(&cache, &slices);
    let path = |n: u32| folder.path().join(format!("studies/1.2/1.2.1.{n}.dcm"));
    std::fs::remove_file(path(1)).unwrap();
    std::fs::write(path(2), b"short").unwrap();
    let mut changed = std::fs::read(path(3)).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(path(3), changed).unwrap();
    let report = Cache::verify(folder.path(), &mut |_, _| {}).unwrap();
    let (study, sop) = (uid("1.2"), |n: u32| uid(&format!("1.2.1.{n}")));
    let expected = slices[1].bytes().len() as u64;
    assert_eq!(
        report.findings,
        [
            Finding::Missing { study: study.clone(), sop: sop(1) },
            Finding::WrongSize { study: study.clone(), sop: sop(2), got: 5, expected },
            Finding::WrongChecksum { study: study.clone(), sop: sop(3) },
        ]
    );
    assert_eq!((report.studies, report.instances, report.findings_count), (1, 4, 3));
}

#[test]
fn what_an_earlier_run_left_in_the_trash_is_deleted_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    drop(Cache::open(folder.path()).unwrap());
    let left = folder.path().join("trash/1.2-0");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("1.2.1.1.dcm"), b"x").unwrap();
    let _cache = Cache::open(folder.path()).unwrap();
    let begun = std::time::Instant::now();
    while left.exists() {
        assert!(begun.elapsed().as_secs() < 20, "the trash is still there");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn a_failing_disk_kills_the_arrival_and_lists_nothing_of_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    put(&cache, &[Slice::new("1.2", 1, 1)]);
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    // The records cannot be opened any more: a folder stands in their place.
    let records = folder.path().join("studies/1.2/study.records");
    std::fs::rename(&records, folder.path().join("aside")).unwrap();
    std::fs::create_dir(&records).unwrap();
    offer(&mut arrival, &Slice::new("1.2", 1, 2).bytes()).unwrap();
    assert!(matches!(arrival.seal(), Err(CacheError::Io { .. })));
    assert!(matches!(arrival.begin(), Err(CacheError::Dead { .. })));
    assert!(matches!(arrival.seal(), Err(CacheError::Dead { .. })));
    assert_eq!(cache.instances_here(&uid("1.2")), 1);
    drop(arrival);
    std::fs::remove_dir(&records).unwrap();
    std::fs::rename(folder.path().join("aside"), &records).unwrap();
    put(&cache, &[Slice::new("1.2", 1, 2)]);
    assert_eq!(cache.instances_here(&uid("1.2")), 2);
}
