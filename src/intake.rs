//! Registrations: from a checked record to one commit.
//!
//! For: the HIS, which must be answered from here whatever the clouds do. Always holds: the answer
//! leaves after the commit; what cannot be understood but could be kept is kept, and taken up when
//! the key to it comes. Start at [`Intake::accept`]; the keys are in `opener.rs`,
//! what is said of a patient beside registrations in `call.rs`.

mod call;
mod opener;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::catalog::Record;
use crate::codec::time::parse_datetime;
use crate::ledger::{Arriving, Ledger, LedgerError, Registered};
use crate::limits::{EMERGENCY_WINDOW_MS, SM2_LOOK_MS};
use crate::model::{
    Department, Doctor, IdNumber, Identifier, IdentifierKind, NewDelivery, PatientType, Person,
    PlanOrder, PlanState, Registration, Sex, Time, UtcOffset, VisitKey,
};
use crate::prefetch::Prefetch;
use crate::seal::sm2;

pub use call::{OPEN, ORDER};
pub use opener::{CONFIGURED as CONFIGURED_KEY, Opener};

/// The kinds of number that are taken from a registration as they come. `idCardNo` is read by
/// itself, because it may be under SM2.
const PLAIN_NUMBERS: [IdentifierKind; 5] = [
    IdentifierKind::HealthNo,
    IdentifierKind::InsuranceId,
    IdentifierKind::MedicareNo,
    IdentifierKind::OutpatientNumber,
    IdentifierKind::HospitalizationId,
];

/// What the flow is built with. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    /// The disk of record.
    pub ledger: Ledger,
    /// Told of every plan that is due.
    pub prefetch: Arc<Prefetch>,
    /// The hospital's wall clock.
    pub offset: UtcOffset,
    /// Parts of the names of departments whose patients cannot wait.
    pub emergency_departments: Vec<String>,
    /// Opens identity numbers under SM2.
    pub sm2: Arc<Opener>,
}

/// Why a record that passed the catalogue's rules still makes no registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntakeFault {
    /// Neither key of a visit can be made of it.
    #[error("no visit key: outpatientNumber, or hospitalizationId with admissionRegistDateTime")]
    VisitKey,
}

impl Intake {
    /// Keeps a registration that the catalogue let through, with its body as it came and what goes
    /// on to a platform because of it. Returns after the one commit of all.
    pub async fn accept(
        &self,
        registration: Registration,
        body: Bytes,
        onward: Vec<NewDelivery>,
        caller: &str,
        now: Time,
    ) -> Result<Registered, LedgerError> {
        let awaited = self.prefetch.awaits(&registration);
        let (body, caller, reader) = (Some(body), caller.to_owned(), None);
        let arriving = Arriving { body, onward, awaited, caller, reader };
        self.keep(registration, arriving, now).await
    }

    /// Keeps the visit of a patient whom a doctor opened and nobody registered. What is searched
    /// and fetched because of it is for that doctor.
    pub async fn accept_opened(
        &self,
        visit: Registration,
        doctor: Doctor,
        caller: &str,
        now: Time,
    ) -> Result<Registered, LedgerError> {
        let awaited = self.prefetch.awaits(&visit);
        // It came by no registration: there is no body to replay.
        let (body, caller, reader) =
            (Some(Bytes::from_static(b"{}")), caller.to_owned(), Some(doctor));
        let arriving = Arriving { body, onward: Vec::new(), awaited, caller, reader };
        self.keep(visit, arriving, now).await
    }

    async fn keep(
        &self,
        registration: Registration,
        arriving: Arriving,
        now: Time,
    ) -> Result<Registered, LedgerError> {
        let order = self.order(&registration, now);
        let registered = self.ledger.register(registration, arriving, order, now).await?;
        if registered.state == PlanState::Searching {
            self.prefetch.wake();
        }
        Ok(registered)
    }

