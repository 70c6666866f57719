//! What a viewer finds and opens, and that somebody did.
//!
//! Always holds: a study is found by a patient's number when the objects carry it or when a
//! registration with that number is linked to it, and never when that registration contradicts it
//! (docs/ARCHITECTURE.md, 6); what was pushed is found by its UID only until a registration takes
//! it; whoever is shown or given a study stands in the audit before the answer ends.
//! Start at [`Lookup::studies`].

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use forepost_cache::{Cache, StudyQuery, StudyRow, Uid};

use crate::ledger::{Access, AccessKind, Ledger, LedgerError};
use crate::limits::AUDIT_SEEN_MAX;
use crate::model::{Identifier, IdentifierKind, Link, Time};

/// What the flow is built with.
pub struct Lookup {
    ledger: Ledger,
    cache: Cache,
    patient_numbers: Vec<IdentifierKind>,
    seen: Mutex<Seen>,
}

/// The accesses of the running minute that are in the ledger already.
#[derive(Default)]
struct Seen {
    minute: i64,
    accesses: HashSet<Access>,
}

impl Lookup {
    /// `patient_numbers` are the identifiers that this hospital's viewers know as Patient ID.
    pub fn new(ledger: Ledger, cache: Cache, patient_numbers: Vec<IdentifierKind>) -> Lookup {
        Lookup { ledger, cache, patient_numbers, seen: Mutex::default() }
    }

    /// The cache, for opening a study that was found.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Studies that match, newest first. A Patient ID also finds what is linked to it.
    pub fn studies(&self, query: StudyQuery) -> Result<Vec<Arc<StudyRow>>, LedgerError> {
        let named = query.study.is_some()
            && query.patient_id.is_none()
            && query.patient_name.is_none()
            && query.birth_date.is_none();
        let mut rows = self.linked_studies(query)?;
        if !named {
            // What was pushed and no registration took is found by its UID only.
            let uids = rows.iter().map(|row| row.study.as_str());
            let unmatched = self.ledger.unmatched_among(uids)?;
            rows.retain(|row| !unmatched.contains(row.study.as_str()));
        }
        Ok(rows)
    }

    fn linked_studies(&self, query: StudyQuery) -> Result<Vec<Arc<StudyRow>>, LedgerError> {
        let Some(number) = query.patient_id.clone() else {
            return Ok(self.cache.search_studies(&query));
        };
        let mut rows = self.cache.search_studies(&query);
        if number.contains(['*', '?']) {
            return Ok(rows);
        }
        let numbers: Vec<Identifier> = self
            .patient_numbers
            .iter()
            .filter_map(|kind| Identifier::new(*kind, &number))
            .collect();
        let linked = self.ledger.linked(&numbers)?;
        if linked.is_empty() {
            return Ok(rows);
        }
        let uids = |apart: bool| -> HashSet<Uid> {
            linked
                .iter()
                .filter(|one| (one.link == Link::Apart) == apart)
                .filter_map(|one| Uid::try_from(one.study.as_str()).ok())
                .collect()
        };
        let (near, apart) = (uids(false), uids(true));
        rows.retain(|row| !apart.contains(&row.study) || near.contains(&row.study));
        let known: HashSet<Uid> = rows.iter().map(|row| row.study.clone()).collect();
        let wanted: Vec<Uid> = match &query.study {
            Some(named) => named.iter().filter(|uid| near.contains(*uid)).cloned().collect(),
            None => near.into_iter().collect(),
        };
        let wanted: Vec<Uid> = wanted.into_iter().filter(|uid| !known.contains(uid)).collect();
        if !wanted.is_empty() {
            let by_link = StudyQuery { patient_id: None, study: Some(wanted), ..query };
            rows.extend(self.cache.search_studies(&by_link));
            rows.sort_by(|a, b| {
                b.study_date.cmp(&a.study_date).then_with(|| a.study.cmp(&b.study))
            });
        }
        Ok(rows)
    }

    /// Keeps that `caller` did `kind` with these studies: one row a caller, study and minute.
    /// Returns after the commit when there is something new.
    pub async fn audit(
        &self,
        caller: &str,
        kind: AccessKind,
        studies: &[Uid],
        now: Time,
    ) -> Result<(), LedgerError> {
        let minute = now.minute();
        let new: Vec<Access> = {
            let mut seen = self.seen.lock().expect("nothing panics while it holds the set");
            if seen.minute != minute || seen.accesses.len() > AUDIT_SEEN_MAX {
                *seen = Seen { minute, accesses: HashSet::new() };
            }
            studies
                .iter()
                .map(|study| Access {
                    caller: caller.to_owned(),
                    study: study.as_str().to_owned(),
                    kind,
                    minute,
                })
                .filter(|access| !seen.accesses.contains(access))
                .collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        self.ledger.keep_accesses(new.clone(), now).await?;
        self.seen.lock().expect("nothing panics while it holds the set").accesses.extend(new);
        Ok(())
    }
}
