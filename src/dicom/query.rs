//! Identifiers of C-FIND and C-GET requests (PS3.4 C.4), in Implicit VR Little Endian.

use std::collections::BTreeMap;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

const CHARACTER_SET: u32 = 0x0008_0005;
const LEVEL: u32 = 0x0008_0052;

/// Query/Retrieve Level (0008,0052) of the Study Root model (PS3.4 C.6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Studies.
    Study,
    /// Series of one study.
    Series,
    /// Instances of one series.
    Image,
}

impl Level {
    /// As it stands in an identifier.
    pub fn name(self) -> &'static str {
        match self {
            Level::Study => "STUDY",
            Level::Series => "SERIES",
            Level::Image => "IMAGE",
        }
    }
}

/// An identifier: keys with what they must match; an empty value asks for the attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    level: Level,
    keys: BTreeMap<u32, String>,
}

impl Query {
    /// Without keys.
    pub fn new(level: Level) -> Query {
        Query { level, keys: BTreeMap::new() }
    }

    /// With one more key: its tag as `0xGGGGEEEE`.
    pub fn key(mut self, tag: u32, value: impl Into<String>) -> Query {
        self.keys.insert(tag, value.into());
        self
    }

    /// With keys whose values are asked for.
    pub fn returning(mut self, tags: &[u32]) -> Query {
        for tag in tags {
            self.keys.entry(*tag).or_default();
        }
        self
    }

    /// Its level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// As it goes out. A value beyond ASCII is UTF-8, and said to be (PS3.4 C.2.2.2).
    pub fn encode(&self) -> Vec<u8> {
        let mut keys = self.keys.clone();
        keys.insert(LEVEL, self.level.name().to_owned());
        if !keys.values().all(|value| value.is_ascii()) {
            keys.insert(CHARACTER_SET, "ISO_IR 192".to_owned());
        }
        let mut bytes = Vec::new();
        for (tag, value) in keys {
            let mut value = value.into_bytes();
            if value.len() % 2 == 1 {
                value.push(if is_uid(tag) { 0 } else { b' ' });
            }
            bytes.extend_from_slice(&((tag >> 16) as u16).to_le_bytes());
            bytes.extend_from_slice(&(tag as u16).to_le_bytes());
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&value);
        }
        bytes
    }
}

/// UIDs are padded with NUL, texts with a blank (PS3.5 6.2).
fn is_uid(tag: u32) -> bool {
    let entry = StandardDataDictionary.by_tag(Tag((tag >> 16) as u16, tag as u16));
    entry.is_some_and(|entry| entry.vr().exact() == Some(VR::UI))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_order_and_are_padded_by_their_kind() {
        let query = Query::new(Level::Series).key(0x0020_000d, "1.2.3").returning(&[0x0008_0060]);
        let expected = [
            &b"\x08\x00\x52\x00\x06\x00\x00\x00SERIES"[..],
            b"\x08\x00\x60\x00\x00\x00\x00\x00",
            b"\x20\x00\x0d\x00\x06\x00\x00\x001.2.3\x00",
        ];
        assert_eq!(query.encode(), expected.concat());
    }

    #[test]
    fn what_is_sent_reads_back_and_says_its_character_set() {
        let query = Query::new(Level::Study).key(0x0010_0010, "王*").key(0x0010_0020, "A1\\B");
        let json = forepost_cache::implicit_json(&query.encode()).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["00080005"]["Value"][0], "ISO_IR 192");
        assert_eq!(json["00100010"]["Value"][0]["Alphabetic"], "王*");
        assert_eq!(json["00080052"]["Value"][0], "STUDY");
    }
}
