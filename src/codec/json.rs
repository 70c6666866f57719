//! Tolerant reading of a JSON body.
//!
//! What for: hospital systems send JSON with a byte order mark, in GBK, with no-break spaces
//! copied out of the interface document, with full-width commas and blanks in keys; the
//! documents print all of that (imaging cloud, 3.2.5, 3.3.5, 3.4.2.5). What always holds:
//! what was repaired is told; what could not be read names line and column and never quotes
//! the body, which may hold personal data; the time is linear in the size; depth, size and
//! number of values are bounded before anything is built. What was refused: guessing at
//! missing quotes or brackets, because a wrong guess would store a wrong patient.
//! Start reading at [`parse`].

use std::borrow::Cow;
use std::fmt;

use encoding_rs::{Encoding, GB18030, UTF_16BE, UTF_16LE};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use thiserror::Error;

/// Deepest nesting that is read. The deepest document nests 4 levels.
pub const DEPTH_MAX: usize = 32;

/// Most values in one body: 500 records of 100 fields.
pub const NODES_MAX: usize = 50_000;

/// What a body may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Size of the body, bytes as received.
    pub bytes_max: usize,
    /// Levels of objects and lists.
    pub depth_max: usize,
    /// Values of every kind.
    pub nodes_max: usize,
}

impl Limits {
    /// The usual limits for bodies of at most `bytes_max` bytes.
    pub const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, depth_max: DEPTH_MAX, nodes_max: NODES_MAX }
    }
}

/// A body that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// Its value: keys and texts trimmed, repeated keys resolved to the last.
    pub value: Value,
    /// What had to be repaired, each kind once.
    pub repairs: Vec<Repair>,
}

/// A kind of repair and how often it was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair {
    /// What was done.
    pub kind: RepairKind,
    /// How often.
    pub count: u32,
}

/// What was repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairKind {
    /// A byte order mark was dropped.
    ByteOrderMark,
    /// UTF-16 was decoded.
    Utf16,
    /// GBK or GB18030 was decoded.
    Gb18030,
    /// The JSON was taken out of a form-encoded body.
    Form,
    /// A no-break, ideographic or zero-width space between tokens became a blank.
    Space,
    /// A full-width comma or colon between tokens became an ASCII one.
    Punctuation,
    /// A comma before a closing bracket was dropped.
    TrailingComma,
    /// A raw line feed or tab inside a text became a blank.
    Control,
    /// A key or text was trimmed, or a wide space inside it became a blank.
    Trimmed,
    /// A key occurred again; the last value counts.
    RepeatedKey,
}

impl RepairKind {
    /// The word for log lines.
    pub fn word(self) -> &'static str {
        match self {
            RepairKind::ByteOrderMark => "byte order mark",
            RepairKind::Utf16 => "utf-16",
            RepairKind::Gb18030 => "gb18030",
            RepairKind::Form => "form",
            RepairKind::Space => "space between tokens",
            RepairKind::Punctuation => "full-width punctuation",
            RepairKind::TrailingComma => "trailing comma",
            RepairKind::Control => "control character in text",
            RepairKind::Trimmed => "blanks around or wide blanks in text",
            RepairKind::RepeatedKey => "repeated key",
        }
    }
}

