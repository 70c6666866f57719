//! What lies sealed in the ledger: types of their own, with a version.

use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::model::{
    Department, Doctor, FoundStudy, Identifier, IdentifierKind, PatientType, Person, Place,
    Registration, Sex, Time, VisitKey,
};

/// A registration as version 1 writes it.
#[derive(Serialize, Deserialize)]
struct StoredRegistration {
    v: u8,
    hospital: String,
    visit: String,
    name: String,
    sex: Option<char>,
    birth: Option<String>,
    birth_years: Option<(i16, i16)>,
    identifiers: Vec<(String, String)>,
    id_card_unread: Option<String>,
    patient_type: String,
    visit_at: Option<i64>,
    department: (String, String),
    cancelled: bool,
    seen: bool,
    discharged_at: Option<i64>,
}

pub(super) fn registration_bytes(registration: &Registration) -> Vec<u8> {
    let stored = StoredRegistration {
        v: 1,
        hospital: registration.hospital.clone(),
        visit: registration.visit.as_str().to_owned(),
        name: registration.person.name.clone(),
        sex: registration.person.sex.map(|sex| match sex {
            Sex::Male => 'M',
            Sex::Female => 'F',
        }),
        birth: registration.person.birth.map(|date| date.to_string()),
        birth_years: registration.person.birth_years,
        identifiers: registration
            .identifiers
            .iter()
            .map(|one| (one.kind.name().to_owned(), one.value().to_owned()))
            .collect(),
        id_card_unread: registration.id_card_unread.clone(),
        patient_type: registration.patient_type.code().to_owned(),
        visit_at: registration.visit_at.map(|time| time.0),
        department: (registration.department.code.clone(), registration.department.name.clone()),
        cancelled: registration.cancelled,
        seen: registration.seen,
        discharged_at: registration.discharged_at.map(|time| time.0),
    };
    serde_json::to_vec(&stored).expect("strings and numbers are JSON")
}

pub(super) fn registration_from(bytes: &[u8]) -> Result<Registration, LedgerError> {
    let unreadable = || LedgerError::Unreadable { what: "registration" };
    let stored: StoredRegistration = serde_json::from_slice(bytes).map_err(|_| unreadable())?;
    let identifiers = stored
        .identifiers
        .iter()
        .filter_map(|(kind, value)| Identifier::new(IdentifierKind::from_name(kind)?, value))
        .collect();
    Ok(Registration {
        hospital: stored.hospital,
        visit: VisitKey::stored(stored.visit).ok_or_else(unreadable)?,
        person: Person {
            name: stored.name,
            sex: stored.sex.and_then(|sex| Sex::parse(&sex.to_string())),
            birth: stored.birth.and_then(|date| date.parse().ok()),
            birth_years: stored.birth_years,
        },
        identifiers,
        id_card_unread: stored.id_card_unread,
        patient_type: PatientType::from_code(&stored.patient_type),
        visit_at: stored.visit_at.map(Time),
        department: Department { code: stored.department.0, name: stored.department.1 },
        cancelled: stored.cancelled,
        seen: stored.seen,
        discharged_at: stored.discharged_at.map(Time),
    })
}

/// A source's answer about one study as version 1 writes it.
#[derive(Serialize, Deserialize)]
struct StoredStudy {
    v: u8,
    patient_name: String,
    patient_id: String,
    birth_date: String,
    sex: String,
    age: String,
    study_date: String,
    study_time: String,
    modalities: Vec<String>,
    body_part: String,
    description: String,
    institution_name: String,
    institution_code: String,
    accession_issuer: String,
    instances: Option<u32>,
    source: String,
}

pub(super) fn study_bytes(study: &FoundStudy) -> Vec<u8> {
    let study = study.clone();
    let stored = StoredStudy {
        v: 1,
        patient_name: study.patient_name,
        patient_id: study.patient_id,
        birth_date: study.birth_date,
        sex: study.sex,
        age: study.age,
        study_date: study.study_date,
        study_time: study.study_time,
        modalities: study.modalities,
        body_part: study.body_part,
        description: study.description,
        institution_name: study.institution_name,
        institution_code: study.institution_code,
        accession_issuer: study.accession_issuer,
        instances: study.instances,
        source: study.place.source,
    };
    serde_json::to_vec(&stored).expect("strings and numbers are JSON")
}

