//! Who a patient is said to be: numbers, name, sex, birth.

use jiff::civil::Date;

/// A resident identity number that passed GB 11643-1999: 18 characters, valid birth date, valid
/// check character. A number of the first generation (15 digits) is taken and written as 18.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdNumber(String);

/// GB 11643-1999, 6: weights of the first seventeen digits.
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
/// GB 11643-1999, 6: the check character for each remainder of the weighted sum by 11.
const CHECK_CHARACTERS: [u8; 11] = *b"10X98765432";

impl IdNumber {
    /// Reads a number as people type it: blanks around it, a small `x`, 15 or 18 characters.
    pub fn parse(text: &str) -> Option<IdNumber> {
        let text = text.trim().to_ascii_uppercase();
        let full = match text.len() {
            18 => text,
            15 if text.bytes().all(|b| b.is_ascii_digit()) => {
                // The first generation has a year of two digits, all in the 1900s, and no check.
                let mut seventeen = format!("{}19{}", &text[..6], &text[6..]);
                let check = check_character(seventeen.as_bytes())?;
                seventeen.push(char::from(check));
                seventeen
            }
            _ => return None,
        };
        let bytes = full.as_bytes();
        let checked = bytes[..17].iter().all(u8::is_ascii_digit)
            && check_character(&bytes[..17])? == bytes[17]
            && birth_date(&full).is_some();
        checked.then_some(IdNumber(full))
    }

    /// All 18 characters. Personal: never to a log, a metric or a file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The date of birth in digits 7 to 14.
    pub fn birth(&self) -> Date {
        birth_date(&self.0).expect("the constructor read the date")
    }

    /// The sex in digit 17: odd male, even female.
    pub fn sex(&self) -> Sex {
        if self.0.as_bytes()[16] % 2 == 1 { Sex::Male } else { Sex::Female }
    }
}

impl std::fmt::Debug for IdNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdNumber(…)")
    }
}

fn check_character(digits: &[u8]) -> Option<u8> {
    let mut sum = 0;
    for (digit, weight) in digits.iter().zip(WEIGHTS) {
        sum += u32::from(digit.checked_sub(b'0')?) * weight;
    }
    Some(CHECK_CHARACTERS[(sum % 11) as usize])
}

fn birth_date(full: &str) -> Option<Date> {
    let year = full.get(6..10)?.parse().ok()?;
    let month = full.get(10..12)?.parse().ok()?;
    let day = full.get(12..14)?.parse().ok()?;
    Date::new(year, month, day).ok()
}

/// Sex as the guard compares it. Everything that is neither is `None` where this is optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    /// 男, 1, M.
    Male,
    /// 女, 2, F.
    Female,
}

impl Sex {
    /// Reads 男/女, 1/2 (GB/T 2261.1), M/F (PS3.3 C.7.1.1) and the English words.
    pub fn parse(text: &str) -> Option<Sex> {
        match text.trim().to_ascii_uppercase().as_str() {
            "男" | "男性" | "1" | "M" | "MALE" => Some(Sex::Male),
            "女" | "女性" | "2" | "F" | "FEMALE" => Some(Sex::Female),
            _ => None,
        }
    }
}

/// The numbers by which a patient can be found, as the imaging cloud's document names them (3.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdentifierKind {
    /// `idCardNo`, the resident identity number.
    IdCardNo,
    /// `healthNo`, the health card.
    HealthNo,
    /// `insuranceId`, the visit card.
    InsuranceId,
    /// `medicareNo`, the electronic insurance code.
    MedicareNo,
    /// `outpatientNumber`, the serial number of the visit.
    OutpatientNumber,
    /// `hospitalizationId`, the number of the stay.
    HospitalizationId,
}

impl IdentifierKind {
    /// Every kind, in the order in which a source is asked when several are configured.
    pub const ALL: [IdentifierKind; 6] = [
        IdentifierKind::IdCardNo,
        IdentifierKind::HealthNo,
        IdentifierKind::InsuranceId,
        IdentifierKind::MedicareNo,
        IdentifierKind::OutpatientNumber,
        IdentifierKind::HospitalizationId,
    ];

    /// The field name of the document; also what the ledger stores and the configuration names.
    pub fn name(self) -> &'static str {
        match self {
            IdentifierKind::IdCardNo => "idCardNo",
            IdentifierKind::HealthNo => "healthNo",
            IdentifierKind::InsuranceId => "insuranceId",
            IdentifierKind::MedicareNo => "medicareNo",
            IdentifierKind::OutpatientNumber => "outpatientNumber",
            IdentifierKind::HospitalizationId => "hospitalizationId",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<IdentifierKind> {
        IdentifierKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One number of one patient.
#[derive(Clone, PartialEq, Eq)]
pub struct Identifier {
    /// Which number it is.
    pub kind: IdentifierKind,
    /// The number, normal: trimmed, upper case, an identity number in its 18 characters.
    value: String,
}

impl Identifier {
    /// Takes a number as sent; `None` when nothing is left after trimming.
    pub fn new(kind: IdentifierKind, text: &str) -> Option<Identifier> {
        let value = normal_identifier(text);
        (!value.is_empty()).then_some(Identifier { kind, value })
    }

    /// The normal form. Personal.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl std::fmt::Debug for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identifier({}, …)", self.kind.name())
    }
}

/// The form under which a number is hashed and compared: trimmed, upper case, 15 → 18 digits
/// (docs/ARCHITECTURE.md, 7).
fn normal_identifier(text: &str) -> String {
    match IdNumber::parse(text) {
        Some(number) => number.as_str().to_owned(),
        None => text.trim().to_ascii_uppercase(),
    }
}

/// What is known of a person before any image is seen: the guard's left hand.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    /// The name as registered.
    pub name: String,
    /// From a valid identity number, else from the text.
    pub sex: Option<Sex>,
    /// From a valid identity number only.
    pub birth: Option<Date>,
    /// Years of birth that fit the stated age: today's year − age, ±1. Empty with `birth`.
    pub birth_years: Option<(i16, i16)>,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Person(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_number_gives_birth_and_sex() {
        let number = IdNumber::parse(" 11019919800307401x ");
        assert!(number.is_none(), "a wrong check character is refused");
        let seventeen = "11019919800307401";
        let check = check_character(seventeen.as_bytes()).unwrap();
        let number = IdNumber::parse(&format!("{seventeen}{}", char::from(check))).unwrap();
        assert_eq!(number.birth().to_string(), "1980-03-07");
        assert_eq!(number.sex(), Sex::Male);
    }

    #[test]
    fn fifteen_digits_become_eighteen() {
        let old = Identifier::new(IdentifierKind::IdCardNo, "110199800307401").unwrap();
        assert_eq!(old.value().len(), 18);
        assert!(old.value().starts_with("11019919800307401"));
        assert_eq!(IdNumber::parse(old.value()).unwrap().birth().to_string(), "1980-03-07");
    }

    #[test]
    fn text_that_is_not_ascii_is_refused_not_cut() {
        assert!(IdNumber::parse("身份证号码身份证号码身份证号").is_none());
        assert!(IdNumber::parse("一二三四五六").is_none());
    }

    #[test]
    fn nothing_personal_is_printed() {
        let identifier = Identifier::new(IdentifierKind::HealthNo, "74401972").unwrap();
        assert!(!format!("{identifier:?}").contains("7440"));
    }
}
