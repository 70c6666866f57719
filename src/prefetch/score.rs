//! How much a study is worth to the department that will see the patient.
//!
//! What for: the byte budget of a plan cannot hold everything, and what is fetched first must be
//! what the doctor is likely to open first. The score orders studies; it never excludes one.
//!
//! What always holds: the score is the sum of its terms, each a whole number of points with words
//! for it, so that a person can check it in the head. A product was refused: one unknown factor
//! would erase the others. What is not known (a department without a table row, a study without
//! body part) counts half, neither for nor against. Where it is known which examinations are
//! ordered, they say better than the department what will be opened, and take the place of its
//! interest.
//!
//! Start reading at [`score`]; the knowledge is in [`DEPARTMENTS`] and [`REGION_WORDS`].

use jiff::civil::Date;
use unicode_normalization::UnicodeNormalization;

use super::guard::read_date;
use crate::model::{Department, FoundStudy, Standard};

/// How many points each term can give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    /// The study shows what the department treats.
    pub body_part: i64,
    /// The kind of study: cross-sections before projections before documents.
    pub modality: i64,
    /// The department works with this kind of study more than others do.
    pub department: i64,
    /// The study is new; halves every `half_life_days`.
    pub recency: i64,
    /// Days after which a study is worth half as much for being new; at least 1 is counted.
    pub half_life_days: u32,
}

impl Default for Weights {
    /// 100 points in all. Body part weighs most, because a doctor opens what concerns the
    /// complaint; half a year is the usual distance of follow-up examinations.
    fn default() -> Weights {
        Weights { body_part: 40, modality: 25, department: 10, recency: 25, half_life_days: 180 }
    }
}

const BODY_PART: &str = "body part";
const MODALITY: &str = "modality";
const DEPARTMENT: &str = "department";
const RECENCY: &str = "recency";

/// One summand of a score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// `body part`, `modality`, `department` or `recency`.
    pub name: &'static str,
    /// What it adds.
    pub points: i64,
    /// Why, in English, without personal data.
    pub words: String,
    /// Why, in Chinese, without personal data.
    pub words_zh: String,
}

impl Term {
    /// The name in Chinese.
    pub fn name_zh(&self) -> &'static str {
        match self.name {
            BODY_PART => "部位",
            MODALITY => "检查类型",
            DEPARTMENT => "科室",
            _ => "新近程度",
        }
    }
}

/// A region of the body, as coarse as departments divide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Region {
    Head,
    Neck,
    Chest,
    Heart,
    Breast,
    Abdomen,
    Pelvis,
    Spine,
    Arm,
    Leg,
    /// Fits every department.
    Whole,
}

use Region::{Abdomen, Arm, Breast, Chest, Head, Heart, Leg, Neck, Pelvis, Spine, Whole};

impl Region {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Head => ("head", "头"),
            Neck => ("neck", "颈"),
            Chest => ("chest", "胸"),
            Heart => ("heart", "心脏"),
            Breast => ("breast", "乳腺"),
            Abdomen => ("abdomen", "腹"),
            Pelvis => ("pelvis", "盆腔"),
            Spine => ("spine", "脊柱"),
            Arm => ("upper limb", "上肢"),
            Leg => ("lower limb", "下肢"),
            Whole => ("whole body", "全身"),
        }
    }
}

/// What a department treats and with which modalities it works more than others.
struct Interest {
    /// A name that holds one of these is this department.
    names: &'static [&'static str],
    regions: &'static [Region],
    modalities: &'static [&'static str],
}

const fn interest(
    names: &'static [&'static str],
    regions: &'static [Region],
    modalities: &'static [&'static str],
) -> Interest {
    Interest { names, regions, modalities }
}

