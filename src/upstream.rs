//! The door to those whom we call: other people's archives, by DICOMweb and by DICOM's own
//! protocol, and the platforms that take deliveries.
//!
//! What for: it is how `prefetch` finds and fetches what other hospitals made, and how `delivery`
//! sends. What always holds:
//! a fault is judged here, once; nothing personal and no secret leaves in a fault, a log line or a
//! metric; every answer, wait and object is bounded. Refused: knowing what a study is good for, or
//! who the patient is; the flow chooses, guards and keeps. Start reading at [`DicomwebSource`], at
//! [`DimseSource`], or at [`Platform`].

mod account;
mod credentials;
mod dicom_json;
mod dicomweb;
mod dictionary;
mod dimse;
mod handover;
mod limits;
mod options;
mod pace;
mod peer;
mod platform;
mod probe;
mod token;

pub use credentials::Credentials;
pub use dicomweb::DicomwebSource;
pub use dictionary::{DictionaryOptions, DictionarySource};
pub use dimse::{DimseSource, node as dimse_node};
pub use limits::OBJECT_BYTES_MAX;
pub use options::{
    ClientCertificate, DicomwebOptions, DimseOptions, Host, OptionsError, TlsOptions, Waits,
};
pub use platform::{DestinationOptions, Login, Platform, Probed, Seal};
pub use probe::{Handshake, HandshakeFault, handshake, text};
pub use token::{SignPart, Token, TokenKeeper, TokenOptions, body_code, says_unauthorized};

/// The body of a source's answer, for the fuzzer.
#[cfg(fuzzing)]
pub fn fuzz_answer(body: &[u8]) {
    let _ = dicom_json::studies(body, "fuzzed");
    let _ = dicom_json::series(body);
    let _ = dicom_json::instances(body);
}
