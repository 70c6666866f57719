//! Studies on their way in and out.

use forepost_cache::limits::{BATCH_INSTANCES, OBJECT_BYTES_MAX};
use forepost_cache::{Cache, CacheError};

use crate::support::{Slice, json, object, offer, put, study, uid};

#[test]
fn a_sealed_study_is_listed_in_order_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let slices = [
        Slice::new("1.2", 2, 2),
        Slice::new("1.2", 10, 1),
        Slice { modality: "SR".into(), ..Slice::new("1.2", 2, 1) },
    ];
    put(&cache, &slices);
    let study = study(&cache, "1.2");
    let order: Vec<&str> = study.instances().iter().map(|i| i.sop.as_str()).collect();
    assert_eq!(order, ["1.2.2.1", "1.2.2.2", "1.2.10.1"]);
    for slice in &slices {
        assert_eq!(object(&study, &uid(&slice.sop)), slice.bytes());
        let metadata = json(&study, &uid(&slice.sop));
        assert_eq!(metadata["00200013"]["Value"][0], slice.number);
        let pixels = serde_json::json!({"vr": "OW", "BulkDataURI": "bulkdata/7FE00010"});
        assert_eq!(metadata["7FE00010"], pixels);
    }
    let all: serde_json::Value =
        serde_json::from_slice(&study.all_metadata(Some(&uid("1.2.2"))).unwrap()).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(study.series().len(), 2);
    let row = cache.row(&uid("1.2")).unwrap();
    assert_eq!((row.series, row.instances), (2, 3));
    let bytes: usize = slices.iter().map(|slice| slice.bytes().len()).sum();
    assert_eq!(row.bytes, bytes as u64);
    assert_eq!(cache.study_of_instance(&uid("1.2.10.1")), Some(uid("1.2")));
    assert_eq!(cache.study_of_instance(&uid("1.2.10.2")), None);
}

#[test]
fn nothing_is_listed_before_its_batch_and_readers_follow_as_it_grows() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    assert!(cache.study(&uid("1.2")).unwrap().is_none());
    let mut listed = 0;
    for number in 1..=3 * BATCH_INSTANCES as u32 {
        let slice = Slice::new("1.2", 1, number);
        assert!(offer(&mut arrival, &slice.bytes()).unwrap());
        assert!(arrival.has(&uid(&slice.sop)));
        let now = cache.instances_here(&uid("1.2"));
        assert!(now >= listed && now <= number);
        listed = now;
        if let Some(study) = cache.study(&uid("1.2")).unwrap() {
            for instance in study.instances() {
                study.object(instance).unwrap();
                study.metadata(instance).unwrap();
            }
        }
    }
    let sealed = arrival.seal().unwrap();
    assert_eq!(sealed.instances, 3 * BATCH_INSTANCES as u32);
    assert_eq!(sealed.bytes, cache.row(&uid("1.2")).unwrap().bytes);
    assert_eq!(arrival.instances(), sealed.instances);
}

#[test]
fn an_idle_arrival_lists_its_batch_by_ticking() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    offer(&mut arrival, &Slice::new("1.2", 1, 1).bytes()).unwrap();
    let begun = std::time::Instant::now();
    while arrival.instances() == 0 {
        assert!(begun.elapsed().as_secs() < 20, "not listed by ticking");
        std::thread::sleep(std::time::Duration::from_millis(5));
        arrival.tick();
    }
    assert_eq!(cache.instances_here(&uid("1.2")), 1);
}

#[test]
fn the_first_of_a_doubled_instance_stays() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let first = Slice::new("1.2", 1, 1);
    let second = Slice { pixels: 128, ..first.clone() };
    put(&cache, std::slice::from_ref(&first));
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    assert!(!offer(&mut arrival, &second.bytes()).unwrap());
    assert!(offer(&mut arrival, &Slice::new("1.2", 1, 2).bytes()).unwrap());
    assert!(!offer(&mut arrival, &Slice::new("1.2", 1, 2).bytes()).unwrap());
    assert_eq!(arrival.seal().unwrap().instances, 2);
    assert_eq!(object(&study(&cache, "1.2"), &uid(&first.sop)), first.bytes());
}

#[test]
fn an_object_of_another_study_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    match offer(&mut arrival, &Slice::new("1.3", 1, 1).bytes()) {
        Err(CacheError::WrongStudy { got, expected }) => {
            assert_eq!((got, expected), (uid("1.3"), uid("1.2")));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(arrival.seal().unwrap().instances, 0);
}

#[test]
fn a_study_is_in_one_pair_of_hands() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let arrival = cache.arrival(&uid("1.2")).unwrap();
    assert!(matches!(cache.arrival(&uid("1.2")), Err(CacheError::Busy { .. })));
    assert!(matches!(cache.remove_study(&uid("1.2")), Err(CacheError::Busy { .. })));
    cache.arrival(&uid("1.3")).unwrap();
    drop(arrival);
    cache.arrival(&uid("1.2")).unwrap();
    assert!(matches!(Cache::open(folder.path()), Err(CacheError::Locked)));
}

#[test]
fn abandoning_removes_a_new_study_and_spares_an_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    offer(&mut arrival, &Slice::new("1.2", 1, 1).bytes()).unwrap();
    arrival.seal().unwrap();
    offer(&mut arrival, &Slice::new("1.2", 1, 2).bytes()).unwrap();
    arrival.abandon().unwrap();
    assert!(cache.study(&uid("1.2")).unwrap().is_none());
    assert!(cache.row(&uid("1.2")).is_none());
    assert!(!folder.path().join("studies/1.2").exists());

    put(&cache, &[Slice::new("1.3", 1, 1)]);
    let mut arrival = cache.arrival(&uid("1.3")).unwrap();
    offer(&mut arrival, &Slice::new("1.3", 1, 2).bytes()).unwrap();
    arrival.abandon().unwrap();
    assert_eq!(cache.instances_here(&uid("1.3")), 1);
}