/// The first row that fits is taken, so narrow names stand before wide ones. Departments that see
/// everything (急诊, 体检, 全科, 儿科, 肿瘤, 重症 …) have no row: all studies are alike to them.
const DEPARTMENTS: &[Interest] = &[
    interest(&["胸痛"], &[Chest, Heart], &["CT", "XA", "US"]),
    interest(&["卒中", "脑血管", "脑病"], &[Head, Neck], &["CT", "MR", "XA"]),
    interest(&["神经"], &[Head, Neck, Spine], &["MR", "CT"]),
    interest(&["精神", "心理"], &[Head], &["MR", "CT"]),
    interest(&["心胸", "心外", "心脏大血管"], &[Heart, Chest], &["CT", "US", "XA"]),
    interest(&["心内", "心血管", "心脏"], &[Heart, Chest], &["US", "XA", "CT"]),
    interest(&["呼吸", "胸外", "胸科", "肺"], &[Chest], &["CT", "DX"]),
    interest(&["感染", "传染", "结核", "肝病"], &[Chest, Abdomen], &["CT", "US"]),
    interest(&["乳腺", "乳甲"], &[Breast, Neck, Chest], &["MG", "US", "MR"]),
    interest(&["甲状腺", "内分泌"], &[Neck, Head, Abdomen], &["US", "MR", "CT"]),
    interest(&["肛肠", "结直肠"], &[Abdomen, Pelvis], &["MR", "CT"]),
    interest(
        &["消化", "肝", "胆", "胰", "胃", "普外", "普通外", "胃肠", "脾"],
        &[Abdomen, Pelvis],
        &["CT", "MR", "US"],
    ),
    interest(&["泌尿", "男科", "肾"], &[Abdomen, Pelvis], &["CT", "US"]),
    interest(&["妇", "产", "生殖"], &[Pelvis, Abdomen], &["US", "MR"]),
    interest(
        &["脊柱", "骨", "关节", "创伤", "运动医学", "手足"],
        &[Arm, Leg, Spine, Pelvis],
        &["DX", "CR", "CT", "MR"],
    ),
    interest(&["风湿", "免疫"], &[Arm, Leg, Spine, Chest], &["DX", "MR"]),
    interest(&["康复", "疼痛", "针灸", "推拿"], &[Spine, Arm, Leg, Head], &["MR", "DX"]),
    interest(&["血管"], &[Leg, Arm, Neck, Abdomen], &["US", "CT", "XA"]),
    interest(&["口腔", "颌面", "牙"], &[Head, Neck], &["CT", "PX", "IO", "DX"]),
    interest(&["耳鼻", "咽喉", "头颈"], &[Head, Neck], &["CT", "MR"]),
    interest(&["眼"], &[Head], &["CT", "MR", "OP", "OPT"]),
];

