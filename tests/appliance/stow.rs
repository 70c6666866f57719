//! STOW-RS: what senders bring is on the disk before they are told, comes back byte by byte, and
//! is never overwritten.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::power::Disk;
use crate::support::forepost::Forepost;
use crate::support::http::{self, Reply};
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;
use crate::support::programs::{ROOT, python};
use crate::support::setup::Setup;
use crate::support::study::{Object, Study};
use crate::support::{PATIENCE, wait_for};

const RETRIEVE_URL: &str = "00081190";
const FAILURE_REASON: &str = "00081197";
const FAILED: &str = "00081198";
const STORED: &str = "00081199";
const OTHER: &str = "0008119A";

/// A sender that may store and see.
const SENDER: &str = "[[caller]]\nname = \"pacs\"\naddresses = [\"127.0.0.1\"]\npush = true\n\
                      images = true\nstore = true\n";

fn setup() -> Setup {
    Setup { callers: SENDER.into(), ..Setup::default() }
}

/// A multipart body of these objects.
pub fn multipart<B: AsRef<[u8]>>(objects: &[B]) -> Vec<u8> {
    let mut body = Vec::new();
    for object in objects {
        body.extend_from_slice(b"--parts\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend_from_slice(object.as_ref());
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--parts--\r\n");
    body
}

const RELATED: &str = "multipart/related; type=\"application/dicom\"; boundary=parts";

fn post<B: AsRef<[u8]>>(forepost: &Forepost, target: &str, objects: &[B]) -> Reply {
    let headers = [("Content-Type", RELATED), ("Accept", "application/dicom+json")];
    forepost.ask("POST", &format!("/dicom-web{target}"), &headers, &multipart(objects))
}

pub fn bytes(objects: &[Object]) -> Vec<&[u8]> {
    objects.iter().map(|object| object.bytes.as_slice()).collect()
}

/// The items of a sequence of an answer.
fn items(answer: &Value, sequence: &str) -> Vec<Value> {
    answer[sequence]["Value"].as_array().cloned().unwrap_or_default()
}

fn reasons(answer: &Value, sequence: &str) -> Vec<i64> {
    let reason = |item: &Value| item[FAILURE_REASON]["Value"][0].as_i64().unwrap();
    items(answer, sequence).iter().map(reason).collect()
}

/// Every object of the study comes back byte by byte.
pub fn check_here(forepost: &Forepost, study: &Study) {
    for object in study.objects() {
        let target = study.target(&object);
        let reply = forepost.ask("GET", &target, &[("Accept", "application/dicom")], b"");
        assert_eq!(reply.status, 200, "{target}");
        assert!(reply.body == object.bytes, "{target}");
    }
}

#[test]
fn a_study_that_was_stored_is_told_found_and_read_back() {
    let patient = Patient::new(900);
    let study = Study::of(&patient, 900);
    let forepost = Forepost::start(setup());
    let objects = study.objects();
    let reply = post(&forepost, "/studies", &bytes(&objects));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/dicom+json"));
    let answer = reply.json();
    let base = format!("http://{}/dicom-web/studies/{}", forepost.hospital(), study.uid());
    assert_eq!(answer[RETRIEVE_URL], json!({"vr": "UR", "Value": [base]}));
    assert_eq!((items(&answer, FAILED).len(), items(&answer, OTHER).len()), (0, 0));
    let stored = items(&answer, STORED);
    assert_eq!(stored.len(), objects.len());
    for (item, object) in stored.iter().zip(&objects) {
        assert_eq!(item["00081150"]["Value"][0], "1.2.840.10008.5.1.4.1.1.2");
        assert_eq!(item["00081155"]["Value"][0], object.sop.as_str());
        let url = item[RETRIEVE_URL]["Value"][0].as_str().unwrap();
        assert_eq!(url, format!("{base}/series/{}/instances/{}", object.series, object.sop));
    }
    let rows = forepost.qido(&format!("/studies?PatientID={}", patient.id_card));
    assert_eq!(rows[0]["00201208"]["Value"][0], objects.len());
    check_here(&forepost, &study);
    // One object bare, to the study's own address, from a caller that asks before it sends.
    let more = Study { series: vec![4, 4], ..study.clone() };
    let last = more.objects().pop().unwrap();
    let status = expecting(&forepost, &format!("/dicom-web/studies/{}", study.uid()), &last.bytes);
    assert_eq!(status, (100, 200));
    check_here(&forepost, &more);
    assert_eq!(forepost.metric("stored_objects_total"), (objects.len() + 1) as f64);
    let audit = forepost.verb_json(&["audit", "show", "--json", "--study", &study.uid()]);
    assert!(audit.to_string().contains("\"store\""), "{audit}");
    assert!(forepost.files().iter().all(|file| !in_incoming(file)), "nothing is left behind");
}

fn in_incoming(file: &Path) -> bool {
    file.parent().is_some_and(|folder| folder.ends_with("cache/incoming"))
}

/// Sends the head, waits to be asked for the body, and sends it: both statuses.
fn expecting(forepost: &Forepost, target: &str, body: &[u8]) -> (u16, u16) {
    let mut stream = TcpStream::connect(forepost.hospital()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: here\r\nContent-Type: application/dicom\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).unwrap();
    let status = |text: &[u8]| String::from_utf8_lossy(&text[9..12]).parse().unwrap();
    let asked = status(&first);
    stream.write_all(body).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    (asked, status(&reply))
}

#[test]
fn the_same_object_again_is_a_success_and_another_under_its_uid_is_refused() {
    let study = Study::of(&Patient::new(901), 901);
    let forepost = Forepost::start(setup());
    let objects = study.objects();
    assert_eq!(post(&forepost, "/studies", &bytes(&objects)).status, 200);
    let records = forepost.study_folder(&study.uid()).join("study.records");
    let written = std::fs::read(&records).unwrap();
    let again = post(&forepost, "/studies", &bytes(&objects));
    assert_eq!(again.status, 200);
    assert_eq!(items(&again.json(), STORED).len(), objects.len());
    // Another file meta information around the same data set is the same object.
    let mut renamed = objects[0].bytes.clone();
    renamed[..9].copy_from_slice(b"other one");
    let reply = post(&forepost, "/studies", &[&renamed]);
    assert_eq!((reply.status, items(&reply.json(), STORED).len()), (200, 1));
    // Same UIDs, same length, one pixel.
    let mut other = objects[0].bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    let reply = post(&forepost, "/studies", &[&other]);
    assert_eq!((reply.status, reasons(&reply.json(), FAILED)), (409, vec![0x0111]));
    // Both in one request: the first of them counts.
    let more = Study { series: vec![5], ..study.clone() }.objects().pop().unwrap();
    let mut twisted = more.bytes.clone();
    *twisted.last_mut().unwrap() ^= 1;
    let reply = post(&forepost, "/studies", &[&more.bytes, &more.bytes, &twisted]);
    let answer = reply.json();
    assert_eq!((reply.status, items(&answer, STORED).len()), (202, 2), "{answer:#}");
    assert_eq!(reasons(&answer, FAILED), [0x0111]);
    check_here(&forepost, &study);
    let now = std::fs::read(&records).unwrap();
    assert!(now.starts_with(&written), "what was there is as it was");
    let metrics = forepost.metrics();
    assert!(metrics.contains("stored_objects_total{outcome=\"conflict\"} 2"), "{metrics}");
    let duplicates = format!("outcome=\"duplicate\"}} {}", objects.len() + 2);
    assert!(metrics.contains(&duplicates), "{metrics}");
    assert!(forepost.log().contains("another object came under the UID"));
}

#[test]
fn one_bad_object_does_not_cost_the_others() {
    let study = Study::of(&Patient::new(902), 902);
    let other = Study::of(&Patient::new(903), 903);
    let others = other.objects();
    let forepost = Forepost::start(setup());
    let objects = study.objects();
    let cut = &objects[1].bytes[..objects[1].bytes.len() - 100];
    let parts: Vec<&[u8]> =
        vec![&objects[0].bytes, b"no object", cut, &others[0].bytes, &objects[2].bytes];
    let reply = post(&forepost, &format!("/studies/{}", study.uid()), &parts);
    let answer = reply.json();
    assert_eq!(reply.status, 202, "{answer:#}");
    let stored = items(&answer, STORED);
    let sops: Vec<_> = stored.iter().map(|one| one["00081155"]["Value"][0].clone()).collect();
    assert_eq!(sops, [objects[0].sop.as_str(), objects[2].sop.as_str()]);
    assert_eq!(reasons(&answer, FAILED), [0xa900], "of another study");
    assert_eq!(items(&answer, FAILED)[0]["00081155"]["Value"][0], others[0].sop.as_str());
    assert_eq!(reasons(&answer, OTHER), [0xc000, 0xc000], "neither can be named");
    assert!(!forepost.study_folder(&other.uid()).exists());
    // Nothing of it is good.
    let reply = post(&forepost, "/studies", &[b"no object"]);
    assert_eq!((reply.status, reasons(&reply.json(), OTHER)), (409, vec![0xc000]));
    // A part of another type is no object, and does not end the request.
    let mut body = b"--parts\r\nContent-Type: application/dicom+xml\r\n\r\n<a/>\r\n".to_vec();
    body.extend_from_slice(&multipart(&[&objects[3].bytes]));
    let reply = forepost.ask("POST", "/dicom-web/studies", &[("Content-Type", RELATED)], &body);
    assert_eq!((reply.status, reasons(&reply.json(), OTHER)), (202, vec![0xc000]));
}

#[test]
fn who_may_not_store_and_what_is_no_object_is_told_why() {
    let callers = "[[caller]]\nname = \"viewers\"\naddresses = [\"127.0.0.1\"]\nimages = true\n\
                   [[caller]]\nname = \"pacs\"\nstore = true\n\
                   token_file = \"{folder}/pacs.token\"\n";
    let files = vec![("pacs.token", "right-token".to_owned())];
    let setup = Setup { callers: callers.into(), files, ..Setup::default() };
    let forepost = Forepost::start(setup);
    let object = Study::of(&Patient::new(904), 904).objects().remove(0);
    let token = ("Authorization", "Bearer right-token");
    let studies = "/dicom-web/studies";
    let reply = post(&forepost, "/studies", &[&object.bytes]);
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("store = true"), "{}", reply.text());
    let media = ("Content-Type", "application/dicom");
    let no_boundary = "multipart/related; type=\"application/dicom\"";
    for (method, target, headers, status) in [
        ("POST", studies, vec![media, token], 200),
        ("POST", studies, vec![("Content-Type", no_boundary), token], 400),
        ("POST", studies, vec![("Content-Type", "application/dicom+json"), token], 415),
        ("POST", studies, vec![("Content-Type", "application/octet-stream"), token], 415),
        ("POST", studies, vec![media, token, ("Accept", "application/dicom+xml")], 406),
        ("POST", "/dicom-web/studies/1.2.3/series", vec![media], 405),
        ("POST", "/dicom-web/studies/1.2.3/metadata", vec![media], 405),
        ("PUT", studies, vec![media], 405),
        ("DELETE", "/dicom-web/studies/1.2.3", vec![], 405),
    ] {
        let reply = forepost.ask(method, target, &headers, &object.bytes);
        assert_eq!(reply.status, status, "{method} {target} {headers:?}: {}", reply.text());
        if status == 405 {
            let stores = method != "POST";
            let allowed = if stores { "GET, HEAD, POST" } else { "GET, HEAD" };
            assert_eq!(reply.header("allow"), Some(allowed), "{method} {target}");
        }
    }
    let empty = forepost.ask("POST", studies, &[("Content-Type", RELATED), token], b"--parts--");
    assert_eq!(empty.status, 400, "{}", empty.text());
}

#[test]
fn nobody_who_is_not_configured_stores() {
    let callers = "[[caller]]\nname = \"pacs\"\naddresses = [\"192.0.2.1\"]\nstore = true\n";
    let forepost = Forepost::start(Setup { callers: callers.into(), ..Setup::default() });
    let object = Study::of(&Patient::new(905), 905).objects().remove(0);
    assert_eq!(post(&forepost, "/studies", &[&object.bytes]).status, 401);
}

#[test]
fn a_body_that_breaks_off_leaves_what_was_whole_and_nothing_half() {
    let study = Study::of(&Patient::new(906), 906);
    let forepost = Forepost::start(setup());
    let objects = study.objects();
    let body = multipart(&bytes(&objects));
    // Two objects, and half of the third.
    let sent = multipart(&bytes(&objects[..2])).len() + objects[2].bytes.len() / 2;
    let mut stream = TcpStream::connect(forepost.hospital()).unwrap();
    let head = format!(
        "POST /dicom-web/studies HTTP/1.1\r\nHost: here\r\nContent-Type: {RELATED}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body[..sent]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    assert!(!reply.starts_with("HTTP/1.1 2"), "no success is told: {reply}");
    let target = format!("/instances?StudyInstanceUID={}", study.uid());
    let here = wait_for(PATIENCE, || {
        let rows = forepost.qido(&target).len();
        (rows == 2 && !forepost.files().iter().any(|file| in_incoming(file))).then_some(rows)
    });
    assert_eq!(here, Some(2), "{:?}", forepost.files());
    // Sent again, it is completed.
    let again = post(&forepost, "/studies", &bytes(&objects));
    assert_eq!((again.status, items(&again.json(), STORED).len()), (200, objects.len()));
    check_here(&forepost, &study);
}

#[test]
fn many_senders_of_one_study_share_it() {
    let study = Study { series: vec![20, 20], ..Study::of(&Patient::new(907), 907) };
    let forepost = Forepost::start(setup());
    let objects = study.objects();
    std::thread::scope(|scope| {
        for lane in 0..8 {
            let (objects, forepost) = (&objects, &forepost);
            scope.spawn(move || {
                for object in objects.iter().skip(lane).step_by(8) {
                    let reply = post(forepost, "/studies", &[&object.bytes]);
                    assert_eq!(reply.status, 200, "{}", reply.text());
                }
            });
        }
    });
    check_here(&forepost, &study);
}

/// Whether an answer has begun to come, which must be of that status.
fn begins(stream: &TcpStream, status: u16) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut first = [0; 12];
    let read = stream.peek(&mut first).unwrap_or(0);
    stream.set_nonblocking(false).unwrap();
    assert!(read < 12 || first == *format!("HTTP/1.1 {status}").as_bytes());
    read == 12
}

#[test]
fn more_senders_than_may_send_are_asked_to_come_again() {
    let forepost = Forepost::start(setup());
    let objects = Study::of(&Patient::new(908), 908).objects();
    let body = multipart(&bytes(&objects));
    let mut half: Vec<TcpStream> = (0..17)
        .map(|_| {
            let mut stream = TcpStream::connect(forepost.hospital()).unwrap();
            let head = format!(
                "POST /dicom-web/studies HTTP/1.1\r\nHost: here\r\nContent-Type: {RELATED}\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body[..1_000]).unwrap();
            stream
        })
        .collect();
    let refused = wait_for(PATIENCE, || half.iter().position(|stream| begins(stream, 503)));
    let mut refused = half.remove(refused.expect("the seventeenth is refused"));
    let mut head = [0; 2_000];
    let read = refused.read(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head[..read]).to_ascii_lowercase();
    assert!(head.contains("retry-after: 5"), "{head}");
    // All sixteen send the same study, and all are told that it is here.
    for stream in &mut half {
        stream.write_all(&body[1_000..]).unwrap();
    }
    for stream in &half {
        let told = wait_for(PATIENCE, || begins(stream, 200).then_some(()));
        told.expect("each is told");
    }
    assert_eq!(post(&forepost, "/studies", &bytes(&objects)).status, 200);
}

#[test]
fn a_request_of_more_objects_than_may_come_is_refused_and_those_before_are_kept() {
    let forepost = Forepost::start(Setup { log: "info", ..setup() });
    let study = Study::of(&Patient::new(909), 909);
    let objects = study.objects();
    let mut parts = bytes(&objects);
    parts.resize(20_001, b"x");
    let reply = post(&forepost, "/studies", &parts);
    assert_eq!(reply.status, 413, "{}", reply.text());
    let here = wait_for(PATIENCE, || {
        let rows = forepost.qido(&format!("/instances?StudyInstanceUID={}", study.uid()));
        (rows.len() == objects.len()).then_some(())
    });
    here.expect("what came before the limit is kept");
    let log = forepost.log();
    assert!(log.matches("an object that came is refused").count() <= 16);
}

/// Sends study after study until the connection breaks; gives those that were told as stored.
fn send_until_it_breaks(address: &str, ended: &AtomicBool) -> Vec<Study> {
    let mut told = Vec::new();
    for number in 0..10_000 {
        let patient = Patient::new(1_000 + number % 100);
        let study = Study { side: 64, ..Study::of(&patient, 20_000 + u64::from(number)) };
        let objects = study.objects();
        let headers = [("Content-Type", RELATED)];
        let body = multipart(&bytes(&objects));
        match http::ask(address, "POST", "/dicom-web/studies", &headers, &body) {
            Ok(reply) if reply.status == 200 => told.push(study),
            Ok(reply) => panic!("{}: {}", reply.status, reply.text()),
            Err(_) if ended.load(Ordering::SeqCst) => break,
            Err(error) => panic!("the appliance broke off by itself: {error}"),
        }
    }
    told
}

#[test]
fn what_was_acknowledged_survives_a_kill_while_more_is_coming() {
    let mut forepost = Forepost::start(setup());
    let ended = AtomicBool::new(false);
    let address = forepost.hospital();
    let told = std::thread::scope(|scope| {
        let lanes = [(); 1].map(|()| scope.spawn(|| send_until_it_breaks(&address, &ended)));
        let enough =
            wait_for(PATIENCE, || (forepost.metric("stored_objects_total") >= 60.0).then_some(()));
        enough.expect("studies are stored");
        ended.store(true, Ordering::SeqCst);
        forepost.kill();
        lanes.map(|lane| lane.join().unwrap()).concat()
    });
    assert!(told.len() >= 8, "{} studies", told.len());
    forepost.restart();
    told.iter().for_each(|study| check_here(&forepost, study));
    let verify = forepost.verb(&["cache", "verify", "--json"]);
    let words = String::from_utf8_lossy(&verify.stdout).into_owned();
    // An object whose record was not written yet may lie there: nobody was told of it.
    assert!(verify.status.success() || words.contains("has no record"), "{words}");
    assert!(!forepost.files().iter().any(|file| in_incoming(file)));
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let Some(mut disk) = Disk::make() else {
        println!("skipped: no disk of its own (needs root, mkfs.ext4 and a loop device)");
        return;
    };
    disk.mount();
    let data = Some(disk.folder().join("data"));
    let mut forepost = Forepost::start(Setup { data, ..setup() });
    let studies: Vec<Study> = (0..3)
        .map(|number| Study::of(&Patient::new(910 + number), 910 + u64::from(number)))
        .collect();
    for study in &studies {
        assert_eq!(post(&forepost, "/studies", &bytes(&study.objects())).status, 200);
    }
    disk.cut();
    forepost.kill();
    disk.come_back();
    forepost.restart();
    studies.iter().for_each(|study| check_here(&forepost, study));
}

#[test]
fn a_full_disk_is_told_and_with_room_again_the_study_is_taken() {
    let Some(mut disk) = Disk::make() else {
        println!("skipped: no disk of its own (needs root, mkfs.ext4 and a loop device)");
        return;
    };
    disk.mount();
    let cache = disk.folder().join("cache");
    let root = format!("cache = \"{}\"\n", cache.display());
    let forepost = Forepost::start(Setup { root, ..setup() });
    let study = Study { series: vec![12], side: 512, ..Study::of(&Patient::new(915), 915) };
    let objects = study.objects();
    assert_eq!(post(&forepost, "/studies", &bytes(&objects[..1])).status, 200);
    let filler = disk.folder().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&vec![1; 1 << 20]).is_ok() {}
    drop(file);
    let reply = post(&forepost, "/studies", &bytes(&objects));
    let answer = reply.json();
    assert_eq!(reply.status, 503, "{answer:#}");
    assert_eq!(reply.header("retry-after"), Some("5"));
    assert_eq!(reasons(&answer, OTHER), vec![0xa700; objects.len()], "{answer:#}");
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(post(&forepost, "/studies", &bytes(&objects)).status, 200);
    let here = format!("/dicom-web/studies/{}", study.uid());
    assert_eq!(forepost.get(&here).status, 200);
}

#[test]
fn other_peoples_programs_store_here() {
    let patient = Patient::new(920);
    let (first, second) = (Study::of(&patient, 920), Study::of(&patient, 921));
    let forepost = Forepost::start(setup());
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = vec![format!("http://{}/dicom-web", forepost.hospital())];
    for object in first.objects() {
        let path = folder.path().join(format!("{}.dcm", object.sop));
        std::fs::write(&path, &object.bytes).unwrap();
        arguments.push(path.display().to_string());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let told = python("store_dicomweb.py", &arguments);
    assert_eq!(told["stored"].as_array().unwrap().len(), first.instances(), "{told}");
    assert_eq!(told["failed"], json!([]));
    let orthanc = Orthanc::with(&[&second]);
    send_by(&orthanc, &forepost, None);
    check_here(&forepost, &second);
    let rows = forepost.qido(&format!("/studies?PatientID={}", patient.id_card));
    assert_eq!(rows.len(), 2);
}

/// Has Orthanc's DICOMweb plugin send everything it holds, as the caller with this token.
pub fn send_by(orthanc: &Orthanc, forepost: &Forepost, token: Option<&str>) {
    let mut server = json!({"Url": format!("http://{}/dicom-web/", forepost.hospital())});
    if let Some(token) = token {
        server["HttpHeaders"] = json!({"Authorization": format!("Bearer {token}")});
    }
    let put = orthanc.ask("PUT", "/dicom-web/servers/forepost", server.to_string().as_bytes());
    assert_eq!(put.status, 200, "{}", put.text());
    let studies = orthanc.ask("GET", "/studies", b"").json();
    let stow = json!({"Resources": studies, "Synchronous": true}).to_string();
    let sent = orthanc.ask("POST", "/dicom-web/servers/forepost/stow", stow.as_bytes());
    assert_eq!(sent.status, 200, "{}", sent.text());
}

/// The files that are not kept, each with what the log says of it: no Part 10 file, one whose
/// identifiers are missing or not where its transfer syntax has them, or cut off.
const NOT_KEPT: &[(&str, &str)] = &[
    ("ExplVR_BigEndNoMeta.dcm", NO_PREFIX),
    ("ExplVR_LitEndNoMeta.dcm", NO_PREFIX),
    ("JPEGLSNearLossless_08.dcm", NO_STUDY),
    ("JPEGLSNearLossless_16.dcm", NO_STUDY),
    ("MR_truncated.dcm", "object is cut off: 9630 bytes of at least 9692"),
    ("SC_rgb_jls_lossy_line.dcm", NO_STUDY),
    ("SC_rgb_jls_lossy_sample.dcm", NO_STUDY),
    ("SC_rgb_jpeg.dcm", NO_STUDY),
    ("UN_sequence.dcm", NO_STUDY),
    ("dicomdirtests/DICOMDIR", NO_STUDY),
    ("dicomdirtests/DICOMDIR-bigEnd", NO_STUDY),
    ("dicomdirtests/DICOMDIR-empty.dcm", NO_STUDY),
    ("dicomdirtests/DICOMDIR-implicit", NO_STUDY),
    ("dicomdirtests/DICOMDIR-nooffset", "object is cut off: 11092 bytes of at least 11116"),
    ("dicomdirtests/DICOMDIR-nopatient", NO_STUDY),
    ("dicomdirtests/DICOMDIR-reordered", NO_STUDY),
    ("dicomdirtests/TINY_ALPHA/DICOMDIR", NO_STUDY),
    ("empty_charset_LEI.dcm", NO_STUDY),
    ("meta_missing_tsyntax.dcm", "not a dicom object: no transfer syntax uid"),
    ("nested_priv_SQ.dcm", NO_STUDY),
    ("no_meta.dcm", NO_PREFIX),
    ("no_meta_group_length.dcm", NO_STUDY),
    ("priv_SQ.dcm", NO_STUDY),
    ("rtdose_rle.dcm", NO_STUDY),
    ("rtdose_rle_1frame.dcm", NO_STUDY),
    ("rtplan_truncated.dcm", "object is cut off: 2129 bytes of at least 2394"),
    ("rtstruct.dcm", NO_PREFIX),
];
const NO_STUDY: &str = "not a dicom object: no valid study instance uid";
const NO_PREFIX: &str = "not a dicom object: no part 10 prefix";

/// Every DICOM file of PyPI's pydicom and of this repository, by a name that tells it from the
/// others.
fn real_files() -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    let venv = Path::new(ROOT).join(".venv/lib");
    let python = std::fs::read_dir(&venv).expect("run .ci/setup first").next().unwrap().unwrap();
    let pydicom = python.path().join("site-packages/pydicom/data/test_files");
    let fixtures = Path::new(ROOT).join("cache/tests/fixtures");
    let mut folders = vec![(String::new(), pydicom), ("fixtures/".to_owned(), fixtures)];
    while let Some((name, folder)) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let full = format!("{name}{}", path.file_name().unwrap().to_string_lossy());
            if path.is_dir() {
                folders.push((format!("{full}/"), path));
            } else {
                let bytes = std::fs::read(&path).unwrap();
                if full.ends_with(".dcm") || bytes.get(128..132) == Some(b"DICM") {
                    files.insert(full, path);
                }
            }
        }
    }
    files
}

