//! What the caller accepts (PS3.18 8.7.5, 8.7.8; RFC 9110, 12.5.1).

use http::{HeaderMap, header};

use super::limits::MEDIA_RANGES_MAX;
use super::reply::{DicomwebError, PieceError};

/// The form in which objects leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// `multipart/related; type="application/dicom"`.
    Multipart(Syntaxes),
    /// `application/dicom`: the bare Part 10 file of one instance.
    Bare(Syntaxes),
}

/// The transfer syntaxes that the caller takes. Where it names none, PS3.18 8.7.3.3 would have
/// Explicit VR Little Endian; viewers that name none expect what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Syntaxes {
    /// What is stored.
    Any,
    /// One of these.
    Only(Vec<String>),
}

impl Syntaxes {
    /// Whether a stored one is among them.
    pub(super) fn hold(&self, stored: &str) -> bool {
        match self {
            Syntaxes::Any => true,
            Syntaxes::Only(named) => named.iter().any(|one| one == stored),
        }
    }

    fn add(&mut self, named: Option<&str>) {
        match (named, &mut *self) {
            (None | Some("*"), _) => *self = Syntaxes::Any,
            (Some(_), Syntaxes::Any) => {}
            (Some(named), Syntaxes::Only(all)) => all.push(named.to_owned()),
        }
    }
}

/// One media range with the parameters that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    media: String,
    /// The `type` of a multipart.
    of: Option<String>,
    syntax: Option<String>,
    /// Thousandths of `q`; 0 is a refusal.
    weight: u16,
}

/// The ranges of a request, the most wanted first; one that says nothing accepts everything. The
/// `accept` parameter of the query counts before the header (PS3.18 8.3.3.1).
fn ranges(headers: &HeaderMap, parameter: Option<&str>) -> Vec<Range> {
    let header = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let texts: Vec<&str> = match parameter {
        Some(parameter) => vec![parameter],
        None => header.collect(),
    };
    let mut ranges: Vec<Range> = texts
        .iter()
        .flat_map(|text| split(text, b','))
        .filter(|one| !one.trim().is_empty())
        .take(MEDIA_RANGES_MAX)
        .map(range)
        .collect();
    if ranges.is_empty() {
        ranges.push(range("*/*"));
    }
    ranges.retain(|range| range.weight > 0);
    ranges.sort_by_key(|range| std::cmp::Reverse(range.weight));
    ranges
}

fn range(text: &str) -> Range {
    let mut parts = split(text, b';');
    let media = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut range = Range { media, of: None, syntax: None, weight: 1_000 };
    for part in parts {
        let Some((name, value)) = part.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "type" => range.of = Some(value.to_ascii_lowercase()),
            "transfer-syntax" => range.syntax = Some(value.to_owned()),
            "q" => {
                let weight = value.parse::<f32>().unwrap_or(1.0).clamp(0.0, 1.0);
                range.weight = (weight * 1_000.0) as u16;
            }
            _ => {}
        }
    }
    range
}

/// Splits at a mark that is not inside quotation marks.
fn split(text: &str, mark: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        let at = text.bytes().position(|byte| {
            quoted ^= byte == b'"';
            byte == mark && !quoted
        });
        let (one, behind) = match at {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        rest = behind;
        Some(one)
    })
}

/// The media type of an answer in DICOM JSON.
pub(super) fn json(
    headers: &HeaderMap,
    parameter: Option<&str>,
) -> Result<&'static str, DicomwebError> {
    let ranges = ranges(headers, parameter);
    let found = ranges.iter().find_map(|range| match range.media.as_str() {
        "application/dicom+json" | "*/*" | "application/*" => Some("application/dicom+json"),
        "application/json" => Some("application/json"),
        _ => None,
    });
    found.ok_or(DicomwebError::NotAcceptable { offered: "application/dicom+json" })
}

