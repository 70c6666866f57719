//! What can be asked: keys, wildcards and ranges of dates (PS3.4 §C.2.2.2), and the rows in
//! memory that answer.
//!
//! What must hold: answers are ordered newest Study Date first, then by UID, so that an offset
//! into them means something. An exact Patient ID and a list of UIDs are looked up; every other
//! key scans all rows, which costs under 5 ms for 48,000.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use crate::rows::{SeriesRow, StudyRow};
use crate::uid::Uid;

/// Keys of a search for studies; all given ones must match. Texts may hold `*` and `?`; an empty
/// text matches everything (universal matching, PS3.4 §C.2.2.2.3).
#[derive(Debug, Clone, Default)]
pub struct StudyQuery {
    /// Study Instance UIDs, any of them.
    pub study: Option<Vec<Uid>>,
    /// Patient ID, exact case.
    pub patient_id: Option<String>,
    /// Issuer of Patient ID, exact case.
    pub issuer_of_patient_id: Option<String>,
    /// Patient's Name, without regard to case; matches the whole value or any component group,
    /// with or without the `^` between its components.
    pub patient_name: Option<String>,
    /// Patient's Birth Date.
    pub birth_date: Option<DateRange>,
    /// Patient's Sex.
    pub sex: Option<String>,
    /// Study Date.
    pub study_date: Option<DateRange>,
    /// Accession Number.
    pub accession_number: Option<String>,
    /// Study ID.
    pub study_id: Option<String>,
    /// Study Description, without regard to case.
    pub description: Option<String>,
    /// Referring Physician's Name, as the Patient's Name.
    pub referring_physician: Option<String>,
    /// Institution Name, without regard to case.
    pub institution_name: Option<String>,
    /// Modalities in Study: any of these; empty means any at all.
    pub modalities: Vec<String>,
}

/// Keys of a search for series; all given ones must match.
#[derive(Debug, Clone, Default)]
pub struct SeriesQuery {
    /// Keys of their studies.
    pub studies: StudyQuery,
    /// Series Instance UIDs, any of them.
    pub series: Option<Vec<Uid>>,
    /// Modality: any of these; empty means any at all.
    pub modalities: Vec<String>,
    /// Series Number.
    pub number: Option<i32>,
    /// Series Description, without regard to case.
    pub description: Option<String>,
    /// Body Part Examined, without regard to case.
    pub body_part: Option<String>,
    /// Performed Procedure Step Start Date.
    pub step_date: Option<DateRange>,
}

/// A date or a range of dates, both ends included (PS3.4 §C.2.2.2.5.1). A study without a date
/// is in no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateRange {
    from: u32,
    to: u32,
}

/// The text is not `YYYYMMDD`, `YYYYMMDD-`, `-YYYYMMDD` or `YYYYMMDD-YYYYMMDD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a date range is YYYYMMDD, YYYYMMDD-, -YYYYMMDD or YYYYMMDD-YYYYMMDD")]
pub struct DateRangeError;

impl FromStr for DateRange {
    type Err = DateRangeError;

    fn from_str(text: &str) -> Result<DateRange, DateRangeError> {
        let text = text.trim();
        let day = |text: &str| date(text.trim()).ok_or(DateRangeError);
        match text.split_once('-') {
            None => day(text).map(|day| DateRange { from: day, to: day }),
            Some(("", "")) => Err(DateRangeError),
            Some((from, "")) => Ok(DateRange { from: day(from)?, to: u32::MAX }),
            Some(("", to)) => Ok(DateRange { from: 1, to: day(to)? }),
            Some((from, to)) => Ok(DateRange { from: day(from)?, to: day(to)? }),
        }
    }
}

impl DateRange {
    fn holds(&self, date: u32) -> bool {
        (self.from..=self.to).contains(&date)
    }
}

