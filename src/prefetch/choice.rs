//! Which of the studies that the sources named are brought here, and why the others are not.
//!
//! What for: the same study may be named by several sources, may be this hospital's own, another
//! patient's, too old, or too large for the plan's bytes. Everything that was found comes back,
//! with its outcome and an explanation that is stored and shown to people.
//!
//! What always holds: the outcome depends on what was found, not on the order in which it was
//! found; the bytes of what is chosen stay inside the budget, unless the single best study exceeds
//! it alone; what is own, too old or contradicted is never chosen; explanations hold no personal
//! data. Pure: the day and what is already here are arguments.
//!
//! Start reading at [`choose`]; the score is in [`super::score`].

use std::cmp::Reverse;
use std::collections::BTreeMap;

use forepost_cache::Uid;
use jiff::civil::Date;
use unicode_normalization::UnicodeNormalization;

use super::guard::{Judgement, Shown, judge};
pub use super::score::{Term, Weights};
use super::score::{age_days, modalities, score};
use crate::model::{Department, FoundStudy, Link, Person, Place, Standard, StudyOutcome};

/// Characters that a configured name must have to be looked for inside a longer institution name.
/// 县医院 would be found in every county; such a name must be equal.
const OWN_NAME_CHARACTERS_MIN: usize = 4;

/// This hospital, or one of its sites, as sources may name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnHospital {
    /// The code that sources know; empty when there is none.
    pub code: String,
    /// Full names, former names, usual short names.
    pub names: Vec<String>,
}

/// What the configuration says about choosing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// This hospital's sites.
    pub own: Vec<OwnHospital>,
    /// The configured sources, the preferred one first; places are tried in this order.
    pub sources: Vec<String>,
    /// Age beyond which a study is not fetched, in days.
    pub look_back_days: u32,
    /// Estimated bytes that one plan may fetch.
    pub bytes_budget: u64,
    /// Studies that one plan may want.
    pub studies_max: usize,
    /// Points of the score.
    pub weights: Weights,
}

impl Default for Rules {
    /// Five years, because follow-up after a tumour lasts so long; 4 GB and 20 studies, because a
    /// patient with studies elsewhere has two of 146 MB on average, and the sickest have ten CTs.
    fn default() -> Rules {
        Rules {
            own: Vec::new(),
            sources: Vec::new(),
            look_back_days: 1_826,
            bytes_budget: 4_000_000_000,
            studies_max: 20,
            weights: Weights::default(),
        }
    }
}

impl Rules {
    /// The first day inside the look-back window.
    pub fn since(&self, today: Date) -> Date {
        today.checked_sub(jiff::Span::new().days(self.look_back_days)).unwrap_or(Date::MIN)
    }

    /// Whether what a search answer or a header says of its origin is this hospital: by Institution
    /// Code, else Institution Name, else the issuer of the accession number. All three
    /// may be empty, which is nobody.
    pub fn is_own(&self, name: &str, code: &str, accession_issuer: &str) -> bool {
        let (name, code, issuer) = (folded(name), folded(code), folded(accession_issuer));
        self.own.iter().any(|hospital| {
            let own_code = folded(&hospital.code);
            if !own_code.is_empty() && (own_code == code || own_code == issuer) {
                return true;
            }
            let own_names = hospital.names.iter().map(|name| folded(name));
            own_names.filter(|own| !own.is_empty()).any(|own| {
                let long = own.chars().count() >= OWN_NAME_CHARACTERS_MIN;
                own == name || own == issuer || (long && name.contains(&own))
            })
        })
    }
}

/// What is here of a study, as far as it matters to a plan that considers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it costs its bytes.
    New,
    /// Somebody else's plan brought it: it costs nothing more.
    Here,
    /// The plan chose it before, and it is here or on its way: it costs its bytes as it did then,
    /// so that deciding again opens no new budget, and stays chosen whatever else is found or
    /// ordered since.
    Begun,
}

