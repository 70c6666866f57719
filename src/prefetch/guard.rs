//! The guard: whether a study may be shown as a registered person's.
//!
//! What for: a source is asked by a number, and numbers are mistyped, borrowed and issued twice. A
//! wrong patient's study is worse than none, so name, sex and year of birth are each compared
//! before a study is linked to a registration, first on the search answer and again on the first
//! header that arrives.
//!
//! What always holds: one contradiction keeps the study apart; silence on all three shows it
//! marked; the words of a judgement hold no personal data. Pure; what it read is not kept.
//!
//! What was refused: month and day of birth (mistyped too often to part a patient from their
//! studies, and a namesake of the same year and sex under the same number is one person).
//!
//! Start reading at [`judge`]; names are compared in [`super::names`].

use jiff::civil::Date;

use super::names;
use crate::model::{FoundStudy, Link, Person, Sex};

/// Years by which an age may be off: the birthday may be still to come, and 虚岁 counts one more
/// (docs/ARCHITECTURE.md, 6).
const AGE_YEARS_OFF_MAX: i16 = 1;
/// Oldest age that is believed, in years.
const AGE_YEARS_MAX: i16 = 130;
/// First year of birth that is believed; earlier ones are the zero dates of databases (1753, 1899).
const BIRTH_YEAR_MIN: i16 = 1900;
/// The zero date that most systems write in place of an unknown one.
const BIRTH_PLACEHOLDER: &str = "19000101";

/// What a study shows of its patient, from a search answer or from an object's header.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// Patient's Name (0010,0010): PN text, groups by `=`, components by `^`.
    pub name: String,
    /// Patient's Sex (0010,0040).
    pub sex: String,
    /// Patient's Birth Date (0010,0030), `YYYYMMDD`.
    pub birth_date: String,
    /// Patient's Age (0010,1010), as `052Y`.
    pub age: String,
    /// Study Date (0008,0020), `YYYYMMDD`: the day on which the age was true.
    pub study_date: String,
}

impl From<&FoundStudy> for Shown {
    fn from(study: &FoundStudy) -> Shown {
        Shown {
            name: study.patient_name.clone(),
            sex: study.sex.clone(),
            birth_date: study.birth_date.clone(),
            age: study.age.clone(),
            study_date: study.study_date.clone(),
        }
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown(…)")
    }
}

/// What one comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Both sides say the same.
    Agrees,
    /// A side is silent, masked or illegible.
    CannotSay,
    /// The sides exclude each other.
    Contradicts,
}

impl Verdict {
    /// For people, in English.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Agrees => "agrees",
            Verdict::CannotSay => "cannot say",
            Verdict::Contradicts => "contradicts",
        }
    }

    /// For people, in Chinese.
    pub fn words_zh(self) -> &'static str {
        match self {
            Verdict::Agrees => "相符",
            Verdict::CannotSay => "无法判断",
            Verdict::Contradicts => "不符",
        }
    }

    /// What two descriptions of the same study say together: a contradiction outweighs all,
    /// agreement outweighs silence.
    fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Contradicts, _) | (_, Verdict::Contradicts) => Verdict::Contradicts,
            (Verdict::Agrees, _) | (_, Verdict::Agrees) => Verdict::Agrees,
            (Verdict::CannotSay, Verdict::CannotSay) => Verdict::CannotSay,
        }
    }
}

/// The three comparisons between a person and a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Names, by [`names::compare`].
    pub name: Verdict,
    /// Sex; `O` and empty cannot say.
    pub sex: Verdict,
    /// Year of birth, or the years that fit an age.
    pub birth: Verdict,
}

impl Judgement {
    /// The judgement of two descriptions of the same study taken together.
    pub fn and(self, other: Judgement) -> Judgement {
        Judgement {
            name: self.name.and(other.name),
            sex: self.sex.and(other.sex),
            birth: self.birth.and(other.birth),
        }
    }

