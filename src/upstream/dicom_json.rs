//! Reads the answers of a QIDO-RS search (PS3.18 10.6, F.2), tolerantly.
//!
//! What for: a source's studies and a study's instances, from whatever a server makes of the DICOM
//! JSON model. What always holds: only the elements of [`KEYS`] are kept in memory, lists, texts
//! and levels are bounded, and a row without a valid UID is skipped and counted, never fatal.
//! On the wire: an array of objects, one a match. Also taken: nothing at all, `null`, a single
//! object, a byte order mark, bare values in place of lists, numbers as texts and texts as
//! numbers, tags in small letters, GB 18030 in place of UTF-8.
//! Refused: reading into `serde_json::Value`, where a hostile 32 MB of `[[[…` take gigabytes.
//! Start reading at [`studies`].

use std::fmt;

use forepost_cache::Uid;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;

use super::limits::{
    INSTANCES_MAX, LEVELS_MAX, SERIES_MAX, STUDIES_MAX, VALUE_BYTES_MAX, VALUES_MAX,
};
use crate::model::{FoundStudy, ListedInstance, ListedSeries, Place};

/// Why an answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// Not JSON, or neither an array nor an object. The cause is a place, not a text of the answer.
    #[error("no DICOM JSON at line {line}, column {column}: {kind}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What was met, in a word.
        kind: &'static str,
    },
}

/// One page of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What could be read, in the order of the server.
    pub rows: Vec<T>,
    /// Rows that the server sent, with those that could not be read and those beyond the limit.
    pub received: usize,
    /// Rows skipped because they have no valid UID.
    pub skipped: usize,
}

const SOP_CLASS: &str = "00080016";
const SOP_INSTANCE: &str = "00080018";
const STUDY_DATE: &str = "00080020";
const STUDY_TIME: &str = "00080030";
const ACCESSION_ISSUERS: &str = "00080051";
const MODALITY: &str = "00080060";
const MODALITIES: &str = "00080061";
const INSTITUTION_NAME: &str = "00080080";
const INSTITUTION_CODES: &str = "00080082";
const CODE_VALUE: &str = "00080100";
const STUDY_DESCRIPTION: &str = "00081030";
const RETRIEVE_URL: &str = "00081190";
const PATIENT_NAME: &str = "00100010";
const PATIENT_ID: &str = "00100020";
const BIRTH_DATE: &str = "00100030";
const SEX: &str = "00100040";
const AGE: &str = "00101010";
const BODY_PART: &str = "00180015";
const STUDY: &str = "0020000D";
const SERIES: &str = "0020000E";
const INSTANCE_NUMBER: &str = "00200013";
const INSTANCES: &str = "00201208";
const SERIES_INSTANCES: &str = "00201209";
const LOCAL_NAMESPACE: &str = "00400031";
const VALUE: &str = "Value";
/// F.2.2: the groups of a PN, in the order of PS3.5 6.2.
const NAME_GROUPS: [&str; 3] = ["Alphabetic", "Ideographic", "Phonetic"];

/// Every name that is kept; all others are skipped while reading.
const KEYS: [&str; 28] = [
    SOP_CLASS,
    SOP_INSTANCE,
    STUDY_DATE,
    STUDY_TIME,
    ACCESSION_ISSUERS,
    MODALITY,
    MODALITIES,
    INSTITUTION_NAME,
    INSTITUTION_CODES,
    CODE_VALUE,
    STUDY_DESCRIPTION,
    RETRIEVE_URL,
    PATIENT_NAME,
    PATIENT_ID,
    BIRTH_DATE,
    SEX,
    AGE,
    BODY_PART,
    STUDY,
    SERIES,
    INSTANCE_NUMBER,
    INSTANCES,
    SERIES_INSTANCES,
    LOCAL_NAMESPACE,
    VALUE,
    NAME_GROUPS[0],
    NAME_GROUPS[1],
    NAME_GROUPS[2],
];