/// A study that was found, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// As its best place describes it; what that one leaves empty about the study (not about the
    /// patient) is filled from the others.
    pub study: FoundStudy,
    /// Every place that named this Study Instance UID, the preferred source first.
    pub places: Vec<Place>,
    /// The guard on all descriptions together.
    pub judgement: Judgement,
    /// What follows from the judgement.
    pub link: Link,
    /// Sum of the points in `why`.
    pub score: i64,
    /// The terms of the score.
    pub why: Vec<Term>,
    /// Estimated bytes against the plan's budget; 0 when another plan brought the study.
    pub bytes: u64,
    /// Nothing says which hospital made it; counted as outside.
    pub origin_unknown: bool,
    /// The study date could not be read; counted as inside the look-back window.
    pub date_unknown: bool,
    /// What becomes of it.
    pub outcome: StudyOutcome,
    /// Whether the plan has begun with it.
    begun: bool,
}

impl Considered {
    /// One line in English for the person who asks why a study is here or is not.
    pub fn explanation(&self) -> String {
        let terms: Vec<String> = self
            .why
            .iter()
            .map(|term| format!("{} {} ({})", term.name, term.points, term.words))
            .collect();
        let mut marks = String::new();
        if self.link == Link::Unconfirmed {
            marks.push_str("; identity not confirmed");
        }
        if self.origin_unknown {
            marks.push_str("; origin unknown");
        }
        format!(
            "{}; score {}: {}; {}{marks}",
            outcome_words(self.outcome),
            self.score,
            terms.join(", "),
            self.judgement.words(),
        )
    }

    /// The same line in Chinese.
    pub fn explanation_zh(&self) -> String {
        let terms: Vec<String> = self
            .why
            .iter()
            .map(|term| format!("{} {}（{}）", term.name_zh(), term.points, term.words_zh))
            .collect();
        let mut marks = String::new();
        if self.link == Link::Unconfirmed {
            marks.push_str("；身份未核实");
        }
        if self.origin_unknown {
            marks.push_str("；来源机构不详");
        }
        format!(
            "{}；评分 {}：{}；{}{marks}",
            outcome_words_zh(self.outcome),
            self.score,
            terms.join("，"),
            self.judgement.words_zh(),
        )
    }
}

/// Judges everything that was found; the best come first. `wanted` are the examinations that are
/// ordered for the patient, empty where none is known. The list is as long as the number of
/// different studies found.
pub fn choose(
    person: &Person,
    department: &Department,
    wanted: &[Standard],
    found: Vec<FoundStudy>,
    rules: &Rules,
    today: Date,
    standing: &dyn Fn(&Uid) -> Standing,
) -> Vec<Considered> {
    let mut answers: BTreeMap<Uid, Vec<FoundStudy>> = BTreeMap::new();
    for study in found {
        answers.entry(study.study.clone()).or_default().push(study);
    }
    let mut all: Vec<Considered> = answers
        .into_values()
        .filter_map(|answers| consider(person, department, wanted, answers, rules, today, standing))
        .collect();
    all.sort_by_cached_key(|considered| {
        let study = &considered.study;
        let newest = (study.study_date.clone(), study.study_time.clone());
        (Reverse(considered.score), Reverse(newest), study.study.clone())
    });
    spend(&mut all, rules);
    all
}

/// Gives the budget to the best first. One that is too large does not end it: a smaller one behind
/// it may still fit. What has begun stays, also past the budget.
fn spend(all: &mut [Considered], rules: &Rules) {
    let mut chosen: usize = 0;
    let mut bytes: u64 = 0;
    for considered in all.iter_mut().filter(|considered| considered.outcome == StudyOutcome::Chosen)
    {
        let total = bytes.saturating_add(considered.bytes);
        let refused = if chosen > 0 && chosen >= rules.studies_max {
            StudyOutcome::TooMany
        } else if chosen > 0 && considered.bytes > 0 && total > rules.bytes_budget {
            StudyOutcome::OverBudget
        } else {
            chosen += 1;
            bytes = total;
            continue;
        };
        if !considered.begun {
            considered.outcome = refused;
        }
    }
}

