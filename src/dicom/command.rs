//! Command sets: what is asked and answered beside the data (PS3.7 6.3, E).
//!
//! Implicit VR Little Endian, group 0000 only, bounded by the caller. Unknown elements are stepped
//! over; a length that passes the end is refused. Texts of the peer (Error Comment) are not kept:
//! some archives write the patient into them.

use super::limits::{COMMAND_BYTES_MAX, UID_BYTES_MAX};

/// Command Field (0000,0100), PS3.7 E.1.
pub const C_STORE_RQ: u16 = 0x0001;
pub const C_STORE_RSP: u16 = 0x8001;
pub const C_GET_RQ: u16 = 0x0010;
pub const C_GET_RSP: u16 = 0x8010;
pub const C_FIND_RQ: u16 = 0x0020;
pub const C_FIND_RSP: u16 = 0x8020;
pub const C_ECHO_RQ: u16 = 0x0030;
pub const C_ECHO_RSP: u16 = 0x8030;
pub const C_CANCEL_RQ: u16 = 0x0fff;

const GROUP_LENGTH: u16 = 0x0000;
const AFFECTED_CLASS: u16 = 0x0002;
const FIELD: u16 = 0x0100;
const MESSAGE_ID: u16 = 0x0110;
const RESPONDED_TO: u16 = 0x0120;
const PRIORITY: u16 = 0x0700;
const DATA_SET_TYPE: u16 = 0x0800;
const STATUS: u16 = 0x0900;
const AFFECTED_INSTANCE: u16 = 0x1000;
const FAILED: u16 = 0x1022;
const WARNED: u16 = 0x1023;

/// Command Data Set Type (0000,0800) when no data set follows.
const NO_DATA_SET: u16 = 0x0101;

/// Why bytes are no command set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// An element's length passes the end.
    #[error("the command set is cut off at byte {at}")]
    Truncated {
        /// From 0.
        at: usize,
    },
    /// An element of another group.
    #[error("a command set holds group {group:04X}")]
    Group {
        /// As found.
        group: u16,
    },
    /// The element is not there or has a wrong length.
    #[error("the command set has no {name}")]
    Missing {
        /// PS3.7 E.1.
        name: &'static str,
    },
}

/// A command set, as far as anything here needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Command Field.
    pub field: u16,
    /// Message ID of a request.
    pub message: u16,
    /// Message ID Being Responded To, of an answer.
    pub responded_to: u16,
    /// Affected SOP Class UID.
    pub class: String,
    /// Affected SOP Instance UID.
    pub instance: String,
    /// Whether a data set follows.
    pub data_set: bool,
    /// Status, of an answer.
    pub status: u16,
    /// Number of Failed Sub-operations.
    pub failed: u16,
    /// Number of Warning Sub-operations.
    pub warned: u16,
}

impl Command {
    /// Reads a command set.
    pub fn decode(bytes: &[u8]) -> Result<Command, CommandError> {
        let mut command = Command::default();
        let (mut field, mut status) = (None, None);
        let mut at = 0;
        while at < bytes.len() {
            let front = bytes.get(at..at + 8).ok_or(CommandError::Truncated { at })?;
            let group = u16::from_le_bytes([front[0], front[1]]);
            if group != 0 {
                return Err(CommandError::Group { group });
            }
            let element = u16::from_le_bytes([front[2], front[3]]);
            let length = u32::from_le_bytes([front[4], front[5], front[6], front[7]]) as usize;
            let end = (at + 8).saturating_add(length);
            let value = bytes.get(at + 8..end).ok_or(CommandError::Truncated { at })?;
            let number = <[u8; 2]>::try_from(value).ok().map(u16::from_le_bytes);
            match element {
                AFFECTED_CLASS => command.class = text(value),
                AFFECTED_INSTANCE => command.instance = text(value),
                FIELD => field = number,
                STATUS => status = number,
                MESSAGE_ID => command.message = number.unwrap_or_default(),
                RESPONDED_TO => command.responded_to = number.unwrap_or_default(),
                DATA_SET_TYPE => command.data_set = number != Some(NO_DATA_SET),
                FAILED => command.failed = number.unwrap_or_default(),
                WARNED => command.warned = number.unwrap_or_default(),
                _ => {}
            }
            at = end;
        }
        command.field = field.ok_or(CommandError::Missing { name: "Command Field" })?;
        if command.is_answer() {
            command.status = status.ok_or(CommandError::Missing { name: "Status" })?;
        }
        Ok(command)
    }

