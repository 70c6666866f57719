//! How a cache of 6,000 studies starts and answers.
//!
//! `cargo bench -p forepost-cache --bench start -- [FOLDER]`; without syncing to a real disk
//! (`/dev/shm`) the filling is quick, and what is measured is ours.

use std::path::PathBuf;
use std::time::Instant;

use forepost_cache::{Cache, IndexState, SeriesQuery, StudyQuery, Uid};

const STUDIES: u32 = 6_000;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(parent).expect("a folder to measure in");
    let cache = Cache::open(folder.path()).expect("a cache");
    (1..=STUDIES).for_each(|number| fill(&cache, number));
    time("close", || cache.close().expect("closed"));
    drop(cache);

    let before = resident_kb();
    let cache = time("start after a clean end", || Cache::open(folder.path()).expect("a cache"));
    println!("memory of the start: {} KB", resident_kb().saturating_sub(before));
    assert_eq!(cache.stats().studies, u64::from(STUDIES));
    ask(&cache);
    drop(cache);

    time("rebuild after a crash", || {
        let cache = Cache::open(folder.path()).expect("a cache");
        while cache.stats().index != IndexState::Whole {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
}

fn ask(cache: &Cache) {
    let any = StudyQuery::default;
    let text = |text: &str| Some(text.to_owned());
    for (what, query, expected) in [
        ("search by patient id", StudyQuery { patient_id: text("P4321"), ..any() }, 1),
        ("search by name", StudyQuery { patient_name: text("张*9"), ..any() }, 600),
        ("search by description", StudyQuery { description: text("*no such*"), ..any() }, 0),
        ("all studies", any(), STUDIES as usize),
    ] {
        let found = time(what, || cache.search_studies(&query).len());
        assert_eq!(found, expected);
    }
    let series = SeriesQuery { modalities: vec!["CT".to_owned()], ..SeriesQuery::default() };
    time("all series", || cache.search_series(&series).expect("found").len());
    let sop = |text: &str| Uid::try_from(text).expect("a uid");
    time("study of an instance", || cache.study_of_instance(&sop("1.2.77.1.1")));
    time("study of an unknown instance", || cache.study_of_instance(&sop("1.2.77.1.2")));
}

fn time<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    println!("{what}: {:.2} ms", begun.elapsed().as_secs_f64() * 1e3);
    done
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn fill(cache: &Cache, number: u32) {
    let study = Uid::try_from(&*format!("1.2.{number}")).expect("a uid");
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    put(&mut file, 0x0002_0010, b"UI", b"1.2.840.10008.1.2.1\0");
    put(&mut file, 0x0008_0005, b"CS", b"ISO_IR 192");
    put(&mut file, 0x0008_0018, b"UI", format!("{study}.1.1").as_bytes());
    put(&mut file, 0x0008_0020, b"DA", format!("2024{:02}01", number % 12 + 1).as_bytes());
    put(&mut file, 0x0008_0060, b"CS", b"CT");
    put(&mut file, 0x0008_1030, b"LO", "胸部平扫".as_bytes());
    put(&mut file, 0x0010_0010, b"PN", format!("Zhang^San=张^三{number}").as_bytes());
    put(&mut file, 0x0010_0020, b"LO", format!("P{number}").as_bytes());
    put(&mut file, 0x0020_000d, b"UI", study.as_str().as_bytes());
    put(&mut file, 0x0020_000e, b"UI", format!("{study}.1").as_bytes());
    let mut arrival = cache.arrival(&study).expect("an arrival");
    let mut object = arrival.begin().expect("an object");
    object.write(&file).expect("written");
    let whole = arrival.complete(object).expect("whole");
    arrival.keep(whole).expect("kept");
    arrival.seal().expect("sealed");
}

fn put(file: &mut Vec<u8>, tag: u32, vr: &[u8], value: &[u8]) {
    let padded = value.len() + value.len() % 2;
    file.extend_from_slice(&((tag >> 16) as u16).to_le_bytes());
    file.extend_from_slice(&(tag as u16).to_le_bytes());
    file.extend_from_slice(vr);
    file.extend_from_slice(&(padded as u16).to_le_bytes());
    file.extend_from_slice(value);
    file.resize(file.len() + padded - value.len(), 0);
}
