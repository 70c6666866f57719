//! The cast: five patients who do not exist, and the studies that other hospitals made of them.
//!
//! Identity numbers carry the area code 110199, which is nobody's, and a valid check digit.

use aws_lc_rs::digest;
use serde_json::{Value, json};

use super::phantoms::{Charset, Institution, Kind, Patient, Phantom};
use crate::model::{Time, UtcOffset};

/// The appliance's hospital: its code and name.
pub(super) const OWN_CODE: &str = "H11019900001";
pub(super) const OWN_NAME: &str = "青松县人民医院";

/// The hospitals outside, code and name.
const PROVINCE: (&str, &str) = ("H11019900002", "江东省人民医院");
const CITY: (&str, &str) = ("H11019900003", "南湖市中心医院");

/// A patient as the HIS knows them.
pub(super) struct Person {
    pub name: &'static str,
    pub id_card: &'static str,
    /// Serial number of the visit, `outpatientNumber`.
    pub visit: &'static str,
    /// Number of the hospital's card, `insuranceId`.
    pub card: &'static str,
    phone: &'static str,
    sex: &'static str,
    age: &'static str,
    pub department: &'static str,
    /// The department's name in English.
    pub department_en: &'static str,
    doctor: &'static str,
    /// Milliseconds from the registration to the visit.
    visit_in_ms: i64,
    /// Whether the HIS writes this body in GBK.
    pub gbk: bool,
    /// What must come of it: studies chosen, own ones left out, contradicting ones left out, and
    /// instances here.
    pub expected: (u64, u64, u64, u64),
}

/// Three outside studies at two hospitals and one of our own; sent a second time.
pub(super) const WANG: Person = Person {
    name: "王小东",
    id_card: "110199196403120016",
    visit: "MZ26000101",
    card: "K0000101",
    phone: "13800000101",
    sex: "男",
    age: "61",
    department: "呼吸内科门诊",
    department_en: "chest clinic",
    doctor: "周医生",
    visit_in_ms: 26 * 3_600_000 + 10 * 60_000,
    gbk: false,
    expected: (3, 1, 0, 412),
};

/// Under her number lies a study of somebody else.
pub(super) const LI: Person = Person {
    name: "李雪梅",
    id_card: "110199197908250021",
    visit: "MZ26000102",
    card: "K0000102",
    phone: "13800000102",
    sex: "女",
    age: "46",
    department: "内科门诊",
    department_en: "medical clinic",
    doctor: "吴医生",
    visit_in_ms: 3 * 3_600_000 + 5 * 60_000,
    gbk: false,
    expected: (1, 0, 1, 2),
};

/// An emergency of whom nobody has images.
pub(super) const ZHAO: Person = Person {
    name: "赵铁生",
    id_card: "110199195211300034",
    visit: "JZ26000103",
    card: "K0000103",
    phone: "13800000103",
    sex: "男",
    age: "73",
    department: "急诊科",
    department_en: "emergency",
    doctor: "郑医生",
    visit_in_ms: 15 * 60_000,
    gbk: false,
    expected: (0, 0, 0, 0),
};

/// Registered in GBK, and her study is written in it as well.
pub(super) const OUYANG: Person = Person {
    name: "欧阳若兰",
    id_card: "11019919880517004X",
    visit: "MZ26000104",
    card: "K0000104",
    phone: "13800000104",
    sex: "女",
    age: "37",
    department: "神经内科门诊",
    department_en: "neurology clinic",
    doctor: "孙医生",
    visit_in_ms: 5 * 3_600_000 + 5 * 60_000,
    gbk: true,
    expected: (1, 0, 0, 20),
};

/// Cancels a moment after registering.
pub(super) const CHEN: Person = Person {
    name: "陈志强",
    id_card: "110199197009090052",
    visit: "MZ26000105",
    card: "K0000105",
    phone: "13800000105",
    sex: "男",
    age: "55",
    department: "骨科门诊",
    department_en: "orthopaedic clinic",
    doctor: "冯医生",
    visit_in_ms: 48 * 3_600_000,
    gbk: false,
    expected: (0, 0, 0, 0),
};

/// Everybody, in the order in which the HIS registers them. The emergency comes last and is
/// searched first all the same.
pub(super) const ALL: [&Person; 5] = [&WANG, &LI, &OUYANG, &CHEN, &ZHAO];

impl Person {
    /// The body of `saveDataStorage` (imaging cloud's document, 3.4.2).
    pub fn registration(&self, now: Time, cancelled: bool) -> Value {
        let wall =
            |time: Time| time.wall(UtcOffset::china()).strftime("%Y-%m-%d %H:%M:%S").to_string();
        json!({
            "hospitalld": OWN_CODE,
            "patientType": "1",
            "outpatientNumber": self.visit,
            "insuranceId": self.card,
            "idCardNo": self.id_card,
            "patientName": self.name,
            "patientSex": self.sex,
            "patientAge": self.age,
            "mobilePhone": self.phone,
            "registDateTime": wall(now),
            "outpatientDateTime": wall(now.plus_ms(self.visit_in_ms)),
            "outpatientDeptCode": "D01",
            "outpatientDeptName": self.department,
            "outpatientDocHisUid": "U01",
            "outpatientDocName": self.doctor,
            "outpatientType": "0",
            "quitType": if cancelled { "1" } else { "0" },
        })
    }

    /// The number under which the national index files this patient.
    fn index_number(&self) -> String {
        hex::encode(digest::digest(&digest::SHA256, self.id_card.as_bytes()))
    }
}

