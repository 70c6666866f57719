//! Random actions against a simple model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use forepost_cache::{Cache, CacheError, StudyQuery};
use proptest::prelude::*;

use crate::support::{Slice, object, offer, uid, wait_until_whole};

#[derive(Debug, Clone)]
enum Action {
    Arrive { study: u8, first: u8, count: u8, end: End },
    Remove { study: u8 },
    Reopen { clean: bool },
    Tear { study: u8 },
    Evict { study: u8, open: bool },
    Flip { study: u8, file: u8, at: u16 },
}

#[derive(Debug, Clone, Copy)]
enum End {
    Seal,
    Drop,
    Abandon,
}

fn action() -> impl Strategy<Value = Action> {
    let end = prop_oneof![4 => Just(End::Seal), 1 => Just(End::Drop), 1 => Just(End::Abandon)];
    prop_oneof![
        6 => (0..4u8, 0..60u8, 0..40u8, end)
            .prop_map(|(study, first, count, end)| Action::Arrive { study, first, count, end }),
        2 => (0..4u8).prop_map(|study| Action::Remove { study }),
        1 => Just(Action::Reopen { clean: true }),
        1 => Just(Action::Reopen { clean: false }),
        1 => (0..4u8).prop_map(|study| Action::Tear { study }),
        2 => (0..4u8, any::<bool>()).prop_map(|(study, open)| Action::Evict { study, open }),
        2 => (0..4u8, any::<u8>(), any::<u16>())
            .prop_map(|(study, file, at)| Action::Flip { study, file, at }),
    ]
}

type Model = BTreeMap<String, BTreeSet<u32>>;

fn slice(study: &str, n: u32) -> Slice {
    Slice { patient_id: format!("P{study}"), ..Slice::new(study, 1 + n % 3, n) }
}

fn listed(cache: &Cache, study: &str) -> BTreeSet<u32> {
    let found = cache.study(&uid(study)).unwrap();
    found.map_or(BTreeSet::new(), |s| s.instances().iter().map(|i| i.number as u32).collect())
}

fn arrive(cache: &Cache, model: &mut Model, study: &str, numbers: std::ops::Range<u32>, end: End) {
    let before = model.get(study).cloned().unwrap_or_default();
    let mut kept = before.clone();
    let mut arrival = cache.arrival(&uid(study)).unwrap();
    for n in numbers {
        let new = offer(&mut arrival, &slice(study, n).bytes()).unwrap();
        assert_eq!(new, kept.insert(n));
    }
    match end {
        End::Seal => assert_eq!(arrival.seal().unwrap().instances as usize, kept.len()),
        End::Drop => drop(arrival),
        End::Abandon => arrival.abandon().unwrap(),
    }
    let now = listed(cache, study);
    match end {
        End::Seal => assert_eq!(now, kept),
        // Batches that went to the disk before the end stay, unless the study was new.
        End::Drop => assert!(now.is_superset(&before) && now.is_subset(&kept)),
        End::Abandon if before.is_empty() => assert!(now.is_empty()),
        End::Abandon => assert!(now.is_superset(&before) && now.is_subset(&kept)),
    }
    model.insert(study.to_owned(), now);
}

fn compare(cache: &Cache, model: &Model) {
    let studies: Vec<&String> = model.iter().filter(|(_, n)| !n.is_empty()).map(|s| s.0).collect();
    let found = cache.search_studies(&StudyQuery::default());
    let mut names: Vec<String> = found.iter().map(|row| row.study.to_string()).collect();
    names.sort();
    assert_eq!(names.iter().collect::<Vec<_>>(), studies);
    let stats = cache.stats();
    let instances: usize = model.values().map(BTreeSet::len).sum();
    assert_eq!((stats.studies, stats.instances), (studies.len() as u64, instances as u64));
    for (study, numbers) in model {
        assert_eq!(&listed(cache, study), numbers);
        let query = StudyQuery { patient_id: Some(format!("P{study}")), ..StudyQuery::default() };
        assert_eq!(cache.search_studies(&query).len(), usize::from(!numbers.is_empty()));
        if let Some(n) = numbers.last() {
            let (slice, found) = (slice(study, *n), cache.study(&uid(study)).unwrap().unwrap());
            assert_eq!(object(&found, &uid(&slice.sop)), slice.bytes());
            assert_eq!(cache.study_of_instance(&uid(&slice.sop)), Some(uid(study)));
        }
    }
}