/// Elements of [`studies`] that a server need not return unless it is asked (PS3.18 10.6.3.3).
pub const STUDY_FIELDS: [&str; 9] = [
    MODALITIES,
    INSTITUTION_NAME,
    INSTITUTION_CODES,
    ACCESSION_ISSUERS,
    BODY_PART,
    STUDY_DESCRIPTION,
    AGE,
    RETRIEVE_URL,
    INSTANCES,
];

/// The same of [`series`].
pub const SERIES_FIELDS: [&str; 2] = [MODALITY, SERIES_INSTANCES];

/// The same of [`instances`].
pub const INSTANCE_FIELDS: [&str; 2] = [SOP_CLASS, INSTANCE_NUMBER];

/// Reads the studies of an answer of `source`. Retrieve URLs are as sent: not judged yet.
pub fn studies(body: &[u8], source: &str) -> Result<Page<FoundStudy>, AnswerError> {
    page(body, STUDIES_MAX, |row| study(row, source))
}

/// Reads the series of an answer.
pub fn series(body: &[u8]) -> Result<Page<ListedSeries>, AnswerError> {
    page(body, SERIES_MAX, |row| {
        Some(ListedSeries {
            series: uid(row, SERIES)?,
            modality: row.text(MODALITY),
            instances: row.text(SERIES_INSTANCES).parse().ok(),
        })
    })
}

/// Reads the instances of an answer.
pub fn instances(body: &[u8]) -> Result<Page<ListedInstance>, AnswerError> {
    page(body, INSTANCES_MAX, instance)
}

fn page<T>(
    body: &[u8],
    rows_max: usize,
    read: impl Fn(&Node) -> Option<T>,
) -> Result<Page<T>, AnswerError> {
    let text = text(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Ok(Page { rows: Vec::new(), received: 0, skipped: 0 });
    }
    let mut json = Deserializer::from_str(text);
    let (rows, received) = AnswerSeed { rows_max }
        .deserialize(&mut json)
        .and_then(|answer| json.end().map(|()| answer))
        .map_err(|error| json_error(&error))?;
    let read: Vec<T> = rows.iter().filter_map(read).collect();
    let skipped = rows.len() - read.len();
    Ok(Page { rows: read, received, skipped })
}

/// JSON is UTF-8 (RFC 8259, 8.1); some Chinese servers send what their database holds.
fn text(body: &[u8]) -> std::borrow::Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(body) {
        return text.into();
    }
    let decoded = encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(body);
    decoded.unwrap_or_else(|| String::from_utf8_lossy(body))
}

/// Serde's own message may quote the answer, and with it a patient.
fn json_error(error: &serde_json::Error) -> AnswerError {
    let kind = match error.classify() {
        serde_json::error::Category::Eof => "it ends early",
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Data => "neither an array nor an object",
        serde_json::error::Category::Io => "not readable",
    };
    AnswerError::Json { line: error.line(), column: error.column(), kind }
}

fn study(row: &Node, source: &str) -> Option<FoundStudy> {
    let retrieve_url = row.text(RETRIEVE_URL);
    Some(FoundStudy {
        study: uid(row, STUDY)?,
        place: Place {
            source: source.to_owned(),
            retrieve_url: (!retrieve_url.is_empty()).then_some(retrieve_url),
        },
        patient_name: row.first(PATIENT_NAME).map_or_else(String::new, Node::person),
        patient_id: row.text(PATIENT_ID),
        birth_date: row.date(BIRTH_DATE),
        sex: row.text(SEX),
        age: row.text(AGE),
        study_date: row.date(STUDY_DATE),
        study_time: row.text(STUDY_TIME),
        modalities: modalities(row),
        body_part: row.text(BODY_PART),
        description: row.text(STUDY_DESCRIPTION),
        institution_name: row.text(INSTITUTION_NAME),
        institution_code: row.item_text(INSTITUTION_CODES, CODE_VALUE),
        accession_issuer: row.item_text(ACCESSION_ISSUERS, LOCAL_NAMESPACE),
        instances: row.text(INSTANCES).parse().ok(),
    })
}

