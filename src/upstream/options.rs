//! What is configured of a source.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use secrecy::SecretString;

use super::limits::{CONNECT_WAIT, HEAD_WAIT, IDLE_WAIT, SEARCH_WAIT};
use super::platform::Seal;
use crate::dicom::AeTitle;
use crate::model::Registration;
use crate::prefetch::{KnownAs, PatientKey};
use crate::seal::rsa::RsaFault;

/// A DICOMweb source.
#[derive(Debug, Clone)]
pub struct DicomwebOptions {
    /// Its name in the configuration, in logs and in metrics.
    pub name: String,
    /// Where its services begin, `http` or `https`, without user and query: `{base_url}/studies`
    /// is the search.
    pub base_url: String,
    /// Whether it only answers searches, and the studies lie where its Retrieve URLs point.
    pub index: bool,
    /// The numbers by which it knows patients. The first one that a registration has is asked for.
    pub patient_keys: Vec<PatientKey>,
    /// Whether it asks who reads: what is asked for a doctor says it, at its own origin.
    pub reader: bool,
    /// Encrypts the doctor's identity number to the source; without it the number does not leave.
    pub seal: Option<Seal>,
    /// Headers for the source's own origin: credentials, tenant.
    pub headers: Vec<(String, SecretString)>,
    /// Other origins to which its Retrieve URLs may lead.
    pub hosts: Vec<Host>,
    /// Certificates (PEM) trusted besides the public authorities; may be several, may be empty.
    pub authorities_pem: String,
    /// Shown to the source's own origin only.
    pub client_certificate: Option<ClientCertificate>,
    /// Timeouts.
    pub waits: Waits,
    /// Requests at a time.
    pub parallel: NonZeroUsize,
    /// Bytes of objects a second, over all requests.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Bytes of one object.
    pub object_bytes_max: u64,
}

/// A source that speaks DICOM's own protocol.
#[derive(Debug, Clone)]
pub struct DimseOptions {
    /// Its name in the configuration, in logs and in metrics.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// Its application entity's title.
    pub called: AeTitle,
    /// Ours.
    pub calling: AeTitle,
    /// The numbers by which it knows patients. The first one that a registration has is asked for.
    pub patient_keys: Vec<PatientKey>,
    /// TLS, where it is wanted.
    pub tls: Option<TlsOptions>,
    /// Timeouts.
    pub waits: Waits,
    /// Associations at a time.
    pub parallel: NonZeroUsize,
    /// Bytes of objects a second, over all associations.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Bytes of one object.
    pub object_bytes_max: u64,
}

/// TLS to one peer.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Certificates (PEM) trusted besides the public authorities; may be several, may be empty.
    pub authorities_pem: String,
    /// Shown to the peer.
    pub client_certificate: Option<ClientCertificate>,
}

/// Whether patients can be asked for by these keys.
pub(super) fn check(keys: &[PatientKey]) -> Result<(), OptionsError> {
    if keys.is_empty() {
        return Err(OptionsError::NoPatientKey);
    }
    for key in keys {
        if key.template.matches("{}").count() != 1 {
            return Err(OptionsError::Template { template: key.template.clone() });
        }
    }
    Ok(())
}

/// The first configured number that the registration has, as the source knows it.
pub(super) fn patient(keys: &[PatientKey], registration: &Registration) -> Option<KnownAs> {
    keys.iter().find_map(|key| key.known_as(registration))
}

/// An origin to which Retrieve URLs may lead.
#[derive(Debug, Clone)]
pub struct Host {
    /// `https://host:port`, without a path.
    pub origin: String,
    /// Headers for this origin only.
    pub headers: Vec<(String, SecretString)>,
}

/// A certificate for mutual TLS.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate and what leads to its authority, PEM.
    pub chain_pem: String,
    /// Its private key, PEM (PKCS #8, PKCS #1 or SEC 1).
    pub key_pem: SecretString,
}

/// How long a source is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// See [`CONNECT_WAIT`].
    pub connect: Duration,
    /// See [`HEAD_WAIT`].
    pub head: Duration,
    /// See [`IDLE_WAIT`].
    pub idle: Duration,
    /// See [`SEARCH_WAIT`].
    pub search: Duration,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits { connect: CONNECT_WAIT, head: HEAD_WAIT, idle: IDLE_WAIT, search: SEARCH_WAIT }
    }
}

/// Why a source cannot be made of its options.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// No absolute URL, not http(s), or with user, query or fragment.
    #[error("base_url is no http or https address without user and query: {got}")]
    BaseUrl {
        /// As configured, empty when it may hold a password.
        got: String,
    },
    /// Not `scheme://host[:port]`.
    #[error("a host is no http or https origin: {got}")]
    Origin {
        /// As configured, empty when it may hold a password.
        got: String,
    },
    /// A name or value that HTTP does not allow.
    #[error("header {name} cannot be sent")]
    Header {
        /// Its name.
        name: String,
    },
    /// Without numbers nothing can be searched.
    #[error("patient_keys is empty")]
    NoPatientKey,
    /// `{}` must occur once.
    #[error("template {template:?} does not hold {{}} exactly once")]
    Template {
        /// As configured.
        template: String,
    },
    /// The parts of a token's `sign` do not fit under the platform's key.
    #[error("sign: {0}")]
    Sign(#[from] RsaFault),
    /// A PEM that cannot be read, or holds nothing.
    #[error("{what} cannot be read as PEM")]
    Pem {
        /// Which one.
        what: &'static str,
    },
    /// Certificates and keys that TLS does not take.
    #[error("the TLS settings do not work")]
    Tls(#[from] rustls::Error),
    /// The HTTP client could not be made.
    #[error("no HTTP client")]
    Client(#[source] reqwest::Error),
}
