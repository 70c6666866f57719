//! The attributes that searches match and answer with.

use dicom_core::dictionary::DataDictionary;
use dicom_dictionary_std::StandardDataDictionary;

use super::target::Level;

/// Retrieve URL.
pub(super) const RETRIEVE_URL: u32 = 0x0008_1190;

/// An attribute that can be matched, with the level that it belongs to.
pub(super) struct Key {
    /// Keyword of PS3.6.
    pub(super) keyword: &'static str,
    /// Tag.
    pub(super) tag: u32,
    /// Level.
    pub(super) level: Level,
}

/// The required matching keys of PS3.18 table 10.6.1-5 except those inside Request Attributes
/// Sequence, and those that viewers use beside them.
const KEYS: &[Key] = &[
    key("StudyDate", 0x0008_0020, Level::Study),
    key("StudyTime", 0x0008_0030, Level::Study),
    key("AccessionNumber", 0x0008_0050, Level::Study),
    key("ModalitiesInStudy", 0x0008_0061, Level::Study),
    key("InstitutionName", 0x0008_0080, Level::Study),
    key("ReferringPhysicianName", 0x0008_0090, Level::Study),
    key("StudyDescription", 0x0008_1030, Level::Study),
    key("PatientName", 0x0010_0010, Level::Study),
    key("PatientID", 0x0010_0020, Level::Study),
    key("IssuerOfPatientID", 0x0010_0021, Level::Study),
    key("PatientBirthDate", 0x0010_0030, Level::Study),
    key("PatientSex", 0x0010_0040, Level::Study),
    key("StudyInstanceUID", 0x0020_000d, Level::Study),
    key("StudyID", 0x0020_0010, Level::Study),
    key("Modality", 0x0008_0060, Level::Series),
    key("SeriesDescription", 0x0008_103e, Level::Series),
    key("BodyPartExamined", 0x0018_0015, Level::Series),
    key("SeriesInstanceUID", 0x0020_000e, Level::Series),
    key("SeriesNumber", 0x0020_0011, Level::Series),
    key("PerformedProcedureStepStartDate", 0x0040_0244, Level::Series),
    key("PerformedProcedureStepStartTime", 0x0040_0245, Level::Series),
    key("SOPClassUID", 0x0008_0016, Level::Instance),
    key("SOPInstanceUID", 0x0008_0018, Level::Instance),
    key("InstanceNumber", 0x0020_0013, Level::Instance),
];

const fn key(keyword: &'static str, tag: u32, level: Level) -> Key {
    Key { keyword, tag, level }
}

/// The matching key of that keyword or tag. The standard's keywords are case-sensitive; viewers'
/// are not always.
pub(super) fn matching(name: &str) -> Option<&'static Key> {
    let tag = hex_tag(name);
    KEYS.iter().find(|key| match tag {
        Some(tag) => key.tag == tag,
        None => key.keyword.eq_ignore_ascii_case(name),
    })
}

/// The tag that a keyword or eight hexadecimal digits name. Of a path into a sequence, the
/// sequence.
pub(super) fn tag(name: &str) -> Option<u32> {
    let name = name.split('.').next().unwrap_or(name);
    if let Some(tag) = hex_tag(name) {
        return Some(tag);
    }
    let entry = StandardDataDictionary.by_name(name);
    let known = entry.map(|entry| {
        let tag = entry.tag.inner();
        u32::from(tag.group()) << 16 | u32::from(tag.element())
    });
    known.or_else(|| matching(name).map(|key| key.tag))
}

fn hex_tag(name: &str) -> Option<u32> {
    let digits = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits { u32::from_str_radix(name, 16).ok() } else { None }
}

/// Whether a row of that level as the cache holds it has the attribute; sorted tables.
pub(super) fn in_row(level: Level, tag: u32) -> bool {
    let row: &[u32] = match level {
        Level::Study => STUDY_ROW,
        Level::Series => SERIES_ROW,
        Level::Instance => INSTANCE_ROW,
    };
    row.binary_search(&tag).is_ok()
}

/// Whether `includefield=all` means the attribute at that level: what is the same for all
/// instances of a study, and of a series.
pub(super) fn in_all(level: Level, tag: u32) -> bool {
    match level {
        Level::Study => STUDY_ALL.binary_search(&tag).is_ok(),
        Level::Series => {
            STUDY_ALL.binary_search(&tag).is_ok() || SERIES_ALL.binary_search(&tag).is_ok()
        }
        Level::Instance => true,
    }
}

/// What a study row of the cache always says, and Retrieve URL.
const STUDY_ROW: &[u32] = &[
    0x0008_0005,
    0x0008_0020,
    0x0008_0030,
    0x0008_0050,
    0x0008_0056,
    0x0008_0061,
    0x0008_0090,
    0x0008_1030,
    RETRIEVE_URL,
    0x0010_0010,
    0x0010_0020,
    0x0010_0030,
    0x0010_0040,
    0x0020_000d,
    0x0020_0010,
    0x0020_1206,
    0x0020_1208,
];