fn instance(row: &Node) -> Option<ListedInstance> {
    Some(ListedInstance {
        series: uid(row, SERIES)?,
        sop: uid(row, SOP_INSTANCE)?,
        class: uid(row, SOP_CLASS).map_or_else(String::new, |class| class.to_string()),
        number: row.text(INSTANCE_NUMBER).parse().unwrap_or(0),
    })
}

fn uid(row: &Node, tag: &str) -> Option<Uid> {
    // A UID of odd length is padded with a NUL in a file (PS3.5 9), and some servers pass it on.
    Uid::try_from(row.text(tag).trim_end_matches('\0')).ok()
}

/// Modalities in Study; servers that do not compute it may give the Modality of a series.
fn modalities(row: &Node) -> Vec<String> {
    let values = [MODALITIES, MODALITY].map(|tag| row.values(tag));
    let values = values.into_iter().find(|values| !values.is_empty()).unwrap_or_default();
    let texts = values.iter().flat_map(|value| value.as_text().split('\\'));
    texts.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// JSON, reduced to what is read of it.
enum Node {
    /// Null, a truth value, or something that is not kept.
    Nothing,
    /// A text or a number.
    Text(String),
    List(Vec<Node>),
    Object(Vec<(&'static str, Node)>),
}

impl Node {
    fn member(&self, key: &str) -> Option<&Node> {
        match self {
            Node::Object(members) => {
                members.iter().find(|(known, _)| *known == key).map(|(_, node)| node)
            }
            Node::Nothing | Node::Text(_) | Node::List(_) => None,
        }
    }

    /// The values of an element (F.2.2), or the bare value that stands in its place.
    fn values(&self, tag: &str) -> &[Node] {
        let Some(element) = self.member(tag) else { return &[] };
        match element.member(VALUE).unwrap_or(element) {
            Node::Nothing => &[],
            Node::List(values) => values,
            Node::Object(members) if members.is_empty() => &[],
            single @ (Node::Text(_) | Node::Object(_)) => std::slice::from_ref(single),
        }
    }

    fn first(&self, tag: &str) -> Option<&Node> {
        self.values(tag).first()
    }

    /// The first value of an element, trimmed; empty where there is none.
    fn text(&self, tag: &str) -> String {
        self.first(tag).map_or("", Node::as_text).to_owned()
    }

    /// A date as `YYYYMMDD`; the forms of ACR-NEMA (`YYYY.MM.DD`) and ISO 8601 are taken.
    fn date(&self, tag: &str) -> String {
        self.text(tag).replace(['-', '.'], "")
    }

    /// The first value of an element in the first item of a sequence.
    fn item_text(&self, sequence: &str, tag: &str) -> String {
        self.first(sequence).map_or_else(String::new, |item| item.text(tag))
    }

    fn as_text(&self) -> &str {
        match self {
            Node::Text(text) => text.trim(),
            Node::Nothing | Node::List(_) | Node::Object(_) => "",
        }
    }

    /// A PN as its text: the groups joined by `=`, without empty ones at the end (PS3.5 6.2).
    fn person(&self) -> String {
        let Node::Object(_) = self else { return self.as_text().to_owned() };
        let groups = NAME_GROUPS.map(|group| self.member(group).map_or("", Node::as_text));
        groups.join("=").trim_end_matches('=').to_owned()
    }
}

/// Reads the rows of an answer, and how many there were.
struct AnswerSeed {
    rows_max: usize,
}

impl<'de> DeserializeSeed<'de> for AnswerSeed {
    type Value = (Vec<Node>, usize);

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnswerSeed {
    type Value = (Vec<Node>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok((Vec::new(), 0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut rows, mut received) = (Vec::new(), 0);
        while rows.len() < self.rows_max {
            let Some(row) = list.next_element_seed(NodeSeed { levels: LEVELS_MAX })? else {
                return Ok((rows, received));
            };
            rows.push(row);
            received += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            received += 1;
        }
        Ok((rows, received))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok((vec![NodeSeed { levels: LEVELS_MAX }.visit_map(map)?], 1))
    }
}

/// Reads a node with at most so many levels of lists and objects.
struct NodeSeed {
    levels: usize,
}

impl<'de> DeserializeSeed<'de> for NodeSeed {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Node, D::Error> {
        if self.levels == 0 {
            // serde_json skips a value in a loop, not by recursion.
            return json.deserialize_ignored_any(IgnoredAny).map(|_| Node::Nothing);
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        let kept = text.len() <= VALUE_BYTES_MAX;
        Ok(if kept { Node::Text(text.to_owned()) } else { Node::Nothing })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while nodes.len() < VALUES_MAX {
            match list.next_element_seed(NodeSeed { levels: self.levels - 1 })? {
                Some(node) => nodes.push(node),
                None => return Ok(Node::List(nodes)),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members: Vec<(&'static str, Node)> = Vec::new();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            // A key that is repeated would grow the list without bound: the first one counts.
            let new = key.filter(|key| members.iter().all(|(known, _)| known != key));
            match new {
                Some(key) => {
                    let node = map.next_value_seed(NodeSeed { levels: self.levels - 1 })?;
                    members.push((key, node));
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Node::Object(members))
    }
}

/// Reads a name: one of [`KEYS`] or nothing.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<&'static str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(KEYS.into_iter().find(|key| key.eq_ignore_ascii_case(text)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(body: &str) -> FoundStudy {
        let mut page = studies(body.as_bytes(), "province").unwrap();
        assert_eq!((page.rows.len(), page.received, page.skipped), (1, 1, 0), "{body}");
        page.rows.remove(0)
    }

    fn fixture(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/upstream/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    #[test]
    fn a_study_is_read_with_all_its_fields() {
        let page = studies(&fixture("study-all-fields.json"), "province").unwrap();
        let expected = FoundStudy {
            study: Uid::try_from("1.2.826.0.1.3680043.10.1").unwrap(),
            place: Place {
                source: "province".into(),
                retrieve_url: Some("https://pacs.example/studies/1.2.826.0.1.3680043.10.1".into()),
            },
            patient_name: "Wang^XiaoDong=王^小东=ㄨㄤˊ".into(),
            patient_id: "P-7".into(),
            birth_date: "19800307".into(),
            sex: "M".into(),
            age: "045Y".into(),
            study_date: "20250102".into(),
            study_time: "101112.5".into(),
            modalities: vec!["CT".into(), "SR".into()],
            body_part: "CHEST".into(),
            description: "胸部平扫".into(),
            institution_name: "第二医院".into(),
            institution_code: "H11000000002".into(),
            accession_issuer: "second".into(),
            instances: Some(512),
        };
        assert_eq!(page, Page { rows: vec![expected], received: 1, skipped: 0 });
    }

    #[test]
    fn odd_forms_are_taken() {
        let bare = one(r#"{"0020000d":"1.2","00100010":"Li^Lei","00080061":["CT\\MR"," "],
            "00201208":{"vr":"IS","Value":["12"]},"00100030":{"Value":"1980-03-07"}}"#);
        assert_eq!((bare.patient_name.as_str(), bare.instances), ("Li^Lei", Some(12)));
        assert_eq!((bare.modalities.len(), bare.birth_date.as_str()), (2, "19800307"));
        let nulls = one(r#"[{"0020000D":{"vr":"UI","Value":["1.2\u0000"]},"00100010":null,
            "00080060":{"vr":"CS","Value":["XA"]},"00080061":{"vr":"CS"},
            "00080082":{"vr":"SQ","Value":[null]},"00080051":{"vr":"SQ","Value":[{}]},
            "00100020":{"vr":"LO","Value":[null]},"00080020":{"vr":"DA","Value":[20250102]}}]"#);
        assert_eq!((nulls.patient_name.as_str(), nulls.patient_id.as_str()), ("", ""));
        assert_eq!(
            (&nulls.modalities[..], nulls.study_date.as_str()),
            (&["XA".into()][..], "20250102")
        );
        let ideographic = one(r#"[{"0020000D":{"Value":["1.2"]},
            "00100010":{"vr":"PN","Value":{"Ideographic":"王^小东"}}}]"#);
        assert_eq!(ideographic.patient_name, "=王^小东");
        for empty in ["", " \r\n", "null", "[]", "\u{feff}[]"] {
            assert_eq!(studies(empty.as_bytes(), "s").unwrap().received, 0, "{empty:?}");
        }
    }

    #[test]
    fn gb_18030_is_read() {
        let body =
            r#"[{"0020000D":{"Value":["1.2"]},"00100010":{"Value":[{"Alphabetic":"王小东"}]}}]"#;
        let (bytes, _, _) = encoding_rs::GB18030.encode(body);
        assert_eq!(studies(&bytes, "s").unwrap().rows[0].patient_name, "王小东");
    }

    #[test]
    fn rows_without_a_valid_uid_are_skipped_and_counted() {
        let body =
            r#"[{"0020000D":{"Value":["1.2"]}}, {}, null, 7, {"0020000D":{"Value":["../x"]}}]"#;
        let page = studies(body.as_bytes(), "s").unwrap();
        assert_eq!((page.rows.len(), page.received, page.skipped), (1, 5, 4));
        let body = r#"[{"0020000E":{"Value":["1.2"]}, "00080018":{"Value":["1.3"]},
            "00200013":{"vr":"IS","Value":[-4]}}, {"00080018":{"Value":["1.3"]}}]"#;
        let page = instances(body.as_bytes()).unwrap();
        assert_eq!((page.rows[0].number, page.rows[0].class.as_str(), page.skipped), (-4, "", 1));
    }

    #[test]
    fn what_is_no_dicom_json_is_refused_without_quoting_it() {
        for body in ["<html>74401972</html>", "\"74401972\"", "[{]", "[] 74401972", "{\"a\":", "7"]
        {
            let error = studies(body.as_bytes(), "s").unwrap_err().to_string();
            assert!(!error.contains("7440"), "{error}");
        }
    }

    #[test]
    fn an_answer_cut_anywhere_is_refused() {
        let body = fixture("study-all-fields.json");
        let end = body.trim_ascii_end().len();
        for cut in 1..end {
            assert!(studies(&body[..cut], "s").is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn rows_values_levels_and_lengths_are_bounded() {
        let row = r#"{"0020000D":{"Value":["1.2"]}},"#;
        for rows in [STUDIES_MAX, STUDIES_MAX + 1] {
            let body = format!("[{}]", row.repeat(rows).trim_end_matches(','));
            let page = studies(body.as_bytes(), "s").unwrap();
            assert_eq!((page.rows.len(), page.received), (STUDIES_MAX, rows));
        }
        for values in [VALUES_MAX, VALUES_MAX + 1] {
            let list = vec!["\"CT\""; values].join(",");
            let study = one(&format!(r#"{{"0020000D":"1.2","00080061":[{list}]}}"#));
            assert_eq!(study.modalities.len(), VALUES_MAX);
        }
        for (length, kept) in [(VALUE_BYTES_MAX, true), (VALUE_BYTES_MAX + 1, false)] {
            let long = "a".repeat(length);
            let study = one(&format!(r#"{{"0020000D":"1.2","00081030":"{long}"}}"#));
            assert_eq!(!study.description.is_empty(), kept);
        }
        let deep = 1_000_000;
        let body = format!(
            r#"[{{"00081030":{}{},"0020000D":"1.2"}}]"#,
            "[".repeat(deep),
            "]".repeat(deep)
        );
        assert_eq!(one(&body).description, "");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = studies(&body, "s");
        }

        #[test]
        fn damaged_answers_are_read_or_refused(at in 0usize..2000, byte in any::<u8>()) {
            let mut body = fixture("study-all-fields.json");
            let at = at % body.len();
            body[at] = byte;
            if let Ok(page) = studies(&body, "s") {
                prop_assert_eq!(page.rows.len() + page.skipped, page.received);
            }
        }
    }
}
