//! What is installed: the sample configuration, the pages of the manual, the packages, and what
//! installing, upgrading, removing and purging do.
//!
//! Packages are packed here around the binary of the tests and installed into copies of a small
//! Debian, by chroot, as root. No systemd runs there: that a running service is taken over is shown
//! in `machine.rs`. The tests that begin with `night_` look at the release in `target/package`, and
//! `make package`, which makes it, runs all of them with it.
//!
//! Start reading at `package/life.rs`.

#![allow(clippy::unwrap_used, reason = "the whole crate is tests; a failed unwrap is a failure")]

#[path = "package/life.rs"]
mod life;
#[path = "package/manual.rs"]
mod manual;
#[path = "support/packages.rs"]
mod packages;
#[path = "package/release.rs"]
mod release;
#[path = "package/sample.rs"]
mod sample;
#[path = "package/system.rs"]
mod system;
