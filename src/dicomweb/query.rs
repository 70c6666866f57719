//! The query of a search (PS3.18 8.3.4): matching keys, includefield, limit, offset.
//!
//! Keys that are not supported are left out of the match and named in a warning (PS3.18 8.3.4.1);
//! a value that cannot be read is refused, since leaving it out would show other patients.

use std::borrow::Cow;

use encoding_rs::GBK;
use forepost_cache::{DateRange, SeriesQuery, Uid};

use super::attribute;
use super::limits::{KEY_BYTES_MAX, LIST_VALUES_MAX, PARAMETERS_MAX, WARNINGS_MAX};
use super::reply::DicomwebError;
use super::target::Level;
use super::times::TimeRange;
use crate::limits::{QIDO_RESULTS_DEFAULT, QIDO_RESULTS_MAX};

/// A query, read.
#[derive(Default)]
pub(super) struct Query {
    /// Keys of study and series.
    pub(super) keys: SeriesQuery,
    /// Study Time.
    pub(super) study_time: Option<TimeRange>,
    /// Performed Procedure Step Start Time.
    pub(super) step_time: Option<TimeRange>,
    /// SOP Instance UIDs, any of them.
    pub(super) instances: Option<Vec<Uid>>,
    /// SOP Class UIDs, any of them.
    pub(super) classes: Option<Vec<Uid>>,
    /// Instance Number.
    pub(super) number: Option<i32>,
    /// Whether a key of the series level was given.
    pub(super) names_series: bool,
    /// Rows of the answer, at most.
    pub(super) limit: usize,
    /// Rows left out before the first.
    pub(super) offset: usize,
    /// `includefield=all`.
    pub(super) all: bool,
    /// Attributes to answer with beside those of a row: of includefield, and matched ones.
    pub(super) fields: Vec<u32>,
    /// What the caller is told in Warning headers: ASCII.
    pub(super) warnings: Vec<String>,
    /// The `accept` parameter, which stands for the header of that name (PS3.18 8.3.3.1).
    pub(super) accept: Option<String>,
    seen: Vec<u32>,
}

impl Query {
    /// Reads the query of a search for rows of `level`.
    pub(super) fn parse(query: &str, level: Level) -> Result<Query, DicomwebError> {
        let mut read = Query {
            // The default is a page of studies; within a study a viewer means all there is.
            limit: match level {
                Level::Study => QIDO_RESULTS_DEFAULT,
                Level::Series | Level::Instance => QIDO_RESULTS_MAX,
            },
            ..Query::default()
        };
        for (count, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            if count >= PARAMETERS_MAX {
                return Err(DicomwebError::TooMany { what: "parameters", limit: PARAMETERS_MAX });
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or(DicomwebError::Undecodable { key: "?".into() })?;
            let value =
                decode(value).ok_or_else(|| DicomwebError::Undecodable { key: shown(&name) })?;
            read.take(&name, value.trim(), level)?;
        }
        read.fields.sort_unstable();
        read.fields.dedup();
        Ok(read)
    }

    fn take(&mut self, name: &str, value: &str, level: Level) -> Result<(), DicomwebError> {
        match name {
            "limit" => {
                let asked: usize = number("limit", value)?;
                if asked > QIDO_RESULTS_MAX {
                    self.warn(format!("limit is {QIDO_RESULTS_MAX}, {asked} was asked for"));
                }
                self.limit = asked.min(QIDO_RESULTS_MAX);
            }
            "offset" => self.offset = number("offset", value)?,
            "includefield" => self.include(value),
            "fuzzymatching" => {
                if value.eq_ignore_ascii_case("true") {
                    // The wording of PS3.18 8.3.4.2.
                    self.warn(
                        "The fuzzymatching parameter is not supported. Only literal matching has \
                         been performed."
                            .into(),
                    );
                }
            }
            "accept" => self.accept = Some(value.to_owned()),
            _ => return self.match_key(name, value, level),
        }
        Ok(())
    }

    fn include(&mut self, value: &str) {
        for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name.eq_ignore_ascii_case("all") {
                self.all = true;
                continue;
            }
            match attribute::tag(name) {
                Some(tag) if self.fields.len() < LIST_VALUES_MAX => self.fields.push(tag),
                _ => self.warn(format!("includefield {} is not known", shown(name))),
            }
        }
    }