pub(super) fn study_from(uid: &str, bytes: &[u8]) -> Result<FoundStudy, LedgerError> {
    let unreadable = || LedgerError::Unreadable { what: "study" };
    let stored: StoredStudy = serde_json::from_slice(bytes).map_err(|_| unreadable())?;
    Ok(FoundStudy {
        study: uid.parse().map_err(|_| unreadable())?,
        place: Place { source: stored.source, retrieve_url: None },
        patient_name: stored.patient_name,
        patient_id: stored.patient_id,
        birth_date: stored.birth_date,
        sex: stored.sex,
        age: stored.age,
        study_date: stored.study_date,
        study_time: stored.study_time,
        modalities: stored.modalities,
        body_part: stored.body_part,
        description: stored.description,
        institution_name: stored.institution_name,
        institution_code: stored.institution_code,
        accession_issuer: stored.accession_issuer,
        instances: stored.instances,
    })
}

/// What is personal of a doctor as version 1 writes it; the rest stands in columns.
#[derive(Serialize, Deserialize)]
struct StoredDoctor {
    v: u8,
    name: String,
    kind: String,
    code: String,
    id_number: String,
}

pub(super) fn doctor_bytes(doctor: &Doctor) -> Vec<u8> {
    let Doctor { name, kind, code, id_number, .. } = doctor.clone();
    let stored = StoredDoctor { v: 1, name, kind, code, id_number };
    serde_json::to_vec(&stored).expect("strings and numbers are JSON")
}

/// The columns of the session are the caller's to fill in.
pub(super) fn doctor_from(bytes: &[u8]) -> Result<Doctor, LedgerError> {
    let stored: StoredDoctor =
        serde_json::from_slice(bytes).map_err(|_| LedgerError::Unreadable { what: "doctor" })?;
    let (hospital, user, department, department_code) = Default::default();
    let StoredDoctor { v: _, name, kind, code, id_number } = stored;
    Ok(Doctor { hospital, user, name, department, department_code, kind, code, id_number })
}

/// What is personal of a notice as version 1 writes it.
#[derive(Serialize, Deserialize)]
struct StoredNotice {
    v: u8,
    patient: String,
    exams: Vec<(String, String)>,
}

pub(super) fn notice_bytes(patient: &str, exams: &[(String, String)]) -> Vec<u8> {
    let stored = StoredNotice { v: 1, patient: patient.to_owned(), exams: exams.to_vec() };
    serde_json::to_vec(&stored).expect("strings are JSON")
}

pub(super) fn notice_from(bytes: &[u8]) -> Result<(String, Vec<(String, String)>), LedgerError> {
    let stored: StoredNotice =
        serde_json::from_slice(bytes).map_err(|_| LedgerError::Unreadable { what: "notice" })?;
    Ok((stored.patient, stored.exams))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of version 1 as they lie in ledgers out there; they must be read for ever.
    const V1: &str = r#"{"v":1,"hospital":"H1","visit":"o:7","name":"测试","sex":"M",
        "birth":"1980-03-07","birth_years":null,"identifiers":[["healthNo","74401972"]],
        "id_card_unread":null,"patient_type":"1","visit_at":1700000000000,
        "department":["101","内科"],"cancelled":false,"seen":true,"discharged_at":null}"#;

    #[test]
    fn version_one_is_read_and_written_back_the_same() {
        let registration = registration_from(V1.as_bytes()).unwrap();
        assert_eq!(registration.person.sex, Some(Sex::Male));
        assert_eq!(registration.department.name, "内科");
        assert!(registration.seen);
        let again = registration_from(&registration_bytes(&registration)).unwrap();
        assert!(again == registration);
    }
}
