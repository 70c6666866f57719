//! Small DICOM studies, written here byte by byte (PS3.5, PS3.10), so that a test knows what every
//! object must read back as without asking the code under test.

use encoding_rs::{GB18030, GBK};

use super::patient::{Patient, days_ago};

/// How the texts of a study are written (0008,0005).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    Utf8,
    Gb18030,
    Gbk,
}

/// A study to generate.
#[derive(Debug, Clone)]
pub struct Study {
    /// Makes its UIDs; two seeds are two studies.
    pub seed: u64,
    pub patient_id: String,
    pub pn: String,
    pub birth_date: String,
    pub sex: String,
    pub charset: Charset,
    pub institution: String,
    pub institution_code: String,
    pub date: String,
    pub modality: &'static str,
    pub description: String,
    pub accession: String,
    /// Instances of each series.
    pub series: Vec<usize>,
    /// SOP classes, taken in turn by the instances of a series.
    pub classes: Vec<&'static str>,
    /// Pixels are a square of this side, 16 bit.
    pub side: u16,
}

/// One object of a study.
#[derive(Debug, Clone)]
pub struct Object {
    pub series: String,
    pub sop: String,
    /// The Part 10 file.
    pub bytes: Vec<u8>,
}

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";

impl Study {
    /// Where a WADO-RS door has one of its objects.
    pub fn target(&self, object: &Object) -> String {
        let Object { series, sop, .. } = object;
        format!("/dicom-web/studies/{}/series/{series}/instances/{sop}", self.uid())
    }

    /// A CT of two series at another hospital, last month, known by the identity number.
    pub fn of(patient: &Patient, seed: u64) -> Study {
        Study {
            seed,
            patient_id: patient.id_card.clone(),
            pn: patient.pn.clone(),
            birth_date: patient.birth_date.clone(),
            sex: patient.sex.to_string(),
            charset: Charset::Utf8,
            institution: "邻市人民医院".into(),
            institution_code: "654321".into(),
            date: days_ago(40),
            modality: "CT",
            description: "胸部平扫".into(),
            accession: format!("A{seed}"),
            series: vec![4, 3],
            classes: vec![CT],
            side: 32,
        }
    }

    pub fn uid(&self) -> String {
        format!("2.25.{}", 7_000_000_000 + self.seed)
    }

    pub fn instances(&self) -> usize {
        self.series.iter().sum()
    }

    pub fn objects(&self) -> Vec<Object> {
        let mut objects = Vec::new();
        for (at, count) in self.series.iter().enumerate() {
            for number in 1..=*count {
                objects.push(self.object(at + 1, number));
            }
        }
        objects
    }

    fn object(&self, series_number: usize, number: usize) -> Object {
        let series = format!("{}.{series_number}", self.uid());
        let sop = format!("{series}.{number}");
        let mut meta = Elements::default();
        meta.put(0x0002, 0x0001, *b"OB", &[0, 1]);
        meta.text(0x0002, 0x0002, *b"UI", self.class(number));
        meta.text(0x0002, 0x0003, *b"UI", &sop);
        meta.text(0x0002, 0x0010, *b"UI", EXPLICIT_LITTLE);
        meta.text(0x0002, 0x0012, *b"UI", "2.25.7000000000");
        let mut length = Elements::default();
        length.put(0x0002, 0x0000, *b"UL", &(meta.0.len() as u32).to_le_bytes());
        let mut bytes = vec![0; 128];
        bytes.extend_from_slice(b"DICM");
        bytes.extend_from_slice(&length.0);
        bytes.extend_from_slice(&meta.0);
        bytes.extend_from_slice(&self.data_set(&series, &sop, series_number, number).0);
        Object { series, sop, bytes }
    }