#[test]
fn a_dropped_arrival_leaves_what_was_listed_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    offer(&mut arrival, &Slice::new("1.2", 1, 1).bytes()).unwrap();
    arrival.seal().unwrap();
    let object = arrival.begin().unwrap();
    offer(&mut arrival, &Slice::new("1.2", 1, 2).bytes()).unwrap();
    drop(arrival);
    drop(object);
    let here = cache.instances_here(&uid("1.2"));
    let mut names: Vec<String> = std::fs::read_dir(folder.path().join("studies/1.2"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len() as u32, here + 1, "{names:?}");
    assert_eq!(names.last().unwrap(), "study.records");
}

#[test]
fn a_removed_study_is_gone_and_can_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let slice = Slice::new("1.2", 1, 1);
    put(&cache, std::slice::from_ref(&slice));
    let before = study(&cache, "1.2");
    assert_eq!(cache.remove_study(&uid("1.2")).unwrap(), slice.bytes().len() as u64);
    assert!(cache.study(&uid("1.2")).unwrap().is_none());
    assert_eq!(cache.stats().bytes, 0);
    assert_eq!(cache.study_of_instance(&uid(&slice.sop)), None);
    // Who still holds the study reads its metadata, and is told that the object is gone.
    let instance = before.instance(&uid(&slice.sop)).unwrap();
    before.metadata(instance).unwrap();
    assert!(matches!(before.object(instance), Err(CacheError::ObjectDamaged { got: None, .. })));
    assert_eq!(cache.remove_study(&uid("1.2")).unwrap(), 0);
    assert_eq!(std::fs::read_dir(folder.path().join("trash")).unwrap().count(), 0);
    put(&cache, &[slice]);
    assert_eq!(cache.instances_here(&uid("1.2")), 1);
}

#[test]
fn a_closed_cache_refuses_to_write_and_still_reads() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    put(&cache, &[Slice::new("1.2", 1, 1)]);
    cache.close().unwrap();
    cache.close().unwrap();
    assert!(matches!(cache.arrival(&uid("1.2")), Err(CacheError::Closed)));
    assert!(matches!(cache.remove_study(&uid("1.2")), Err(CacheError::Closed)));
    assert_eq!(study(&cache, "1.2").instances().len(), 1);
    let again = Cache::open(folder.path()).unwrap();
    assert_eq!(again.instances_here(&uid("1.2")), 1);
}

#[test]
fn a_file_that_was_cut_or_taken_away_is_an_error_that_names_uids_only() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    put(&cache, &[Slice::new("1.2", 1, 1), Slice::new("1.2", 1, 2)]);
    let path = folder.path().join("studies/1.2");
    let file = std::fs::File::options().write(true).open(path.join("1.2.1.1.dcm")).unwrap();
    file.set_len(100).unwrap();
    std::fs::remove_file(path.join("1.2.1.2.dcm")).unwrap();
    let study = study(&cache, "1.2");
    for instance in study.instances() {
        let error = study.object(instance).unwrap_err();
        assert!(matches!(error, CacheError::ObjectDamaged { .. }));
        assert!(!error.to_string().contains('/'), "{error}");
    }
}

#[test]
fn the_largest_object_is_bounded() {
    // 16 GiB are not written here: the limit is compared before the bytes are.
    assert_eq!(OBJECT_BYTES_MAX, 17_179_869_184);
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    let mut object = arrival.begin().unwrap();
    object.write(b"abc").unwrap();
    assert_eq!(object.bytes(), 3);
}

#[test]
fn an_object_that_came_before_its_study_was_known_is_kept_by_the_arrival_of_its_study() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let bring = |bytes: &[u8]| {
        let mut object = cache.incoming().unwrap();
        bytes.chunks(100).for_each(|piece| object.write(piece).unwrap());
        object.complete()
    };
    let slices = [1, 2].map(|number| Slice::new("1.2", 1, number));
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    for slice in &slices {
        let whole = bring(&slice.bytes()).unwrap();
        assert_eq!(whole.header.study, uid("1.2"));
        assert!(arrival.is_listed_alike(&whole).unwrap().is_none());
        assert!(arrival.keep(whole).unwrap());
    }
    let other = bring(&Slice::new("1.3", 1, 1).bytes()).unwrap();
    assert!(matches!(arrival.keep(other), Err(CacheError::WrongStudy { .. })));
    assert!(matches!(bring(b"nothing"), Err(CacheError::NotDicom { .. })));
    arrival.seal().unwrap();
    // What stands before the data set does not count; one byte of it does.
    let mut again = slices[0].bytes();
    again[0] ^= 1;
    assert_eq!(arrival.is_listed_alike(&bring(&again).unwrap()).unwrap(), Some(true));
    *again.last_mut().unwrap() ^= 1;
    assert_eq!(arrival.is_listed_alike(&bring(&again).unwrap()).unwrap(), Some(false));
    drop(arrival);
    let study = study(&cache, "1.2");
    for slice in &slices {
        assert_eq!(object(&study, &uid(&slice.sop)), slice.bytes());
    }
    let left = || std::fs::read_dir(folder.path().join("incoming")).unwrap().count();
    assert_eq!(left(), 0, "what was dropped is gone");
    // What a crash leaves there was nobody's; the next start empties it.
    cache.close().unwrap();
    drop((cache, study));
    std::fs::write(folder.path().join("incoming/7"), b"half").unwrap();
    let _cache = Cache::open(folder.path()).unwrap();
    assert_eq!(left(), 0);
}
