//! Certificates of our own listeners.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate chain with its key, both PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The chain, the server's own certificate first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A PEM file could not be read.
    #[error("{path}: {source}")]
    Pem {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// Chain and key do not fit.
    #[error("{path}: {source}")]
    Config {
        /// The chain's file.
        path: String,
        /// What rustls says.
        source: rustls::Error,
    },
}

/// HTTP/2 and HTTP/1.1 as TLS names them (RFC 7301).
pub const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Reads chain and key, and offers these protocols; with none the peer's are not looked at.
pub fn acceptor(certificate: &Certificate, protocols: &[&[u8]]) -> Result<TlsAcceptor, TlsFault> {
    let chain_path = certificate.chain.display().to_string();
    let pem = |path: String| move |source| TlsFault::Pem { path, source };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&certificate.chain)
        .and_then(Iterator::collect)
        .map_err(pem(chain_path.clone()))?;
    let key = PrivateKeyDer::from_pem_file(&certificate.key)
        .map_err(pem(certificate.key.display().to_string()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|source| TlsFault::Config { path: chain_path, source })?;
    config.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}
