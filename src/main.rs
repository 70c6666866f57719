//! The binary: verbs in, exit code out.

use std::ffi::{c_int, c_long};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

unsafe extern "C" {
    /// Of mimalloc, which `ALLOCATOR` links.
    fn mi_option_set(option: c_int, value: c_long);
}

/// `mi_option_purge_delay` of mimalloc.h: milliseconds for which free memory is held.
const PURGE_DELAY: c_int = 15;

fn main() -> ExitCode {
    // Free memory goes back at once. Held, each of the threads that wait for disks keeps its own:
    // searches among a million instances then came to 160 MB instead of 40, and were no faster.
    // SAFETY: sets a number, before there is a second thread.
    unsafe { mi_option_set(PURGE_DELAY, 0) };
    // One crypto library for every use of TLS, before anything else may choose another.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().expect("nothing has chosen a provider before main");
    ExitCode::from(forepost::verbs::run())
}
