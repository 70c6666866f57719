//! A registration (挂号) or admission (入院) as the HIS announced it, checked.

use super::{Identifier, IdentifierKind, Person, Time};

/// One visit or stay of one patient (imaging cloud's document, 3.4). Personal as a whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Registration {
    /// The hospital's insurance code (`hospitalld`).
    pub hospital: String,
    /// What makes the visit one and the same when it is sent again.
    pub visit: VisitKey,
    /// Name, sex and birth.
    pub person: Person,
    /// Every number that was sent and could be read.
    pub identifiers: Vec<Identifier>,
    /// An `idCardNo` that could not be read: under SM2 without a key, or damaged. Kept as sent, so
    /// that the plan can be taken up when a key arrives.
    pub id_card_unread: Option<String>,
    /// Kind of patient.
    pub patient_type: PatientType,
    /// When the visit is due, or when the patient was admitted. `None` when unreadable.
    pub visit_at: Option<Time>,
    /// Where the patient is seen or lies.
    pub department: Department,
    /// `quitType` 1.
    pub cancelled: bool,
    /// `outpatientType` 1.
    pub seen: bool,
    /// `dischargedDateTime` of an in-patient.
    pub discharged_at: Option<Time>,
}

impl Registration {
    /// The identifier of that kind, if it was sent.
    pub fn identifier(&self, kind: IdentifierKind) -> Option<&Identifier> {
        self.identifiers.iter().find(|identifier| identifier.kind == kind)
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration")
            .field("hospital", &self.hospital)
            .field("patient_type", &self.patient_type)
            .finish_non_exhaustive()
    }
}

/// The key of a visit within its hospital (SUMMARY reading 12): the serial number of the visit,
/// else the number of the stay with the moment of admission. One text, so that one hash finds it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VisitKey(String);

impl VisitKey {
    /// The key of an out-patient visit, `outpatientNumber`.
    pub fn outpatient(number: &str) -> Option<VisitKey> {
        let number = number.trim();
        (!number.is_empty()).then(|| VisitKey(format!("o:{number}")))
    }

    /// The key of a stay: `hospitalizationId` and `admissionRegistDateTime` in any readable form,
    /// written the same way each time.
    pub fn stay(number: &str, admitted: jiff::civil::DateTime) -> Option<VisitKey> {
        let number = number.trim();
        (!number.is_empty()).then(|| VisitKey(format!("s:{number}:{admitted}")))
    }

    /// Takes back what [`VisitKey::as_str`] gave.
    pub fn stored(text: String) -> Option<VisitKey> {
        (text.starts_with("o:") || text.starts_with("s:")).then_some(VisitKey(text))
    }

    /// The text that is hashed. Personal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `patientType`: 1, 2, 3, 9; everything else is taken as 9 (SUMMARY reading 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatientType {
    /// 1, 门急诊.
    Outpatient,
    /// 2, 住院.
    Inpatient,
    /// 3, 体检.
    Examination,
    /// 9, 其他.
    Other,
}

impl PatientType {
    /// Reads the document's code.
    pub fn from_code(code: &str) -> PatientType {
        match code {
            "1" => PatientType::Outpatient,
            "2" => PatientType::Inpatient,
            "3" => PatientType::Examination,
            _ => PatientType::Other,
        }
    }

    /// The document's code.
    pub fn code(self) -> &'static str {
        match self {
            PatientType::Outpatient => "1",
            PatientType::Inpatient => "2",
            PatientType::Examination => "3",
            PatientType::Other => "9",
        }
    }
}

/// A department as the registration names it; either text may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Department {
    /// The hospital's code.
    pub code: String,
    /// The hospital's name for it.
    pub name: String,
}