/// Joins the answers about one study and judges it; `None` only for no answer at all.
fn consider(
    person: &Person,
    department: &Department,
    wanted: &[Standard],
    mut answers: Vec<FoundStudy>,
    rules: &Rules,
    today: Date,
    standing: &dyn Fn(&Uid) -> Standing,
) -> Option<Considered> {
    answers.sort_by_cached_key(|answer| answer_order(answer, &rules.sources));
    let judgements = answers.iter().map(|answer| judge(person, &Shown::from(answer)));
    let judgement = judgements.reduce(Judgement::and)?;
    let own = answers.iter().any(|answer| made_here(answer, rules));
    let mut places: Vec<Place> = Vec::new();
    for answer in &answers {
        if !places.contains(&answer.place) {
            places.push(answer.place.clone());
        }
    }
    let study = answers.into_iter().reduce(filled)?;
    let age = age_days(&study, today);
    let too_old = age.is_some_and(|days| i64::from(days) > i64::from(rules.look_back_days));
    let standing = standing(&study.study);
    let outcome = if own {
        StudyOutcome::Own
    } else if too_old && standing != Standing::Begun {
        StudyOutcome::TooOld
    } else if judgement.link() == Link::Apart {
        StudyOutcome::Apart
    } else {
        StudyOutcome::Chosen
    };
    let (score, why) = score(&study, department, wanted, &rules.weights, today);
    Some(Considered {
        places,
        judgement,
        link: judgement.link(),
        score,
        why,
        bytes: if standing == Standing::Here { 0 } else { bytes_estimated(&study) },
        origin_unknown: is_origin_unknown(&study),
        date_unknown: age.is_none(),
        outcome,
        begun: standing == Standing::Begun,
        study,
    })
}

/// Preferred source first; within one source by everything it says, so that no order of arrival
/// shows through.
fn answer_order(answer: &FoundStudy, sources: &[String]) -> (usize, PlaceOrder, Vec<String>) {
    let rank = sources.iter().position(|source| *source == answer.place.source);
    let place = (answer.place.source.clone(), answer.place.retrieve_url.clone());
    let said = [
        &answer.patient_name,
        &answer.patient_id,
        &answer.birth_date,
        &answer.sex,
        &answer.age,
        &answer.study_date,
        &answer.study_time,
        &answer.body_part,
        &answer.description,
        &answer.institution_name,
        &answer.institution_code,
        &answer.accession_issuer,
    ];
    let mut said: Vec<String> = said.into_iter().cloned().collect();
    said.push(format!("{:?}", answer.instances));
    said.extend(answer.modalities.iter().cloned());
    (rank.unwrap_or(sources.len()), place, said)
}

/// A place that can be ordered: source and retrieve URL.
type PlaceOrder = (String, Option<String>);

/// The first answer, with what it leaves empty about the study taken from the other.
fn filled(mut first: FoundStudy, other: FoundStudy) -> FoundStudy {
    let pairs = [
        (&mut first.study_date, other.study_date),
        (&mut first.study_time, other.study_time),
        (&mut first.body_part, other.body_part),
        (&mut first.description, other.description),
        (&mut first.institution_name, other.institution_name),
        (&mut first.institution_code, other.institution_code),
        (&mut first.accession_issuer, other.accession_issuer),
    ];
    for (text, filling) in pairs {
        if text.trim().is_empty() {
            *text = filling;
        }
    }
    if first.modalities.is_empty() {
        first.modalities = other.modalities;
    }
    first.instances = first.instances.or(other.instances);
    first
}

fn made_here(study: &FoundStudy, rules: &Rules) -> bool {
    rules.is_own(&study.institution_name, &study.institution_code, &study.accession_issuer)
}

fn is_origin_unknown(study: &FoundStudy) -> bool {
    let origin = [&study.institution_code, &study.institution_name, &study.accession_issuer];
    origin.into_iter().all(|text| folded(text).is_empty())
}

/// NFKC, upper case, without blanks and padding.
fn folded(text: &str) -> String {
    let kept = text.nfkc().filter(|c| !c.is_whitespace() && !c.is_control());
    kept.flat_map(char::to_uppercase).collect()
}