    fn class(&self, number: usize) -> &'static str {
        self.classes[number % self.classes.len()]
    }

    fn data_set(&self, series: &str, sop: &str, series_number: usize, number: usize) -> Elements {
        let mut set = Elements::default();
        let charset = match self.charset {
            Charset::Utf8 => "ISO_IR 192",
            Charset::Gb18030 => "GB18030",
            Charset::Gbk => "GBK",
        };
        set.text(0x0008, 0x0005, *b"CS", charset);
        set.text(0x0008, 0x0016, *b"UI", self.class(number));
        set.text(0x0008, 0x0018, *b"UI", sop);
        set.text(0x0008, 0x0020, *b"DA", &self.date);
        set.text(0x0008, 0x0030, *b"TM", "083000");
        self.local(&mut set, 0x0008, 0x0050, *b"SH", &self.accession);
        set.text(0x0008, 0x0060, *b"CS", self.modality);
        self.local(&mut set, 0x0008, 0x0080, *b"LO", &self.institution);
        if !self.institution_code.is_empty() {
            let mut item = Elements::default();
            item.text(0x0008, 0x0100, *b"SH", &self.institution_code);
            item.text(0x0008, 0x0102, *b"SH", "99NHSA");
            set.item(0x0008, 0x0082, item);
        }
        set.text(0x0008, 0x0090, *b"PN", "");
        self.local(&mut set, 0x0008, 0x1030, *b"LO", &self.description);
        self.local(&mut set, 0x0010, 0x0010, *b"PN", &self.pn);
        self.local(&mut set, 0x0010, 0x0020, *b"LO", &self.patient_id);
        set.text(0x0010, 0x0030, *b"DA", &self.birth_date);
        set.text(0x0010, 0x0040, *b"CS", &self.sex);
        set.text(0x0018, 0x0015, *b"CS", "CHEST");
        set.text(0x0020, 0x000d, *b"UI", &self.uid());
        set.text(0x0020, 0x000e, *b"UI", series);
        set.text(0x0020, 0x0010, *b"SH", &self.seed.to_string());
        set.text(0x0020, 0x0011, *b"IS", &series_number.to_string());
        set.text(0x0020, 0x0013, *b"IS", &number.to_string());
        set.put(0x0028, 0x0002, *b"US", &1u16.to_le_bytes());
        set.text(0x0028, 0x0004, *b"CS", "MONOCHROME2");
        set.put(0x0028, 0x0010, *b"US", &self.side.to_le_bytes());
        set.put(0x0028, 0x0011, *b"US", &self.side.to_le_bytes());
        set.put(0x0028, 0x0100, *b"US", &16u16.to_le_bytes());
        set.put(0x0028, 0x0101, *b"US", &12u16.to_le_bytes());
        set.put(0x0028, 0x0102, *b"US", &11u16.to_le_bytes());
        set.put(0x0028, 0x0103, *b"US", &0u16.to_le_bytes());
        set.text(0x0028, 0x1052, *b"DS", "-1024");
        set.text(0x0028, 0x1053, *b"DS", "1");
        set.put(0x7fe0, 0x0010, *b"OW", &self.pixels(series_number, number));
        set
    }

    /// Differs in every object, so that a mix-up cannot pass.
    fn pixels(&self, series_number: usize, number: usize) -> Vec<u8> {
        let mut state = self.seed * 1_000_003 + series_number as u64 * 1_009 + number as u64;
        let samples = usize::from(self.side) * usize::from(self.side);
        let mut pixels = Vec::with_capacity(samples * 2);
        for _ in 0..samples {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            pixels.extend_from_slice(&((state >> 40) as u16 & 0x0fff).to_le_bytes());
        }
        pixels
    }

    fn local(&self, set: &mut Elements, group: u16, element: u16, vr: [u8; 2], text: &str) {
        let bytes = match self.charset {
            Charset::Utf8 => text.as_bytes().to_vec(),
            Charset::Gb18030 => GB18030.encode(text).0.into_owned(),
            Charset::Gbk => GBK.encode(text).0.into_owned(),
        };
        set.padded(group, element, vr, bytes);
    }
}

/// Elements in Explicit VR Little Endian (PS3.5 7.1.2, A.2).
#[derive(Default)]
struct Elements(Vec<u8>);

impl Elements {
    fn text(&mut self, group: u16, element: u16, vr: [u8; 2], text: &str) {
        self.padded(group, element, vr, text.as_bytes().to_vec());
    }

    /// Values have an even length: UIDs end in NUL, texts in a blank (PS3.5 6.2).
    fn padded(&mut self, group: u16, element: u16, vr: [u8; 2], mut bytes: Vec<u8>) {
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == *b"UI" { 0 } else { b' ' });
        }
        self.put(group, element, vr, &bytes);
    }

    fn put(&mut self, group: u16, element: u16, vr: [u8; 2], value: &[u8]) {
        self.0.extend_from_slice(&group.to_le_bytes());
        self.0.extend_from_slice(&element.to_le_bytes());
        self.0.extend_from_slice(&vr);
        if matches!(&vr, b"OB" | b"OW" | b"SQ" | b"UN") {
            self.0.extend_from_slice(&[0, 0]);
            self.0.extend_from_slice(&(value.len() as u32).to_le_bytes());
        } else {
            self.0.extend_from_slice(&(value.len() as u16).to_le_bytes());
        }
        self.0.extend_from_slice(value);
    }

    /// A sequence of one item, both of defined length (PS3.5 7.5).
    fn item(&mut self, group: u16, element: u16, item: Elements) {
        let mut value = vec![0xfe, 0xff, 0x00, 0xe0];
        value.extend_from_slice(&(item.0.len() as u32).to_le_bytes());
        value.extend_from_slice(&item.0);
        self.put(group, element, *b"SQ", &value);
    }
}