/// A body that could not be read. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadFault {
    /// More bytes than the caller's limit.
    #[error("body too large: got {got} bytes, limit {limit}")]
    TooLarge {
        /// Bytes received.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// Nothing but blanks.
    #[error("empty body")]
    Empty,
    /// Neither UTF-8 nor GB18030 nor marked UTF-16.
    #[error("not text: neither UTF-8 nor GB18030 from byte {offset} on")]
    NotText {
        /// First byte that is not UTF-8.
        offset: usize,
    },
    /// A NUL character, usually UTF-16 without a byte order mark.
    #[error("not JSON: NUL character at line {line} column {column}")]
    Nul {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// Nested too deeply.
    #[error("not JSON we read: deeper than {limit} levels at line {line} column {column}")]
    TooDeep {
        /// The limit.
        limit: usize,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// Too many values.
    #[error("not JSON we read: more than {limit} values at line {line} column {column}")]
    TooMany {
        /// The limit.
        limit: usize,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// It ends in the middle.
    #[error("not JSON: body ends early at line {line} column {column}")]
    Truncated {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// Something follows the value.
    #[error("not JSON: text after the end at line {line} column {column}")]
    Trailing {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// Any other fault of form.
    #[error("not JSON: {what} at line {line} column {column}")]
    Syntax {
        /// What was expected.
        what: String,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// Another format altogether.
    #[error("not JSON: the body is {what}")]
    Other {
        /// `XML` or `a form without JSON`.
        what: &'static str,
    },
}

/// Reads a body. `content_type` is the header as received; it decides between UTF-8 and GBK
/// where it names a charset, and is otherwise not held against a body that is JSON.
///
/// # Errors
/// The first thing that makes it unreadable; see [`ReadFault`].
pub fn parse(bytes: &[u8], content_type: Option<&str>, limits: Limits) -> Result<Read, ReadFault> {
    read(bytes, content_type, limits, false)
}

/// The same, but every number becomes a text with the digits it was written with: 500.00 is not
/// 500.0. Lines and columns of a fault may then be those of the longer text.
///
/// # Errors
/// As [`parse`].
pub fn parse_with_number_texts(
    bytes: &[u8],
    content_type: Option<&str>,
    limits: Limits,
) -> Result<Read, ReadFault> {
    read(bytes, content_type, limits, true)
}

fn read(
    bytes: &[u8],
    content_type: Option<&str>,
    limits: Limits,
    number_texts: bool,
) -> Result<Read, ReadFault> {
    if bytes.len() > limits.bytes_max {
        return Err(ReadFault::TooLarge { got: bytes.len(), limit: limits.bytes_max });
    }
    let mut repairs = Repairs::default();
    let text = decode(bytes, content_type, &mut repairs)?;
    let text = unwrap_form(text, content_type, &mut repairs)?;
    match text.trim_start_matches(|it: char| is_blank(it) || it == '\u{feff}').chars().next() {
        None => return Err(ReadFault::Empty),
        Some('<') => return Err(ReadFault::Other { what: "XML" }),
        Some(_) => {}
    }
    let survey = survey(&text, limits)?;
    let text = if survey.odd { mend(&text, &mut repairs) } else { text };
    let text = if number_texts { Cow::Owned(quote_numbers(&text)) } else { text };
    let value = build(&text, &mut repairs)?;
    Ok(Read { value, repairs: repairs.0 })
}

/// Blank, tab, no-break space and ideographic space: what is trimmed from keys and texts.
pub fn is_blank(it: char) -> bool {
    matches!(it, ' ' | '\t' | '\r' | '\n' | '\u{a0}' | '\u{3000}')
}

#[derive(Default)]
struct Repairs(Vec<Repair>);

impl Repairs {
    fn note(&mut self, kind: RepairKind) {
        match self.0.iter_mut().find(|it| it.kind == kind) {
            Some(repair) => repair.count = repair.count.saturating_add(1),
            None => self.0.push(Repair { kind, count: 1 }),
        }
    }
}

fn decode<'a>(
    bytes: &'a [u8],
    content_type: Option<&str>,
    repairs: &mut Repairs,
) -> Result<Cow<'a, str>, ReadFault> {
    let by = |encoding: &'static Encoding, bytes: &'a [u8]| {
        encoding.decode_without_bom_handling_and_without_replacement(bytes)
    };
    if let [0xff, 0xfe, rest @ ..] | [0xfe, 0xff, rest @ ..] = bytes {
        repairs.note(RepairKind::Utf16);
        let encoding = if bytes[0] == 0xff { UTF_16LE } else { UTF_16BE };
        return by(encoding, rest).ok_or(ReadFault::NotText { offset: 2 });
    }
    let rest = bytes.strip_prefix(b"\xef\xbb\xbf");
    if rest.is_some() {
        repairs.note(RepairKind::ByteOrderMark);
    }
    let bytes = rest.unwrap_or(bytes);
    let declared = content_type.and_then(charset);
    if rest.is_none()
        && declared.is_some_and(is_chinese)
        && !bytes.is_ascii()
        && let Some(text) = by(GB18030, bytes)
    {
        repairs.note(RepairKind::Gb18030);
        return Ok(text);
    }
    let fault = match str::from_utf8(bytes) {
        Ok(text) => return Ok(Cow::Borrowed(text)),
        Err(fault) => fault,
    };
    repairs.note(RepairKind::Gb18030);
    by(GB18030, bytes).ok_or(ReadFault::NotText { offset: fault.valid_up_to() })
}

fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let named = name.trim().eq_ignore_ascii_case("charset");
        named.then(|| value.trim().trim_matches('"'))
    })
}

fn is_chinese(charset: &str) -> bool {
    ["gbk", "gb2312", "gb18030", "cp936"].iter().any(|it| it.eq_ignore_ascii_case(charset))
}

/// Takes the JSON out of a form-encoded body; bodies that are JSON anyway pass as they are.
fn unwrap_form<'a>(
    text: Cow<'a, str>,
    content_type: Option<&str>,
    repairs: &mut Repairs,
) -> Result<Cow<'a, str>, ReadFault> {
    let form = "application/x-www-form-urlencoded";
    let is_form = content_type.is_some_and(|it| {
        it.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(form))
    });
    let first = text.trim_start_matches(|it: char| is_blank(it) || it == '\u{feff}').chars().next();
    if !is_form || first.is_none() || matches!(first, Some('{' | '[')) {
        return Ok(text);
    }
    for parameter in text.trim().split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        for part in [value, name] {
            let json =
                part.starts_with(['{', '[']) || part.starts_with("%7") || part.starts_with("%5");
            if let (true, Some(json)) = (json, percent_decode(part)) {
                repairs.note(RepairKind::Form);
                return Ok(Cow::Owned(json));
            }
        }
    }
    Err(ReadFault::Other { what: "a form without JSON" })
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                let digits = str::from_utf8(digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = tail;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

struct Survey {
    /// Something between tokens, or a raw control character in a text, needs mending.
    odd: bool,
}

/// One pass over the bytes: nesting, number of values, oddities. Nothing is built, so that a
/// body of 100,000 brackets costs this pass and an answer.
fn survey(text: &str, limits: Limits) -> Result<Survey, ReadFault> {
    let (mut depth, mut nodes, mut odd) = (0usize, 1usize, false);
    let (mut in_text, mut escaped, mut comma) = (false, false, false);
    for (offset, byte) in text.bytes().enumerate() {
        if byte == 0 {
            let (line, column) = position(text, offset);
            return Err(ReadFault::Nul { line, column });
        }
        if in_text {
            odd |= byte < 0x20;
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => {
                depth += 1;
                nodes += 1;
                if depth > limits.depth_max {
                    let (line, column) = position(text, offset);
                    return Err(ReadFault::TooDeep { limit: limits.depth_max, line, column });
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                odd |= comma;
            }
            b',' => nodes += 1,
            0x80.. => odd = true,
            _ => {}
        }
        comma = byte == b',' || (comma && byte.is_ascii_whitespace());
        if nodes > limits.nodes_max {
            let (line, column) = position(text, offset);
            return Err(ReadFault::TooMany { limit: limits.nodes_max, line, column });
        }
    }
    Ok(Survey { odd })
}

/// Replaces the known oddities. A wide character between tokens becomes as many ASCII bytes
/// as it had, so that positions stay those of the body.
fn mend(text: &str, repairs: &mut Repairs) -> Cow<'static, str> {
    let mut mended = String::with_capacity(text.len());
    let (mut in_text, mut escaped) = (false, false);
    for it in text.chars() {
        if in_text {
            match it {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_text = false,
                _ => {}
            }
            let control = (it as u32) < 0x20;
            if control {
                repairs.note(RepairKind::Control);
            }
            mended.push(if control { ' ' } else { it });
            continue;
        }
        let instead = match it {
            '\u{a0}' => (RepairKind::Space, "  "),
            '\u{3000}' | '\u{feff}' => (RepairKind::Space, "   "),
            '，' => (RepairKind::Punctuation, ",  "),
            '：' => (RepairKind::Punctuation, ":  "),
            _ => {
                if matches!(it, '}' | ']') {
                    drop_trailing_comma(&mut mended, repairs);
                }
                in_text = it == '"';
                mended.push(it);
                continue;
            }
        };
        repairs.note(instead.0);
        mended.push_str(instead.1);
    }
    Cow::Owned(mended)
}

/// Puts every number between tokens into quotes.
fn quote_numbers(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + text.len() / 8);
    let (mut in_text, mut escaped, mut in_number) = (false, false, false);
    for it in text.chars() {
        // `e` goes on with a number and begins none, so `true` and `false` are left alone.
        let begins = !in_text && (it.is_ascii_digit() || it == '-');
        let goes_on = in_number && matches!(it, '0'..='9' | '.' | '-' | '+' | 'e' | 'E');
        if in_number != (goes_on || begins) {
            quoted.push('"');
            in_number = !in_number;
        }
        match it {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ => {}
        }
        quoted.push(it);
    }
    if in_number {
        quoted.push('"');
    }
    quoted
}