/// Mean bytes of one instance and of one study of a modality. Basis: a CT slice is 512 × 512 × 16
/// bit = 525 kB; a CT study 300 MB, MR 100 MB in 300 to 600 instances, DR 20 MB in 2, others
/// 50 MB (published exam sizes of regional clouds); a report is a few pages of text or PDF.
fn bytes_mean(modality: &str) -> (u64, u64) {
    match modality {
        "CT" => (525_000, 300_000_000),
        "MR" => (250_000, 100_000_000),
        "DX" | "CR" | "DR" | "RF" | "PX" => (10_000_000, 20_000_000),
        "MG" => (12_500_000, 50_000_000),
        "SR" | "KO" | "PR" | "DOC" => (100_000, 1_000_000),
        _ => (1_000_000, 50_000_000),
    }
}

/// Mean of all studies, for one that does not name its modality: 146 MB in 170 instances.
const BYTES_MEAN_UNKNOWN: (u64, u64) = (859_000, 146_000_000);

/// The size of a study before it is seen: by its number of instances, of the largest kind in it,
/// else by the means of its modalities. Never 0.
fn bytes_estimated(study: &FoundStudy) -> u64 {
    let modalities = modalities(study);
    let means = modalities.iter().map(|modality| bytes_mean(modality));
    let bytes = match study.instances.filter(|count| *count > 0) {
        Some(count) => {
            let largest = means.map(|mean| mean.0).max().unwrap_or(BYTES_MEAN_UNKNOWN.0);
            u64::from(count).saturating_mul(largest)
        }
        None => means.map(|mean| mean.1).sum(),
    };
    if bytes > 0 { bytes } else { BYTES_MEAN_UNKNOWN.1 }
}

/// An outcome for people, in English.
pub fn outcome_words(outcome: StudyOutcome) -> &'static str {
    match outcome {
        StudyOutcome::Chosen => "chosen",
        StudyOutcome::Own => "left out because it is this hospital's own",
        StudyOutcome::TooOld => "left out because it is older than the look-back window",
        StudyOutcome::Apart => "kept apart because it contradicts the registration",
        StudyOutcome::OverBudget => "left out because the byte budget of the plan is spent",
        StudyOutcome::TooMany => "left out because enough better studies were chosen",
    }
}