/// What a series row of the cache always says, and Retrieve URL.
const SERIES_ROW: &[u32] = &[
    0x0008_0005,
    0x0008_0056,
    0x0008_0060,
    0x0008_103e,
    RETRIEVE_URL,
    0x0018_0015,
    0x0020_000d,
    0x0020_000e,
    0x0020_0011,
    0x0020_1209,
    0x0040_0244,
    0x0040_0245,
];

/// PS3.18 table 10.6.3-5, and the UIDs of study and series.
pub(super) const INSTANCE_ROW: &[u32] = &[
    0x0008_0005,
    0x0008_0016,
    0x0008_0018,
    0x0008_0056,
    0x0008_0201,
    RETRIEVE_URL,
    0x0020_000d,
    0x0020_000e,
    0x0020_0013,
    0x0028_0008,
    0x0028_0010,
    0x0028_0011,
    0x0028_0100,
];

/// Attributes of the patient, general study, patient study and clinical trial modules (PS3.3
/// C.7.1.1, C.7.2.1, C.7.2.2), and the institution, which viewers ask for at this level.
const STUDY_ALL: &[u32] = &[
    0x0008_0005,
    0x0008_0020,
    0x0008_0030,
    0x0008_0050,
    0x0008_0051,
    0x0008_0080,
    0x0008_0081,
    0x0008_0082,
    0x0008_0090,
    0x0008_0096,
    0x0008_009c,
    0x0008_0201,
    0x0008_1030,
    0x0008_1032,
    0x0008_1040,
    0x0008_1048,
    0x0008_1049,
    0x0008_1060,
    0x0008_1080,
    0x0008_1110,
    0x0008_1120,
    0x0010_0010,
    0x0010_0020,
    0x0010_0021,
    0x0010_0022,
    0x0010_0024,
    0x0010_0030,
    0x0010_0032,
    0x0010_0040,
    0x0010_1000,
    0x0010_1001,
    0x0010_1002,
    0x0010_1010,
    0x0010_1020,
    0x0010_1030,
    0x0010_2000,
    0x0010_2110,
    0x0010_2160,
    0x0010_2180,
    0x0010_21a0,
    0x0010_21b0,
    0x0010_21c0,
    0x0010_2203,
    0x0010_4000,
    0x0012_0010,
    0x0012_0020,
    0x0012_0021,
    0x0012_0030,
    0x0012_0040,
    0x0012_0050,
    0x0012_0062,
    0x0020_000d,
    0x0020_0010,
    0x0032_1032,
    0x0032_1060,
    0x0038_0010,
];

/// Attributes of the general series and general equipment modules (PS3.3 C.7.3.1, C.7.5.1).
const SERIES_ALL: &[u32] = &[
    0x0008_0021,
    0x0008_0031,
    0x0008_0060,
    0x0008_0068,
    0x0008_0070,
    0x0008_1010,
    0x0008_103e,
    0x0008_103f,
    0x0008_1041,
    0x0008_1050,
    0x0008_1070,
    0x0008_1090,
    0x0008_1111,
    0x0018_0015,
    0x0018_0050,
    0x0018_1000,
    0x0018_1020,
    0x0018_1030,
    0x0018_5100,
    0x0020_000e,
    0x0020_0011,
    0x0020_0052,
    0x0020_0060,
    0x0020_1040,
    0x0040_0244,
    0x0040_0245,
    0x0040_0250,
    0x0040_0251,
    0x0040_0253,
    0x0040_0254,
    0x0040_0260,
    0x0040_0275,
    0x0040_0280,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_are_searched_are_sorted() {
        for table in [STUDY_ROW, SERIES_ROW, INSTANCE_ROW, STUDY_ALL, SERIES_ALL] {
            assert!(table.is_sorted(), "{table:08x?}");
        }
    }

    #[test]
    fn keywords_are_those_of_the_dictionary() {
        for key in KEYS {
            let known = StandardDataDictionary.by_name(key.keyword).unwrap().tag.inner();
            let known = u32::from(known.group()) << 16 | u32::from(known.element());
            assert_eq!(known, key.tag, "{}", key.keyword);
        }
    }

    #[test]
    fn keyword_and_tag_name_the_same_key_in_any_case() {
        for name in ["PatientName", "patientname", "00100010", "PATIENTNAME"] {
            assert_eq!(matching(name).unwrap().tag, 0x0010_0010, "{name}");
        }
        assert!(matching("PatientNam").is_none());
        assert!(matching("0010001").is_none());
        assert_eq!(tag("ManufacturerModelName"), Some(0x0008_1090));
        assert_eq!(tag("0040a730"), Some(0x0040_a730));
        assert_eq!(tag("RequestAttributesSequence.ScheduledProcedureStepID"), Some(0x0040_0275));
        assert_eq!(tag("NoSuchThing"), None);
    }
}
