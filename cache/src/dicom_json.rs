//! A small writer of DICOM JSON objects (PS3.18 Annex F).
//!
//! Elements must be given in ascending order of tag (PS3.18 §F.2.2); the writer does not sort.
//! Text is escaped by serde_json, so what comes out is always valid UTF-8 JSON.

/// Builds one DICOM JSON object, element by element.
#[derive(Debug)]
pub struct ObjectWriter {
    out: Vec<u8>,
}

impl Default for ObjectWriter {
    fn default() -> Self {
        ObjectWriter::new()
    }
}

impl ObjectWriter {
    /// An object without elements.
    pub fn new() -> ObjectWriter {
        ObjectWriter { out: vec![b'{'] }
    }

    /// An element of one text value; an empty value gives an element without `Value`.
    pub fn text(&mut self, tag: u32, vr: &str, value: &str) -> &mut Self {
        let one = [value];
        self.texts(tag, vr, if value.is_empty() { &one[..0] } else { &one[..] })
    }

    /// An element of several text values.
    pub fn texts<S: AsRef<str>>(&mut self, tag: u32, vr: &str, values: &[S]) -> &mut Self {
        open(&mut self.out, tag, vr.as_bytes());
        list(&mut self.out, values, |out, value| string(out, value.as_ref()));
        self.out.push(b'}');
        self
    }

    /// A person's name from its PN text: component groups joined by `=` (PS3.18 §F.2.2).
    pub fn name(&mut self, tag: u32, value: &str) -> &mut Self {
        open(&mut self.out, tag, b"PN");
        let one = [value];
        list(&mut self.out, if value.is_empty() { &one[..0] } else { &one[..] }, |out, value| {
            name(out, value)
        });
        self.out.push(b'}');
        self
    }

    /// An element of one number.
    pub fn number(&mut self, tag: u32, vr: &str, value: i64) -> &mut Self {
        open(&mut self.out, tag, vr.as_bytes());
        list(&mut self.out, &[value], |out, value| integer(out, *value));
        self.out.push(b'}');
        self
    }

    /// A sequence of finished objects.
    pub fn items<S: AsRef<str>>(&mut self, tag: u32, items: &[S]) -> &mut Self {
        open(&mut self.out, tag, b"SQ");
        list(&mut self.out, items, |out, item| out.extend_from_slice(item.as_ref().as_bytes()));
        self.out.push(b'}');
        self
    }

    /// The finished object.
    pub fn finish(&mut self) -> String {
        let mut out = std::mem::replace(&mut self.out, vec![b'{']);
        out.push(b'}');
        // Only whole UTF-8 strings and ASCII were written.
        String::from_utf8(out).unwrap_or_default()
    }
}

/// Begins an element: a comma if one went before, the tag and the VR. The caller closes it.
pub(crate) fn open(out: &mut Vec<u8>, tag: u32, vr: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    for shift in (0..8).rev() {
        out.push(HEX[(tag >> (shift * 4)) as usize & 15]);
    }
    out.extend_from_slice(b"\":{\"vr\":\"");
    out.extend_from_slice(vr);
    out.push(b'"');
}

/// Writes `,"Value":[…]`, or nothing for an empty list.
pub(crate) fn list<T>(out: &mut Vec<u8>, values: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    if values.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"Value\":[");
    for (n, value) in values.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(out, value);
    }
    out.push(b']');
}

/// A JSON string.
pub(crate) fn string(out: &mut Vec<u8>, value: &str) {
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}

/// A JSON string, or `null` where the text is empty (PS3.18 §F.2.5).
pub(crate) fn string_or_null(out: &mut Vec<u8>, value: &str) {
    if value.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        string(out, value);
    }
}

/// A JSON integer.
pub(crate) fn integer(out: &mut Vec<u8>, value: i64) {
    let _ = serde_json::to_writer(out, &value);
}

/// A JSON number, or the strings that PS3.18 table F.2.3-1 allows where JSON has no number.
pub(crate) fn float(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        let _ = serde_json::to_writer(out, &value);
    } else if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        out.extend_from_slice(if value > 0.0 { b"\"inf\"" as &[u8] } else { b"\"-inf\"" });
    }
}

/// A JSON number of single precision: as few digits as tell it apart.
pub(crate) fn single(out: &mut Vec<u8>, value: f32) {
    if value.is_finite() {
        let _ = serde_json::to_writer(out, &value);
    } else {
        float(out, f64::from(value));
    }
}

/// The object of a person's name, `null` where all groups are empty.
pub(crate) fn name(out: &mut Vec<u8>, value: &str) {
    const GROUPS: [&str; 3] = ["Alphabetic", "Ideographic", "Phonetic"];
    let start = out.len();
    out.push(b'{');
    for (group, text) in GROUPS.iter().zip(value.split('=')) {
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        string(out, group);
        out.push(b':');
        string(out, text);
    }
    if out.len() == start + 1 {
        out.truncate(start);
        out.extend_from_slice(b"null");
    } else {
        out.push(b'}');
    }
}

/// Base64 of a short binary value (RFC 4648 §4).
pub(crate) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let word =
            three.iter().enumerate().fold(0u32, |w, (n, b)| w | u32::from(*b) << (16 - 8 * n));
        for digit in 0..4 {
            out.push(if digit <= three.len() {
                DIGITS[(word >> (18 - 6 * digit)) as usize & 63]
            } else {
                b'='
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_valid_json_whatever_its_text() {
        let json = ObjectWriter::new()
            .text(0x0008_0005, "CS", "ISO_IR 192")
            .text(0x0008_1030, "LO", "a\"b\\c\u{1}\n胸部")
            .text(0x0008_0050, "SH", "")
            .texts(0x0008_0061, "CS", &["CT", "SR"])
            .name(0x0010_0010, "Wang^Xiao=王^小=")
            .name(0x0010_1001, "")
            .number(0x0020_1208, "IS", 3)
            .finish();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["00081030"]["Value"][0], "a\"b\\c\u{1}\n胸部");
        assert_eq!(value["00080050"], serde_json::json!({"vr": "SH"}));
        assert_eq!(value["00080061"]["Value"][1], "SR");
        assert_eq!(
            value["00100010"]["Value"],
            serde_json::json!([{"Alphabetic": "Wang^Xiao", "Ideographic": "王^小"}])
        );
        assert_eq!(value["00201208"]["Value"][0], 3);
    }

    #[test]
    fn base64_pads_as_rfc_4648_section_10_shows() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            let mut out = Vec::new();
            base64(&mut out, bytes.as_bytes());
            assert_eq!(out, text.as_bytes());
        }
    }
}
