//! A source that cannot be asked: it sends what it has, unasked, after the registration went on to
//! it.
//!
//! What must hold: until a registration takes a pushed study no patient key finds it, from before
//! its first object is listed; when nothing more of it came for a while, the plans that await it
//! search again, and their search finds it here: guard, own hospital, look-back and score are those
//! of every study that is found.

use std::sync::Arc;

use forepost_cache::{Cache, StudyRow, Uid};

use super::Storage;
use crate::fault::Fault;
use crate::ledger::{Awaited, Ledger};
use crate::model::{
    FoundStudy, ListedInstance, ListedSeries, Listing, Place, Registration, Wanted,
};
use crate::prefetch::{KnownAs, Lane, PatientKey, Source, Work};

/// What a push source is configured with.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// Its name, which is its caller's too.
    pub name: String,
    /// The numbers by which it knows patients; any of them may stand in its objects.
    pub patient_keys: Vec<PatientKey>,
}

/// A source that pushes.
pub struct PushSource {
    options: PushOptions,
    ledger: Ledger,
    cache: Cache,
}

impl PushSource {
    /// Nothing is connected, ever.
    pub fn new(options: PushOptions, ledger: Ledger, cache: Cache) -> PushSource {
        PushSource { options, ledger, cache }
    }

    fn found(&self, registration: &Registration) -> Result<Vec<FoundStudy>, Fault> {
        let studies = self.ledger.pushed_of(&self.awaits(registration))?;
        let rows = studies.iter().filter_map(|study| self.cache.row(&study.parse().ok()?));
        Ok(rows.map(|row| found(&row, &self.options.name)).collect())
    }

    async fn study(&self, study: &Uid) -> Result<Arc<forepost_cache::Study>, Fault> {
        let (cache, study) = (self.cache.clone(), study.clone());
        let read = tokio::task::spawn_blocking(move || cache.study(&study)).await;
        let read = read.map_err(|_| Fault::ours("pushed", "a task of the cache panicked"))?;
        let here = read.map_err(|error| Fault::ours("pushed", error.to_string()))?;
        here.ok_or_else(|| Fault::ours("pushed", "what was pushed is no longer here"))
    }
}

impl Source for PushSource {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn awaits(&self, registration: &Registration) -> Vec<Awaited> {
        let awaited = |KnownAs { patient, issuer }| Awaited {
            source: self.options.name.clone(),
            patient,
            issuer: issuer.unwrap_or_default(),
        };
        let keys = self.options.patient_keys.iter();
        keys.filter_map(|key| key.known_as(registration)).map(awaited).collect()
    }

    fn understands(&self, registration: &Registration) -> bool {
        !self.awaits(registration).is_empty()
    }

    fn search<'a>(
        &'a self,
        registration: &'a Registration,
        _: jiff::civil::Date,
    ) -> Work<'a, Vec<FoundStudy>> {
        Box::pin(async { self.found(registration) })
    }

    /// What it has and did not send is not to be had.
    fn locate<'a>(&'a self, _: &'a Uid) -> Work<'a, Option<FoundStudy>> {
        Box::pin(async { Ok(None) })
    }

    fn series<'a>(&'a self, _: &'a Place, study: &'a Uid) -> Work<'a, Vec<ListedSeries>> {
        Box::pin(async {
            let study = self.study(study).await?;
            let listed = study.series().iter().map(|row| ListedSeries {
                series: row.series.clone(),
                modality: row.modality.clone(),
                instances: Some(row.instances),
            });
            Ok(listed.collect())
        })
    }

    fn instances<'a>(
        &'a self,
        _: &'a Place,
        study: &'a Uid,
        listing: &'a Listing,
    ) -> Work<'a, Vec<ListedInstance>> {
        Box::pin(async {
            let study = self.study(study).await?;
            let (wanted, most) = match listing {
                Listing::Study => (None, usize::MAX),
                Listing::Series(series) => (Some(series), usize::MAX),
                Listing::One(series) => (Some(series), 1),
            };
            let of = study.instances().iter().filter(|one| wanted.is_none_or(|w| *w == one.series));
            let listed = of.take(most).map(|one| ListedInstance {
                series: one.series.clone(),
                sop: one.sop.clone(),
                class: one.class.to_string(),
                number: one.number,
            });
            Ok(listed.collect())
        })
    }

    fn retrieve<'a>(
        &'a self,
        _: &'a Place,
        _: &'a Uid,
        _: &'a Wanted,
        _: &'a Lane,
    ) -> Work<'a, ()> {
        let detail = "a source that pushes cannot be asked for objects";
        Box::pin(async move { Err(Fault::ours("pushed", detail)) })
    }
}

/// A pushed study as a search answer shows one.
fn found(row: &StudyRow, source: &str) -> FoundStudy {
    FoundStudy {
        study: row.study.clone(),
        place: Place { source: source.to_owned(), retrieve_url: None },
        patient_name: row.patient_name.clone(),
        patient_id: row.patient_id.clone(),
        birth_date: row.birth_date.clone(),
        sex: row.sex.clone(),
        age: row.age.clone(),
        study_date: row.study_date.clone(),
        study_time: row.study_time.clone(),
        modalities: row.modalities.clone(),
        body_part: row.body_part.clone(),
        description: row.study_description.clone(),
        institution_name: row.institution_name.clone(),
        institution_code: row.institution_code.clone(),
        accession_issuer: row.issuer_of_accession.clone(),
        instances: Some(row.instances),
    }
}

impl Storage {
    /// Ends pushes that have become quiet, until [`Storage::stop`]. What a restart finds unended is
    /// ended too.
    pub async fn run(self: Arc<Self>) {
        match self.parts.ledger.pushes_arriving() {
            Ok(studies) => {
                let now = (self.parts.clock)();
                let studies = studies.iter().filter_map(|study| study.parse::<Uid>().ok());
                studies.for_each(|study| self.touch(study, now));
            }
            Err(error) => log::error!("reading what was being pushed: {error}"),
        }
        while !self.stop.is_cancelled() {
            let now = (self.parts.clock)();
            for study in self.quiet(now) {
                self.end_push(&study).await;
            }
            tokio::select! {
                () = tokio::time::sleep(super::limits::PUSH_LOOK) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Ends no more pushes; [`Storage::run`] returns.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    async fn end_push(&self, study: &Uid) {
        let (ledger, now) = (&self.parts.ledger, (self.parts.clock)());
        let instances = self.parts.cache.instances_here(study);
        match ledger.push_ended(study.as_str().to_owned(), instances, now).await {
            Ok(end) => {
                let outcome = match (end.taken, end.plans) {
                    (true, _) => "more of a study",
                    (false, 0) => "unmatched",
                    (false, _) => "awaited",
                };
                metrics::counter!("pushed_studies_total", "outcome" => outcome).increment(1);
                let study = study.as_str();
                log::info!(study, instances, outcome, plans = end.plans; "a study was pushed");
                self.parts.prefetch.wake();
            }
            Err(error) => {
                log::error!(study = study.as_str(); "a pushed study is not settled: {error}");
                self.touch(study.clone(), now);
            }
        }
    }
}