    /// What follows for the link between registration and study: a contradiction keeps it apart,
    /// silence on all three leaves it unconfirmed.
    pub fn link(self) -> Link {
        match self.name.and(self.sex).and(self.birth) {
            Verdict::Agrees => Link::Confirmed,
            Verdict::CannotSay => Link::Unconfirmed,
            Verdict::Contradicts => Link::Apart,
        }
    }

    /// For people, in English, without personal data.
    pub fn words(self) -> String {
        let (name, sex, birth) = (self.name.words(), self.sex.words(), self.birth.words());
        format!("name {name}, sex {sex}, birth year {birth}")
    }

    /// For people, in Chinese, without personal data.
    pub fn words_zh(self) -> String {
        let (name, sex, birth) = (self.name.words_zh(), self.sex.words_zh(), self.birth.words_zh());
        format!("姓名{name}，性别{sex}，出生年份{birth}")
    }
}

/// Compares a registered person with what a study shows.
pub fn judge(person: &Person, shown: &Shown) -> Judgement {
    Judgement {
        name: names::compare(&person.name, &shown.name),
        sex: match (person.sex, Sex::parse(&shown.sex)) {
            (Some(registered), Some(shown)) if registered == shown => Verdict::Agrees,
            (Some(_), Some(_)) => Verdict::Contradicts,
            (None, _) | (_, None) => Verdict::CannotSay,
        },
        birth: match (registered_years(person), shown_years(shown)) {
            (Some(a), Some(b)) if a.0 <= b.1 && b.0 <= a.1 => Verdict::Agrees,
            (Some(_), Some(_)) => Verdict::Contradicts,
            (None, _) | (_, None) => Verdict::CannotSay,
        },
    }
}

/// First and last year in which the person may have been born.
fn registered_years(person: &Person) -> Option<(i16, i16)> {
    match person.birth {
        Some(date) => Some((date.year(), date.year())),
        None => person.birth_years,
    }
}

/// The same for the patient of a study: the year of the birth date, else from the age.
fn shown_years(shown: &Shown) -> Option<(i16, i16)> {
    let studied = read_date(&shown.study_date);
    let born = birth_year(&shown.birth_date)
        .filter(|year| studied.is_none_or(|studied| *year <= studied.year()));
    if let Some(year) = born {
        return Some((year, year));
    }
    let year = studied?.year() - age_years(&shown.age)?;
    Some((year - AGE_YEARS_OFF_MAX, year + AGE_YEARS_OFF_MAX))
}

/// A DICOM date, `YYYYMMDD`, also with the points of ACR-NEMA (PS3.5 6.2) or with hyphens.
pub(super) fn read_date(text: &str) -> Option<Date> {
    let digits = date_digits(text)?;
    let year = digits.get(..4)?.parse().ok()?;
    let month = digits.get(4..6)?.parse().ok()?;
    let day = digits.get(6..8)?.parse().ok()?;
    Date::new(year, month, day).ok()
}

/// The year of a birth date that is no placeholder; month and day may be missing or zero.
fn birth_year(text: &str) -> Option<i16> {
    let digits = date_digits(text)?;
    let year = digits.get(..4)?.parse().ok()?;
    (year >= BIRTH_YEAR_MIN && digits != BIRTH_PLACEHOLDER).then_some(year)
}

/// The four to eight digits of a date without what parts them.
fn date_digits(text: &str) -> Option<String> {
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | '.' | '/')).collect();
    let whole = matches!(digits.len(), 4 | 6 | 8) && digits.bytes().all(|b| b.is_ascii_digit());
    whole.then_some(digits)
}