/// `YYYYMMDD`, or the retired `YYYY.MM.DD` (PS3.5 §6.2), as a number that sorts.
pub(crate) fn date(text: &str) -> Option<u32> {
    let mut digits = 0;
    let mut number = 0;
    for byte in text.bytes().filter(|byte| *byte != b'.') {
        if !byte.is_ascii_digit() || digits == 8 {
            return None;
        }
        digits += 1;
        number = number * 10 + u32::from(byte - b'0');
    }
    let (month, day) = (number / 100 % 100, number % 100);
    (digits == 8 && (1..=12).contains(&month) && (1..=31).contains(&day)).then_some(number)
}

/// A text key made ready.
struct Pattern {
    text: String,
    wild: bool,
    folded: bool,
}

impl Pattern {
    /// `None` where the key matches everything.
    fn new(key: &Option<String>, folded: bool) -> Option<Pattern> {
        let key = key.as_deref()?.trim();
        if key.bytes().all(|byte| byte == b'*') {
            return None;
        }
        let text = if folded { key.chars().map(fold).collect() } else { key.to_owned() };
        Some(Pattern { wild: text.contains(['*', '?']), text, folded })
    }

    fn matches(&self, value: &str) -> bool {
        self.matches_as(value, Reading { folded: self.folded, carets: true })
    }

    fn matches_as(&self, value: &str, reading: Reading) -> bool {
        if self.wild || self.folded {
            wildcard(&self.text, value, reading)
        } else {
            self.text == value
        }
    }

    /// A person's name: the whole, any component group, or either without its carets, since
    /// Chinese names come as `王^小东` and as `王小东`.
    fn matches_name(&self, name: &str) -> bool {
        let bare = Reading { folded: true, carets: false };
        let form = |form: &str| {
            let form = form.trim_end_matches(['^', ' ', '=']);
            self.matches(form) || (form.contains('^') && self.matches_as(form, bare))
        };
        form(name) || (name.contains('=') && name.split('=').any(form))
    }
}

/// How a text is compared with a pattern.
#[derive(Clone, Copy)]
struct Reading {
    /// Without regard to case; the pattern is folded already.
    folded: bool,
    /// Carets of the text count.
    carets: bool,
}

impl Reading {
    fn next(self, text: &mut std::str::Chars) -> Option<char> {
        let next = text.find(|next| self.carets || *next != '^')?;
        Some(if self.folded { fold(next) } else { next })
    }
}

/// The form in which letters are compared without regard to case. Letters that fold to several
/// are compared by the first: none of them stands in names of this country's patients.
fn fold(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_lowercase();
    }
    letter.to_lowercase().next().unwrap_or(letter)
}

/// Whether a pattern of `*` and `?` matches a text, in time of at most their product.
fn wildcard(pattern: &str, text: &str, reading: Reading) -> bool {
    let (mut p, mut t) = (pattern.chars(), text.chars());
    // Where to resume when a `*` must swallow one character more.
    let mut resume: Option<(std::str::Chars, std::str::Chars)> = None;
    loop {
        let (mut rest, mut from) = (p.clone(), t.clone());
        match rest.next() {
            Some('*') => {
                p = rest;
                resume = Some((p.clone(), from));
                continue;
            }
            Some(wanted) => {
                let got = reading.next(&mut from);
                if got.is_some_and(|got| wanted == '?' || wanted == got) {
                    (p, t) = (rest, from);
                    continue;
                }
            }
            None if reading.next(&mut from).is_none() => return true,
            None => {}
        }
        let Some((after_star, mut at)) = resume else { return false };
        if reading.next(&mut at).is_none() {
            return false;
        }
        (p, t) = (after_star.clone(), at.clone());
        resume = Some((after_star, at));
    }
}

/// A study query made ready; a key that matches everything is gone.
struct Keys<'a> {
    patient_id: Option<Pattern>,
    issuer: Option<Pattern>,
    name: Option<Pattern>,
    birth_date: Option<DateRange>,
    sex: Option<Pattern>,
    study_date: Option<DateRange>,
    accession: Option<Pattern>,
    study_id: Option<Pattern>,
    description: Option<Pattern>,
    physician: Option<Pattern>,
    institution: Option<Pattern>,
    modalities: &'a [String],
}

