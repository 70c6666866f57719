//! The text by which a HIS logs a doctor in (imaging cloud's document, 3.1): a query, the argument
//! of a command line, or what stands behind `WYHT://`.
//!
//! HIS vendors fill the document's templates as they are printed, so what is read is wider than a
//! query: blanks around names and values, a quote at either end, `$` for `%`, and the number of the
//! telephone on the wrong side of its equals sign. A plus is a plus: base64 has it.

use std::collections::HashMap;

use crate::limits::{LOGIN_BYTES_MAX, LOGIN_FIELDS_MAX};

/// The names of the document; the last two are one.
const NAMES: [&str; 12] = [
    "hisUserId",
    "type",
    "doctorName",
    "department",
    "departmentCode",
    "doctorSex",
    "doctorIdCardNo",
    "doctorCode",
    "doctorType",
    "phoneNumber",
    "hospitalId",
    "hospitalld",
];

/// What a launcher adds to the document's names.
const OWN_NAMES: [&str; 1] = ["mac"];

/// What stands before the fields where a web page starts the login.
const SCHEME: &[u8] = b"WYHT://";

/// Why a login cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginFault {
    /// Longer than [`LOGIN_BYTES_MAX`].
    #[error("longer than {LOGIN_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`LOGIN_FIELDS_MAX`] fields.
    #[error("more than {LOGIN_FIELDS_MAX} fields")]
    TooMany,
    /// A value is text in neither UTF-8 nor GB18030.
    #[error("a value is neither UTF-8 nor GB18030")]
    Text,
}

/// The fields of a login by the document's names; those that are empty are not there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Login(HashMap<&'static str, String>);

impl Login {
    /// Reads the text; unknown names are passed over.
    pub fn parse(text: &[u8]) -> Result<Login, LoginFault> {
        if text.len() > LOGIN_BYTES_MAX {
            return Err(LoginFault::TooLong);
        }
        let mut fields = HashMap::new();
        let text = unquoted(text);
        // A browser that was started by the scheme hands on the whole of it.
        let text = match text.get(..SCHEME.len()) {
            Some(start) if start.eq_ignore_ascii_case(SCHEME) => unquoted(&text[SCHEME.len()..]),
            _ => text,
        };
        for (count, pair) in text.split(|byte| *byte == b'&').enumerate() {
            if count >= LOGIN_FIELDS_MAX {
                return Err(LoginFault::TooMany);
            }
            let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let name = bare(&decoded(&pair[..equals])?);
            let value = decoded(pair.get(equals + 1..).unwrap_or_default())?;
            let value = value.trim_matches(blank).to_owned();
            let (name, value) = match known(&name) {
                Some(name) => (name, value),
                // As printed: `{phoneNumber}=phoneNumber`, filled where the name stands.
                None if known(&bare(&value)) == Some("phoneNumber") => ("phoneNumber", name),
                None => continue,
            };
            // The template itself, not filled.
            if !value.is_empty() && bare(&value) != name {
                fields.entry(name).or_insert(value);
            }
        }
        Ok(Login(fields))
    }

    /// A field, if it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Without blanks and one quote at either end, whichever way it is written.
fn unquoted(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii();
    for quote in [b"\"".as_slice(), b"%22", b"$22"] {
        text = text.strip_prefix(quote).unwrap_or(text);
        text = text.strip_suffix(quote).unwrap_or(text);
    }
    text
}

/// A name without the marks of a template around it.
fn bare(text: &str) -> String {
    text.trim_matches(|c| blank(c) || matches!(c, '$' | '{' | '}')).to_owned()
}

fn blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{a0}' || c == '\u{3000}'
}

fn known(name: &str) -> Option<&'static str> {
    let found = NAMES.iter().chain(&OWN_NAMES).find(|known| name.eq_ignore_ascii_case(known));
    // Two lower-case L in the document's tables, a capital I in its templates.
    found.map(|name| if *name == "hospitalId" { "hospitalld" } else { *name })
}

/// `%HH` and `$HH` as bytes, everything else as it is.
fn decoded(text: &[u8]) -> Result<String, LoginFault> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut bytes, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%' | b'$', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _, _) => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => encoding_rs::GB18030
            .decode_without_bom_handling_and_without_replacement(error.as_bytes())
            .map(|text| text.into_owned())
            .ok_or(LoginFault::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_shapes_are_read() {
        let encoded = "hisUserId=1001&type=1&doctorName=$E6$9D$8E$E5$8C$BB$E7$94$9F";
        for text in [
            "hisUserId=1001&type=1&doctorName=李医生",
            "hisUserId=1001&type=1&doctorName=%E6%9D%8E%E5%8C%BB%E7%94%9F",
            encoded,
            "\"hisUserId=1001&type=1 &doctorName=李医生\"",
            "WYHT://\"hisUserId=1001&type=1 &doctorName=李医生\"",
            "wyht://hisUserId=1001&type=1&doctorName=%E6%9D%8E%E5%8C%BB%E7%94%9F",
            "%22hisUserId=1001&type=1%20&doctorName=李医生&unknown=7",
            "$22hisUserId = 1001& type=1&doctorName=李医生$22",
        ] {
            let login = Login::parse(text.as_bytes()).unwrap();
            let told = ["hisUserId", "type", "doctorName"].map(|name| login.text(name));
            assert_eq!(told, [Some("1001"), Some("1"), Some("李医生")], "{text}");
        }
        let gbk = encoding_rs::GBK.encode("hisUserId=7&doctorName=李医生").0.into_owned();
        assert_eq!(Login::parse(&gbk).unwrap().text("doctorName"), Some("李医生"));
    }

    #[test]
    fn the_telephone_is_found_on_either_side() {
        for text in [
            "phoneNumber=13800000002",
            "{phoneNumber}=13800000002",
            "$%7BphoneNumber%7D=13800000002",
            "{13800000002}=phoneNumber",
            "13800000002=phoneNumber",
        ] {
            let login = Login::parse(text.as_bytes()).unwrap();
            assert_eq!(login.text("phoneNumber"), Some("13800000002"), "{text}");
        }
        let unfilled = Login::parse(b"{phoneNumber}=phoneNumber&hisUserId=${hisUserId}").unwrap();
        assert_eq!(unfilled, Login::default());
    }

    #[test]
    fn base64_keeps_its_plus_and_a_hospital_is_named_either_way() {
        let login = Login::parse(b"doctorIdCardNo=BA+x/w==&hospitalId=H1").unwrap();
        assert_eq!(login.text("doctorIdCardNo"), Some("BA+x/w=="));
        assert_eq!(login.text("hospitalld"), Some("H1"));
    }

    #[test]
    fn what_is_too_much_or_no_text_is_refused() {
        let long = vec![b'a'; LOGIN_BYTES_MAX + 1];
        assert_eq!(Login::parse(&long), Err(LoginFault::TooLong));
        assert_eq!(Login::parse("&".repeat(LOGIN_FIELDS_MAX).as_bytes()), Err(LoginFault::TooMany));
        assert_eq!(Login::parse(b"doctorName=%FF%FF"), Err(LoginFault::Text));
        for text in ["", "=", "%", "$4", "type", "type=%E6%9"] {
            assert_eq!(Login::parse(text.as_bytes()).unwrap_or_default(), Login::default());
        }
    }
}
