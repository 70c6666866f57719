//! The product on a hospital's server: installed by its package, run by systemd as PID 1, told what
//! to do as an administrator would, and met from outside by a HIS, a viewer and an archive.
//!
//! Each test is one boot of a machine of its own and goes through what happens there in order. Two
//! boots are part of every run; those with `night_` in their names belong to `make night`. An
//! emulated processor is slow: bounds are generous, and no time that is measured here is a figure.
//!
//! Start reading at `machine/guest.rs`, then `machine/service.rs`, then `machine/first_day.rs`.

#![allow(clippy::unwrap_used, reason = "the whole crate is tests; a failed unwrap is a failure")]

#[allow(dead_code, reason = "what is shared with the other black-box tests; not all is used here")]
mod support;

#[allow(dead_code, reason = "what packs is shared with the tests of the packages")]
#[path = "support/packages.rs"]
mod packages;

#[path = "machine/first_day.rs"]
mod first_day;
#[path = "machine/guest.rs"]
mod guest;
#[path = "machine/later_days.rs"]
mod later_days;
#[path = "machine/manual.rs"]
mod manual;
#[path = "machine/night.rs"]
mod night;
#[path = "machine/service.rs"]
mod service;