/// Whole years of an Age String (PS3.5 6.2: three digits and D, W, M or Y), also as people write
/// it. Zero is what modalities write for an unknown age.
fn age_years(text: &str) -> Option<i16> {
    let text = text.trim().to_ascii_uppercase();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: i16 = digits.parse().ok().filter(|number| *number > 0)?;
    let years = match text[digits.len()..].trim() {
        "" | "Y" | "岁" => number,
        "M" | "月" | "个月" => number / 12,
        "W" | "周" => number / 52,
        "D" | "天" => number / 365,
        _ => return None,
    };
    (years <= AGE_YEARS_MAX).then_some(years)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Table {
        sex: Vec<SexPair>,
        birth: Vec<BirthPair>,
    }

    #[derive(Deserialize)]
    struct SexPair {
        registered: String,
        shown: String,
        verdict: String,
        why: String,
    }

    #[derive(Deserialize)]
    struct BirthPair {
        #[serde(default)]
        born: String,
        years: Option<(i16, i16)>,
        #[serde(default)]
        birth_date: String,
        #[serde(default)]
        age: String,
        #[serde(default)]
        study_date: String,
        verdict: String,
        why: String,
    }

    fn table() -> Table {
        toml::from_str(include_str!("../../tests/fixtures/names.toml")).unwrap()
    }

    fn nobody() -> Person {
        Person { name: String::new(), sex: None, birth: None, birth_years: None }
    }

    #[test]
    fn every_sex_of_the_table_is_judged_as_written() {
        for SexPair { registered, shown, verdict, why } in table().sex {
            let person = Person { sex: Sex::parse(&registered), ..nobody() };
            let judgement = judge(&person, &Shown { sex: shown, ..Shown::default() });
            assert_eq!(judgement.sex.words(), verdict, "{why}");
            assert_eq!(judgement.birth, Verdict::CannotSay);
        }
    }

    #[test]
    fn every_birth_of_the_table_is_judged_as_written() {
        for pair in table().birth {
            let person =
                Person { birth: read_date(&pair.born), birth_years: pair.years, ..nobody() };
            let shown = Shown {
                birth_date: pair.birth_date,
                age: pair.age,
                study_date: pair.study_date,
                ..Shown::default()
            };
            let judgement = judge(&person, &shown);
            assert_eq!(judgement.birth.words(), pair.verdict, "{}", pair.why);
            assert_eq!(judgement.sex, Verdict::CannotSay);
        }
    }

    #[test]
    fn the_link_follows_from_the_three_verdicts() {
        use Verdict::{Agrees, CannotSay, Contradicts};
        for name in [Agrees, CannotSay, Contradicts] {
            for sex in [Agrees, CannotSay, Contradicts] {
                for birth in [Agrees, CannotSay, Contradicts] {
                    let all = [name, sex, birth];
                    let expected = if all.contains(&Contradicts) {
                        Link::Apart
                    } else if all.contains(&Agrees) {
                        Link::Confirmed
                    } else {
                        Link::Unconfirmed
                    };
                    assert_eq!(Judgement { name, sex, birth }.link(), expected);
                }
            }
        }
    }

    #[test]
    fn the_words_say_what_was_compared_and_nothing_personal() {
        let person = Person {
            name: "王小东".to_owned(),
            sex: None,
            birth: read_date("19800307"),
            birth_years: None,
        };
        let shown = Shown {
            name: "WANG^XIAODONG".to_owned(),
            birth_date: "19620307".to_owned(),
            ..Shown::default()
        };
        let judgement = judge(&person, &shown);
        assert_eq!(judgement.words(), "name agrees, sex cannot say, birth year contradicts");
        assert_eq!(judgement.words_zh(), "姓名相符，性别无法判断，出生年份不符");
        assert_eq!(format!("{shown:?}"), "Shown(…)");
    }

    #[test]
    fn two_descriptions_of_one_study_are_judged_together() {
        let masked =
            Judgement { name: Verdict::CannotSay, sex: Verdict::Agrees, birth: Verdict::CannotSay };
        let full = Judgement { name: Verdict::Contradicts, ..masked };
        assert_eq!(masked.and(full), full);
        assert_eq!(full.and(masked), full);
    }
}