impl Keys<'_> {
    fn new(query: &StudyQuery) -> Keys<'_> {
        Keys {
            patient_id: Pattern::new(&query.patient_id, false),
            issuer: Pattern::new(&query.issuer_of_patient_id, false),
            name: Pattern::new(&query.patient_name, true),
            birth_date: query.birth_date,
            sex: Pattern::new(&query.sex, false),
            study_date: query.study_date,
            accession: Pattern::new(&query.accession_number, false),
            study_id: Pattern::new(&query.study_id, false),
            description: Pattern::new(&query.description, true),
            physician: Pattern::new(&query.referring_physician, true),
            institution: Pattern::new(&query.institution_name, true),
            modalities: &query.modalities,
        }
    }

    fn match_row(&self, row: &StudyRow) -> bool {
        let text =
            |key: &Option<Pattern>, value: &str| key.as_ref().is_none_or(|key| key.matches(value));
        self.study_date.is_none_or(|range| range.holds(row.date))
            && text(&self.patient_id, &row.patient_id)
            && text(&self.issuer, &row.issuer_of_patient_id)
            && text(&self.accession, &row.accession_number)
            && self.name.as_ref().is_none_or(|key| key.matches_name(&row.patient_name))
            && text(&self.sex, &row.sex)
            && text(&self.study_id, &row.study_id)
            && self
                .birth_date
                .is_none_or(|range| date(&row.birth_date).is_some_and(|date| range.holds(date)))
            && any_of(self.modalities, &row.modalities)
            && text(&self.description, &row.study_description)
            && text(&self.institution, &row.institution_name)
            && self.physician.as_ref().is_none_or(|key| key.matches_name(&row.referring_physician))
    }
}

fn any_of(wanted: &[String], here: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|modality| here.contains(modality))
}

impl SeriesQuery {
    /// Whether a series matches the series keys; the keys of its study are not looked at.
    pub fn matches(&self, row: &SeriesRow) -> bool {
        let folded = |key: &Option<String>, value: &str| {
            Pattern::new(key, true).is_none_or(|key| key.matches(value))
        };
        self.series.as_ref().is_none_or(|series| series.contains(&row.series))
            && (self.modalities.is_empty() || self.modalities.contains(&row.modality))
            && self.number.is_none_or(|number| number == row.number)
            && folded(&self.description, &row.series_description)
            && folded(&self.body_part, &row.body_part)
            && self
                .step_date
                .is_none_or(|range| date(&row.step_date).is_some_and(|date| range.holds(date)))
    }
}

/// All study rows, in memory.
#[derive(Default)]
pub(crate) struct Rows {
    by_study: HashMap<Uid, Arc<StudyRow>>,
    ordered: BTreeMap<(Reverse<u32>, Uid), Arc<StudyRow>>,
    by_patient: HashMap<String, BTreeSet<Uid>>,
    /// Sums over all rows.
    pub(crate) series: u64,
    pub(crate) instances: u64,
    pub(crate) bytes: u64,
}

impl Rows {
    /// Adds a row, or puts it in place of the study's former one.
    pub(crate) fn put(&mut self, row: Arc<StudyRow>) {
        self.remove(&row.study);
        self.series += u64::from(row.series);
        self.instances += u64::from(row.instances);
        self.bytes += row.bytes;
        self.ordered.insert((Reverse(row.date), row.study.clone()), row.clone());
        if !row.patient_id.is_empty() {
            let studies = self.by_patient.entry(row.patient_id.clone()).or_default();
            studies.insert(row.study.clone());
        }
        self.by_study.insert(row.study.clone(), row);
    }

