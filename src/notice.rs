//! Telling the right doctor that a patient has studies made elsewhere.
//!
//! For: the doctor who opens a patient or orders an examination (imaging cloud's document, 3.2,
//! 3.3). Always holds: the HIS is answered after the notice is on disk and before anybody is
//! asked for studies; a notice goes to one window of the account that the HIS names, or to none
//! and stands in the account's list; what is found later stands in the same notice. A patient
//! whom nobody registered is registered by being opened, so that studies begin to arrive.
//! Refused: a notice for an account without a window, which nobody would see; a guess where
//! address and MAC of the call contradict each other. Start at [`Notices::called`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use forepost_cache::{Cache, Uid};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::catalog::Record;
use crate::fault::Fault;
use crate::intake::{Intake, ORDER};
use crate::ledger::{LedgerError, NewNotice, Notice, Session, StudyShown};
use crate::limits::{NOTICES_KEEP_MS, NOTICES_PRUNE_MS, STREAMS_MAX, STREAMS_OF_SESSION_MAX};
use crate::mapping;
use crate::model::{Department, Doctor, FetchState, NoticeKind, Standard, Time};
use crate::prefetch::{age_days, is_same_examination};
use crate::seal::sm2;

/// What the HIS's call comes to.
pub struct Notices {
    intake: RwLock<Arc<Intake>>,
    cache: Cache,
    /// Milliseconds for which a doctor who opened a patient may open the patient's studies.
    opened_ms: AtomicI64,
    /// One for each session whose window listens.
    bells: Mutex<HashMap<i64, watch::Sender<u64>>>,
}

/// A notice with what it shows now.
pub struct NoticeShown {
    /// The notice.
    pub notice: Notice,
    /// The studies, best first.
    pub studies: Vec<OutsideStudy>,
}

/// A study made elsewhere.
pub struct OutsideStudy {
    /// What is known of it.
    pub shown: StudyShown,
    /// Instances here, counted in the cache.
    pub here: u64,
    /// How far it is.
    pub progress: Progress,
    /// Whether it is an examination that is ordered now, and by what that is known.
    pub same: Option<Sameness>,
    /// Days since it was made, where its date can be read.
    pub days: Option<i32>,
}

/// By what a study is known to be the examination that is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sameness {
    /// By the standard that a person confirmed for the hospital's item.
    Mapping,
    /// By the modality and the part of the body that the item's name says.
    Name,
}

impl Sameness {
    /// The word of pages.
    pub fn name(self) -> &'static str {
        match self {
            Sameness::Mapping => "mapping",
            Sameness::Name => "name",
        }
    }
}

/// How far a study is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All of it is here.
    Here,
    /// It is on its way.
    Arriving,
    /// It is fetched when somebody asks for it.
    Elsewhere,
}

impl NoticeShown {
    /// Studies of which everything is here.
    pub fn here(&self) -> usize {
        self.studies.iter().filter(|one| one.progress == Progress::Here).count()
    }

    /// Studies that are an examination ordered now.
    pub fn same(&self) -> usize {
        self.studies.iter().filter(|one| one.same.is_some()).count()
    }

    /// Whether it is worth the doctor's attention: something was made elsewhere, and where an
    /// examination is ordered, this very one.
    pub fn is_told(&self) -> bool {
        match self.notice.kind {
            NoticeKind::Opened => !self.studies.is_empty(),
            NoticeKind::Ordered => self.same() > 0,
        }
    }
}

impl Notices {
    /// Nobody listens yet.
    pub fn new(intake: Arc<Intake>, cache: Cache, opened_ms: i64) -> Notices {
        let (intake, opened_ms) = (RwLock::new(intake), AtomicI64::new(opened_ms));
        Notices { intake, cache, opened_ms, bells: Mutex::default() }
    }

    /// From the next call on by another configuration; windows that listen go on listening.
    pub fn replace(&self, intake: Arc<Intake>, opened_ms: i64) {
        *self.intake.write().unwrap_or_else(PoisonError::into_inner) = intake;
        self.opened_ms.store(opened_ms, Ordering::Relaxed);
    }