/// Words of body parts (0018,0015; the values of PS3.16 Annex L) and of descriptions, in both
/// languages, parted by `|`. Where several begin at one place the longest counts, so that 胸椎 is
/// not 胸; the row without regions keeps a word from being read as a shorter one.
const REGION_WORDS: &[(&[Region], &str)] = &[
    (&[], "手术"),
    (&[Whole], "全身|WHOLEBODY|WHOLE BODY"),
    (&[Head], "头|颅|脑|垂体|鞍区|眼|眶|耳|颞|乳突|鼻|颌|牙|口腔|面部"),
    (&[Head], "HEAD|SKULL|BRAIN|CRANIAL|PITUITARY|ORBIT|EYE|EAR|SINUS|FACE|JAW|MAXILLA|MANDIBLE"),
    (&[Head], "TOOTH|TEETH|SELLA|IAC|NOSE|NASOPHARYNX|MOUTH|TMJ"),
    (&[Head, Neck], "头颈|腮腺|PAROTID|HEADNECK|HEAD NECK"),
    (&[Neck], "颈|甲状腺|咽|喉|NECK|THYROID|LARYNX|PHARYNX|CAROTID"),
    (&[Neck, Chest], "NECKCHEST"),
    (&[Chest], "STERNUM|BRONCHUS|ESOPHAGUS"),
    (&[Chest], "胸|肺|纵隔|肋|气管|食管|CHEST|THORAX|THORACIC|LUNG|RIB|MEDIASTINUM"),
    (&[Heart, Chest], "心脏|HEART"),
    (&[Heart], "心肌|心血管|心超|心动|冠脉|冠状动脉|CARDIAC|CORONARY|CORONARYARTERY"),
    (&[Chest, Abdomen], "胸腹|主动脉|CHESTABDOMEN|AORTA"),
    (&[Chest, Abdomen, Pelvis], "躯干|CHESTABDPELVIS"),
    (&[Breast], "乳腺|乳房|钼靶|BREAST|MAMMO|MAMMOGRAPHY|AXILLA"),
    (&[Abdomen], "腹|肝|胆|胰|脾|胃|小肠|结肠|肾|ABDOMEN|ABDOMINAL|LIVER|GALLBLADDER|PANCREAS"),
    (&[Abdomen], "SPLEEN|STOMACH|KIDNEY|RENAL|ADRENAL|COLON|JEJUNUM"),
    (&[Abdomen, Pelvis], "全腹|腹盆|下腹|泌尿|输尿管|ABDOMENPELVIS|URETER"),
    (&[Pelvis], "盆|直肠|膀胱|前列腺|子宫|卵巢|附件|妇科|产科|胎儿|早孕|足月|阴道|髂"),
    (&[Pelvis], "PELVIS|PELVIC|BLADDER|PROSTATE|UTERUS|OVARY|RECTUM|FETUS|ANUS|URETHRA|SCROTUM"),
    (&[Spine], "脊柱|脊髓|胸椎|腰|尾骨|椎|SPINE|TSPINE|LSPINE|SSPINE|LUMBAR|COCCYX|THORACIC SPINE"),
    (&[Spine, Neck], "颈椎|CSPINE|CERVICAL"),
    (&[Spine], "LSSPINE"),
    (&[Spine, Pelvis], "骶|骶髂|SACRUM|SIJOINT"),
    (&[Arm, Leg], "四肢|EXTREMITY"),
    (&[Arm], "手|腕|肘|肩|肩胛|上肢|前臂|肱|尺|桡|HAND|FINGER|WRIST|ELBOW|SHOULDER|ARM|FOREARM"),
    (&[Arm], "HUMERUS|SCAPULA"),
    (&[Arm, Chest], "锁骨|CLAVICLE"),
    (&[Leg, Pelvis], "髋|HIP"),
    (
        &[Leg],
        "膝|踝|足|跟骨|下肢|股|胫|腓|髌|KNEE|ANKLE|FOOT|TOE|LEG|FEMUR|THIGH|CALCANEUS|PATELLA",
    ),
];

/// Longest text in which body parts are looked for, in characters: a Long String (PS3.5 6.2) has
/// 64, body part 16; longer ones are cut.
const REGION_TEXT_CHARACTERS_MAX: usize = 128;

/// The terms of a study's score, always the same four in the same order, and their sum. `wanted`
/// are the examinations that are ordered for the patient, as far as they are known.
pub(super) fn score(
    study: &FoundStudy,
    department: &Department,
    wanted: &[Standard],
    weights: &Weights,
    today: Date,
) -> (i64, Vec<Term>) {
    let name: String = department.name.nfkc().filter(|c| !c.is_whitespace()).collect();
    let holds = |interest: &&Interest| interest.names.iter().any(|part| name.contains(part));
    let interest = DEPARTMENTS.iter().find(holds);
    let terms = vec![
        ordered_part(study, wanted, weights).unwrap_or_else(|| body_part(study, interest, weights)),
        modality(study, weights),
        ordered_modality(study, wanted, weights)
            .unwrap_or_else(|| favoured(study, interest, weights)),
        recency(study, weights, today),
    ];
    (terms.iter().map(|term| term.points).sum(), terms)
}

fn term(name: &'static str, points: i64, words: (String, String)) -> Term {
    Term { name, points, words: words.0, words_zh: words.1 }
}

fn said(english: &str, chinese: &str) -> (String, String) {
    (english.to_owned(), chinese.to_owned())
}

/// Whether the study shows what an ordered examination will show; `None` where one of the two is
/// not known.
fn ordered_part(study: &FoundStudy, wanted: &[Standard], weights: &Weights) -> Option<Term> {
    let shown = shown_regions(study);
    let ordered: Vec<Region> = wanted.iter().flat_map(|one| regions(&one.body_part)).collect();
    if shown.is_empty() || ordered.is_empty() {
        return None;
    }
    let fits = shown.iter().any(|region| *region == Whole || ordered.contains(region));
    let (points, words) = match fits {
        true => (weights.body_part, said("as ordered", "与申请部位一致")),
        false => (0, said("not what is ordered", "与申请部位不同")),
    };
    Some(term(BODY_PART, points, words))
}