    /// Takes a study's row away.
    pub(crate) fn remove(&mut self, study: &Uid) {
        let Some(row) = self.by_study.remove(study) else { return };
        self.series -= u64::from(row.series);
        self.instances -= u64::from(row.instances);
        self.bytes -= row.bytes;
        self.ordered.remove(&(Reverse(row.date), study.clone()));
        if let Some(studies) = self.by_patient.get_mut(&row.patient_id) {
            studies.remove(study);
            if studies.is_empty() {
                self.by_patient.remove(&row.patient_id);
            }
        }
    }

    pub(crate) fn get(&self, study: &Uid) -> Option<&Arc<StudyRow>> {
        self.by_study.get(study)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_study.len()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<StudyRow>> {
        self.by_study.values()
    }

    pub(crate) fn studies(&self) -> impl Iterator<Item = &Uid> {
        self.by_study.keys()
    }

    /// Rows that match, newest first.
    pub(crate) fn search(&self, query: &StudyQuery) -> Vec<Arc<StudyRow>> {
        let keys = Keys::new(query);
        let known = |studies: &mut dyn Iterator<Item = &Uid>| {
            let mut found: Vec<Arc<StudyRow>> =
                studies.filter_map(|study| self.get(study)).cloned().collect();
            found.retain(|row| keys.match_row(row));
            found.sort_unstable_by(|a, b| (b.date, &a.study).cmp(&(a.date, &b.study)));
            found.dedup_by(|a, b| a.study == b.study);
            found
        };
        if let Some(studies) = &query.study {
            return known(&mut studies.iter());
        }
        if let Some(id) = keys.patient_id.as_ref().filter(|id| !id.wild) {
            return match self.by_patient.get(&id.text) {
                Some(studies) => known(&mut studies.iter()),
                None => Vec::new(),
            };
        }
        self.ordered.values().filter(|row| keys.match_row(row)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AS_IS: Reading = Reading { folded: false, carets: true };

    #[test]
    fn wildcards_match_as_ps3_4_c_2_2_2_4_says() {
        for (pattern, text, expected) in [
            ("王*", "王^小东", true),
            ("*三", "张三", true),
            ("*三", "张三丰", false),
            ("张?", "张三", true),
            ("张?", "张", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("*", "", true),
            ("?", "", false),
            ("**a", "aa", true),
            ("", "", true),
            ("a", "", false),
        ] {
            assert_eq!(wildcard(pattern, text, AS_IS), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_wildcard_meant_to_take_long_does_not() {
        let pattern = format!("{}b", "*a".repeat(300));
        assert!(!wildcard(&pattern, &"a".repeat(3000), AS_IS));
    }

    #[test]
    fn a_name_matches_in_any_group_with_and_without_carets() {
        let name = "Wang^XiaoDong=王^小东";
        for key in ["Wang^*", "WANG*", "王*", "*东", "王小东", "王^小东", "wangxiaodong", "*小*"]
        {
            let key = Pattern::new(&Some(key.to_owned()), true).unwrap();
            assert!(key.matches_name(name), "{}", key.text);
        }
        for key in ["Wang", "李*", "王", "小东"] {
            let key = Pattern::new(&Some(key.to_owned()), true).unwrap();
            assert!(!key.matches_name(name), "{}", key.text);
        }
    }

    #[test]
    fn date_ranges_are_read_and_hold_their_ends() {
        let range = |text: &str| text.parse::<DateRange>();
        let day = |text: &str| date(text).unwrap_or(0);
        assert!(range("20240101-20241231").unwrap().holds(day("20241231")));
        assert!(!range("20240101-20241231").unwrap().holds(day("20250101")));
        assert!(range("-20240101").unwrap().holds(day("1999.12.31")));
        assert!(range("20240101-").unwrap().holds(day("20240101")));
        assert!(range("20240101").unwrap().holds(day("20240101")));
        assert!(!range("-20240101").unwrap().holds(day("")));
        for bad in ["", "-", "2024", "20241301", "20240101-x", "1-2-3"] {
            assert_eq!(range(bad), Err(DateRangeError), "{bad}");
        }
    }
}
