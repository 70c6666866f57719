//! The names of everything that is counted, with what they mean.
//!
//! `tests/tidy.rs` holds this list against the code: a name that nothing moves, and a name that
//! is moved and not listed, fail. No label carries personal data.

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only upwards.
    Counter,
    /// Both ways.
    Gauge,
    /// A distribution.
    Histogram,
}

/// Name, kind, meaning with unit.
pub const ALL: &[(&str, Kind, &str)] = &[
    ("interface_requests_total", Kind::Counter, "requests that reached an interface, by code"),
    ("interface_warnings_total", Kind::Counter, "faults in bodies that were accepted all the same"),
    ("interface_milliseconds", Kind::Histogram, "milliseconds from head to answer"),
    ("sm2_texts_total", Kind::Counter, "identity numbers that came under SM2, by outcome"),
    ("connections_refused_total", Kind::Counter, "connections from outside the allow-list"),
    ("associations_total", Kind::Counter, "DICOM connections of peers, by how they ended"),
    ("requests_overload_total", Kind::Counter, "requests answered 503 for lack of room"),
    ("process_start_time_seconds", Kind::Gauge, "when the process began, seconds since 1970"),
    ("ledger_commit_jobs", Kind::Histogram, "jobs that shared one commit"),
    ("ledger_commits_failed_total", Kind::Counter, "commits that did not reach the disk"),
    ("ledger_jobs_waiting", Kind::Gauge, "jobs that wait for the ledger's writer"),
    ("backup_age_seconds", Kind::Gauge, "seconds since the last backup was made; +Inf: never"),
    ("backup_failures_total", Kind::Counter, "backups that failed"),
    ("registrations_kept", Kind::Gauge, "registrations kept"),
    ("plans_by_state", Kind::Gauge, "plans by state"),
    ("fetches_by_state", Kind::Gauge, "fetches by state"),
    ("plans_ready_total", Kind::Counter, "plans that became ready, before or after the visit"),
    ("plan_lead_seconds", Kind::Histogram, "seconds from ready to the visit"),
    ("prefetch_breaker_opened_total", Kind::Counter, "times that a source began to rest"),
    ("fetches_total", Kind::Counter, "tries to bring a study, by outcome"),
    ("fetched_bytes_total", Kind::Counter, "bytes of objects made durable"),
    ("objects_refused_total", Kind::Counter, "arriving objects that were broken or not DICOM"),
    ("upstream_requests_total", Kind::Counter, "requests to sources, by step and outcome"),
    ("upstream_bytes_total", Kind::Counter, "bytes of answers of sources"),
    ("upstream_rows_dropped_total", Kind::Counter, "rows of answers that were not used"),
    ("dicomweb_requests_total", Kind::Counter, "requests of viewers, by service and status"),
    ("dicomweb_bytes_total", Kind::Counter, "bytes sent to viewers, by service"),
    ("notices_total", Kind::Counter, "calls about a patient, by whom they were told to"),
    ("notice_decisions_total", Kind::Counter, "what doctors decided upon notices"),
    ("notices_shown_total", Kind::Counter, "notices that reached their window"),
    ("workstation_streams", Kind::Gauge, "browsers that listen for notices"),
    ("workstation_refused_total", Kind::Counter, "pages refused to workstations, by reason"),
    ("stored_objects_total", Kind::Counter, "objects that senders brought, by outcome"),
    ("pushed_studies_total", Kind::Counter, "studies that sources pushed, by outcome"),
    (
        "settlements_accepted_total",
        Kind::Counter,
        "deliveries of settlements, by what they came to",
    ),
    ("settlements_left_out_total", Kind::Counter, "self-pay settlements that are not sent"),
    ("delivery_attempts_total", Kind::Counter, "attempts to deliver, by interface and outcome"),
    ("deliveries_by_state", Kind::Gauge, "deliveries by interface and state"),
    ("deliveries_accepted", Kind::Gauge, "deliveries ever accepted, by interface"),
    ("deliveries_attempts", Kind::Gauge, "attempts ever made, by interface"),
    ("deliveries_unaccounted", Kind::Gauge, "accepted less the sum of all states: always 0"),
    ("delivery_oldest_seconds", Kind::Gauge, "age of the oldest open delivery, by interface"),
    ("delivery_deadline_seconds", Kind::Gauge, "seconds to the nearest deadline, by interface"),
    ("delivery_alarm_level", Kind::Gauge, "per cent of a deadline's time used, in steps"),
    ("dictionary_polls_total", Kind::Counter, "questions for a dictionary, by source and outcome"),
    ("dictionary_age_seconds", Kind::Gauge, "seconds since a good copy of a dictionary last came"),
    ("dictionary_rows", Kind::Gauge, "rows of a dictionary that is answered"),
    ("dictionary_held", Kind::Gauge, "1 while a copy of a dictionary waits for a person"),
    ("view_rows_read_total", Kind::Counter, "rows read of hospitals' views, by view"),
    ("view_rows_new_total", Kind::Counter, "new, changed and dictionary rows taken, by view"),
    ("view_rows_parked_total", Kind::Counter, "rows that could not be read, by view"),
    ("view_rows_parked", Kind::Gauge, "rows that are parked, by view"),
    ("view_polls_total", Kind::Counter, "polls of views, by view and outcome"),
    ("view_whole_poll_age_seconds", Kind::Gauge, "seconds since the last whole poll, by view"),
    ("cache_studies", Kind::Gauge, "studies in the cache"),
    ("cache_instances", Kind::Gauge, "instances in the cache"),
    ("cache_bytes", Kind::Gauge, "bytes of objects in the cache"),
    ("cache_disk_free_bytes", Kind::Gauge, "bytes free on the cache's disk"),
    ("cache_fetches_held_back", Kind::Gauge, "1 while fetches wait for room on the disk"),
    ("cache_evicted_studies_total", Kind::Counter, "studies that left the cache to make room"),
    ("cache_evicted_bytes_total", Kind::Counter, "bytes of their objects"),
    ("cache_verified_bytes_total", Kind::Counter, "bytes read again to find damage"),
    ("doctor_findings", Kind::Gauge, "findings of the last look at machine and peers, by state"),
    ("certificate_expiry_seconds", Kind::Gauge, "seconds until a certificate ends, by subject"),
    ("token_expiry_seconds", Kind::Gauge, "seconds until a fixed token ends, by subject"),
    ("expiry_alarm_level", Kind::Gauge, "30, 7 or 1 days before something ends; 0 before that"),
    ("clock_offset_seconds", Kind::Gauge, "seconds by which the clock is ahead of the time server"),
    ("cache_damaged_total", Kind::Counter, "objects found damaged and taken out"),
];

/// Gives the recorder its descriptions.
pub fn describe() {
    for (name, kind, meaning) in ALL {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *meaning),
            Kind::Gauge => metrics::describe_gauge!(*name, *meaning),
            Kind::Histogram => metrics::describe_histogram!(*name, *meaning),
        }
    }
}