/// Whether the study is of the modality of an ordered examination.
fn ordered_modality(study: &FoundStudy, wanted: &[Standard], weights: &Weights) -> Option<Term> {
    let made = modalities(study);
    if made.is_empty() || wanted.is_empty() {
        return None;
    }
    let (points, words) = match wanted.iter().any(|one| made.contains(&one.modality)) {
        true => (weights.department, said("as ordered", "与申请类型一致")),
        false => (0, said("not what is ordered", "与申请类型不同")),
    };
    Some(term(DEPARTMENT, points, words))
}

/// Whether a study is the examination that is ordered, made elsewhere: of its modality, and showing
/// a part of the body that it will show.
pub fn is_same_examination(study: &FoundStudy, ordered: &Standard) -> bool {
    let wanted = regions(&ordered.body_part);
    let shown = shown_regions(study);
    modalities(study).contains(&ordered.modality)
        && shown.iter().any(|region| *region == Whole || wanted.contains(region))
}

/// The regions that a study shows, by its body part and its description.
fn shown_regions(study: &FoundStudy) -> Vec<Region> {
    let mut shown = regions(&study.body_part);
    for region in regions(&study.description) {
        if !shown.contains(&region) {
            shown.push(region);
        }
    }
    shown
}

fn body_part(study: &FoundStudy, interest: Option<&Interest>, weights: &Weights) -> Term {
    let shown = shown_regions(study);
    let half = weights.body_part / 2;
    let named = |chosen: &[Region]| {
        let (english, chinese): (Vec<_>, Vec<_>) =
            chosen.iter().map(|region| region.words()).unzip();
        (english.join(", "), chinese.join("、"))
    };
    let (english, chinese) = named(&shown);
    let (points, words) = match interest {
        _ if shown.is_empty() => (half, said("body part unknown", "部位不详")),
        None => {
            (half, (format!("{english}; every part counts alike"), format!("{chinese}；不分部位")))
        }
        Some(interest) => {
            let fits = |region: &Region| *region == Whole || interest.regions.contains(region);
            let fitting: Vec<Region> = shown.iter().copied().filter(fits).collect();
            if fitting.is_empty() {
                (
                    0,
                    (
                        format!("{english}, not the department's"),
                        format!("{chinese}，与科室不相关"),
                    ),
                )
            } else {
                let (english, chinese) = named(&fitting);
                let words = (format!("{english} fits"), format!("{chinese}，与科室相关"));
                (weights.body_part, words)
            }
        }
    };
    term(BODY_PART, points, words)
}

/// Cross-sections 100 %, projections and ultrasound 60 %, documents 20 %, everything else 40 %.
fn modality_percent(modality: &str) -> i64 {
    match modality {
        "CT" | "MR" | "PT" => 100,
        "DX" | "CR" | "DR" | "US" | "MG" | "XA" | "RF" | "NM" | "PX" => 60,
        "SR" | "KO" | "PR" | "DOC" | "OT" => 20,
        _ => 40,
    }
}

fn modality(study: &FoundStudy, weights: &Weights) -> Term {
    let modalities = modalities(study);
    if modalities.is_empty() {
        let words = said("modality unknown", "检查类型不详");
        return term(MODALITY, weights.modality / 2, words);
    }
    let percent = modalities.iter().map(|modality| modality_percent(modality)).max().unwrap_or(0);
    let shown = modalities.join("+");
    term(MODALITY, weights.modality * percent / 100, (shown.clone(), shown))
}

fn favoured(study: &FoundStudy, interest: Option<&Interest>, weights: &Weights) -> Term {
    let modalities = modalities(study);
    let (points, words) = match interest {
        None => (weights.department / 2, said("no preference", "无偏好")),
        Some(_) if modalities.is_empty() => (weights.department / 2, said("unknown", "不详")),
        Some(interest) if modalities.iter().any(|m| interest.modalities.contains(&m.as_str())) => {
            (weights.department, said("much used there", "科室常用"))
        }
        Some(_) => (0, said("little used there", "科室少用")),
    };
    term(DEPARTMENT, points, words)
}

