//! Text of a data set to UTF-8, by its Specific Character Set (0008,0005) and in spite of it.
//!
//! What must hold: decoding never fails, it only gets worse; nothing is refused for its letters.
//! Escape sequences (ISO 2022, PS3.5 §6.1.2.5) are followed with one leniency: a designation
//! holds until the next one, also over a delimiter, because senders forget to repeat it.
//! A set that lies is the rule in Chinese hospitals (GBK under `ISO_IR 100` or under nothing), so
//! valid UTF-8 wins over a single-byte set, and what claims to be Latin-1 and reads as GB 2312
//! hanzi from end to end is taken for that. A Latin-1 text whose accented letters always stand in
//! pairs would be misread; that was judged rarer than the lie.

use std::borrow::Cow;

use encoding_rs::{
    EUC_JP, EUC_KR, Encoding, GB18030, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6,
    ISO_8859_7, ISO_8859_8, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1252, WINDOWS_1254,
};

/// How the text of one data set is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Charset {
    /// Set of bytes 0x80 and above; `None` where only ASCII was declared.
    high: Option<&'static Encoding>,
}

impl Charset {
    /// Nothing declared: the default repertoire (PS3.5 §6.1.2.1).
    pub(crate) const DEFAULT: Charset = Charset { high: None };

    /// From the value of (0008,0005), whose further values only announce escape sequences.
    pub(crate) fn declared(value: &str) -> Charset {
        let values: Vec<&str> = value.split('\\').map(str::trim).collect();
        let first = values.iter().find_map(|term| single(term));
        Charset { high: first }
    }

    /// The text. Never fails; unreadable bytes become U+FFFD.
    pub(crate) fn decode<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        if bytes.contains(&0x1b) {
            return Cow::Owned(self.extended(bytes));
        }
        if bytes.is_ascii() {
            return match str::from_utf8(bytes) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => String::from_utf8_lossy(bytes),
            };
        }
        match self.high {
            Some(set) if multi_byte(set) => {
                if let Some(text) = set.decode_without_bom_handling_and_without_replacement(bytes) {
                    return text;
                }
                honest(bytes).unwrap_or_else(|| set.decode_without_bom_handling(bytes).0)
            }
            Some(set) => {
                if let Ok(text) = str::from_utf8(bytes) {
                    return Cow::Borrowed(text);
                }
                if set == WINDOWS_1252 && hanzi_only(bytes) {
                    return GB18030.decode_without_bom_handling(bytes).0;
                }
                set.decode_without_bom_handling(bytes).0
            }
            None => honest(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes)),
        }
    }

    /// Follows escape sequences.
    fn extended(&self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len());
        let mut low = Low::Ascii;
        let mut high = self.high;
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if byte == 0x1b {
                rest = designate(rest, &mut low, &mut high);
                continue;
            }
            let end = rest.iter().position(|b| *b == 0x1b).unwrap_or(rest.len());
            let run = &rest[..end];
            match low {
                Low::Ascii => text.push_str(&Charset { high }.decode(run)),
                Low::Kanji => text.push_str(&kanji(run, &[])),
                Low::KanjiExtra => text.push_str(&kanji(run, &[0x8f])),
            }
            rest = &rest[end..];
        }
        text
    }
}

/// What bytes below 0x80 mean just now.
#[derive(Clone, Copy)]
enum Low {
    Ascii,
    Kanji,
    KanjiExtra,
}

/// Takes one escape sequence off the front (PS3.3 table C.12-3 and C.12-4).
fn designate<'a>(rest: &'a [u8], low: &mut Low, high: &mut Option<&'static Encoding>) -> &'a [u8] {
    let (taken, set) = match rest.get(1..).unwrap_or_default() {
        [b'(', b'B' | b'J', ..] => {
            *low = Low::Ascii;
            (3, None)
        }
        [b'$', b'B' | b'@', ..] => {
            *low = Low::Kanji;
            (3, None)
        }
        [b'$', b'(', b'D', ..] => {
            *low = Low::KanjiExtra;
            (4, None)
        }
        [b')', b'I', ..] => (3, Some(SHIFT_JIS)),
        [b'$', b')', b'C', ..] => (4, Some(EUC_KR)),
        [b'$', b')', b'A', ..] => (4, Some(GB18030)),
        [b'-', set, ..] => (3, single_final(*set)),
        _ => (1, None),
    };
    if set.is_some() {
        *high = set;
    }
    &rest[taken.min(rest.len())..]
}

