//! The last filter before a text leaves the hospital: secrets by their very text, and what is
//! shaped like the number of a person.
//!
//! Always holds: our own log lines and metrics carry none of it, so this filter finds nothing in
//! them; it is there for what others write into the same journal, and for a mistake of ours.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::Value;

/// Characters below which a secret's text is not searched for: it would hit ordinary words. So
/// short a secret stands nowhere but in its own file.
const NEEDLE_CHARACTERS_MIN: usize = 6;

/// Bytes of a file of a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Keys whose texts tell an engineer something and are nobody's secret. Every other text of the
/// configuration is replaced.
const PLAIN_KEYS: &[&str] = &[
    "address",
    "addresses",
    "allow",
    "alerts",
    "cache",
    "called_ae",
    "calling_ae",
    "charset",
    "code",
    "data",
    "database",
    "date_column",
    "emergency_departments",
    "encoding",
    "form",
    "hospital",
    "hospitals",
    "interface",
    "interfaces",
    "kind",
    "listen",
    "listen_tls",
    "name",
    "names",
    "origin",
    "parts",
    "patient_numbers",
    "path",
    "pause",
    "proxies",
    "settled_at_field",
    "source",
    "time_server",
    "url",
    "view",
    "viewer",
];

/// Keys that name the file of a secret, besides those that end in `_file`.
const SECRET_FILE_KEYS: &[&str] = &["client_key", "certificate_key"];

/// What must not leave.
pub(super) struct Filter {
    needles: Vec<String>,
}

impl Filter {
    /// The texts and the places of every secret file that the configuration names, and of the
    /// ledger's keys.
    pub fn of(configuration: &toml::Table, data: &Path) -> Filter {
        let mut files = vec![data.join("keys/ledger.keys")];
        secret_files(&Value::Table(configuration.clone()), &mut files);
        if let Ok(entries) = std::fs::read_dir(data.join("keys/sm2")) {
            files.extend(entries.flatten().map(|entry| entry.path()));
        }
        let places = files.iter().map(|path| path.display().to_string());
        let mut needles: Vec<String> =
            files.iter().flat_map(|path| needles(path)).chain(places).collect();
        // The longest first, so that a part does not spoil the whole.
        needles.sort_by_key(|one| std::cmp::Reverse(one.len()));
        needles.dedup();
        Filter { needles }
    }

    /// The text without them.
    pub fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for needle in &self.needles {
            if text.contains(needle.as_str()) {
                text = text.replace(needle.as_str(), "(secret)");
            }
        }
        without_numbers(&text)
    }
}

fn secret_files(value: &Value, files: &mut Vec<PathBuf>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                match value {
                    Value::String(path) if names_secret(key) => files.push(PathBuf::from(path)),
                    value => secret_files(value, files),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|one| secret_files(one, files)),
        _ => {}
    }
}

fn names_secret(key: &str) -> bool {
    key.ends_with("_file") || SECRET_FILE_KEYS.contains(&key)
}

/// The whole of a secret's file, and its words where it has several.
fn needles(path: &Path) -> Vec<String> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let mut text = String::new();
    if file.take(SECRET_BYTES_MAX).read_to_string(&mut text).is_err() {
        return Vec::new();
    }
    let whole = std::iter::once(text.trim().to_owned());
    // The words of a file of keys that are common to all such files.
    let is_marking =
        |word: &&str| word.starts_with('-') || ["cipher", "lookup", "PRIVATE"].contains(word);
    let words = text.split_whitespace().filter(|word| !is_marking(word)).map(str::to_owned);
    let long = |one: &String| one.chars().count() >= NEEDLE_CHARACTERS_MIN;
    whole.chain(words).filter(long).collect()
}

/// The configuration as it may leave: every key, numbers and flags, and the texts under
/// [`PLAIN_KEYS`]; of other texts only their length.
pub(super) fn configuration(table: &toml::Table) -> String {
    let redacted = Value::Table(table.clone());
    match redact("", redacted) {
        Value::Table(table) => table.to_string(),
        other => other.to_string(),
    }
}