    fn match_key(&mut self, name: &str, value: &str, level: Level) -> Result<(), DicomwebError> {
        let Some(key) = attribute::matching(name).filter(|key| key.level <= level) else {
            self.warn(format!(
                "key {} is not supported at this level and was ignored",
                shown(name)
            ));
            return Ok(());
        };
        if value.len() > KEY_BYTES_MAX && !is_list(key.tag) {
            return Err(DicomwebError::KeyTooLong { key: key.keyword, limit: KEY_BYTES_MAX });
        }
        if self.seen.contains(&key.tag) && !is_list(key.tag) {
            return Err(DicomwebError::KeyTwice { key: key.keyword });
        }
        self.seen.push(key.tag);
        self.fields.push(key.tag);
        if value.is_empty() {
            // Universal matching (PS3.4 C.2.2.2.3): it is only answered with.
            return Ok(());
        }
        if key.level == Level::Series {
            self.names_series = true;
        }
        self.set(key, value)
    }

    fn set(&mut self, key: &attribute::Key, value: &str) -> Result<(), DicomwebError> {
        let word = key.keyword;
        let text = || Some(value.to_owned());
        let studies = &mut self.keys.studies;
        match key.tag {
            0x0008_0020 => studies.study_date = Some(date(word, value)?),
            0x0008_0030 => self.study_time = Some(time(word, value)?),
            0x0008_0050 => studies.accession_number = text(),
            0x0008_0061 => words(word, value, &mut studies.modalities)?,
            0x0008_0080 => studies.institution_name = text(),
            0x0008_0090 => studies.referring_physician = text(),
            0x0008_1030 => studies.description = text(),
            0x0010_0010 => studies.patient_name = text(),
            0x0010_0020 => studies.patient_id = text(),
            0x0010_0021 => studies.issuer_of_patient_id = text(),
            0x0010_0030 => studies.birth_date = Some(date(word, value)?),
            0x0010_0040 => studies.sex = text(),
            0x0020_000d => uids(word, value, &mut studies.study)?,
            0x0020_0010 => studies.study_id = text(),
            0x0008_0060 => words(word, value, &mut self.keys.modalities)?,
            0x0008_103e => self.keys.description = text(),
            0x0018_0015 => self.keys.body_part = text(),
            0x0020_000e => uids(word, value, &mut self.keys.series)?,
            0x0020_0011 => self.keys.number = Some(number(word, value)?),
            0x0040_0244 => self.keys.step_date = Some(date(word, value)?),
            0x0040_0245 => self.step_time = Some(time(word, value)?),
            0x0008_0016 => uids(word, value, &mut self.classes)?,
            0x0008_0018 => uids(word, value, &mut self.instances)?,
            0x0020_0013 => self.number = Some(number(word, value)?),
            _ => {}
        }
        Ok(())
    }

    fn warn(&mut self, text: String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(text);
        }
    }
}

/// Keys whose value may be a list, and that may be given several times.
fn is_list(tag: u32) -> bool {
    matches!(tag, 0x0008_0016 | 0x0008_0018 | 0x0008_0060 | 0x0008_0061 | 0x0020_000d | 0x0020_000e)
}

/// A name from outside as it may stand in a header and a log.
fn shown(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
    if name.len() <= 64 && name.bytes().all(plain) { name.to_owned() } else { "?".to_owned() }
}

fn date(key: &'static str, value: &str) -> Result<DateRange, DicomwebError> {
    value
        .parse()
        .map_err(|_| DicomwebError::KeyValue { key, expected: "a date or a range of dates" })
}

fn time(key: &'static str, value: &str) -> Result<TimeRange, DicomwebError> {
    TimeRange::parse(value)
        .ok_or(DicomwebError::KeyValue { key, expected: "a time or a range of times" })
}

fn number<N: std::str::FromStr>(key: &'static str, value: &str) -> Result<N, DicomwebError> {
    value.parse().map_err(|_| DicomwebError::KeyValue { key, expected: "a whole number" })
}

/// Values of a list, divided by commas (PS3.18 8.3.4.1) or, as in DIMSE, by backslashes.
fn listed(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', '\\']).map(str::trim).filter(|one| !one.is_empty())
}

fn words(key: &'static str, value: &str, out: &mut Vec<String>) -> Result<(), DicomwebError> {
    out.extend(listed(value).take(LIST_VALUES_MAX + 1).map(str::to_ascii_uppercase));
    check_length(key, out.len())
}

fn uids(key: &'static str, value: &str, out: &mut Option<Vec<Uid>>) -> Result<(), DicomwebError> {
    let out = out.get_or_insert_default();
    for one in listed(value).take(LIST_VALUES_MAX + 1) {
        let uid = Uid::try_from(one);
        out.push(uid.map_err(|_| DicomwebError::KeyValue { key, expected: "a list of UIDs" })?);
    }
    check_length(key, out.len())
}

