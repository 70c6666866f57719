//! The parts, built from the configuration.

use std::sync::Arc;

use axum::Router;
use forepost_cache::Cache;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Lasting, StartError, sm2_folder};
use crate::clock;
use crate::config::{Config, Deliveries, Listen, SourceOptions, Zone};
use crate::console::{self, Board, Console};
use crate::delivery::{Delivery, Destination, Outlets};
use crate::dicomweb;
use crate::dictionary::{self, Dictionary};
use crate::doctor::{Daily, Subjects};
use crate::http::{self, Callers, CloudDoor, HospitalDoor};
use crate::intake::{Intake, Opener};
use crate::ledger::Ledger;
use crate::limits::DOCUMENTS_MAX;
use crate::listen::Service;
use crate::lookup::Lookup;
use crate::model::DictionaryKind;
use crate::notice::Notices;
use crate::onward::Onward;
use crate::prefetch::{self, Policy, Prefetch, Source};
use crate::settlement::Settlements;
use crate::storage::{self, PushSource, Storage};
use crate::upstream::{DicomwebSource, DictionaryOptions, DictionarySource, DimseSource, Platform};
use crate::views::{self, Dictionaries, Registrations, Served, Settled, Taker};
use crate::workstation::{self, Workstations};

/// The configured sources.
fn sources(
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

/// What outlives a change of the configuration, over an open ledger and cache; nothing works yet.
pub(super) fn lasting(
    config: &Config,
    ledger: Ledger,
    cache: Cache,
    recorder: PrometheusHandle,
) -> Result<Lasting, StartError> {
    let policy = policy(config, &ledger, &cache)?;
    let outlets = outlets(&config.deliveries)?;
    let boot = clock::boot_id();
    if !clock::reading().trusted {
        ledger.accept_under(Some(boot.clone()));
    }
    let prefetch = Prefetch::new(prefetch::Parts {
        ledger: ledger.clone(),
        cache: cache.clone(),
        policy,
        clock: clock::now,
    });
    let storage = Storage::new(storage::Parts {
        ledger: ledger.clone(),
        cache: cache.clone(),
        prefetch: Arc::clone(&prefetch),
        clock: clock::now,
    });
    storage.set_push_sources(push_sources(config));
    let delivery = Delivery::new(ledger.clone(), outlets, clock::reading, boot);
    let (board, stop) = (Arc::new(Board::default()), CancellationToken::new());
    let doctor = Daily::new(Subjects::of(config), Arc::clone(&board), clock::now);
    Ok(Lasting { ledger, cache, prefetch, delivery, storage, recorder, board, doctor, stop })
}

/// The names of the sources that push.
pub(super) fn push_sources(config: &Config) -> Vec<String> {
    let pushing = |source: &SourceOptions| match source {
        SourceOptions::Push(options) => Some(options.name.clone()),
        SourceOptions::Dicomweb(_) | SourceOptions::Dimse(_) => None,
    };
    config.sources.iter().filter_map(pushing).collect()
}

/// Where deliveries go.
pub(super) fn outlets(config: &Deliveries) -> Result<Outlets, StartError> {
    let options = &config.destinations;
    let platform =
        Platform::new(options).map_err(|(name, error)| StartError::Destination { name, error })?;
    let destinations = options
        .iter()
        .map(|one| Destination { name: one.name.clone(), parallel: one.parallel.get() })
        .collect();
    let (carrier, keep_bodies_ms) = (Arc::new(platform), config.keep_bodies_ms);
    Ok(Outlets { destinations, carrier, keep_bodies_ms })
}

/// What viewers ask.
fn images(lookup: Lookup, lasting: &Lasting, callers: Callers) -> Router {
    dicomweb::router(Arc::new(dicomweb::Server {
        lookup,
        prefetch: Some(Arc::clone(&lasting.prefetch)),
        storage: Some(Arc::clone(&lasting.storage)),
        callers: Some(callers),
        clock: clock::now,
        retrieve_base: None,
    }))
}

/// What platforms ask.
fn cloud_zone(callers: Callers, dictionary: Dictionary) -> Router {
    http::cloud_router(Arc::new(CloudDoor::new(callers, dictionary, clock::now)))
}

/// The configured sources of dictionaries.
fn dictionary_sources(
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

/// How prefetch works.
pub(super) fn policy(
    config: &Config,
    ledger: &Ledger,
    cache: &Cache,
) -> Result<Policy, StartError> {
    Ok(Policy {
        sources: sources(config, ledger, cache)?,
        rules: config.rules.clone(),
        offset: config.offset,
        grace_ms: config.grace_ms,
        stay_ms: config.stay_ms,
        marks: config.marks,
    })
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
pub(super) fn intake(config: &mut Config, lasting: &Lasting) -> Result<Arc<Intake>, StartError> {
    Ok(Arc::new(Intake {
        ledger: lasting.ledger.clone(),
        prefetch: Arc::clone(&lasting.prefetch),
        offset: config.offset,
        emergency_departments: std::mem::take(&mut config.emergency_departments),
        sm2: Arc::new(Opener::new(config.sm2.take(), sm2_folder(&config.data))?),
    }))
}

/// The flows whose records come by calls and by views.
struct Taking {
    intake: Arc<Intake>,
    settlements: Arc<Settlements>,
    onward: Arc<Onward>,
    dictionary: Dictionary,
    notices: Arc<Notices>,
}

/// Builds them over an open ledger.
fn taking(
    config: &Config,
    lasting: &Lasting,
    intake: &Arc<Intake>,
    notices: &Arc<Notices>,
) -> Taking {
    let (ledger, delivery) = (&lasting.ledger, &lasting.delivery);
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
    Taking {
        notices: Arc::clone(notices),
        intake: Arc::clone(intake),
        settlements: Arc::new(settlements),
        onward: Arc::new(onward),
        dictionary: dictionary_flow(config, ledger.clone()),
    }
}

/// What a configuration comes to, over what outlives it.
pub(super) struct Wired {
    /// Of the zones, in their order.
    pub routers: [Router; 3],
    pub polled: Polled,
}

/// What is asked by the clock.
pub(super) struct Polled {
    pub views: views::Parts,
    pub dictionary: Dictionary,
    pub dictionary_sources: Vec<Arc<dyn dictionary::Source>>,
}

/// Builds what answers and what asks. Takes out of the configuration what it uses up.
pub(super) fn wire(
    config: &mut Config,
    lasting: &Lasting,
    intake: &Arc<Intake>,
    notices: &Arc<Notices>,
) -> Result<Wired, StartError> {
    let (ledger, cache) = (&lasting.ledger, &lasting.cache);
    let taking = taking(config, lasting, intake, notices);
    let views = view_parts(config, ledger, &taking)?;
    let dictionary_sources = dictionary_sources(std::mem::take(&mut config.dictionary_sources))?;
    let callers = Callers::new(std::mem::take(&mut config.callers));
    let numbers = std::mem::take(&mut config.patient_numbers);
    let lookup = Lookup::new(ledger.clone(), cache.clone(), numbers);
    let doctors = workstations(config, lasting, callers.clone(), &taking);
    let images = images(lookup, lasting, callers.clone());
    let cloud = cloud_zone(callers.clone(), taking.dictionary.clone());
    let hospital = hospital_zone(config, callers, &taking).merge(images).merge(doctors);
    let console = console::router(Arc::new(Console {
        ledger: ledger.clone(),
        cache: cache.clone(),
        recorder: lasting.recorder.clone(),
        offset: config.offset,
        clock: clock::now,
        doctor: Arc::clone(&lasting.board),
    }));
    let polled = Polled { views, dictionary: taking.dictionary, dictionary_sources };
    Ok(Wired { routers: [hospital, cloud, console], polled })
}

/// What each listener of a zone does, the plain one first. With TLS these protocols are offered.
pub(super) fn services<B: Clone>(
    zone: &Zone,
    protocols: &[&[u8]],
    behind: &B,
) -> Result<Vec<(Listen, Service<B>)>, StartError> {
    let service = |tls| Service { tls, allow: zone.allow.clone(), behind: behind.clone() };
    let mut services: Vec<_> = zone.listen.iter().map(|at| (at.clone(), service(None))).collect();
    if let Some((at, certificate)) = &zone.listen_tls {
        services.push((at.clone(), service(Some(http::acceptor(certificate, protocols)?))));
    }
    Ok(services)
}

/// What the hospital calls.
fn hospital_zone(config: &mut Config, callers: Callers, taking: &Taking) -> Router {
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
fn workstations(config: &Config, lasting: &Lasting, callers: Callers, taking: &Taking) -> Router {
    workstation::router(Arc::new(Workstations {
        ledger: lasting.ledger.clone(),
        notices: Arc::clone(&taking.notices),
        cache: lasting.cache.clone(),
        opener: Arc::clone(&taking.intake.sm2),
        callers,
        hospitals: config.hospitals.iter().map(|one| one.code.clone()).collect(),
        options: config.workstation.clone(),
        documents: Semaphore::new(DOCUMENTS_MAX),
        stop: lasting.stop.clone(),
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
fn view_parts(
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
        reader: views::reader_place(),
    })
}
