//! What the cache and its callers want to know of an object without opening it again.

use crate::error::CacheError;
use crate::limits::FIELD_BYTES_MAX;
use crate::pixels::FrameSize;
use crate::uid::Uid;

/// Identifying attributes of one object, decoded to UTF-8, the first value of each, untrimmed of
/// nothing but padding. Absent and empty are both the empty text. At most
/// [`FIELD_BYTES_MAX`] bytes each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // Each field is the attribute of the same name in PS3.6.
pub struct Header {
    pub study: Uid,
    pub series: Uid,
    pub sop: Uid,
    /// SOP Class UID, from the data set or else the file meta information.
    pub class: String,
    /// Transfer Syntax UID of the file.
    pub transfer_syntax: String,
    /// Series Number; 0 if absent.
    pub series_number: i32,
    /// Instance Number; 0 if absent.
    pub instance_number: i32,
    pub rows: u32,
    pub columns: u32,
    /// Number of Frames; 1 if absent.
    pub frames: u32,
    pub texts: Texts,
}

/// Defines the text attributes once: field, place, and their order in a record. A place is
/// `(sequence, tag)`, sequence 0 standing for the data set itself.
macro_rules! texts {
    ($($name:ident = ($sequence:literal, $tag:literal),)*) => {
        /// The text attributes of a [`Header`].
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        #[allow(missing_docs)] // Each field is the attribute of the same name in PS3.6.
        pub struct Texts { $(pub $name: String,)* }

        impl Texts {
            /// Number of texts, as written in a record.
            pub(crate) const COUNT: usize = [$($tag as u32),*].len();

            /// The field of an attribute, if it is one that is kept.
            pub(crate) fn field(&mut self, sequence: u32, tag: u32) -> Option<&mut String> {
                match (sequence, tag) {
                    $(($sequence, $tag) => Some(&mut self.$name),)*
                    _ => None,
                }
            }

            /// All texts in the order of the record format.
            pub(crate) fn all(&self) -> [&str; Texts::COUNT] {
                [$(&self.$name),*]
            }

            /// All texts in the order of the record format, to be filled.
            pub(crate) fn all_mut(&mut self) -> [&mut String; Texts::COUNT] {
                [$(&mut self.$name),*]
            }
        }
    };
}

// The order is part of the record format: append only, and raise the version.
texts! {
    study_date = (0, 0x0008_0020),
    series_date = (0, 0x0008_0021),
    study_time = (0, 0x0008_0030),
    series_time = (0, 0x0008_0031),
    accession_number = (0, 0x0008_0050),
    issuer_of_accession = (0x0008_0051, 0x0040_0031),
    modality = (0, 0x0008_0060),
    institution_name = (0, 0x0008_0080),
    institution_code = (0x0008_0082, 0x0008_0100),
    referring_physician = (0, 0x0008_0090),
    timezone = (0, 0x0008_0201),
    study_description = (0, 0x0008_1030),
    series_description = (0, 0x0008_103e),
    department = (0, 0x0008_1040),
    patient_name = (0, 0x0010_0010),
    patient_id = (0, 0x0010_0020),
    issuer_of_patient_id = (0, 0x0010_0021),
    birth_date = (0, 0x0010_0030),
    sex = (0, 0x0010_0040),
    other_patient_ids = (0, 0x0010_1000),
    other_patient_names = (0, 0x0010_1001),
    age = (0, 0x0010_1010),
    body_part = (0, 0x0018_0015),
    protocol_name = (0, 0x0018_1030),
    study_id = (0, 0x0020_0010),
    laterality = (0, 0x0020_0060),
    step_date = (0, 0x0040_0244),
    step_time = (0, 0x0040_0245),
}

impl std::ops::Deref for Header {
    type Target = Texts;

    fn deref(&self) -> &Texts {
        &self.texts
    }
}

/// A header while it is read.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) study: String,
    pub(crate) series: String,
    pub(crate) sop: String,
    pub(crate) class: String,
    pub(crate) transfer_syntax: String,
    pub(crate) media_sop: String,
    pub(crate) media_class: String,
    pub(crate) series_number: i32,
    pub(crate) instance_number: i32,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) frames: u32,
    pub(crate) samples: u32,
    pub(crate) bits: u32,
    pub(crate) photometric: String,
    pub(crate) texts: Texts,
}

impl Gathered {
    /// Takes a text value; the first of several, and the first time it is met.
    pub(crate) fn text(&mut self, sequence: u32, tag: u32, value: &str) {
        let mut first = value.split('\\').next().unwrap_or_default().trim();
        if let (0, 0x0008_0090 | 0x0010_0010 | 0x0010_1001) = (sequence, tag) {
            // Trailing delimiters of empty groups and components mean nothing (PS3.5 §6.2.1.1).
            first = first.trim_end_matches(['=', '^', ' ']);
        }
        let number = || first.parse::<f64>().map_or(0, |n| n as i32);
        let field = match (sequence, tag) {
            (0, 0x0008_0016) => &mut self.class,
            (0, 0x0008_0018) => &mut self.sop,
            (0, 0x0020_000d) => &mut self.study,
            (0, 0x0020_000e) => &mut self.series,
            (0, 0x0020_0011) => return self.series_number = number(),
            (0, 0x0020_0013) => return self.instance_number = number(),
            (0, 0x0028_0004) => &mut self.photometric,
            (0, 0x0028_0008) => return self.frames = number().max(0) as u32,
            _ => match self.texts.field(sequence, tag) {
                Some(field) => field,
                None => return,
            },
        };
        if field.is_empty() {
            field.push_str(bounded(first));
        }
    }

    /// Takes a binary number.
    pub(crate) fn number(&mut self, sequence: u32, tag: u32, value: i64) {
        match (sequence, tag) {
            (0, 0x0028_0002) => self.samples = value.max(0) as u32,
            (0, 0x0028_0010) => self.rows = value.max(0) as u32,
            (0, 0x0028_0011) => self.columns = value.max(0) as u32,
            (0, 0x0028_0100) => self.bits = value.max(0) as u32,
            _ => {}
        }
    }

    /// What says how long a native frame is.
    pub(crate) fn frame_size(&self) -> FrameSize {
        FrameSize {
            rows: self.rows,
            columns: self.columns,
            samples: self.samples,
            bits: self.bits,
            halved: self.photometric == "YBR_FULL_422",
        }
    }

    /// The header, if the identifiers are there.
    pub(crate) fn finish(self) -> Result<Header, CacheError> {
        let uid =
            |text: &str, reason| Uid::try_from(text).map_err(|_| CacheError::NotDicom { reason });
        let sop = if self.sop.is_empty() { &self.media_sop } else { &self.sop };
        let class = if self.class.is_empty() { &self.media_class } else { &self.class };
        Ok(Header {
            study: uid(&self.study, "no valid study instance uid")?,
            series: uid(&self.series, "no valid series instance uid")?,
            sop: uid(sop, "no valid sop instance uid")?,
            class: class.clone(),
            transfer_syntax: self.transfer_syntax,
            series_number: self.series_number,
            instance_number: self.instance_number,
            rows: self.rows,
            columns: self.columns,
            frames: self.frames.max(1),
            texts: self.texts,
        })
    }
}

/// The longest beginning that a field may hold, cut between characters.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(FIELD_BYTES_MAX)]
}