fn recency(study: &FoundStudy, weights: &Weights, today: Date) -> Term {
    let Some(days) = age_days(study, today) else {
        return term(RECENCY, 0, said("date unreadable", "日期无法读取"));
    };
    let halvings = f64::from(days) / f64::from(weights.half_life_days.max(1));
    // A product of two finite numbers, at most the weight itself: the cast cannot overflow.
    let points = (weights.recency as f64 * 0.5_f64.powf(halvings)).round() as i64;
    term(RECENCY, points, (format!("{days} days old"), format!("{days} 天前")))
}

/// Days from the study to today; a study from the future, by a wrong clock, is of today.
pub fn age_days(study: &FoundStudy, today: Date) -> Option<i32> {
    let date = read_date(&study.study_date)?;
    Some(today.since(date).ok()?.get_days().max(0))
}

/// The modalities of a study, upper case, each once, also where a source sends them in one text.
pub(super) fn modalities(study: &FoundStudy) -> Vec<String> {
    let mut modalities: Vec<String> = study
        .modalities
        .iter()
        .flat_map(|text| text.split(['\\', '/', ',']))
        .map(|text| text.trim().to_ascii_uppercase())
        // A code string has at most 16 characters (PS3.5 6.2); longer is no modality.
        .filter(|text| (1..=16).contains(&text.len()) && text.is_ascii())
        .collect();
    modalities.sort();
    modalities.dedup();
    modalities
}

/// The regions that a text names, each once, in the order of the text.
fn regions(text: &str) -> Vec<Region> {
    let folded: Vec<char> = text
        .nfkc()
        .take(REGION_TEXT_CHARACTERS_MAX)
        .map(|c| if matches!(c, '_' | '-' | '+' | '^') { ' ' } else { c.to_ascii_uppercase() })
        .collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < folded.len() {
        let words = REGION_WORDS
            .iter()
            .flat_map(|(regions, words)| words.split('|').map(move |word| (word, *regions)));
        let here = words.filter(|(word, _)| begins(&folded, at, word));
        match here.max_by_key(|(word, _)| word.chars().count()) {
            Some((word, regions)) => {
                for region in regions {
                    if !found.contains(region) {
                        found.push(*region);
                    }
                }
                at += word.chars().count();
            }
            None => at += 1,
        }
    }
    found
}