    fn intake(&self) -> Arc<Intake> {
        Arc::clone(&self.intake.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The moment before which what a doctor opened no longer counts.
    fn opened_since(&self, now: Time) -> Time {
        now.plus_ms(-self.opened_ms.load(Ordering::Relaxed))
    }

    /// The HIS says that a patient is opened or something is ordered. Returns after the commit.
    pub async fn called(
        &self,
        interface: &str,
        record: &Record,
        caller: &str,
        now: Time,
    ) -> Result<(), LedgerError> {
        let text = |name: &str| record.text(name).unwrap_or_default();
        let (hospital, user) = (text("hospitalld"), text("hisUserId"));
        let intake = self.intake();
        let ledger = &intake.ledger;
        let sessions = ledger.sessions_of(hospital, user, now)?;
        let Some(latest) = sessions.last() else {
            count("no window");
            return Ok(());
        };
        let said = self.doctor(&latest.doctor, record, caller).await;
        let mut doctor = latest.doctor.clone();
        if doctor.complete(&said) {
            ledger.complete_doctor(said, now).await?;
        }
        let department =
            Department { code: doctor.department_code.clone(), name: doctor.department.clone() };
        let of = department.clone();
        let Some(visit) = self.intake().visit(record, caller, of, now).await else {
            count("no number");
            return Ok(());
        };
        let grace_ms = self.intake().prefetch.grace_ms();
        let mut plans = ledger.plans_of(hospital, &visit.identifiers, grace_ms, now)?;
        if plans.is_empty() {
            plans.push(self.intake().accept_opened(visit, doctor, caller, now).await?.id);
        }
        let windows: Vec<Session> = sessions.into_iter().filter(|one| one.is_open).collect();
        let window = choose(&windows, text("clientIp"), text("mac"));
        count(if window.is_some() { "window" } else { "list" });
        let kind = if interface == ORDER { NoticeKind::Ordered } else { NoticeKind::Opened };
        let item = |one: &Record| {
            let text = |name: &str| one.text(name).unwrap_or_default().to_owned();
            (text("examCode"), text("examName"))
        };
        let notice = NewNotice {
            hospital: hospital.to_owned(),
            user: user.to_owned(),
            session: window.map(|one| one.id),
            department,
            kind,
            patient: text("patientName").to_owned(),
            exams: record.list("examList").iter().map(item).collect(),
            plans,
        };
        ledger.tell(notice, now).await?;
        for one in windows.iter().filter(|one| window.is_none_or(|window| window.id == one.id)) {
            self.ring(one.id);
        }
        Ok(())
    }

    /// The doctor of a session as the call names him: type, code and number, which it must tell
    /// and a login need not (imaging cloud's document, 3.1, 3.2).
    async fn doctor(&self, of: &Doctor, record: &Record, caller: &str) -> Doctor {
        let text = |name: &str| record.text(name).unwrap_or_default().to_owned();
        let mut id_number = text("doctorIdCardNo");
        if sm2::looks_encrypted(&id_number) {
            let opened = self.intake().sm2.open(Some(caller), &id_number).await;
            id_number = opened.unwrap_or_default();
        }
        let (kind, code) = (text("doctorType"), text("doctorCode"));
        Doctor { kind, code, id_number, ..of.clone() }
    }

    /// Tells windows of what is found later, and forgets what is old, for as long as it is polled.
    pub async fn run(self: Arc<Self>, clock: fn() -> Time) {
        let mut moved = self.intake().prefetch.moved();
        let mut prune = tokio::time::interval(Duration::from_millis(NOTICES_PRUNE_MS));
        loop {
            let moved = tokio::select! {
                moved = moved.recv() => moved,
                _ = prune.tick() => {
                    self.prune(clock()).await;
                    continue;
                }
            };
            match moved {
                Ok(plan) => match self.intake().ledger.sessions_of_plan(plan) {
                    Ok(sessions) => sessions.into_iter().for_each(|one| self.ring(one)),
                    Err(error) => log::error!(plan; "whom a plan concerns: {error}"),
                },
                Err(RecvError::Lagged(_)) => {
                    for bell in self.bells().values() {
                        bell.send_modify(|rings| *rings += 1);
                    }
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn prune(&self, now: Time) {
        loop {
            match self.intake().ledger.prune_notices(now.plus_ms(-NOTICES_KEEP_MS)).await {
                Ok(0) => return,
                Ok(rows) => log::info!(rows; "old notices and sessions are forgotten"),
                Err(error) => return log::error!("forgetting old notices: {error}"),
            }
        }
    }

    /// What rings when a session's notices are to be read again; it is closed when the session
    /// ends. `None`: [`STREAMS_MAX`] windows listen already.
    pub fn listen(&self, session: i64) -> Option<watch::Receiver<u64>> {
        let mut bells = self.bells();
        bells.retain(|_, bell| bell.receiver_count() > 0);
        let room = match bells.get(&session) {
            Some(bell) => bell.receiver_count() < STREAMS_OF_SESSION_MAX,
            None => bells.len() < STREAMS_MAX,
        };
        if !room {
            return None;
        }
        Some(bells.entry(session).or_insert_with(|| watch::Sender::new(0)).subscribe())
    }

    /// The session has ended: who listens is told.
    pub fn ended(&self, session: i64) {
        self.bells().remove(&session);
    }

    /// What a session may see, the latest first. May wait for the disk.
    pub fn shown(&self, session: &Session, now: Time) -> Result<Vec<NoticeShown>, LedgerError> {
        let intake = self.intake();
        let ledger = &intake.ledger;
        let notices = ledger.notices(session, self.opened_since(now))?;
        notices.into_iter().map(|notice| self.show(notice, now)).collect()
    }

    /// One of them.
    pub fn one(
        &self,
        session: &Session,
        notice: i64,
        now: Time,
    ) -> Result<Option<NoticeShown>, LedgerError> {
        let intake = self.intake();
        let ledger = &intake.ledger;
        let found = ledger.notice(session, notice, self.opened_since(now))?;
        found.map(|notice| self.show(notice, now)).transpose()
    }

    /// The doctor has seen a notice; the session's windows are told.
    pub async fn acknowledge(
        &self,
        session: Session,
        notice: i64,
        now: Time,
    ) -> Result<(), LedgerError> {
        let id = session.id;
        self.intake().ledger.acknowledge(session, notice, now).await?;
        self.ring(id);
        Ok(())
    }

    /// Has a study of a notice fetched at once, for a doctor who asks for it.
    pub async fn fetch(
        &self,
        doctor: &Doctor,
        notice: i64,
        study: &Uid,
        now: Time,
    ) -> Result<(), Fault> {
        let (doctor, uid) = (doctor.clone(), study.as_str().to_owned());
        self.intake().ledger.want_of_notice(doctor, notice, uid, now).await?;
        self.intake().prefetch.open(study, None, true).await.map(|_| ())
    }

    fn show(&self, notice: Notice, now: Time) -> Result<NoticeShown, LedgerError> {
        let mut ordered: Vec<Standard> = notice.standards.clone();
        let mut by = Sameness::Mapping;
        if ordered.is_empty() {
            // Nobody has confirmed what the items are: their names say it.
            ordered.extend(notice.exams.iter().filter_map(|(_, name)| by_name(name)));
            by = Sameness::Name;
        }
        let today = now.wall(self.intake().offset).date();
        let studies = self.intake().ledger.notice_studies(notice.id)?;
        let studies = studies.into_iter().map(|shown| {
            let here = u64::from(self.cache.instances_here(&shown.study.study));
            let same = ordered.iter().any(|one| is_same_examination(&shown.study, one));
            let (same, days) = (same.then_some(by), age_days(&shown.study, today));
            OutsideStudy { progress: progress(&shown, here), here, same, days, shown }
        });
        Ok(NoticeShown { studies: studies.collect(), notice })
    }

    fn ring(&self, session: i64) {
        if let Some(bell) = self.bells().get(&session) {
            bell.send_modify(|rings| *rings += 1);
        }
    }

    fn bells(&self) -> std::sync::MutexGuard<'_, HashMap<i64, watch::Sender<u64>>> {
        self.bells.lock().expect("nothing panics while it holds the bells")
    }
}

fn count(to: &'static str) {
    metrics::counter!("notices_total", "to" => to).increment(1);
}

fn progress(shown: &StudyShown, here: u64) -> Progress {
    let Some(fetch) = &shown.fetch else { return Progress::Elsewhere };
    let whole = fetch.state == FetchState::Here.name() && fetch.expected.is_none_or(|m| here >= m);
    match (whole && here > 0, fetch.state == FetchState::Waiting.name()) {
        (true, _) => Progress::Here,
        (false, true) => Progress::Arriving,
        (false, false) => Progress::Elsewhere,
    }
}

/// What an item's name says that it is.
fn by_name(name: &str) -> Option<Standard> {
    let reading = mapping::read(name);
    let modality = reading.modality?;
    if reading.parts.is_empty() {
        return None;
    }
    Some(Standard { modality, body_part: reading.parts.join("+"), code: String::new() })
}

/// The window that a call means, by the address and the MAC that the HIS knows of the doctor's
/// workstation. `None`: unknown, or the two contradict each other. A window opened without a
/// launcher has no MAC, and its address decides.
fn choose<'a>(windows: &'a [Session], address: &str, mac: &str) -> Option<&'a Session> {
    let (address, mac) = (address.trim(), hardware_address(mac));
    if address.is_empty() && mac.is_empty() {
        return match windows {
            [only] => Some(only),
            _ => None,
        };
    }
    let fits = |one: &&Session| {
        let near = address.is_empty() || one.address == address;
        let known = !mac.is_empty() && !one.mac.is_empty();
        near && match (known, address.is_empty()) {
            (true, _) => one.mac == mac,
            (false, no_address) => !no_address,
        }
    };
    // Several windows of one account at one workstation: the one that was opened last.
    windows.iter().rev().find(fits)
}

/// Twelve hexadecimal digits, however they are grouped; else empty.
pub fn hardware_address(text: &str) -> String {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let marks = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '-' | '.' | ' ');
    if digits.len() == 12 && text.chars().all(marks) {
        digits.to_ascii_uppercase()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Doctor;

    fn window(id: i64, address: &str, mac: &str) -> Session {
        let [hospital, user, name, department, department_code, kind, code, id_number] =
            Default::default();
        let doctor =
            Doctor { hospital, user, name, department, department_code, kind, code, id_number };
        let (address, mac) = (address.into(), hardware_address(mac));
        Session { id, doctor, address, mac, is_open: true }
    }

    #[test]
    fn address_and_mac_choose_among_the_windows_of_an_account() {
        const A: &str = "02-00-5e-00-53-01";
        const B: &str = "02:00:5E:00:53:02";
        let windows = [
            window(1, "192.0.2.1", A),
            window(2, "192.0.2.2", ""),
            window(3, "192.0.2.3", B),
            window(4, "192.0.2.3", B),
        ];
        for (address, mac, expected) in [
            ("192.0.2.1", "", Some(1)),
            ("192.0.2.1", A, Some(1)),
            ("192.0.2.1", B, None),
            ("192.0.2.2", A, Some(2)),
            ("192.0.2.3", "", Some(4)),
            ("", B, Some(4)),
            ("", "02:00:5E:00:53:99", None),
            ("192.0.2.9", "", None),
            ("192.0.2.9", A, None),
            ("", "", None),
        ] {
            let chosen = choose(&windows, address, mac).map(|one| one.id);
            assert_eq!(chosen, expected, "{address} {mac}");
        }
        assert_eq!(choose(&windows[..1], "", "").map(|one| one.id), Some(1));
        assert_eq!(choose(&windows[1..2], "", A), None, "a MAC says nothing of this window");
    }

    #[test]
    fn a_mac_is_twelve_digits() {
        assert_eq!(hardware_address("02-00-5e-00-53-01"), "02005E005301");
        for text in ["", "02-00", "02-00-5e-00-53-01-02", "zz005e005301", "0200 5e00 5301x"] {
            assert_eq!(hardware_address(text), "", "{text}");
        }
    }

    #[test]
    fn the_name_of_an_item_says_what_it_is_where_nobody_confirmed_it() {
        let knee = by_name("膝关节MR平扫").unwrap();
        assert_eq!(knee.modality, "MR");
        assert!(!knee.body_part.is_empty());
        assert_eq!(by_name("血常规"), None);
    }
}