/// The same in Chinese.
pub fn outcome_words_zh(outcome: StudyOutcome) -> &'static str {
    match outcome {
        StudyOutcome::Chosen => "已选取",
        StudyOutcome::Own => "未选取：本院检查",
        StudyOutcome::TooOld => "未选取：超出回溯期",
        StudyOutcome::Apart => "已隔离：与登记信息不符",
        StudyOutcome::OverBudget => "未选取：超出本次流量预算",
        StudyOutcome::TooMany => "未选取：已选够更合适的检查",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Sex;

    /// A CT of the chest, made yesterday elsewhere, of a man born in 1980.
    pub(in crate::prefetch) fn bare_study(uid: &str) -> FoundStudy {
        FoundStudy {
            study: Uid::try_from(uid).unwrap(),
            place: Place { source: "region".to_owned(), retrieve_url: None },
            patient_name: "王^小东".to_owned(),
            patient_id: String::new(),
            birth_date: "19800307".to_owned(),
            sex: "M".to_owned(),
            age: String::new(),
            study_date: "20261120".to_owned(),
            study_time: String::new(),
            modalities: vec!["CT".to_owned()],
            body_part: String::new(),
            description: String::new(),
            institution_name: "邻县人民医院".to_owned(),
            institution_code: String::new(),
            accession_issuer: String::new(),
            instances: None,
        }
    }

    fn person() -> Person {
        Person {
            name: "王小东".to_owned(),
            sex: Some(Sex::Male),
            birth: Some(Date::constant(1980, 3, 7)),
            birth_years: None,
        }
    }

    const DAY: Date = Date::constant(2026, 11, 21);

    fn rules() -> Rules {
        Rules {
            own: vec![OwnHospital {
                code: "H11019900001".to_owned(),
                names: vec!["示范市第一人民医院".to_owned(), "一院".to_owned()],
            }],
            sources: vec!["region".to_owned(), "nation".to_owned()],
            look_back_days: 730,
            bytes_budget: 1_000_000_000,
            studies_max: 10,
            weights: Weights::default(),
        }
    }

    fn chosen(found: Vec<FoundStudy>, rules: &Rules) -> Vec<Considered> {
        let department = Department { code: String::new(), name: "呼吸内科".to_owned() };
        choose(&person(), &department, &[], found, rules, DAY, &|_| Standing::New)
    }

    fn outcomes(considered: &[Considered]) -> Vec<(&str, StudyOutcome)> {
        considered.iter().map(|one| (one.study.study.as_str(), one.outcome)).collect()
    }

    #[test]
    fn own_studies_are_told_by_code_name_or_issuer() {
        let own: [fn(&mut FoundStudy); 6] = [
            |study| study.institution_code = " h11019900001 ".to_owned(),
            |study| study.institution_name = "示范市第一人民医院".to_owned(),
            |study| study.institution_name = "示范市 第一人民医院（东院）".to_owned(),
            |study| study.institution_name = "一院".to_owned(),
            |study| study.accession_issuer = "H11019900001".to_owned(),
            |study| study.accession_issuer = "示范市第一人民医院".to_owned(),
        ];
        for change in own {
            let mut study = bare_study("1.2");
            change(&mut study);
            assert_eq!(chosen(vec![study], &rules())[0].outcome, StudyOutcome::Own);
        }
        let mut study = bare_study("1.2");
        study.institution_name = "邻县第一院区".to_owned();
        assert!(!made_here(&study, &rules()), "a short name is not looked for inside others");
        study.institution_name = " ".to_owned();
        let considered = chosen(vec![study], &rules()).remove(0);
        assert!(considered.origin_unknown);
        assert_eq!(considered.outcome, StudyOutcome::Chosen, "unknown origin counts as outside");
        let nameless = Rules { own: vec![OwnHospital::default()], ..rules() };
        assert!(!made_here(&considered.study, &nameless), "empty equals nothing");
    }

    #[test]
    fn the_look_back_window_holds_to_the_day_and_keeps_what_has_no_date() {
        let on = |date: &str| {
            let study = FoundStudy { study_date: date.to_owned(), ..bare_study("1.2") };
            chosen(vec![study], &rules()).remove(0)
        };
        assert_eq!(on("20241121").outcome, StudyOutcome::Chosen, "730 days");
        assert_eq!(on("20241120").outcome, StudyOutcome::TooOld, "731 days");
        assert_eq!(on("20270101").outcome, StudyOutcome::Chosen, "a clock that runs ahead");
        let unread = on("last week");
        assert_eq!((unread.outcome, unread.date_unknown), (StudyOutcome::Chosen, true));
    }

    #[test]
    fn a_contradiction_in_any_description_keeps_the_study_apart() {
        let mut nation = bare_study("1.2");
        nation.place.source = "nation".to_owned();
        nation.birth_date = "19620307".to_owned();
        let considered = chosen(vec![nation, bare_study("1.2")], &rules());
        assert_eq!(outcomes(&considered), [("1.2", StudyOutcome::Apart)]);
        assert_eq!(considered[0].link, Link::Apart);
        assert_eq!(considered[0].study.birth_date, "19800307", "the region is the better place");
    }

    #[test]
    fn one_study_of_two_sources_is_one_with_two_places() {
        let mut nation = bare_study("1.2");
        nation.place.source = "nation".to_owned();
        nation.place.retrieve_url = Some("https://pacs.invalid/studies/1.2".to_owned());
        nation.description = "胸部平扫".to_owned();
        nation.instances = Some(100);
        let considered = chosen(vec![nation.clone(), bare_study("1.2")], &rules()).remove(0);
        let sources: Vec<_> = considered.places.iter().map(|place| &place.source).collect();
        assert_eq!(sources, ["region", "nation"]);
        assert_eq!(considered.study.description, "胸部平扫");
        assert_eq!(considered.bytes, 100 * 525_000);
        let twice = chosen(vec![nation.clone(), nation], &rules()).remove(0);
        assert_eq!(twice.places.len(), 1);
    }

    #[test]
    fn the_budget_goes_to_the_best_and_to_what_still_fits() {
        let sized = |uid: &str, date: &str, instances| FoundStudy {
            study_date: date.to_owned(),
            instances: Some(instances),
            ..bare_study(uid)
        };
        let found = vec![
            sized("1.1", "20261120", 1000),
            sized("1.2", "20260901", 1000),
            sized("1.3", "20260801", 800),
            sized("1.4", "20260701", 10),
        ];
        let considered = chosen(found.clone(), &rules());
        let expected = [
            ("1.1", StudyOutcome::Chosen),
            ("1.2", StudyOutcome::OverBudget),
            ("1.3", StudyOutcome::Chosen),
            ("1.4", StudyOutcome::Chosen),
        ];
        assert_eq!(outcomes(&considered), expected);
        let poor = chosen(found.clone(), &Rules { bytes_budget: 1, ..rules() });
        assert_eq!(poor[0].outcome, StudyOutcome::Chosen, "the best is always chosen");
        assert!(poor[1..].iter().all(|one| one.outcome == StudyOutcome::OverBudget));
        let few = chosen(found.clone(), &Rules { studies_max: 1, ..rules() });
        assert!(few[1..].iter().all(|one| one.outcome == StudyOutcome::TooMany));
        let department = Department::default();
        let none = Rules { bytes_budget: 0, ..rules() };
        let all_here = choose(&person(), &department, &[], found, &none, DAY, &|_| Standing::Here);
        assert!(all_here.iter().all(|one| one.outcome == StudyOutcome::Chosen && one.bytes == 0));
    }

    #[test]
    fn an_order_decides_again_within_the_same_budget_and_takes_nothing_away() {
        let chest = FoundStudy { instances: Some(7), ..bare_study("1.2") };
        let knee = FoundStudy {
            modalities: vec!["MR".to_owned()],
            body_part: "KNEE".to_owned(),
            description: String::new(),
            ..FoundStudy { instances: Some(7), ..bare_study("1.3") }
        };
        let rules = Rules { bytes_budget: 4_000_000, ..rules() };
        let department = Department { code: String::new(), name: "呼吸内科".to_owned() };
        let decide = |wanted: &[Standard], begun: &str| {
            let standing = |uid: &Uid| match uid.as_str() == begun {
                true => Standing::Begun,
                false => Standing::New,
            };
            let found = vec![chest.clone(), knee.clone()];
            let mut all = choose(&person(), &department, wanted, found, &rules, DAY, &standing);
            all.sort_by_key(|one| one.study.study.clone());
            [all[0].outcome, all[1].outcome]
        };
        let (yes, no) = (StudyOutcome::Chosen, StudyOutcome::OverBudget);
        assert_eq!(decide(&[], ""), [yes, no]);
        assert_eq!(decide(&[], "1.2"), [yes, no], "what is here opens no new budget");
        let ordered = Standard {
            modality: "MR".to_owned(),
            body_part: "KNEE".to_owned(),
            code: String::new(),
        };
        assert_eq!(decide(std::slice::from_ref(&ordered), ""), [no, yes]);
        assert_eq!(decide(&[ordered], "1.2"), [yes, yes]);
    }

    #[test]
    fn ties_go_to_the_newer_study_then_to_the_smaller_uid() {
        let later = FoundStudy { study_time: "120000".to_owned(), ..bare_study("1.9") };
        let considered = chosen(vec![bare_study("1.3"), later, bare_study("1.2")], &rules());
        let order: Vec<_> = considered.iter().map(|one| one.study.study.as_str()).collect();
        assert_eq!(order, ["1.9", "1.2", "1.3"]);
    }

    #[test]
    fn sizes_are_estimated_from_what_is_known() {
        let size = |modalities: &[&str], instances| {
            let modalities = modalities.iter().map(|text| (*text).to_owned()).collect();
            bytes_estimated(&FoundStudy { modalities, instances, ..bare_study("1.2") })
        };
        assert_eq!(size(&["CT"], None), 300_000_000);
        assert_eq!(size(&["CT", "SR"], None), 301_000_000);
        assert_eq!(size(&["CT\\SR"], Some(10)), 5_250_000);
        assert_eq!(size(&[], None), 146_000_000);
        assert_eq!(size(&[], Some(1)), 859_000);
        assert_eq!(size(&["DX"], Some(0)), 20_000_000, "a count of 0 is no count");
        assert_eq!(size(&["SR"], None), 1_000_000);
    }

    #[test]
    fn the_explanation_is_one_line_without_the_person() {
        let mut study = bare_study("1.2");
        study.institution_name.clear();
        study.description = "胸部平扫".to_owned();
        let considered = chosen(vec![study], &rules()).remove(0);
        assert_eq!(
            considered.explanation(),
            "chosen; score 100: body part 40 (chest fits), modality 25 (CT), department 10 \
             (much used there), recency 25 (1 days old); name agrees, sex agrees, birth year \
             agrees; origin unknown"
        );
        assert_eq!(
            considered.explanation_zh(),
            "已选取；评分 100：部位 40（胸，与科室相关），检查类型 25（CT），科室 10（科室常用），\
             新近程度 25（1 天前）；姓名相符，性别相符，出生年份相符；来源机构不详"
        );
    }

    fn any_study() -> impl Strategy<Value = FoundStudy> {
        let people = prop_oneof![4 => Just("王^小东"), 1 => Just("李^四平"), 1 => Just("")];
        let sources = prop_oneof![Just("region"), Just("nation"), Just("city")];
        let names = prop_oneof![3 => Just("邻县人民医院"), 1 => Just("一院"), 1 => Just("")];
        let dates = prop_oneof![Just(""), Just("20261101"), Just("20260101"), Just("20200101")];
        let kinds = prop_oneof![Just("CT"), Just("DX"), Just("SR"), Just("")];
        let parts = prop_oneof![Just("CHEST"), Just("KNEE"), Just("")];
        let count = proptest::option::of(0..3000u32);
        (1..12u32, people, sources, names, dates, kinds, parts, count).prop_map(
            |(uid, person, source, name, date, kind, part, instances)| FoundStudy {
                patient_name: person.to_owned(),
                place: Place { source: source.to_owned(), retrieve_url: None },
                institution_name: name.to_owned(),
                study_date: date.to_owned(),
                modalities: vec![kind.to_owned()],
                body_part: part.to_owned(),
                instances,
                ..bare_study(&format!("1.2.{uid}"))
            },
        )
    }

    proptest! {
        #[test]
        fn any_choice_keeps_its_promises_in_any_order_of_arrival(
            (found, shuffled) in proptest::collection::vec(any_study(), 0..20)
                .prop_flat_map(|found| (Just(found.clone()), Just(found).prop_shuffle())),
            budget in 0..3_000_000_000u64,
            studies_max in 0..8usize,
        ) {
            let rules = Rules { bytes_budget: budget, studies_max, ..rules() };
            let considered = chosen(found, &rules);
            assert_eq!(considered, chosen(shuffled, &rules));
            let taken: Vec<&Considered> =
                considered.iter().filter(|one| one.outcome == StudyOutcome::Chosen).collect();
            let bytes: u64 = taken.iter().map(|one| one.bytes).sum();
            assert!(bytes <= budget || taken.len() == 1);
            assert!(taken.len() <= studies_max.max(1));
            for one in &considered {
                if one.outcome == StudyOutcome::Chosen {
                    assert!(!made_here(&one.study, &rules));
                    assert_ne!(one.link, Link::Apart);
                    assert_ne!(one.study.study_date, "20200101");
                }
                assert_eq!(one.score, one.why.iter().map(|term| term.points).sum::<i64>());
            }
            let barred = [StudyOutcome::Own, StudyOutcome::TooOld, StudyOutcome::Apart];
            let eligible = considered.iter().find(|one| !barred.contains(&one.outcome));
            assert!(eligible.is_none_or(|best| best.outcome == StudyOutcome::Chosen));
        }
    }
}