fn check_length(key: &'static str, length: usize) -> Result<(), DicomwebError> {
    if length > LIST_VALUES_MAX {
        return Err(DicomwebError::TooMany { what: key, limit: LIST_VALUES_MAX });
    }
    Ok(())
}

/// A percent-encoded text: UTF-8 (PS3.18 8.3.4.1), else GBK, which older Chinese programs send.
/// `+` is a blank, as forms encode it. `None` where it is neither.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, behind) = behind.split_at_checked(2)?;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
                rest = behind;
            }
            byte => bytes.push(*byte),
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(Cow::Owned(text)),
        Err(error) => {
            let bytes = error.into_bytes();
            let text = GBK.decode_without_bom_handling_and_without_replacement(&bytes)?;
            Some(Cow::Owned(text.into_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Query {
        Query::parse(query, Level::Instance).unwrap()
    }

    #[test]
    fn chinese_comes_in_utf_8_and_in_gbk() {
        for query in [
            "PatientName=%E5%BC%A0%E4%B8%89",
            "PatientName=%e5%bc%a0%e4%b8%89",
            "00100010=%D5%C5%C8%FD",
            "patientname=张三",
        ] {
            assert_eq!(read(query).keys.studies.patient_name.as_deref(), Some("张三"), "{query}");
        }
        let blank = read("StudyDescription=chest+ct%20x");
        assert_eq!(blank.keys.studies.description.as_deref(), Some("chest ct x"));
        for bad in ["PatientName=%E5%BC%FF", "PatientName=%E5%B", "PatientName=%zz", "%ff%ff=1"] {
            let error = Query::parse(bad, Level::Study).err();
            assert!(matches!(error, Some(DicomwebError::Undecodable { .. })), "{bad}");
        }
    }

    #[test]
    fn lists_are_divided_by_commas_backslashes_and_repetition() {
        for query in [
            "StudyInstanceUID=1.2,1.3",
            "StudyInstanceUID=1.2%5C1.3",
            "StudyInstanceUID=1.2&0020000D=1.3",
        ] {
            let studies = read(query).keys.studies.study.unwrap();
            assert_eq!(studies.len(), 2, "{query}");
        }
        assert_eq!(read("ModalitiesInStudy=ct,MR").keys.studies.modalities, ["CT", "MR"]);
        let many = |n: usize| format!("SOPInstanceUID={}", vec!["1.2"; n].join(","));
        assert_eq!(read(&many(LIST_VALUES_MAX)).instances.unwrap().len(), LIST_VALUES_MAX);
        let error = Query::parse(&many(LIST_VALUES_MAX + 1), Level::Instance).err();
        assert!(matches!(error, Some(DicomwebError::TooMany { .. })));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_refused() {
        for query in [
            "StudyDate=2024",
            "StudyDate=20240101-20240102-20240103",
            "StudyTime=25",
            "StudyInstanceUID=1..2",
            "SeriesNumber=one",
            "limit=-1",
            "limit=",
            "offset=x",
            "PatientID=1&PatientID=2",
        ] {
            assert!(Query::parse(query, Level::Instance).is_err(), "{query}");
        }
        let long = format!("PatientID={}", "1".repeat(KEY_BYTES_MAX + 1));
        assert!(Query::parse(&long, Level::Study).is_err());
        assert!(Query::parse(&long[..long.len() - 1], Level::Study).is_ok());
    }

    #[test]
    fn what_is_not_supported_is_named_in_a_warning() {
        let query = "_=1&SeriesNumber=1&OperatorsName=x&fuzzymatching=true&limit=9000";
        let read = Query::parse(query, Level::Study).unwrap();
        assert_eq!(read.warnings.len(), 5, "{:?}", read.warnings);
        assert_eq!(read.keys.number, None);
        assert_eq!(read.limit, QIDO_RESULTS_MAX);
        assert!(read.warnings.iter().all(|text| text.is_ascii()));
        assert!(Query::parse("", Level::Study).unwrap().warnings.is_empty());
    }

    #[test]
    fn fields_are_asked_for_by_keyword_and_tag() {
        let read = read("includefield=00081030,SeriesNumber&includefield=all&PatientName=");
        assert!(read.all);
        assert_eq!(read.fields, [0x0008_1030, 0x0010_0010, 0x0020_0011]);
        assert_eq!(read.keys.studies.patient_name, None);
    }
}
