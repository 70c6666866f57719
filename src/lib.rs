//! Forepost (前置机): the machine between a hospital's network and the imaging clouds outside.
//!
//! Modules stand on floors and import downwards only (docs/ARCHITECTURE.md); `tests/tidy.rs`
//! holds them to it.

// Floor 0, ground.
pub mod breaker;
pub mod clock;
pub mod fault;
pub mod limits;
pub mod metrics;
pub mod model;

// Floor 1, languages.
pub mod catalog;
pub mod codec;
pub mod seal;

// Floor 2, the keeper.
pub mod ledger;

// Floor 3, flows.
pub mod delivery;
pub mod dictionary;
pub mod intake;
pub mod lookup;
pub mod mapping;
pub mod notice;
pub mod onward;
pub mod prefetch;
pub mod settlement;
pub mod storage;

// Floor 4, doors.
pub mod console;
pub mod dicom;
pub mod dicomweb;
pub mod host;
pub mod http;
pub mod listen;
pub mod upstream;
pub mod views;
pub mod workstation;

// Floor 5, roof.
pub mod app;
pub mod config;
pub mod doctor;
pub mod verbs;