/// The form of objects; `one`: the caller asks for a single instance. Ranges of the same form
/// add their transfer syntaxes, since a caller names each in a range of its own.
pub(super) fn objects(
    headers: &HeaderMap,
    parameter: Option<&str>,
    one: bool,
) -> Result<Form, DicomwebError> {
    let mut form: Option<Form> = None;
    for range in ranges(headers, parameter) {
        let bare = match range.media.as_str() {
            "*/*" | "multipart/*" => false,
            "multipart/related" => match range.of.as_deref() {
                None | Some("application/dicom" | "application/*" | "*/*") => false,
                Some(_) => continue,
            },
            "application/dicom" | "application/*" if one => true,
            _ => continue,
        };
        let none = || Syntaxes::Only(Vec::new());
        let chosen = form.get_or_insert_with(|| match bare {
            true => Form::Bare(none()),
            false => Form::Multipart(none()),
        });
        match (chosen, bare) {
            (Form::Bare(syntaxes), true) | (Form::Multipart(syntaxes), false) => {
                syntaxes.add(range.syntax.as_deref());
            }
            (Form::Bare(_), false) | (Form::Multipart(_), true) => {}
        }
    }
    form.ok_or(DicomwebError::NotAcceptable {
        offered: if one {
            "multipart/related; type=\"application/dicom\", or application/dicom"
        } else {
            "multipart/related; type=\"application/dicom\""
        },
    })
}

/// How frames or a value are stored, as an answer names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    /// The media type (PS3.18 tables 8.7.3-2 to 8.7.3-5).
    pub(super) media: &'static str,
    /// The transfer syntax that an answer names; `None`: the value is no pixel data.
    pub(super) named: Option<&'a str>,
    /// The transfer syntax of the object.
    pub(super) syntax: &'a str,
    /// None that a web service may give (PS3.18 8.7.3.3): only to who asks for it or for any.
    pub(super) strange: bool,
}

/// What pixels are whose transfer syntax has no media type of its own.
pub(super) const OCTETS: &str = "application/octet-stream";

impl Stored<'_> {
    /// As the header of a part or an answer names it.
    pub(super) fn content_type(&self, media: &str) -> String {
        match self.named {
            Some(syntax) => format!("{media}; transfer-syntax={syntax}"),
            None => media.to_owned(),
        }
    }

    /// The media type under which a range takes it. Any pixels may be asked for as octets by who
    /// names their transfer syntax, or any.
    fn under(&self, media: &str, syntax: Option<&str>) -> Option<&'static str> {
        let group = self.media.split('/').next().unwrap_or_default();
        let natural = media == self.media
            || media == "*/*"
            || media.strip_suffix("/*").is_some_and(|one| one == group);
        let suits = match syntax {
            Some("*") => true,
            Some(named) => self.named.is_none_or(|own| named == own || named == self.syntax),
            None => !self.strange && natural,
        };
        match (suits, natural) {
            (true, true) => Some(self.media),
            (true, false) if media == OCTETS => Some(OCTETS),
            _ => None,
        }
    }
}