/// Takes a study that nobody reads; one that is read stays.
fn evict(cache: &Cache, model: &mut Model, study: &str, open: bool) {
    let reader = if open { cache.study(&uid(study)).unwrap() } else { None };
    let listed = !model.get(study).is_none_or(BTreeSet::is_empty);
    assert_eq!(reader.is_some(), open && listed);
    match cache.leaving(&uid(study)) {
        Ok(leaving) => {
            assert!(reader.is_none(), "a study was taken away under its reader");
            assert!(cache.study(&uid(study)).unwrap().is_none(), "it is on its way out");
            assert!(matches!(cache.arrival(&uid(study)), Err(CacheError::Busy { .. })));
            assert_eq!(leaving.remove().unwrap() > 0, listed);
            model.remove(study);
        }
        Err(CacheError::Open { .. }) => {
            let reader = reader.expect("nobody reads it");
            let first = reader.instances()[0].sop.clone();
            assert!(!object(&reader, &first).is_empty());
        }
        Err(error) => panic!("{error}"),
    }
}

/// Flips a bit in one of a study's files: it is found, and what it hit is listed no more.
fn flip(folder: &Path, cache: &Cache, model: &mut Model, study: &str, file: u8, at: u16) {
    let before = listed(cache, study);
    if before.is_empty() {
        return;
    }
    let files = std::fs::read_dir(folder.join(format!("studies/{study}"))).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    // A tail that was torn before, and that nothing has come behind, is damage by itself.
    let torn = cache.verify_study(&uid(study), &mut |_| true).unwrap().damaged();
    let path = &files[usize::from(file) % files.len()];
    let mut bytes = std::fs::read(path).unwrap();
    // Another magic or version is another program's file, which is left alone.
    let front = if path.ends_with("study.records") { 12 } else { 0 };
    let at = front + usize::from(at) % (bytes.len() - front);
    bytes[at] ^= 1 << (at % 8);
    std::fs::write(path, bytes).unwrap();

    let found = cache.verify_study(&uid(study), &mut |_| true).unwrap();
    let recorded = front > 0 || before.iter().any(|n| path.ends_with(name(study, *n)));
    // An object without a record, which a torn record leaves, is not listed and not served.
    assert_eq!(found.damaged(), recorded || torn, "{:?}", found.findings);
    let mended = cache.mend(&uid(study), &found.findings).unwrap();
    let now = listed(cache, study);
    assert_eq!(mended.left as usize, now.len());
    assert!(now.is_subset(&before));
    if front == 0 && recorded {
        assert_eq!((mended.taken, now.len()), (1, before.len() - 1));
        assert!(!path.exists(), "no rebuild may find it");
    }
    assert!(!cache.verify_study(&uid(study), &mut |_| true).unwrap().damaged());
    if let Some(found) = cache.study(&uid(study)).unwrap() {
        for n in &now {
            assert_eq!(object(&found, &uid(&slice(study, *n).sop)), slice(study, *n).bytes());
        }
    }
    model.insert(study.to_owned(), now);
}

fn name(study: &str, n: u32) -> String {
    format!("{}.dcm", slice(study, n).sop)
}

/// Cuts the last byte off a study's records, as a power cut would have it.
fn tear(folder: &Path, model: &mut Model, study: &str) {
    let path = folder.join(format!("studies/{study}/study.records"));
    // Without a record there is only the header, which a torn study is left with.
    if model.get(study).is_none_or(|numbers| numbers.is_empty()) {
        return;
    }
    if let Ok(file) = std::fs::File::options().write(true).open(path) {
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        let cache = Cache::open(folder).unwrap();
        let (before, now) = (model[study].len(), listed(&cache, study));
        // A tail that was torn already loses nothing more.
        assert!((before - 1..=before).contains(&now.len()));
        model.insert(study.to_owned(), now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_cache_is_a_map_of_studies_whatever_happens(
        actions in prop::collection::vec(action(), 1..14),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut model = Model::new();
        let mut cache = Cache::open(folder.path()).unwrap();
        for action in actions {
            match action {
                Action::Arrive { study, first, count, end } => {
                    let numbers = u32::from(first)..u32::from(first) + u32::from(count);
                    arrive(&cache, &mut model, &format!("1.{study}"), numbers, end);
                }
                Action::Remove { study } => {
                    let study = format!("1.{study}");
                    cache.remove_study(&uid(&study)).unwrap();
                    model.remove(&study);
                }
                Action::Evict { study, open } => {
                    evict(&cache, &mut model, &format!("1.{study}"), open);
                }
                Action::Flip { study, file, at } => {
                    let study = format!("1.{study}");
                    flip(folder.path(), &cache, &mut model, &study, file, at);
                }
                Action::Reopen { clean } => {
                    if clean {
                        cache.close().unwrap();
                    }
                    drop(cache);
                    cache = Cache::open(folder.path()).unwrap();
                    wait_until_whole(&cache);
                }
                Action::Tear { study } => {
                    drop(cache);
                    tear(folder.path(), &mut model, &format!("1.{study}"));
                    cache = Cache::open(folder.path()).unwrap();
                    wait_until_whole(&cache);
                }
            }
            compare(&cache, &model);
        }
    }
}