/// Seven-bit JIS bytes as EUC-JP: the same code points with the high bit set. Control characters
/// and blanks, which end a designation by the standard, are passed through.
fn kanji(run: &[u8], prefix: &[u8]) -> String {
    let mut euc = Vec::with_capacity(run.len() * 2);
    let mut rest = run;
    while let Some(&first) = rest.first() {
        match rest.get(1) {
            Some(&second) if first > 0x20 && second > 0x20 => {
                euc.extend_from_slice(prefix);
                euc.extend_from_slice(&[first | 0x80, second | 0x80]);
                rest = &rest[2..];
            }
            _ => {
                euc.push(first & 0x7f);
                rest = &rest[1..];
            }
        }
    }
    EUC_JP.decode_without_bom_handling(&euc).0.into_owned()
}

fn single(term: &str) -> Option<&'static Encoding> {
    Some(match term.strip_prefix("ISO 2022 IR ").or(term.strip_prefix("ISO_IR ")) {
        Some("100") => WINDOWS_1252,
        Some("101") => ISO_8859_2,
        Some("109") => ISO_8859_3,
        Some("110") => ISO_8859_4,
        Some("144") => ISO_8859_5,
        Some("127") => ISO_8859_6,
        Some("126") => ISO_8859_7,
        Some("138") => ISO_8859_8,
        Some("148") => WINDOWS_1254,
        Some("166") => WINDOWS_874,
        Some("13") => SHIFT_JIS,
        Some("149") => EUC_KR,
        Some("58") => GB18030,
        Some("192") => UTF_8,
        _ if term.eq_ignore_ascii_case("GB18030") || term.eq_ignore_ascii_case("GBK") => GB18030,
        _ if term.eq_ignore_ascii_case("GB2312") => GB18030,
        _ if term.eq_ignore_ascii_case("UTF-8") || term.eq_ignore_ascii_case("UTF8") => UTF_8,
        _ => return None,
    })
}

/// Sets of 96 characters by the final byte of `ESC - F`.
fn single_final(last: u8) -> Option<&'static Encoding> {
    Some(match last {
        b'A' => WINDOWS_1252,
        b'B' => ISO_8859_2,
        b'C' => ISO_8859_3,
        b'D' => ISO_8859_4,
        b'L' => ISO_8859_5,
        b'G' => ISO_8859_6,
        b'F' => ISO_8859_7,
        b'H' => ISO_8859_8,
        b'M' => WINDOWS_1254,
        b'T' => WINDOWS_874,
        _ => return None,
    })
}

fn multi_byte(set: &'static Encoding) -> bool {
    set == UTF_8 || set == GB18030 || set == EUC_KR || set == SHIFT_JIS
}

/// The reading that needs no declaration: UTF-8 if valid, else GB 18030 if valid.
fn honest(bytes: &[u8]) -> Option<Cow<'_, str>> {
    match str::from_utf8(bytes) {
        Ok(text) => Some(Cow::Borrowed(text)),
        Err(_) => GB18030.decode_without_bom_handling_and_without_replacement(bytes),
    }
}

/// Whether every high byte belongs to a hanzi of GB 2312 (rows 16 to 87).
fn hanzi_only(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        rest = match (first, rest.get(1)) {
            (0..=0x7f, _) => &rest[1..],
            (0xb0..=0xf7, Some(0xa1..=0xfe)) => &rest[2..],
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_by_the_declared_set() {
        let gbk = b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab";
        for declared in ["GB18030", "GBK", "\\ISO 2022 IR 58", "", "ISO_IR 100", "ISO_IR 192"] {
            assert_eq!(Charset::declared(declared).decode(gbk), "Wang^XiaoDong=王^小东");
        }
        let utf8 = "Wang=王^小东".as_bytes();
        for declared in ["ISO_IR 192", "", "ISO_IR 100"] {
            assert_eq!(Charset::declared(declared).decode(utf8), "Wang=王^小东");
        }
        assert_eq!(Charset::declared("ISO_IR 100").decode(b"Buc^J\xe9r\xf4me"), "Buc^Jérôme");
        assert_eq!(Charset::declared("ISO_IR 144").decode(b"\xbb\xee"), "Лю");
        // PS3.5 §K.2: ISO 2022 IR 58 in the second group.
        let two = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=";
        assert_eq!(Charset::declared("\\ISO 2022 IR 58").decode(two), "Zhang^XiaoDong=张^小东=");
    }

    #[test]
    fn no_bytes_make_decoding_fail() {
        for declared in ["", "ISO_IR 192", "GB18030", "\\ISO 2022 IR 87", "nonsense"] {
            for tail in [&b"\x1b"[..], b"\x1b$", b"\x1b$B\x30", b"\xff\xfe\x80", b"\x1b-\xff"] {
                let _ = Charset::declared(declared).decode(tail).len();
            }
        }
    }
}
