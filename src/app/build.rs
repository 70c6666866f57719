//! The parts, built from the configuration.

use std::sync::Arc;

use axum::Router;
use forepost_cache::Cache;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{StartError, sm2_folder};
use crate::clock;
use crate::config::{Config, Deliveries, SourceOptions};
use crate::delivery::{Delivery, Destination};
use crate::dicomweb;
use crate::dictionary::{self, Dictionary};
use crate::http::{self, Callers, CloudDoor, HospitalDoor};
use crate::intake::{Intake, Opener};
use crate::ledger::Ledger;
use crate::limits::DOCUMENTS_MAX;
use crate::lookup::Lookup;
use crate::model::DictionaryKind;
use crate::notice::Notices;
use crate::onward::Onward;
use crate::prefetch::{Parts, Prefetch, Source};
use crate::settlement::Settlements;
use crate::storage::{self, PushSource, Storage};
use crate::upstream::{DicomwebSource, DictionaryOptions, DictionarySource, DimseSource, Platform};
use crate::views::{self, Dictionaries, Registrations, Served, Settled, Taker};
use crate::workstation::{self, Workstations};

/// The configured sources.
pub(super) fn sources(
    config: &Config,
    ledger: &Ledger,
    cache: &Cache,
) -> Result<Vec<Arc<dyn Source>>, StartError> {
    let mut sources: Vec<Arc<dyn Source>> = Vec::new();
    for options in &config.sources {
        let source: Result<Arc<dyn Source>, _> = match options {
            SourceOptions::Dicomweb(options) => {
                DicomwebSource::new(options).map(|one| Arc::new(one) as _)
            }
            SourceOptions::Dimse(options) => {
                DimseSource::new(options).map(|one| Arc::new(one) as _)
            }
            SourceOptions::Push(options) => {
                Ok(Arc::new(PushSource::new(options.clone(), ledger.clone(), cache.clone())))
            }
        };
        let failed = |error| StartError::Source { name: options.name().to_owned(), error };
        sources.push(source.map_err(failed)?);
    }
    Ok(sources)
}

/// What takes objects that are sent here.
pub(super) fn storage(
    config: &Config,
    ledger: &Ledger,
    cache: &Cache,
    prefetch: &Arc<Prefetch>,
) -> Arc<Storage> {
    Storage::new(storage::Parts {
        ledger: ledger.clone(),
        cache: cache.clone(),
        prefetch: Arc::clone(prefetch),
        push_sources: config.sources.iter().filter_map(pushing).collect(),
        clock: clock::now,
    })
}

/// The name of a source that pushes.
fn pushing(source: &SourceOptions) -> Option<String> {
    match source {
        SourceOptions::Push(options) => Some(options.name.clone()),
        SourceOptions::Dicomweb(_) | SourceOptions::Dimse(_) => None,
    }
}

/// The flow of deliveries, not yet at work.
pub(super) fn start_delivery(
    ledger: &Ledger,
    config: &Deliveries,
) -> Result<Arc<Delivery>, StartError> {
    let options = &config.destinations;
    let platform =
        Platform::new(options).map_err(|(name, error)| StartError::Destination { name, error })?;
    let destinations = options
        .iter()
        .map(|one| Destination { name: one.name.clone(), parallel: one.parallel.get() })
        .collect();
    let boot = clock::boot_id();
    if !clock::reading().trusted {
        ledger.accept_under(Some(boot.clone()));
    }
    let carrier = Arc::new(platform);
    let clock = clock::reading;
    let keep_bodies_ms = config.keep_bodies_ms;
    Ok(Delivery::new(ledger.clone(), destinations, carrier, clock, boot, keep_bodies_ms))
}

/// What viewers ask.
pub(super) fn images(
    lookup: Lookup,
    prefetch: &Arc<Prefetch>,
    callers: Callers,
    storage: &Arc<Storage>,
) -> Router {
    dicomweb::router(Arc::new(dicomweb::Server {
        lookup,
        prefetch: Some(Arc::clone(prefetch)),
        storage: Some(Arc::clone(storage)),
        callers: Some(callers),
        clock: clock::now,
        retrieve_base: None,
    }))
}

/// What platforms ask.
pub(super) fn cloud_zone(callers: Callers, dictionary: Dictionary) -> Router {
    http::cloud_router(Arc::new(CloudDoor::new(callers, dictionary, clock::now)))
}

/// The configured sources of dictionaries.
pub(super) fn dictionary_sources(
    options: Vec<DictionaryOptions>,
) -> Result<Vec<Arc<dyn dictionary::Source>>, StartError> {
    let mut sources: Vec<Arc<dyn dictionary::Source>> = Vec::new();
    for options in options {
        let name = options.name.clone();
        let source =
            DictionarySource::new(options).map_err(|error| StartError::Source { name, error })?;
        sources.push(Arc::new(source));
    }
    Ok(sources)
}

/// The flow of prefetch as configured, over an open ledger and cache.
pub(super) fn prefetch_flow(
    config: &Config,
    ledger: &Ledger,
    cache: &Cache,
) -> Result<Arc<Prefetch>, StartError> {
    Ok(Prefetch::new(Parts {
        ledger: ledger.clone(),
        cache: cache.clone(),
        sources: sources(config, ledger, cache)?,
        rules: config.rules.clone(),
        offset: config.offset,
        grace_ms: config.grace_ms,
        stay_ms: config.stay_ms,
        marks: config.marks,
        clock: clock::now,
    }))
}