    /// Writes it, with Priority where a request needs one (medium).
    pub fn encode(&self) -> Vec<u8> {
        let mut elements: Vec<(u16, Vec<u8>)> = Vec::new();
        let mut put = |element: u16, value: Vec<u8>| elements.push((element, value));
        if !self.class.is_empty() {
            put(AFFECTED_CLASS, padded(&self.class));
        }
        put(FIELD, self.field.to_le_bytes().to_vec());
        if self.is_answer() {
            put(RESPONDED_TO, self.responded_to.to_le_bytes().to_vec());
        } else {
            put(MESSAGE_ID, self.message.to_le_bytes().to_vec());
        }
        if matches!(self.field, C_STORE_RQ | C_GET_RQ | C_FIND_RQ) {
            put(PRIORITY, 0u16.to_le_bytes().to_vec());
        }
        let data_set = if self.data_set { 0x0001 } else { NO_DATA_SET };
        put(DATA_SET_TYPE, data_set.to_le_bytes().to_vec());
        if self.is_answer() {
            put(STATUS, self.status.to_le_bytes().to_vec());
        }
        if !self.instance.is_empty() {
            put(AFFECTED_INSTANCE, padded(&self.instance));
        }
        let length: usize = elements.iter().map(|(_, value)| 8 + value.len()).sum();
        let mut bytes = Vec::with_capacity(12 + length);
        element(&mut bytes, GROUP_LENGTH, &(length as u32).to_le_bytes());
        for (number, value) in elements {
            element(&mut bytes, number, &value);
        }
        debug_assert!(bytes.len() <= COMMAND_BYTES_MAX, "a command of ours is small");
        bytes
    }

    /// The answer to a request, without a data set.
    pub fn answering(request: &Command, status: u16) -> Command {
        Command {
            field: request.field | 0x8000,
            responded_to: request.message,
            class: request.class.clone(),
            instance: request.instance.clone(),
            status,
            ..Command::default()
        }
    }

    /// Whether it answers a request.
    pub fn is_answer(&self) -> bool {
        self.field & 0x8000 != 0
    }
}

fn element(bytes: &mut Vec<u8>, number: u16, value: &[u8]) {
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
    bytes.extend_from_slice(value);
}

/// A UID of odd length ends in NUL (PS3.5 9.1).
fn padded(uid: &str) -> Vec<u8> {
    let mut bytes = uid.as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

/// A UID; empty where it is too long for one, which no peer takes for its own.
fn text(value: &[u8]) -> String {
    if value.len() > UID_BYTES_MAX {
        return String::new();
    }
    String::from_utf8_lossy(value).trim_matches(['\0', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn store() -> Command {
        Command {
            field: C_STORE_RQ,
            message: 7,
            class: "1.2.840.10008.5.1.4.1.1.2".into(),
            instance: "2.25.1".into(),
            data_set: true,
            ..Command::default()
        }
    }

    #[test]
    fn a_command_is_read_back_as_it_was_written() {
        let answer = Command { field: C_GET_RSP, responded_to: 9, status: 0xb000, ..store() };
        let answer = Command { message: 0, data_set: false, ..answer };
        for command in [store(), answer] {
            assert_eq!(Command::decode(&command.encode()), Ok(command));
        }
    }

    #[test]
    fn a_command_cut_anywhere_but_between_elements_is_refused() {
        let whole = store().encode();
        for cut in 1..whole.len() {
            let Ok(read) = Command::decode(&whole[..cut]) else { continue };
            assert_eq!(read.field, C_STORE_RQ, "cut at {cut} between two elements");
        }
        assert_eq!(Command::decode(&[]), Err(CommandError::Missing { name: "Command Field" }));
        let absurd = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 1, 0];
        assert_eq!(Command::decode(&absurd), Err(CommandError::Truncated { at: 0 }));
        let data = [8, 0, 5, 0, 0, 0, 0, 0];
        assert_eq!(Command::decode(&data), Err(CommandError::Group { group: 8 }));
    }

    #[test]
    fn a_uid_that_is_too_long_is_none_and_an_answer_stays_small() {
        let long = |element: u16, length: usize| {
            let mut bytes = store().encode();
            super::element(&mut bytes, element, &vec![0xff; length]);
            Command::decode(&bytes).unwrap()
        };
        for element in [AFFECTED_CLASS, AFFECTED_INSTANCE] {
            let command = long(element, UID_BYTES_MAX + 1);
            assert!(command.class.is_empty() || command.instance.is_empty());
            let answer = Command::answering(&long(element, 8_000), 0).encode();
            assert!(answer.len() < 300, "{} B", answer.len());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::decode(&bytes);
        }
    }
}
