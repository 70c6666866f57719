//! Studies as sources describe them.

use forepost_cache::Uid;

/// A study as a source's search answer shows it (PS3.18 10.6, study level). Texts are empty where
/// the source said nothing. Personal.
#[derive(Clone, PartialEq, Eq)]
pub struct FoundStudy {
    /// Study Instance UID (0020,000D).
    pub study: Uid,
    /// Where it can be had.
    pub place: Place,
    /// Patient's Name (0010,0010), all groups, as PN text.
    pub patient_name: String,
    /// Patient ID (0010,0020).
    pub patient_id: String,
    /// Patient's Birth Date (0010,0030), `YYYYMMDD`.
    pub birth_date: String,
    /// Patient's Sex (0010,0040).
    pub sex: String,
    /// Patient's Age (0010,1010), as `052Y`.
    pub age: String,
    /// Study Date (0008,0020), `YYYYMMDD`.
    pub study_date: String,
    /// Study Time (0008,0030).
    pub study_time: String,
    /// Modalities in Study (0008,0061).
    pub modalities: Vec<String>,
    /// Body Part Examined (0018,0015), where a source gives it at study level.
    pub body_part: String,
    /// Study Description (0008,1030).
    pub description: String,
    /// Institution Name (0008,0080).
    pub institution_name: String,
    /// Code Value (0008,0100) in Institution Code Sequence (0008,0082).
    pub institution_code: String,
    /// Local Namespace Entity ID (0040,0031) in Issuer of Accession Number Sequence (0008,0051).
    pub accession_issuer: String,
    /// Number of Study Related Instances (0020,1208).
    pub instances: Option<u32>,
}

impl std::fmt::Debug for FoundStudy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FoundStudy({}, …)", self.study)
    }
}

/// One place from which a study can be had.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The configured source that named it.
    pub source: String,
    /// Retrieve URL (0008,1190) where the source is an index that points elsewhere.
    pub retrieve_url: Option<String>,
}

/// One instance of a source's manifest (PS3.18 10.6, instance level).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedInstance {
    /// Series Instance UID (0020,000E).
    pub series: Uid,
    /// SOP Instance UID (0008,0018).
    pub sop: Uid,
    /// SOP Class UID (0008,0016), empty where the source keeps it to itself.
    pub class: String,
    /// Instance Number (0020,0013); 0 where unknown.
    pub number: i32,
}

/// One series of a study as a source lists it (PS3.18 10.6, series level).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSeries {
    /// Series Instance UID (0020,000E).
    pub series: Uid,
    /// Modality (0008,0060); empty where the source keeps it to itself.
    pub modality: String,
    /// Number of Series Related Instances (0020,1209).
    pub instances: Option<u32>,
}

/// Which instances a source is asked to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// All of the study.
    Study,
    /// All of one series.
    Series(Uid),
    /// Any one of a series.
    One(Uid),
}

/// What one request asks of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Everything of the study.
    Study,
    /// One series.
    Series(Uid),
    /// One instance of one series.
    Instance(Uid, Uid),
}