/// Makes a comma at the end of what is mended so far a blank, as the WeChat document prints
/// it in 1.2.4. A text ends in its quote, so a comma here is never part of one.
fn drop_trailing_comma(mended: &mut String, repairs: &mut Repairs) {
    let end = mended.trim_end();
    if end.ends_with(',') && !end.ends_with("[,") && !end.ends_with("{,") {
        let at = end.len() - 1;
        mended.replace_range(at..=at, " ");
        repairs.note(RepairKind::TrailingComma);
    }
}

fn build(text: &str, repairs: &mut Repairs) -> Result<Value, ReadFault> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Node(repairs).deserialize(&mut reader).map_err(|fault| blame(text, &fault))?;
    reader.end().map_err(|fault| {
        let (line, column) = place(text, &fault);
        ReadFault::Trailing { line, column }
    })?;
    Ok(value)
}

fn blame(text: &str, fault: &serde_json::Error) -> ReadFault {
    let (line, column) = place(text, fault);
    if fault.is_eof() {
        return ReadFault::Truncated { line, column };
    }
    let told = fault.to_string();
    let what = told.split(" at line ").next().unwrap_or("syntax").to_owned();
    ReadFault::Syntax { what, line, column }
}

/// serde_json counts columns in bytes; people count characters.
fn place(text: &str, fault: &serde_json::Error) -> (usize, usize) {
    let line = text.split('\n').nth(fault.line().saturating_sub(1)).unwrap_or_default();
    let end = fault.column().saturating_sub(1).min(line.len());
    let before = line.as_bytes()[..end].iter().filter(|it| (**it & 0xc0) != 0x80).count();
    (fault.line().max(1), before + 1)
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset];
    let start = before.iter().rposition(|it| *it == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|it| **it == b'\n').count() + 1;
    let column = before[start..].iter().filter(|it| (**it & 0xc0) != 0x80).count() + 1;
    (line, column)
}