#[test]
fn real_files_come_back_byte_by_byte_or_are_refused_with_a_reason() {
    let mut left = real_files();
    assert!(left.len() > 150, "{}", left.len());
    let mut refused = Vec::new();
    let mut kept = 0;
    // Many of them share one UID: those wait for the next appliance.
    while !left.is_empty() {
        let forepost = Forepost::start(setup());
        let mut later = BTreeMap::new();
        let before = kept + refused.len();
        for (name, path) in left {
            let bytes = std::fs::read(&path).unwrap();
            let reply = post(&forepost, "/studies", &[&bytes]);
            let answer = reply.json();
            match reply.status {
                200 => {
                    let url = items(&answer, STORED)[0][RETRIEVE_URL]["Value"][0].clone();
                    let (_, target) =
                        url.as_str().unwrap().split_once(&forepost.hospital()).unwrap();
                    let accept = [("Accept", "application/dicom")];
                    let back = forepost.ask("GET", target, &accept, b"");
                    assert!(back.status == 200 && back.body == bytes, "{name}: {}", back.status);
                    kept += 1;
                }
                409 if reasons(&answer, FAILED) == [0x0111] => {
                    later.insert(name, path);
                }
                409 => {
                    assert_eq!(reasons(&answer, OTHER), [0xc000], "{name}");
                    let log = forepost.log();
                    let why = log.rsplit_once("an object that came is refused: ").unwrap().1;
                    refused.push((name, why.lines().next().unwrap().to_owned()));
                }
                status => panic!("{name}: {status} {answer:#}"),
            }
        }
        assert!(kept + refused.len() > before, "each appliance takes some: {later:?}");
        left = later;
    }
    refused.sort();
    let refused: Vec<(&str, &str)> =
        refused.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
    println!("{kept} files came back");
    assert_eq!(refused, NOT_KEPT);
}
