//! Made-up people, and registrations as a HIS would send them.

use forepost::clock;
use forepost::model::{Time, UtcOffset};
use serde_json::{Value, json};

/// Somebody who does not exist: an identity number with a valid check character under an area
/// code that was never given out (110199), a phone in 1380000xxxx.
#[derive(Debug, Clone)]
pub struct Patient {
    /// As the HIS writes it.
    pub name: String,
    /// As an archive writes it: PN text with its groups.
    pub pn: String,
    pub id_card: String,
    pub birth_date: String,
    pub sex: char,
    pub number: u32,
}

const SURNAMES: [(&str, &str); 8] = [
    ("王", "Wang"),
    ("李", "Li"),
    ("张", "Zhang"),
    ("陈", "Chen"),
    ("欧阳", "Ouyang"),
    ("刘", "Liu"),
    ("赵", "Zhao"),
    ("黄", "Huang"),
];
const GIVEN: [(&str, &str); 8] = [
    ("小东", "Xiaodong"),
    ("秀英", "Xiuying"),
    ("伟民", "Weimin"),
    ("丽华", "Lihua"),
    ("建国", "Jianguo"),
    ("雪梅", "Xuemei"),
    ("志强", "Zhiqiang"),
    ("春兰", "Chunlan"),
];

impl Patient {
    /// The person of that number, below 8,000; two numbers are two people.
    pub fn new(number: u32) -> Patient {
        let (surname, surname_pinyin) = SURNAMES[(number % 8) as usize];
        let (given, given_pinyin) = GIVEN[(number / 8 % 8) as usize];
        let birth_date =
            format!("{}{:02}{:02}", 1940 + number % 70, 1 + number % 12, 1 + number % 28);
        // The sequence number's last digit tells the sex: odd male (GB 11643-1999).
        let sequence = number / 8 % 1_000;
        let sex = if sequence % 2 == 1 { 'M' } else { 'F' };
        Patient {
            name: format!("{surname}{given}"),
            pn: format!("{surname_pinyin}^{given_pinyin}={surname}^{given}"),
            id_card: with_check_character(&format!("110199{birth_date}{sequence:03}")),
            birth_date,
            sex,
            number,
        }
    }

    /// A registration with every field of the document's table, due in `hours` and, so that a plan
    /// can be told from every other by its visit, `seconds` more.
    pub fn registration(&self, hours: i64, seconds: i64) -> Value {
        let now = clock::now();
        let born: i16 = self.birth_date[..4].parse().expect("a date of birth begins with its year");
        let (age, sex) = (now.wall(UtcOffset::china()).year() - born, self.sex);
        let visit_at = whole_second(now.plus_ms((hours * 3_600 + seconds) * 1_000));
        json!({
            "hospitalld": "123456",
            "idCardNo": self.id_card,
            "healthNo": format!("8800{:06}", self.number),
            "insuranceId": format!("7700{:06}", self.number),
            "medicareNo": format!("6600{:06}", self.number),
            "mobilePhone": format!("1380000{:04}", self.number),
            "patientName": self.name,
            "patientSex": if sex == 'M' { "男" } else { "女" },
            "patientAge": age.to_string(),
            "patientType": "1",
            "outpatientNumber": format!("MZ{:06}-{hours}-{seconds}", self.number),
            "registDateTime": wall(now),
            "outpatientDateTime": wall(visit_at),
            "outpatientDeptName": "心内科",
            "outpatientDeptCode": "301",
            "outpatientDocName": "赵医生",
            "outpatientDocHisUid": "d0007",
            "quitType": "0",
            "outpatientType": "0",
        })
    }
}

/// The moment at which a registration's plan is due.
pub fn due_at(registration: &Value) -> i64 {
    let text = registration["outpatientDateTime"].as_str().expect("the visit is a text");
    let visit: jiff::civil::DateTime = text.parse().expect("the visit is written as ISO 8601");
    Time::from_wall(visit, UtcOffset::china()).expect("a visit of our days").0
}

/// The values of a registration that no log line and no file name may show.
pub fn personal(registration: &Value) -> Vec<String> {
    const KEYS: [&str; 8] = [
        "idCardNo",
        "healthNo",
        "insuranceId",
        "medicareNo",
        "mobilePhone",
        "patientName",
        "outpatientNumber",
        "hospitalizationId",
    ];
    let text = |key: &&str| registration.get(key)?.as_str().map(str::to_owned);
    // Shorter numbers also stand in times and counts by chance.
    KEYS.iter().filter_map(text).filter(|text| text.len() >= 6).collect()
}

/// The date of so many days ago, as DICOM writes it (PS3.5 6.2, DA).
pub fn days_ago(days: i64) -> String {
    let then = clock::now().plus_ms(-days * 86_400_000);
    then.wall(UtcOffset::china()).strftime("%Y%m%d").to_string()
}

fn whole_second(time: Time) -> Time {
    Time(time.0 / 1_000 * 1_000)
}

fn wall(time: Time) -> String {
    time.wall(UtcOffset::china()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// GB 11643-1999, 6.
fn with_check_character(seventeen: &str) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let digits = seventeen.chars().map(|c| c.to_digit(10).expect("seventeen digits"));
    let sum: u32 = digits.zip(WEIGHTS).map(|(digit, weight)| digit * weight).sum();
    format!("{seventeen}{}", char::from(b"10X98765432"[(sum % 11) as usize]))
}
