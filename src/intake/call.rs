//! What a hospital says of a patient beside registrations: the patient is opened (imaging cloud's
//! document, 3.2), an examination is ordered (3.3).
//!
//! What is ordered tells better than the department what the doctor will want to compare with, so
//! it is kept for the choice of studies. The answer leaves after that commit, whether or not the
//! call goes on to a platform.

use super::Intake;
use crate::catalog::Record;
use crate::ledger::{Call, LedgerError};
use crate::model::{
    Department, IdNumber, Identifier, IdentifierKind, NewDelivery, PatientType, Registration, Time,
    VisitKey,
};

/// An examination is ordered.
pub const ORDER: &str = "ic-check-again";

/// A patient is opened.
pub const OPEN: &str = "ic-swiping-id-card";

/// The kinds of number that a call shares with a registration. `outpatientId` is none of them: a
/// registration gives the number of the visit, not of the patient's file.
const PLAIN_NUMBERS: [IdentifierKind; 4] = [
    IdentifierKind::HealthNo,
    IdentifierKind::InsuranceId,
    IdentifierKind::MedicareNo,
    IdentifierKind::HospitalizationId,
];

impl Intake {
    /// Keeps calls of the interface [`ORDER`] or [`OPEN`] that the catalogue let through, each with
    /// what goes on because of it: all of them, or on an error none. Plans of the patients of whom
    /// something is ordered are decided again.
    pub async fn called(
        &self,
        interface: &str,
        records: Vec<(Record, Vec<NewDelivery>)>,
        caller: &str,
        now: Time,
    ) -> Result<(), LedgerError> {
        let mut calls = Vec::with_capacity(records.len());
        for (record, onward) in records {
            let exams = record.list("examList").iter();
            calls.push(Call {
                hospital: record.text("hospitalld").unwrap_or_default().to_owned(),
                numbers: identifiers(&record, self.id_card(&record, caller).await.as_ref()),
                exam_codes: exams
                    .filter_map(|one| one.text("examCode"))
                    .map(str::to_owned)
                    .collect(),
                onward,
            });
        }
        let kind = if interface == ORDER { "examination ordered" } else { "patient opened" };
        let grace_ms = self.prefetch.grace_ms();
        if self.ledger.keep_calls(kind, calls, caller, grace_ms, now).await? > 0 {
            self.prefetch.wake();
        }
        Ok(())
    }

    /// The patient of a call, as if a visit to `department` began now: one a day, so that the
    /// sources are asked again on another. `None`: the call has no number that can be read.
    pub async fn visit(
        &self,
        record: &Record,
        sender: &str,
        department: Department,
        now: Time,
    ) -> Option<Registration> {
        let number = self.id_card(record, sender).await;
        let identifiers = identifiers(record, number.as_ref());
        let text = |name: &str| record.text(name).unwrap_or_default();
        let key = identifiers.first()?;
        let day = now.wall(self.offset).date();
        let visit = format!("opened {} {} {day}", key.kind.name(), key.value());
        Some(Registration {
            hospital: text("hospitalld").to_owned(),
            visit: VisitKey::outpatient(&visit)?,
            person: self.person(record, number.as_ref(), now),
            identifiers,
            id_card_unread: None,
            patient_type: PatientType::from_code(text("patientType")),
            visit_at: Some(now),
            department,
            cancelled: false,
            seen: false,
            discharged_at: None,
        })
    }
}

/// The numbers of a call, with the identity number as it was read.
fn identifiers(record: &Record, number: Option<&IdNumber>) -> Vec<Identifier> {
    let plain = PLAIN_NUMBERS
        .into_iter()
        .filter_map(|kind| Identifier::new(kind, record.text(kind.name())?));
    let card = number.and_then(|one| Identifier::new(IdentifierKind::IdCardNo, one.as_str()));
    plain.chain(card).collect()
}
