//! DICOM JSON objects taken apart and put together without parsing their values (PS3.18 F.2).
//!
//! What comes in was written by the cache: compact, members in ascending order of tag, long values
//! named relative to the instance. What goes out is ordered the same way, and names them in full.

use forepost_cache::{Instance, Uid};

use super::attribute::RETRIEVE_URL;

/// The members of a DICOM JSON object: tag, and the text of the value. Ends early where the text
/// is none.
pub(super) struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Members<'a> {
    /// The members of one object.
    pub(super) fn of(object: &'a [u8]) -> Members<'a> {
        Members { rest: object.strip_prefix(b"{").unwrap_or(&[]) }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<(u32, &'a [u8])> {
        let member = self.rest.strip_prefix(b",").unwrap_or(self.rest);
        let (key, value) = member.strip_prefix(b"\"")?.split_at_checked(8)?;
        let tag = u32::from_str_radix(str::from_utf8(key).ok()?, 16).ok()?;
        let value = value.strip_prefix(b"\":")?;
        let (value, rest) = value.split_at(object_bytes(value)?);
        self.rest = rest;
        Some((tag, value))
    }
}

/// Bytes of the object that a text begins with.
fn object_bytes(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'{' => depth += 1,
            b'}' => depth = depth.checked_sub(1)?,
            b'"' => at = string_end(text, at + 1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Where the closing quotation mark is of a string whose content begins at `at`.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Writes one object of what several say: of members with the same tag the first counts.
pub(super) fn merge<'a>(members: impl Iterator<Item = (u32, &'a [u8])>, out: &mut Vec<u8>) {
    let mut members: Vec<(u32, &[u8])> = members.collect();
    members.sort_by_key(|(tag, _)| *tag);
    members.dedup_by_key(|(tag, _)| *tag);
    out.push(b'{');
    for (n, (tag, value)) in members.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.push(b'"');
        for shift in (0..8).rev() {
            out.push(b"0123456789ABCDEF"[(tag >> (shift * 4)) as usize & 15]);
        }
        out.extend_from_slice(b"\":");
        out.extend_from_slice(value);
    }
    out.push(b'}');
}

/// Copies a study's row with its Retrieve URL in its place, before Patient's Name, which every
/// row has. A quotation mark inside a value is escaped, so what is looked for is that member.
pub(super) fn copy_with_url(row: &str, url: &[u8], out: &mut Vec<u8>) {
    const BEHIND: &str = ",\"00100010\":";
    let at = memchr::memmem::find(row.as_bytes(), BEHIND.as_bytes()).unwrap_or(row.len() - 1);
    let (front, back) = row.as_bytes().split_at(at);
    out.extend_from_slice(front);
    out.extend_from_slice(b",\"00081190\":");
    out.extend_from_slice(url);
    out.extend_from_slice(back);
}

/// How the cache names a value that it left out: relative to the instance.
const BULK: &[u8] = b"\"BulkDataURI\":\"bulkdata/";

/// Whether a value, or one inside it, was left out. A quotation mark inside a text is escaped, so
/// what is looked for is that member.
pub(super) fn names_bulk(value: &[u8]) -> bool {
    memchr::memmem::find(value, BULK).is_some()
}

/// Copies an instance's object with its bulk data named below the instance's own URL.
pub(super) fn copy_with_bulk(object: &[u8], url: &str, out: &mut Vec<u8>) {
    let mut rest = object;
    while let Some(at) = memchr::memmem::find(rest, BULK) {
        let (front, back) = rest.split_at(at + BULK.len() - b"bulkdata/".len());
        out.extend_from_slice(front);
        out.extend_from_slice(url.as_bytes());
        out.push(b'/');
        rest = back;
    }
    out.extend_from_slice(rest);
}

/// The URL of an instance.
pub(super) fn instance_url(base: &str, study: &Uid, instance: &Instance) -> String {
    format!("{base}/studies/{study}/series/{}/instances/{}", instance.series, instance.sop)
}

/// The value of Retrieve URL. The URL holds no character that JSON escapes: a checked base and
/// UIDs.
pub(super) fn url_value(base: &str, path: &[(&str, &str)], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"vr\":\"UR\",\"Value\":[\"");
    out.extend_from_slice(base.as_bytes());
    for (step, uid) in path {
        out.push(b'/');
        out.extend_from_slice(step.as_bytes());
        out.push(b'/');
        out.extend_from_slice(uid.as_bytes());
    }
    out.extend_from_slice(b"\"]}");
}

/// Retrieve URL as a member.
pub(super) fn url_member(value: &[u8]) -> (u32, &[u8]) {
    (RETRIEVE_URL, value)
}

#[cfg(test)]
mod tests {
    use forepost_cache::dicom_json::ObjectWriter;
    use serde_json::Value;

    use super::*;

    fn object() -> String {
        let mut json = ObjectWriter::new();
        json.text(0x0008_0005, "CS", "ISO_IR 192")
            .text(0x0008_1030, "LO", "quote \" brace } back \\ ,\"00100010\":")
            .name(0x0010_0010, "Wang^XiaoDong=王^小东")
            .texts(0x0010_1000, "LO", &["a", "}{"])
            .number(0x0020_1208, "IS", 7);
        json.finish()
    }

    #[test]
    fn members_are_those_that_a_parser_sees() {
        let object = object();
        let parsed: Value = serde_json::from_str(&object).unwrap();
        let members: Vec<(u32, &[u8])> = Members::of(object.as_bytes()).collect();
        assert_eq!(members.len(), parsed.as_object().unwrap().len());
        for (tag, value) in members {
            let value: Value = serde_json::from_slice(value).unwrap();
            assert_eq!(value, parsed[format!("{tag:08X}")]);
        }
        assert_eq!(Members::of(b"{}").count(), 0);
    }

    #[test]
    fn a_text_cut_anywhere_ends_the_members_and_nothing_else() {
        let object = object();
        let whole = Members::of(object.as_bytes()).count();
        for cut in 0..object.len() - 1 {
            assert!(Members::of(&object.as_bytes()[..cut]).count() <= whole);
        }
    }

    #[test]
    fn merging_keeps_order_and_the_first_of_two() {
        let (a, b) = (br#"{"00080060":{"vr":"CS"},"00200011":{"vr":"IS"}}"#, b"{\"00080060\":{}}");
        let mut out = Vec::new();
        merge(Members::of(b).chain(Members::of(a)).chain([url_member(b"{\"u\":1}")]), &mut out);
        let expected = r#"{"00080060":{},"00081190":{"u":1},"00200011":{"vr":"IS"}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_url_takes_its_place_in_a_row() {
        let mut url = Vec::new();
        url_value("http://host/dicom-web", &[("studies", "1.2"), ("series", "3")], &mut url);
        let mut out = Vec::new();
        copy_with_url(&object(), &url, &mut out);
        let parsed: Value = serde_json::from_slice(&out).unwrap();
        let retrieve = &parsed["00081190"]["Value"][0];
        assert_eq!(retrieve, "http://host/dicom-web/studies/1.2/series/3");
        let tags: Vec<u32> = Members::of(&out).map(|(tag, _)| tag).collect();
        assert!(tags.is_sorted() && tags.len() == 6, "{tags:08x?}");
    }
}
