//! DICOM's own protocol: associations (PS3.8) and the services C-ECHO, C-FIND, C-GET and C-STORE
//! on them (PS3.7, PS3.4), as the one who calls; as the one who is called, C-ECHO.
//!
//! What for: it is how most archives of hospitals speak, and the only way to those that have no
//! DICOMweb. What always holds: every wait has a timer and every length a bound before it is
//! believed; a peer that breaks the protocol costs its association and nothing else; the bytes of
//! an object go on as they came, behind a file head of our own; a fault says who refused and why.
//!
//! On the wire: PDUs of PS3.8 9.3, read and written by dicom-ul with its length check on, over TCP
//! without Nagle's delay (DCMTK's own 45 ms an object come from it), with TLS where it is
//! configured. One operation at a time on an association, as none negotiates more. Commands and
//! identifiers are Implicit VR Little Endian, which every peer must take (PS3.7 6.3.1, PS3.5 10.1).
//!
//! Refused: dicom-ul's own association, which sets no socket option before it asks and, with TLS
//! compiled in, calls every failed answer a TLS failure; reading objects into memory, which changes
//! bytes and takes a third of the speed; C-MOVE, which needs a port of ours at the peer.
//!
//! Start reading at [`Association`], then at [`services`]; for who calls us, at [`Door`].

mod association;
mod classes;
mod command;
mod door;
mod file;
pub mod limits;
mod query;
pub mod services;
mod status;

pub use association::{AeTitle, Association, Node, NodeWaits, Proposal};
pub use classes::{COMMON_CLASSES, packed, proposals};
pub use door::Door;
pub use file::{StoredFile, file_head};
pub use query::{Level, Query};

/// Names this implementation to peers and in file heads (PS3.7 D.3.3.2).
pub const IMPLEMENTATION_CLASS: &str = "2.25.137304554407886758778166348112360326818";

/// Its version, at most 16 characters (PS3.7 D.3.3.2.3).
pub const IMPLEMENTATION_VERSION: &str = concat!("FOREPOST_", env!("CARGO_PKG_VERSION"));

const _: () = assert!(IMPLEMENTATION_VERSION.len() <= 16);

/// A PDU as a peer sends it, for the fuzzer.
#[cfg(fuzzing)]
pub fn fuzz_pdu(bytes: &[u8]) {
    association::fuzz_pdu(bytes);
}

/// A command set as a peer sends it, for the fuzzer: what is read is written and read the same.
#[cfg(fuzzing)]
pub fn fuzz_command(bytes: &[u8]) {
    if let Ok(command) = command::Command::decode(bytes) {
        let again = command::Command::decode(&command.encode());
        assert!(again.is_ok(), "{again:?}");
    }
}
