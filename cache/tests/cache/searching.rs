//! What is asked and what is found.

use forepost_cache::{Cache, DateRange, SeriesQuery, StudyQuery};

use crate::support::{Slice, put, uid, wait_until_whole};

fn filled(cache: &Cache) {
    let study = |n: u32, date: &str, id: &str, name: &str, modality: &str| Slice {
        date: date.into(),
        patient_id: id.into(),
        patient_name: name.into(),
        modality: modality.into(),
        accession: format!("A{n}"),
        ..Slice::new(&format!("1.{n}"), 1, 1)
    };
    put(cache, &[study(1, "20240101", "P1", "Wang^XiaoDong=王^小东", "CT")]);
    put(cache, &[study(2, "20240301", "P2", "Zhang^San=张^三", "MR")]);
    put(cache, &[study(3, "20230301", "P1", "Wang^XiaoDong=王^小东", "DX")]);
    put(
        cache,
        &[
            study(4, "", "P3", "李四", "CT"),
            Slice {
                modality: "SR".into(),
                description: "report".into(),
                ..Slice::new("1.4", 2, 1)
            },
        ],
    );
}

fn found(cache: &Cache, query: StudyQuery) -> Vec<String> {
    cache.search_studies(&query).iter().map(|row| row.study.to_string()).collect()
}

#[test]
fn every_key_narrows_and_the_newest_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    filled(&cache);
    let any = StudyQuery::default;
    let text = |text: &str| Some(text.to_owned());
    let dates = |text: &str| Some(text.parse::<DateRange>().unwrap());
    assert_eq!(found(&cache, any()), ["1.2", "1.1", "1.3", "1.4"]);
    for (query, expected) in [
        (StudyQuery { patient_id: text("P1"), ..any() }, vec!["1.1", "1.3"]),
        (StudyQuery { patient_id: text("P?"), ..any() }, vec!["1.2", "1.1", "1.3", "1.4"]),
        (StudyQuery { patient_id: text("p1"), ..any() }, vec![]),
        (StudyQuery { patient_name: text("王*"), ..any() }, vec!["1.1", "1.3"]),
        (StudyQuery { patient_name: text("*三"), ..any() }, vec!["1.2"]),
        (StudyQuery { patient_name: text("wang^*"), ..any() }, vec!["1.1", "1.3"]),
        (StudyQuery { patient_name: text("李四"), ..any() }, vec!["1.4"]),
        (StudyQuery { study_date: dates("20240101-20241231"), ..any() }, vec!["1.2", "1.1"]),
        (StudyQuery { study_date: dates("-20240101"), ..any() }, vec!["1.1", "1.3"]),
        (StudyQuery { study_date: dates("20240301"), ..any() }, vec!["1.2"]),
        (StudyQuery { accession_number: text("A3"), ..any() }, vec!["1.3"]),
        (StudyQuery { accession_number: text(""), ..any() }, vec!["1.2", "1.1", "1.3", "1.4"]),
        (StudyQuery { modalities: vec!["SR".into(), "DX".into()], ..any() }, vec!["1.3", "1.4"]),
        (
            StudyQuery { description: text("*平扫"), study_date: dates("2024.03.01"), ..any() },
            vec!["1.2"],
        ),
        (
            StudyQuery { study: Some(vec![uid("1.4"), uid("1.2"), uid("1.9")]), ..any() },
            vec!["1.2", "1.4"],
        ),
        (
            StudyQuery {
                study: Some(vec![uid("1.1"), uid("1.2")]),
                patient_id: text("P2"),
                ..any()
            },
            vec!["1.2"],
        ),
    ] {
        assert_eq!(found(&cache, query.clone()), expected, "{query:?}");
    }
}

#[test]
fn a_row_holds_the_default_attributes_in_ascending_order() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    filled(&cache);
    let row = cache.row(&uid("1.4")).unwrap();
    assert_eq!(row.modalities, ["CT", "SR"]);
    let value: serde_json::Value = serde_json::from_str(row.json()).unwrap();
    assert_eq!(value["00080061"]["Value"], serde_json::json!(["CT", "SR"]));
    assert_eq!(value["00201206"]["Value"][0], 2);
    assert_eq!(value["00080056"]["Value"][0], "ONLINE");
    assert_eq!(value["00080020"], serde_json::json!({"vr": "DA"}));
    let tags: Vec<&str> =
        row.json().split("\":{\"vr\"").map(|part| &part[part.len().saturating_sub(8)..]).collect();
    let tags = &tags[..tags.len() - 1];
    assert!(tags.len() >= 15 && tags.is_sorted(), "{tags:?}");
}

#[test]
fn series_are_found_by_their_keys_and_their_studies() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    filled(&cache);
    let found = |query: SeriesQuery| -> Vec<String> {
        let rows = cache.search_series(&query).unwrap();
        rows.iter().map(|row| row.series.to_string()).collect()
    };
    let any = SeriesQuery::default;
    assert_eq!(found(any()), ["1.2.1", "1.1.1", "1.3.1", "1.4.1", "1.4.2"]);
    assert_eq!(found(SeriesQuery { modalities: vec!["SR".into()], ..any() }), ["1.4.2"]);
    assert_eq!(found(SeriesQuery { number: Some(2), ..any() }), ["1.4.2"]);
    let studies = StudyQuery { patient_id: Some("P1".into()), ..StudyQuery::default() };
    assert_eq!(found(SeriesQuery { studies, ..any() }), ["1.1.1", "1.3.1"]);
    assert_eq!(found(SeriesQuery { series: Some(vec![uid("1.2.1")]), ..any() }), ["1.2.1"]);
    let rows = cache.search_series(&SeriesQuery { number: Some(2), ..any() }).unwrap();
    let value: serde_json::Value = serde_json::from_str(rows[0].json()).unwrap();
    assert_eq!(value["00201209"]["Value"][0], 1);
    assert_eq!(value["00080060"]["Value"][0], "SR");
}

#[test]
fn searches_find_the_same_after_a_clean_start_and_after_a_rebuild() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    filled(&cache);
    let rows = |cache: &Cache| -> Vec<String> {
        let studies = cache.search_studies(&StudyQuery::default());
        let series = cache.search_series(&SeriesQuery::default()).unwrap();
        let studies = studies.iter().map(|row| row.json().to_owned());
        studies.chain(series.iter().map(|row| row.json().to_owned())).collect()
    };
    let before = (rows(&cache), cache.stats());
    cache.close().unwrap();
    drop(cache);
    assert!(folder.path().join("index.clean").exists());
    let cache = Cache::open(folder.path()).unwrap();
    assert!(!folder.path().join("index.clean").exists());
    assert_eq!((rows(&cache), cache.stats()), before);
    // Dropped without closing: as after a crash.
    drop(cache);
    let cache = Cache::open(folder.path()).unwrap();
    let one = StudyQuery { study: Some(vec![uid("1.3")]), ..StudyQuery::default() };
    assert_eq!(cache.search_studies(&one).len(), 1, "found by uid before the rebuild ends");
    wait_until_whole(&cache);
    assert_eq!((rows(&cache), cache.stats()), before);
}
