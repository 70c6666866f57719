//! Wire forms: bytes from outside to values, and nothing else.
//!
//! What always holds: pure functions, no clock, no files; a fault tells where, never what
//! the body said, because bodies hold personal data.

pub mod certificate;
pub mod json;
pub mod login;
pub mod multipart;
pub mod sheet;
pub mod time;
pub mod token;