fn redact(key: &str, value: Value) -> Value {
    match value {
        Value::Table(table) => {
            let each = |(key, value): (String, Value)| {
                let redacted = redact(&key, value);
                (key, redacted)
            };
            Value::Table(table.into_iter().map(each).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(|one| redact(key, one)).collect()),
        Value::String(text) if key == "connection" => Value::String(connection_keys(&text)),
        Value::String(text) if PLAIN_KEYS.contains(&key) && !text.contains(['@', '?']) => {
            Value::String(text)
        }
        Value::String(text) => {
            Value::String(format!("(text of {} characters)", text.chars().count()))
        }
        other => other,
    }
}

/// `Driver=…;Server=…`: which parts a connection string has, without what they say.
fn connection_keys(text: &str) -> String {
    let keys = text.split(';').filter_map(|part| part.split_once('=')).map(|(key, _)| key.trim());
    keys.map(|key| format!("{key}=(…)")).collect::<Vec<_>>().join(";")
}

/// Replaces what is shaped like an identity number (18 characters, or 15 in the old form) or a
/// mobile phone's. Parts of a UID stay: they stand between dots.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        let length = from.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = from.split_at(length);
        let in_uid = (out.ends_with('.') && out.trim_end_matches('.').ends_with(is_digit))
            || after.strip_prefix('.').is_some_and(|next| next.starts_with(is_digit));
        let check = after.chars().next().filter(|c| matches!(c, 'x' | 'X'));
        let is_phone =
            length == 11 && digits.starts_with('1') && matches!(digits.as_bytes()[1], b'3'..=b'9');
        match (length, check) {
            _ if in_uid => out.push_str(digits),
            (17, Some(_)) => out.push_str("(id"),
            (18 | 15, _) => out.push_str("(id)"),
            _ if is_phone => out.push_str("(phone)"),
            _ => out.push_str(digits),
        }
        rest = after;
        if length == 17 && check.is_some() && !in_uid {
            out.push(')');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_people_go_and_numbers_of_things_stay() {
        for (text, expected) in [
            ("idCardNo=110199199001011237 x", "idCardNo=(id) x"),
            ("11019919900101123X.", "(id)."),
            ("110199900101123", "(id)"),
            ("call 13800001234, or", "call (phone), or"),
            (
                "2.25.137304554407886758778166348112360326818",
                "2.25.137304554407886758778166348112360326818",
            ),
            ("1.2.110199199001011237.5", "1.2.110199199001011237.5"),
            ("at_ms 1793491200000", "at_ms 1793491200000"),
            ("12345678901", "12345678901"),
            ("张三 1", "张三 1"),
        ] {
            assert_eq!(without_numbers(text), expected);
        }
    }

    #[test]
    fn of_a_configuration_the_keys_stay_and_what_is_not_known_to_be_plain_goes() {
        let table: toml::Table = "data = \"/d\"\n[[source]]\nname = \"region\"\n\
             url = \"http://u:p@h/\"\nparallel_max = 4\n[[source.header]]\nname = \"X-App\"\n\
             value_file = \"/secret/place\"\n\
             [[databases]]\nname = \"his\"\nconnection = \"Driver=d;UID=reader\"\n\
             note = \"王小明\"\n"
            .parse()
            .unwrap();
        let shown = configuration(&table);
        for stays in [
            "data = \"/d\"",
            "\"region\"",
            "\"X-App\"",
            "parallel_max = 4",
            "value_file",
            "UID=(…)",
        ] {
            assert!(shown.contains(stays), "{stays} in\n{shown}");
        }
        for goes in ["u:p", "/secret/place", "reader", "王小明"] {
            assert!(!shown.contains(goes), "{goes} in\n{shown}");
        }
    }

    #[test]
    fn a_secret_goes_by_its_very_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "geheim-4711\n").unwrap();
        let text = format!("[[caller]]\ntoken_file = {file:?}\n");
        let filter = Filter::of(&text.parse().unwrap(), folder.path());
        assert_eq!(filter.apply("a geheim-4711 b"), "a (secret) b");
    }
}