/// Trims, and makes wide blanks inside ordinary ones; `None` where nothing is to do.
fn tidy(text: &str) -> Option<String> {
    let trimmed = text.trim_matches(is_blank);
    let wide = trimmed.contains(['\u{a0}', '\u{3000}']);
    if !wide && trimmed.len() == text.len() {
        return None;
    }
    Some(if wide { trimmed.replace(['\u{a0}', '\u{3000}'], " ") } else { trimmed.to_owned() })
}

/// Builds a value and tidies it on the way; serde_json's own value would drop repeated keys
/// without a word.
struct Node<'a>(&'a mut Repairs);

impl Node<'_> {
    fn text(&mut self, text: Cow<'_, str>) -> String {
        // Every other byte is neither a blank at an end nor part of a wide one.
        let bytes = text.as_bytes();
        let edge = |it: Option<&u8>| it.is_some_and(|it| *it <= b' ' || *it >= 0x80);
        if !edge(bytes.first()) && !edge(bytes.last()) && bytes.is_ascii() {
            return text.into_owned();
        }
        match tidy(&text) {
            None => text.into_owned(),
            Some(tidied) => {
                self.0.note(RepairKind::Trimmed);
                tidied
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_f64<E>(self, it: f64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_str<E>(mut self, it: &str) -> Result<Value, E> {
        Ok(Value::String(self.text(Cow::Borrowed(it))))
    }

    fn visit_string<E>(mut self, it: String) -> Result<Value, E> {
        Ok(Value::String(self.text(Cow::Owned(it))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Node(self.0))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = items.next_key::<String>()? {
            let key = self.text(Cow::Owned(key));
            let value = items.next_value_seed(Node(self.0))?;
            if map.insert(key, value).is_some() {
                self.0.note(RepairKind::RepeatedKey);
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests;