/// Whether the word begins here. An English one must stand alone, but for a plural's S.
fn begins(text: &[char], at: usize, word: &str) -> bool {
    let length = word.chars().count();
    let Some(slice) = text.get(at..at + length) else { return false };
    if !slice.iter().copied().eq(word.chars()) {
        return false;
    }
    if !word.is_ascii() {
        return true;
    }
    let letter = |at: usize| text.get(at).is_some_and(char::is_ascii_alphabetic);
    let ends = match text.get(at + length) {
        Some('S') => !letter(at + length + 1),
        _ => !letter(at + length),
    };
    ends && (at == 0 || !letter(at - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_read_from_codes_and_from_both_languages() {
        let cases: &[(&str, &[Region])] = &[
            ("CHEST", &[Chest]),
            ("胸部CT平扫", &[Chest]),
            ("胸椎MR", &[Spine]),
            ("颈椎正侧位", &[Spine, Neck]),
            ("CT Thoracic Spine w/o", &[Spine]),
            ("T-SPINE", &[Spine]),
            ("LSPINE", &[Spine]),
            ("Both knees AP", &[Leg]),
            ("CHESTABDPELVIS", &[Chest, Abdomen, Pelvis]),
            ("胸腹盆增强", &[Chest, Abdomen, Pelvis]),
            ("头颅+颈部CTA", &[Head, Neck]),
            ("冠状动脉CTA", &[Heart]),
            ("HEART", &[Heart, Chest]),
            ("near the ear", &[Head]),
            ("SHIP ARMOUR", &[]),
            ("手术记录", &[]),
            ("左手正斜位", &[Arm]),
            ("肝胆胰脾", &[Abdomen]),
            ("检查中心", &[]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(&regions(text), expected, "{text}");
        }
    }

    #[test]
    fn every_department_finds_the_study_it_would_open() {
        let cases = [
            ("骨科门诊", "膝关节MR", "头颅CT"),
            ("神经内科", "头颅MR", "膝关节MR"),
            ("神经外科", "脑CT", "腹部CT"),
            ("心血管内科", "冠脉CTA", "膝CT"),
            ("心胸外科", "胸部CT", "膝CT"),
            ("呼吸与危重症医学科", "肺CT", "膝CT"),
            ("胸外科", "肺CT", "头CT"),
            ("消化内科", "肝MR", "头MR"),
            ("肝胆外科", "胆MR", "头MR"),
            ("普外科", "全腹CT", "胸CT"),
            ("泌尿外科", "前列腺MR", "头MR"),
            ("妇科", "子宫MR", "头MR"),
            ("产科", "胎儿US", "胸CT"),
            ("乳腺外科", "乳腺MG", "膝DX"),
            ("口腔科", "颌面CT", "胸CT"),
            ("耳鼻咽喉科", "鼻窦CT", "胸CT"),
            ("眼科", "眼眶CT", "胸CT"),
        ];
        for (name, fits, other) in cases {
            let points = |description: &str| {
                let study = study(description);
                let department = Department { code: String::new(), name: name.to_owned() };
                score(&study, &department, &[], &Weights::default(), today()).1[0].points
            };
            assert_eq!((points(fits), points(other)), (40, 0), "{name}");
        }
    }

    #[test]
    fn departments_that_see_everything_are_neutral() {
        for name in ["急诊科", "体检中心", "全科医学科", "儿科", "", "内科"] {
            let department = Department { code: String::new(), name: name.to_owned() };
            let terms =
                |text| score(&study(text), &department, &[], &Weights::default(), today()).1;
            assert_eq!(terms("头CT")[0].points, 20, "{name}");
            assert_eq!(terms("膝CT")[0].points, 20, "{name}");
        }
    }

    #[test]
    fn the_score_is_the_sum_of_its_terms_and_recency_halves() {
        let department = Department { code: String::new(), name: "骨科".to_owned() };
        let mut study = study("膝关节");
        study.modalities = vec!["ct\\SR".to_owned()];
        study.study_date = "20260525".to_owned();
        let (sum, terms) = score(&study, &department, &[], &Weights::default(), today());
        let points: Vec<i64> = terms.iter().map(|term| term.points).collect();
        assert_eq!(points, [40, 25, 10, 13], "180 days are one half-life");
        assert_eq!(sum, 88);
        assert_eq!(terms[1].words, "CT+SR");
        assert_eq!(terms[3].words_zh, "180 天前");
    }

    #[test]
    fn what_is_ordered_counts_before_what_the_department_treats() {
        let department = Department { code: String::new(), name: "骨科".to_owned() };
        let ordered = |modality: &str, body_part: &str| Standard {
            modality: modality.to_owned(),
            body_part: body_part.to_owned(),
            code: String::new(),
        };
        let wanted = [ordered("MR", "LSSPINE"), ordered("CT", "CHEST+ABDOMEN")];
        let points = |description: &str, modality: &str, wanted: &[Standard]| {
            let mut study = study(description);
            study.modalities = vec![modality.to_owned()];
            let terms = score(&study, &department, wanted, &Weights::default(), today()).1;
            (terms[0].points, terms[2].points)
        };
        assert_eq!(points("肝胆CT", "CT", &wanted), (40, 10));
        assert_eq!(points("腰椎DX", "DX", &wanted), (40, 0));
        assert_eq!(points("膝关节DX", "DX", &wanted), (0, 0), "the department's, but not ordered");
        assert_eq!(points("膝关节DX", "DX", &[]), (40, 10));
        let unknown = [ordered("", "")];
        assert_eq!(points("膝关节DX", "DX", &unknown).0, 40, "an order without a body part");
        assert_eq!(points("", "CT", &wanted).0, 20, "a study without one counts half");
    }

    #[test]
    fn every_term_that_a_mapping_may_hold_names_a_region() {
        for part in crate::mapping::body_parts() {
            assert!(!regions(part).is_empty(), "{part}");
        }
    }

    fn today() -> Date {
        Date::constant(2026, 11, 21)
    }

    fn study(description: &str) -> FoundStudy {
        FoundStudy {
            description: description.to_owned(),
            ..crate::prefetch::choice::tests::bare_study("1.2.3")
        }
    }
}