    /// Takes up plans that waited for a key: those whose `idCardNo` opens now. Returns how many.
    pub async fn take_up(&self, now: Time) -> Result<usize, LedgerError> {
        let (mut taken, mut after) = (0, 0);
        loop {
            let page = self.ledger.plans_without_identifier(after)?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for mut waiting in page {
                let registration = &mut waiting.registration;
                let Some(unread) = registration.id_card_unread.take() else { continue };
                let Some(number) = self.id_number(&unread, None).await else { continue };
                registration.person.birth = Some(number.birth());
                registration.person.sex = Some(number.sex());
                registration
                    .identifiers
                    .extend(Identifier::new(IdentifierKind::IdCardNo, number.as_str()));
                let order = self.order(registration, now);
                let awaited = self.prefetch.awaits(registration);
                let caller = "forepost".to_owned();
                let kept = self.ledger.take_up(waiting, awaited, caller, order, now).await?;
                taken += usize::from(kept.is_some());
            }
        }
        if taken > 0 {
            self.prefetch.wake();
        }
        Ok(taken)
    }

    /// Takes up what waits, at the start and whenever a key has come, for as long as it is polled.
    /// The folder of keys is looked at every [`SM2_LOOK_MS`].
    pub async fn keep_keys(self, clock: fn() -> Time) {
        // A registration may have been read before the key came and be kept after it was looked
        // for: the look behind each new key takes up once more.
        let (mut rounds, mut said) = (1, String::new());
        loop {
            let mut fault = String::new();
            if rounds > 0 {
                match self.take_up(clock()).await {
                    Ok(plans) => {
                        rounds -= 1;
                        if plans > 0 {
                            log::info!(plans; "took up plans that waited for a key");
                        }
                    }
                    Err(error) => fault = format!("plans that wait for a key: {error}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(SM2_LOOK_MS)).await;
            let opener = Arc::clone(&self.sm2);
            match tokio::task::spawn_blocking(move || opener.look()).await {
                Ok(Ok(new)) if new.is_empty() => {}
                Ok(Ok(new)) => {
                    log::info!(keys = new.join(" "); "new SM2 keys are here");
                    rounds = 2;
                }
                Ok(Err(error)) => fault = format!("{error}; the keys stay as they were"),
                Err(_) => fault = "the look at the SM2 keys panicked".to_owned(),
            }
            // What lasts is said once.
            if !fault.is_empty() && fault != said {
                log::error!("{fault}");
            }
            said = fault;
        }
    }

    /// Reads a record of `saveDataStorage` or of `View_Register_Info` (imaging cloud's document,
    /// 3.4). Dates and codes that cannot be read are left out; the catalogue has warned of them.
    /// `sender` is who encrypted its numbers, by a name of the configuration.
    pub async fn read(
        &self,
        record: &Record,
        sender: &str,
        now: Time,
    ) -> Result<Registration, IntakeFault> {
        let text = |name: &str| record.text(name).unwrap_or_default();
        let wall = |name: &str| record.text(name).and_then(parse_datetime);
        let time = |name: &str| Time::from_wall(wall(name)?, self.offset);
        let patient_type = PatientType::from_code(text("patientType"));
        let visit = VisitKey::outpatient(text("outpatientNumber"))
            .or_else(|| VisitKey::stay(text("hospitalizationId"), wall("admissionRegistDateTime")?))
            .ok_or(IntakeFault::VisitKey)?;
        let number = self.id_card(record, sender).await;
        let mut identifiers: Vec<Identifier> = PLAIN_NUMBERS
            .into_iter()
            .filter_map(|kind| Identifier::new(kind, record.text(kind.name())?))
            .collect();
        if let Some(number) = &number {
            identifiers.extend(Identifier::new(IdentifierKind::IdCardNo, number.as_str()));
        }
        let inpatient = patient_type == PatientType::Inpatient;
        let visit_at = match inpatient {
            true => time("admissionDateTime").or_else(|| time("admissionRegistDateTime")),
            false => time("outpatientDateTime").or_else(|| time("registDateTime")),
        };
        Ok(Registration {
            hospital: text("hospitalld").to_owned(),
            visit,
            person: self.person(record, number.as_ref(), now),
            id_card_unread: match number {
                Some(_) => None,
                None => record.text("idCardNo").map(str::to_owned),
            },
            identifiers,
            patient_type,
            visit_at,
            department: department(record, inpatient),
            cancelled: text("quitType") == "1",
            seen: text("outpatientType") == "1",
            discharged_at: time("dischargedDateTime").filter(|_| inpatient),
        })
    }

    /// Birth and sex from a valid identity number, else from age and text.
    fn person(&self, record: &Record, number: Option<&IdNumber>, now: Time) -> Person {
        let name = record.text("patientName").unwrap_or_default().to_owned();
        if let Some(number) = number {
            let (sex, birth) = (Some(number.sex()), Some(number.birth()));
            return Person { name, sex, birth, birth_years: None };
        }
        let year = now.wall(self.offset).year();
        let age: Option<i16> = record.text("patientAge").and_then(years_of_age);
        Person {
            name,
            sex: record.text("patientSex").and_then(Sex::parse),
            birth: None,
            birth_years: age.map(|age| (year - age - 1, year - age + 1)),
        }
    }

    /// The patient's identity number, if the record has one that can be read.
    async fn id_card(&self, record: &Record, sender: &str) -> Option<IdNumber> {
        self.id_number(record.text("idCardNo")?, Some(sender)).await
    }

    /// A number in plain text, or under SM2 where the key is here and it opens.
    async fn id_number(&self, text: &str, sender: Option<&str>) -> Option<IdNumber> {
        if let Some(number) = IdNumber::parse(text) {
            return Some(number);
        }
        if !sm2::looks_encrypted(text) {
            return None;
        }
        IdNumber::parse(&self.sm2.open(sender, text).await?)
    }

    fn order(&self, registration: &Registration, now: Time) -> PlanOrder {
        let due_at = registration.visit_at.unwrap_or(now);
        let emergency = self
            .emergency_departments
            .iter()
            .any(|part| registration.department.name.contains(part.as_str()));
        let soon = (0..EMERGENCY_WINDOW_MS).contains(&due_at.since_ms(now));
        let inpatient = registration.patient_type == PatientType::Inpatient;
        let discharged = registration.discharged_at.is_some_and(|at| at <= now);
        PlanOrder {
            urgent: inpatient || emergency || soon,
            due_at,
            searchable: self.prefetch.understands(registration),
            cancelled: registration.cancelled,
            over: registration.seen || discharged,
        }
    }
}

fn department(record: &Record, inpatient: bool) -> Department {
    let pair = |code: &str, name: &str| Department {
        code: record.text(code).unwrap_or_default().to_owned(),
        name: record.text(name).unwrap_or_default().to_owned(),
    };
    let stay = pair("currentDeptCode", "currentDeptName");
    let admission = pair("admissionDeptCode", "admissionDeptName");
    let visit = pair("outpatientDeptCode", "outpatientDeptName");
    let given = |one: &Department| !one.code.is_empty() || !one.name.is_empty();
    let order = if inpatient { [stay, admission, visit] } else { [visit, stay, admission] };
    order.into_iter().find(given).unwrap_or_default()
}

/// Whole years in `52`, `52岁`, `52Y`. Months, weeks and days of infants are year 0.
fn years_of_age(text: &str) -> Option<i16> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: i16 = text[..digits].parse().ok()?;
    match text[digits..].trim() {
        "" | "岁" | "Y" | "y" | "周岁" => (number <= 150).then_some(number),
        "月" | "个月" | "天" | "日" | "周" | "M" | "W" | "D" | "m" | "w" | "d" => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_as_they_are_written() {
        for (text, years) in [
            ("52", Some(52)),
            ("52岁", Some(52)),
            ("052Y", Some(52)),
            ("3月", Some(0)),
            ("", None),
            ("成人", None),
            ("999", None),
            ("99999999", None),
        ] {
            assert_eq!(years_of_age(text), years, "{text}");
        }
    }
}
