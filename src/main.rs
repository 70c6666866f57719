//! The binary: verbs in, exit code out.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One crypto library for every use of TLS, before anything else may choose another.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().expect("nothing has chosen a provider before main");
    ExitCode::from(forepost::verbs::run())
}