/// The media type under which what is stored leaves, and whether as multipart; `one`: it is a
/// single part, which may leave alone.
pub(super) fn parts(
    headers: &HeaderMap,
    parameter: Option<&str>,
    one: bool,
    stored: &Stored<'_>,
) -> Result<(&'static str, bool), PieceError> {
    let ranges = ranges(headers, parameter);
    let found = ranges.iter().find_map(|range| {
        let (media, multipart) = match range.media.as_str() {
            "*/*" | "multipart/*" => ("*/*", true),
            "multipart/related" => (range.of.as_deref().unwrap_or("*/*"), true),
            media if one => (media, false),
            _ => return None,
        };
        Some((stored.under(media, range.syntax.as_deref())?, multipart))
    });
    found.ok_or_else(|| PieceError::Stored { stored: stored.content_type(stored.media) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !value.is_empty() {
            headers.insert(header::ACCEPT, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn json_is_given_to_whom_takes_it() {
        for (value, expected) in [
            ("", Some("application/dicom+json")),
            ("*/*", Some("application/dicom+json")),
            ("application/dicom+json", Some("application/dicom+json")),
            ("application/json", Some("application/json")),
            ("text/html, application/json;q=0.5, */*;q=0.1", Some("application/json")),
            ("multipart/related; type=\"application/dicom+xml\"", None),
            ("application/dicom+json;q=0", None),
            ("application/dicom+xml", None),
        ] {
            assert_eq!(json(&accept(value), None).ok(), expected, "{value}");
        }
        assert!(json(&accept("text/html"), Some("application/json")).is_ok());
    }

    #[test]
    fn objects_come_as_multipart_or_bare() {
        let any = || Some(Form::Multipart(Syntaxes::Any));
        let only = |syntax: &str| Syntaxes::Only(vec![syntax.to_owned()]);
        for (value, one, expected) in [
            ("", true, any()),
            ("*/*", false, any()),
            ("multipart/related", false, any()),
            ("multipart/related; type=\"application/dicom\"", false, any()),
            ("multipart/related; type=application/dicom; transfer-syntax=*", false, any()),
            (
                "multipart/related;type=\"application/dicom\";transfer-syntax=1.2.840.10008.1.2.1",
                false,
                Some(Form::Multipart(only("1.2.840.10008.1.2.1"))),
            ),
            ("application/dicom", true, Some(Form::Bare(Syntaxes::Any))),
            ("application/dicom", false, None),
            (
                "application/dicom;transfer-syntax=\"1.2.840.10008.1.2\", */*;q=0.1",
                true,
                Some(Form::Bare(only("1.2.840.10008.1.2"))),
            ),
            ("multipart/related; type=\"application/octet-stream\"", true, None),
            ("multipart/related; type=\"image/jpeg\"", true, None),
            ("image/png", true, None),
        ] {
            assert_eq!(objects(&accept(value), None, one).ok(), expected, "{value}");
        }
    }

    #[test]
    fn several_transfer_syntaxes_add_up() {
        let dicom = "multipart/related; type=\"application/dicom\"; transfer-syntax=";
        let two = accept(&format!("{dicom}1.2.840.10008.1.2.4.70, {dicom}1.2.840.10008.1.2.1"));
        let Ok(Form::Multipart(syntaxes)) = objects(&two, None, false) else { panic!() };
        assert!(syntaxes.hold("1.2.840.10008.1.2.1") && syntaxes.hold("1.2.840.10008.1.2.4.70"));
        assert!(!syntaxes.hold("1.2.840.10008.1.2"));
        let or_any = accept(&format!("{dicom}1.2.840.10008.1.2.4.70, {dicom}*;q=0.1"));
        let Ok(Form::Multipart(syntaxes)) = objects(&or_any, None, false) else { panic!() };
        assert!(syntaxes.hold("1.2.840.10008.1.2"));
    }

    #[test]
    fn frames_come_as_they_are_stored() {
        let native = Stored {
            media: OCTETS,
            named: Some("1.2.840.10008.1.2.1"),
            syntax: "1.2.840.10008.1.2",
            strange: false,
        };
        let jpeg = Stored {
            media: "image/jpeg",
            named: Some("1.2.840.10008.1.2.4.50"),
            syntax: "1.2.840.10008.1.2.4.50",
            strange: false,
        };
        let big = Stored {
            named: Some("1.2.840.10008.1.2.2"),
            syntax: "1.2.840.10008.1.2.2",
            strange: true,
            ..native.clone()
        };
        let (octets, image) = (Some((OCTETS, true)), Some(("image/jpeg", true)));
        let of = |media: &str, syntax: &str| format!("multipart/related; type=\"{media}\"{syntax}");
        let any = "; transfer-syntax=*";
        for (value, expected) in [
            (String::new(), [octets, image, None]),
            ("*/*".into(), [octets, image, None]),
            ("*/*; transfer-syntax=*".into(), [octets, image, octets]),
            ("multipart/related".into(), [octets, image, None]),
            (of(OCTETS, ""), [octets, None, None]),
            (of(OCTETS, any), [octets, octets, octets]),
            (of(OCTETS, "; transfer-syntax=1.2.840.10008.1.2.1"), [octets, None, None]),
            (of(OCTETS, "; transfer-syntax=1.2.840.10008.1.2.2"), [None, None, octets]),
            (of(OCTETS, "; transfer-syntax=1.2.840.10008.1.2.4.50"), [None, octets, None]),
            (of("image/jpeg", ""), [None, image, None]),
            (of("image/*", any), [None, image, None]),
            (of("image/jpeg", "; transfer-syntax=1.2.840.10008.1.2.4.70"), [None, None, None]),
            (of("image/jp2", any), [None, None, None]),
            (of("application/dicom", any), [None, None, None]),
            ("image/jpeg".into(), [None, Some(("image/jpeg", false)), None]),
            (OCTETS.into(), [Some((OCTETS, false)), None, None]),
            (
                format!("image/jpeg, {}", of(OCTETS, ";q=0.5")),
                [octets, Some(("image/jpeg", false)), None],
            ),
        ] {
            for (stored, expected) in [&native, &jpeg, &big].into_iter().zip(expected) {
                let got = parts(&accept(&value), None, true, stored);
                assert_eq!(got.ok(), expected, "{value} {}", stored.syntax);
            }
        }
        let refused = parts(&accept("image/png"), None, true, &jpeg).unwrap_err().to_string();
        assert!(refused.contains("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"));
        assert!(parts(&accept("image/jpeg"), None, false, &jpeg).is_err(), "several are parts");
    }
}
