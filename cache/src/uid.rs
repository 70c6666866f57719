//! A DICOM unique identifier that is safe as a file name.
//!
//! Always: 1 to 64 characters of `0-9` and `.`, no dot at either end, no two dots in a row; so it
//! can be neither a path, nor hidden, nor empty. Leading zeros in a component, which PS3.5 §9.1
//! forbids, are let through: real archives hold such UIDs and nothing breaks by them.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::UID_CHARS_MAX;

/// A unique identifier (PS3.5 §9.1). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(Arc<str>);

/// Why a text is not a UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UidError {
    /// No character, or more than 64.
    #[error("a uid has 1 to {UID_CHARS_MAX} characters, got {got}")]
    Length {
        /// Bytes of the text.
        got: usize,
    },
    /// A character other than a digit or a dot.
    #[error("a uid is made of digits and dots, character {at} is neither")]
    Character {
        /// Byte offset, from 0.
        at: usize,
    },
    /// A dot at an end, or two in a row.
    #[error("a uid has no empty component, one is at character {at}")]
    EmptyComponent {
        /// Byte offset, from 0.
        at: usize,
    },
}

impl Uid {
    /// The UID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Uid {
    type Error = UidError;

    fn try_from(text: &str) -> Result<Uid, UidError> {
        if text.is_empty() || text.len() > UID_CHARS_MAX {
            return Err(UidError::Length { got: text.len() });
        }
        let mut before = b'.';
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b'0'..=b'9' => {}
                b'.' if before == b'.' => return Err(UidError::EmptyComponent { at }),
                b'.' => {}
                _ => return Err(UidError::Character { at }),
            }
            before = byte;
        }
        if before == b'.' {
            return Err(UidError::EmptyComponent { at: text.len() - 1 });
        }
        Ok(Uid(text.into()))
    }
}

impl FromStr for Uid {
    type Err = UidError;

    fn from_str(text: &str) -> Result<Uid, UidError> {
        Uid::try_from(text)
    }
}

impl Borrow<str> for Uid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Uid {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_digits_and_single_dots_up_to_64_characters() {
        for good in ["1", "1.2.840.10008.1.1", "1.02.3", &"1".repeat(64)] {
            assert_eq!(Uid::try_from(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "1.", ".1", "1..2", "1.a", "1/2", " 1", "1\0", "１"] {
            assert!(Uid::try_from(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Uid::try_from(&*"1".repeat(65)), Err(UidError::Length { got: 65 }));
    }
}
