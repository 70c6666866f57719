use super::*;
use crate::seal::Keys;

const NOW: Time = Time(1_800_000_000_000);
const EXAM: DictionaryKind = DictionaryKind::Exam;

struct House {
    flow: Dictionary,
    _folder: tempfile::TempDir,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::new(&[(1, [3; 32])], &[4; 32]);
    let ledger = Ledger::open(folder.path(), keys).unwrap();
    let hospitals = ["H1".to_owned(), "H2".to_owned()].into();
    House { flow: Dictionary { ledger, hospitals, shrink_percent_max: 20 }, _folder: folder }
}

fn record(hospital: &'static str, code: &str, name: &str) -> Record {
    let texts = [("hospitalld", hospital), ("examCode", code), ("examName", name)];
    Record::from_texts(texts.into_iter().filter(|(_, text)| !text.is_empty()))
}

fn rows(hospital: &'static str, numbers: std::ops::Range<usize>) -> Vec<Record> {
    numbers.map(|number| record(hospital, &format!("E{number:03}"), "胸部CT平扫")).collect()
}

impl House {
    async fn take(&self, records: Vec<Record>) -> Taken {
        self.flow.take_whole("H1", EXAM, records, "view", NOW).await.unwrap()
    }

    fn published(&self, hospital: &str) -> usize {
        self.flow.ledger.dictionary_rows(hospital, EXAM).unwrap().1.len()
    }
}

fn fates(taken: &Taken) -> Vec<(&str, bool)> {
    let published = |one: &TakenHospital| one.fate == Fate::Published;
    taken.hospitals.iter().map(|one| (one.hospital.as_str(), published(one))).collect()
}

#[tokio::test]
async fn one_view_may_speak_of_two_hospitals_and_one_that_vanishes_from_it_is_held() {
    let house = house();
    let both = [rows("", 0..10), rows("H2", 0..5)].concat();
    assert_eq!(fates(&house.take(both).await), [("H1", true), ("H2", true)]);
    let taken = house.take(rows("H1", 0..10)).await;
    assert_eq!(taken.hospitals[0].fate, Fate::Unchanged);
    assert_eq!(taken.hospitals[1].fate, Fate::Held("it is empty".to_owned()));
    assert_eq!((house.published("H1"), house.published("H2")), (10, 5));
}

#[tokio::test]
async fn the_same_number_of_other_codes_is_a_shrink() {
    let house = house();
    house.take(rows("", 0..100)).await;
    let taken = house.take(rows("", 20..120)).await;
    assert_eq!(fates(&taken), [("H1", true)], "20 of 100 codes may vanish");
    let taken = house.take(rows("", 41..141)).await;
    let reason = "21 of 100 codes vanish, more than 20 %".to_owned();
    assert_eq!(taken.hospitals[0].fate, Fate::Held(reason));
}

#[tokio::test]
async fn a_source_that_returns_to_what_is_published_takes_back_what_is_held() {
    let house = house();
    house.take(rows("", 0..10)).await;
    house.take(Vec::new()).await;
    let held = |house: &House| house.flow.ledger.dictionary("H1", EXAM).unwrap().unwrap().held;
    assert!(held(&house).is_some());
    house.take(rows("", 0..10)).await;
    assert_eq!(held(&house), None);
    let none = house.flow.ledger.publish_dictionary("H1".into(), EXAM, "me".into(), NOW).await;
    assert_eq!(none.unwrap(), None);
    assert_eq!(house.published("H1"), 10);
}

#[tokio::test]
async fn an_empty_first_copy_waits_and_is_an_empty_dictionary_once_a_person_publishes_it() {
    let house = house();
    assert_eq!(fates(&house.take(Vec::new()).await), [("H1", false)]);
    let version = |house: &House| house.flow.ledger.dictionary_rows("H1", EXAM).unwrap().0;
    assert_eq!(version(&house), 0);
    house.flow.ledger.publish_dictionary("H1".into(), EXAM, "me".into(), NOW).await.unwrap();
    assert_ne!(version(&house), 0);
    assert_eq!(house.take(Vec::new()).await.hospitals[0].fate, Fate::Unchanged);
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_left_out_and_named() {
    let house = house();
    let mut records = rows("", 0..3);
    records.push(record("", "", "没有编码"));
    records.push(record("", "E9", ""));
    records.push(record("H3", "E9", "别的医院"));
    records.push(record("", "a\nb", "换行"));
    records.push(record("", "E001", "胸部CT增强"));
    let taken = house.take(records).await;
    let told: Vec<String> = taken.left_out.iter().map(ToString::to_string).collect();
    let expected = [
        "row 4: examCode: missing",
        "row 5: examName: missing",
        "row 6: hospitalld: not a hospital served here",
        "row 7: examCode: holds a line break or a tab",
    ];
    assert_eq!((told.as_slice(), taken.left_out_count), (&expected.map(str::to_owned)[..], 4));
    let warning = "row 8: examCode: E001 is there twice; the last row counts";
    assert_eq!(taken.warnings[0].to_string(), warning);
    let rows = house.flow.ledger.dictionary_rows("H1", EXAM).unwrap().1;
    assert_eq!((rows.len(), rows[1].name.as_str()), (3, "胸部CT增强"));
}

#[tokio::test]
async fn a_copy_compared_with_another_version_is_not_kept() {
    let house = house();
    house.take(rows("", 0..3)).await;
    let stale = NewCopy {
        hospital: "H1".into(),
        kind: EXAM,
        base: 0,
        origin: "late".into(),
        fingerprint: vec![0],
        rows: 0,
        changes: Vec::new(),
        hold: None,
    };
    assert_eq!(house.flow.ledger.keep_dictionary(stale, NOW).await.unwrap(), None);
    assert_eq!(house.published("H1"), 3);
}

#[tokio::test]
async fn the_history_is_bounded_and_keeps_the_latest() {
    let house = house();
    for number in 0..crate::limits::DICTIONARY_COPIES_MAX + 20 {
        let name = format!("第{number}版");
        house.take(vec![record("", "E1", &name)]).await;
    }
    let copies = house.flow.ledger.dictionary_copies("H1", EXAM, 1_000).unwrap();
    assert_eq!(copies.len(), crate::limits::DICTIONARY_COPIES_MAX);
    let changes = house.flow.ledger.dictionary_changes(copies[0].id, 10).unwrap();
    assert_eq!(changes[0].after.as_ref().unwrap().name, "第119版");
    let oldest = house.flow.ledger.dictionary_changes(1, 10).unwrap();
    assert!(oldest.is_empty(), "the changes of forgotten copies go with them");
}

#[tokio::test]
async fn more_rows_than_the_limit_are_refused_whole() {
    let house = house();
    house.take(rows("", 0..3)).await;
    let many = vec![record("", "E1", "x"); DICTIONARY_ROWS_MAX + 1];
    let fault = house.flow.take_whole("H1", EXAM, many, "view", NOW).await.unwrap_err();
    assert_eq!(fault.step, "dictionary too long");
    assert_eq!(house.published("H1"), 3);
}