/// A study that lies in the provincial cloud.
pub(super) struct Holding {
    pub phantom: Phantom,
    /// The row that the national index has of it, where it has one.
    pub indexed: Option<Phantom>,
}

/// Whom a study shows, and how the other hospital wrote that.
struct Shown {
    /// PN text.
    name: &'static str,
    /// The number under which the cloud files it.
    id: &'static str,
    birth_date: &'static str,
    sex: &'static str,
    age: &'static str,
}

const WANG_THERE: Shown = Shown {
    name: "Wang^Xiaodong=王^小东",
    id: WANG.id_card,
    birth_date: "19640312",
    sex: "M",
    age: "061Y",
};

/// Everything that the cloud holds.
pub(super) fn holdings() -> Vec<Holding> {
    let chest = |phantom: Phantom, text: &str| Phantom {
        description: text.to_owned(),
        body_part: "CHEST".to_owned(),
        ..phantom
    };
    let head = |phantom: Phantom, text: &str| Phantom {
        description: text.to_owned(),
        body_part: "HEAD".to_owned(),
        ..phantom
    };
    let own = (OWN_CODE, OWN_NAME);
    // The city hospital files its MR under a number of its own: only the index leads to it.
    let wang_in_city = Shown { name: "王小东", id: "NH-20817", ..WANG_THERE };
    let wang_on_film = Shown { name: "WANG^XIAODONG", ..WANG_THERE };
    let li =
        Shown { name: "李^雪梅", id: LI.id_card, birth_date: "19790825", sex: "F", age: "045Y" };
    let somebody_else =
        Shown { name: "张^建国", birth_date: "19610102", sex: "M", age: "064Y", ..li };
    let ouyang = Shown {
        name: "欧阳^若兰",
        id: OUYANG.id_card,
        birth_date: "19880517",
        sex: "F",
        age: "036Y",
    };
    let chen =
        Shown {
            name: "陈^志强", id: CHEN.id_card, birth_date: "19700909", sex: "M", age: "054Y"
        };
    let (ct, mr, film) = (ct_of, mr_of, film_of);
    let utf8 = Charset::Utf8;
    vec![
        held(chest(phantom(ct(360), WANG_THERE, Charset::Gb18030, PROVINCE, 1), "胸部CT增强"))
            .indexed_for(&WANG),
        held(head(phantom(mr(50), wang_in_city, utf8, CITY, 2), "头颅MR平扫")).indexed_for(&WANG),
        held(chest(phantom(film(2), wang_on_film, utf8, CITY, 3), "胸部正侧位")),
        held(chest(phantom(film(1), WANG_THERE, utf8, own, 4), "胸部正位")),
        held(chest(phantom(film(2), li, Charset::Gb18030, PROVINCE, 5), "胸部正侧位")),
        held(chest(phantom(ct(8), somebody_else, utf8, PROVINCE, 6), "胸部CT增强")),
        held(head(phantom(mr(20), ouyang, Charset::Gbk, CITY, 7), "头颅MR平扫")),
        held(chest(phantom(ct(8), chen, utf8, PROVINCE, 8), "胸部CT增强")),
    ]
}

fn ct_of(slices: usize) -> Kind {
    Kind::Ct { slices }
}

fn mr_of(slices: usize) -> Kind {
    Kind::Mr { slices }
}

fn film_of(views: usize) -> Kind {
    Kind::Film { views }
}

fn held(phantom: Phantom) -> Holding {
    Holding { phantom, indexed: None }
}

impl Holding {
    fn indexed_for(mut self, person: &Person) -> Holding {
        let patient = Patient { id: person.index_number(), ..self.phantom.patient.clone() };
        self.indexed = Some(Phantom { patient, ..self.phantom.clone() });
        self
    }
}

fn phantom(
    kind: Kind,
    shown: Shown,
    charset: Charset,
    hospital: (&str, &str),
    number: u64,
) -> Phantom {
    Phantom {
        kind,
        patient: Patient {
            name: shown.name.to_owned(),
            id: shown.id.to_owned(),
            birth_date: shown.birth_date.to_owned(),
            sex: shown.sex.to_owned(),
            age: shown.age.to_owned(),
        },
        charset,
        institution: Institution { code: hospital.0.to_owned(), name: hospital.1.to_owned() },
        study_date: format!("2025{number:02}15"),
        study_time: "093000".to_owned(),
        accession: format!("A25{number:05}"),
        description: String::new(),
        body_part: String::new(),
        seed: 2_500 + number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IdNumber;

    #[test]
    fn everybody_has_a_valid_number_that_is_nobodys() {
        for person in ALL {
            assert!(IdNumber::parse(person.id_card).is_some(), "{}", person.name);
            assert!(person.id_card.starts_with("110199"));
            assert!(person.phone.starts_with("1380000"));
        }
    }

    #[test]
    fn the_first_patient_has_412_outside_instances() {
        let wang = |holding: &&Holding| holding.phantom.patient.birth_date == "19640312";
        let outside = |holding: &&Holding| holding.phantom.institution.code != OWN_CODE;
        let holdings = holdings();
        let all: usize =
            holdings.iter().filter(wang).filter(outside).map(|one| one.phantom.instances()).sum();
        assert_eq!(all, 412);
        let indexed = holdings.iter().filter_map(|one| one.indexed.as_ref());
        for (row, holding) in indexed.zip(&holdings) {
            assert_eq!(row.study_uid(), holding.phantom.study_uid());
            assert_eq!(row.patient.id.len(), 64);
        }
    }
}
