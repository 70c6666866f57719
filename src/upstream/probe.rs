//! What a peer shows in a TLS handshake, also where it is not believed: an engineer must see until
//! when a certificate was good, and a refused handshake alone does not tell.
//!
//! Always holds: a handshake is judged as every other call of ours is, by the same authorities and
//! the same verifier; what is recorded besides changes nothing of the verdict.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::options::{OptionsError, TlsOptions};
use super::peer;
use crate::fault::Fault;

/// What a handshake brought.
#[derive(Debug)]
pub struct Handshake {
    /// The peer's certificates in DER, its own first; none where it showed none.
    pub chain: Vec<CertificateDer<'static>>,
    /// Why it failed; `None` when it is done.
    pub fault: Option<HandshakeFault>,
}

/// Why a handshake failed.
#[derive(Debug)]
pub enum HandshakeFault {
    /// One of ours or one of the peer's, as the TLS library names it.
    Tls(rustls::Error),
    /// The connection broke.
    Connection(std::io::Error),
}

/// Shakes hands with whoever is at the other end and hangs up. `host` is the name or the address
/// that the certificate must be made out to. The caller bounds the wait.
pub async fn handshake(
    stream: TcpStream,
    host: &str,
    trust: &TlsOptions,
) -> Result<Handshake, OptionsError> {
    let mut config = peer::tls(&trust.authorities_pem, trust.client_certificate.as_ref())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = Arc::new(peer::roots(&trust.authorities_pem)?);
    let inner = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    let inner = inner.map_err(|error| rustls::Error::General(error.to_string()))?;
    let recording = Arc::new(Recording { inner, chain: Mutex::default() });
    config.dangerous().set_certificate_verifier(Arc::clone(&recording) as _);
    let fault = |error: rustls::Error| Some(HandshakeFault::Tls(error));
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        let words = format!("{host} can stand in no certificate");
        return Ok(Handshake { chain: Vec::new(), fault: fault(rustls::Error::General(words)) });
    };
    let done = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let fault = done.err().and_then(|error| match error.get_ref() {
        Some(inner) => match inner.downcast_ref::<rustls::Error>() {
            Some(tls) => fault(tls.clone()),
            None => Some(HandshakeFault::Connection(error)),
        },
        None => Some(HandshakeFault::Connection(error)),
    });
    let chain = std::mem::take(&mut *recording.chain());
    Ok(Handshake { chain, fault })
}

/// The text behind an address, for a look at a service of our own. At most so many bytes, within
/// the wait.
pub async fn text(url: &str, bytes_max: usize, wait: Duration) -> Result<String, Fault> {
    let refused = |error: OptionsError| Fault::ours("options", error.to_string());
    let client = peer::client(wait, 1, peer::tls("", None).map_err(refused)?).map_err(refused)?;
    let asked = async {
        let mut answer = client.get(url).send().await.map_err(|error| peer::send_fault(&error))?;
        let mut body = Vec::new();
        let broken = |error: reqwest::Error| Fault::peer("half a body", peer::causes(&error));
        while let Some(chunk) = answer.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > bytes_max {
                return Err(Fault::peer("too large", format!("an answer over {bytes_max} B")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    };
    let asked = tokio::time::timeout(wait, asked).await;
    asked.unwrap_or_else(|_| Err(Fault::peer("timeout", "no answer in time")))
}

/// The usual verifier, which also keeps what it was shown.
#[derive(Debug)]
struct Recording {
    inner: Arc<WebPkiServerVerifier>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl Recording {
    fn chain(&self) -> std::sync::MutexGuard<'_, Vec<CertificateDer<'static>>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Recording {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = std::iter::once(end_entity).chain(intermediates);
        *self.chain() = shown.map(|one| one.clone().into_owned()).collect();
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