/// The flow of dictionaries as configured, over an open ledger.
pub fn dictionary_flow(config: &Config, ledger: Ledger) -> Dictionary {
    Dictionary {
        ledger,
        hospitals: config.hospitals.iter().map(|hospital| hospital.code.clone()).collect(),
        shrink_percent_max: config.shrink_percent_max,
    }
}

/// What registrations go through.
pub(super) fn intake(
    config: &mut Config,
    ledger: &Ledger,
    prefetch: &Arc<Prefetch>,
) -> Result<Intake, StartError> {
    Ok(Intake {
        ledger: ledger.clone(),
        prefetch: Arc::clone(prefetch),
        offset: config.offset,
        emergency_departments: std::mem::take(&mut config.emergency_departments),
        sm2: Arc::new(Opener::new(config.sm2.take(), sm2_folder(&config.data))?),
    })
}

/// The flows whose records come by calls and by views.
pub(super) struct Taking {
    pub intake: Arc<Intake>,
    pub settlements: Arc<Settlements>,
    pub onward: Arc<Onward>,
    pub dictionary: Dictionary,
    pub notices: Arc<Notices>,
}

/// Builds them over an open ledger.
pub(super) fn taking(
    config: &mut Config,
    ledger: &Ledger,
    cache: &Cache,
    prefetch: &Arc<Prefetch>,
    delivery: &Delivery,
) -> Result<Taking, StartError> {
    let intake = Arc::new(intake(config, ledger, prefetch)?);
    let deliveries = &config.deliveries;
    let settlements = Settlements {
        ledger: ledger.clone(),
        bell: delivery.bell(),
        routes: deliveries.routes(),
        offset: config.offset,
        insured_only: deliveries.insured_only.clone(),
    };
    let onward = Onward {
        ledger: ledger.clone(),
        bell: delivery.bell(),
        routes: deliveries.routes(),
        opener: Arc::clone(&intake.sm2),
        calls: Default::default(),
    };
    Ok(Taking {
        notices: Arc::new(Notices::new(
            Arc::clone(&intake),
            cache.clone(),
            config.workstation.opened_ms,
        )),
        intake,
        settlements: Arc::new(settlements),
        onward: Arc::new(onward),
        dictionary: dictionary_flow(config, ledger.clone()),
    })
}

/// What the hospital calls.
pub(super) fn hospital_zone(config: &mut Config, callers: Callers, taking: &Taking) -> Router {
    http::hospital_router(Arc::new(HospitalDoor {
        callers,
        hospitals: std::mem::take(&mut config.hospitals),
        overlay: std::mem::take(&mut config.overlay),
        intake: Arc::clone(&taking.intake),
        settlements: Arc::clone(&taking.settlements),
        settled_at_field: config.deliveries.settled_at_field.take(),
        onward: Arc::clone(&taking.onward),
        notices: Arc::clone(&taking.notices),
        clock: clock::now,
    }))
}

/// What doctors see.
pub(super) fn workstations(
    config: &Config,
    ledger: &Ledger,
    cache: &Cache,
    callers: Callers,
    taking: &Taking,
    stop: &CancellationToken,
) -> Router {
    workstation::router(Arc::new(Workstations {
        ledger: ledger.clone(),
        notices: Arc::clone(&taking.notices),
        cache: cache.clone(),
        opener: Arc::clone(&taking.intake.sm2),
        callers,
        hospitals: config.hospitals.iter().map(|one| one.code.clone()).collect(),
        options: config.workstation.clone(),
        documents: Semaphore::new(DOCUMENTS_MAX),
        stop: stop.clone(),
        clock: clock::now,
    }))
}

impl Taking {
    /// Who takes the rows of an interface's views; `None`: nobody.
    fn taker(&self, interface: &str, hospital: &str) -> Option<Arc<dyn Taker>> {
        let clock = clock::now;
        let (dictionary, hospital) = (self.dictionary.clone(), hospital.to_owned());
        Some(match interface {
            "ic-register-view" => Arc::new(Registrations {
                intake: Arc::clone(&self.intake),
                onward: Arc::clone(&self.onward),
                push: views::register_push(),
                clock,
            }),
            "ic-settlement-view" => {
                Arc::new(Settled { settlements: Arc::clone(&self.settlements), clock })
            }
            "ic-exam-dict-view" => {
                let kind = DictionaryKind::Exam;
                Arc::new(Dictionaries { dictionary, kind, hospital, clock })
            }
            "ic-dept-view" => {
                let kind = DictionaryKind::Dept;
                Arc::new(Dictionaries { dictionary, kind, hospital, clock })
            }
            _ => return None,
        })
    }
}

/// The configured views, each with who takes its rows.
pub(super) fn view_parts(
    config: &mut Config,
    ledger: &Ledger,
    taking: &Taking,
) -> Result<views::Parts, StartError> {
    let first = config.hospitals.first().map_or_else(String::new, |one| one.code.clone());
    let mut views = Vec::new();
    for view in std::mem::take(&mut config.views) {
        let interface = view.interface.id;
        match taking.taker(interface, &first) {
            Some(taker) => views.push((view, taker)),
            None => return Err(StartError::View { name: view.name, interface }),
        }
    }
    let served = |one: &http::Hospital| Served { code: one.code.clone(), mode: one.mode };
    Ok(views::Parts {
        ledger: ledger.clone(),
        databases: std::mem::take(&mut config.databases),
        views,
        hospitals: config.hospitals.iter().map(served).collect(),
        overlay: config.overlay.clone(),
        offset: config.offset,
        clock: clock::now,
        program: views::own_program().to_owned(),
    })
}
