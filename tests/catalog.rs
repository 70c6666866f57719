//! The catalogue from outside: every interface against its own examples, and the format
//! against the hard interfaces of the documents that are not in it yet.

// A failed unwrap in a helper is a failed test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use forepost::catalog::table::{Address, Type};
use forepost::catalog::{self, Answer, Interface, Kind, Match, Mode, Outcome, Overlay, Zone};
use forepost::codec::json::{Limits, parse};

// The verb is compiled here too, so that its own tests run whoever declares it.
#[path = "../src/verbs/catalog.rs"]
#[allow(dead_code)]
mod verb;

/// The compiled hard cases; `table.inc` is kept fresh by the first test below.
mod hard {
    #![allow(missing_docs)]
    use forepost::catalog::table::*;

    include!("fixtures/catalog/table.inc");
}

const LIMITS: Limits = Limits::new(64 * 1024);

fn read(text: &str) -> Value {
    parse(text.as_bytes(), None, LIMITS).unwrap().value
}

fn hard(id: &str) -> &'static Interface {
    hard::CATALOG.find(id).unwrap()
}

/// What a query text holds: split at `&` and `=`, `$` or `%` and two digits decoded.
fn query(text: &str) -> Value {
    let text = text.split(['?']).next_back().unwrap().rsplit("://").next().unwrap();
    let decode = |text: &str| {
        let hex = text.replace('$', "%");
        let mut parts = hex.split('%');
        let mut bytes = parts.next().unwrap().as_bytes().to_vec();
        for part in parts {
            bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        String::from_utf8(bytes).unwrap().trim().to_owned()
    };
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), Value::from(decode(value)))).collect()
}

fn example(interface: &Interface) -> Value {
    match interface.id.starts_with("ic-login") {
        true => query(interface.example),
        false => read(interface.example),
    }
}

fn lenient(interface: &'static Interface, value: &Value) -> catalog::Checked {
    catalog::check(interface, value, Mode::Lenient, &Overlay::default())
}

fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            sources(&path, into);
        } else if name.ends_with(".toml") || name.ends_with(".example") {
            let system = folder.file_name().unwrap().to_str().unwrap();
            into.push((format!("{system}/{name}"), fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn the_compiled_hard_cases_are_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/catalog");
    let mut texts = Vec::new();
    sources(&folder, &mut texts);
    let code = catalog::compile::compile(&texts).unwrap();
    texts.reverse();
    assert_eq!(catalog::compile::compile(&texts).unwrap(), code, "the order does not matter");
    let path = folder.join("table.inc");
    if std::env::var_os("FOREPOST_WRITE_FIXTURES").is_some() {
        fs::write(&path, &code).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept == code, "table.inc is stale: set FOREPOST_WRITE_FIXTURES and test again");
}

#[test]
fn every_example_passes_its_own_interface() {
    let all = catalog::interfaces().iter().chain(hard::CATALOG.interfaces);
    let mut checked = 0;
    for interface in all {
        if !interface.fields.is_empty() {
            let result = lenient(interface, &example(interface));
            assert_eq!(result.faults, [], "{}", interface.id);
            checked += 1;
        }
        for form in interface.answers {
            let value = read(form.example);
            let result = catalog::check_answer(interface, form, &value, &Overlay::default());
            let bad = result.warnings.iter().find(|it| it.kind != Kind::Required);
            assert_eq!(bad, None, "{} {}", interface.id, form.name);
            assert_eq!(result.faults, []);
            checked += 1;
        }
    }
    assert_eq!(catalog::interfaces().len(), 13);
    assert!(checked > 13 + 14, "{checked}");
}

#[test]
fn the_envelope_is_the_one_the_document_prints() {
    let text = |id: &str, it: Answer| {
        String::from_utf8(catalog::answer(catalog::find(id).unwrap(), it)).unwrap()
    };
    let of = |id: &str, outcome| text(id, Answer::of(catalog::find(id).unwrap(), outcome));
    let push = "ic-register-push";
    assert_eq!(of(push, Outcome::Success), r#"{"message":"请求成功","code":200}"#);
    assert_eq!(of(push, Outcome::Denied), r#"{"message":"权限校验不通过","code":401}"#);
    assert_eq!(of(push, Outcome::Failed), r#"{"message":"服务异常","code":500}"#);
    for id in ["ic-swiping-id-card", "ic-check-again"] {
        assert_eq!(of(id, Outcome::Success), r#"{"code":200,"data":{},"message":""}"#);
    }
    assert_eq!(of("ic-dept-get", Outcome::Success), r#"{"message":"成功","code":200,"datas":[]}"#);
    let interface = catalog::find(push).unwrap();
    let body = json!({"hospitalId": "123456", "idCardNo": "110199197003120038"});
    let checked = lenient(interface, &body);
    assert_eq!(
        text(push, Answer::faults(interface, &checked.faults)),
        r#"{"message":"patientName:不能为空；outpatientNumber:不能为空","code":400}"#
    );
    let interface = catalog::find("ic-settlement-push").unwrap();
    let checked = lenient(interface, &json!({"hospitalld": "123456"}));
    let told = Answer::faults(interface, &checked.faults).message;
    assert_eq!(
        told,
        "setlId参数值异常；medListCodg参数值异常；feedetlSn参数值异常；accessionNo、studyOrderId参数值异常：至少一项"
    );
}

#[test]
fn a_path_leads_to_its_interface_in_its_own_zone_only() {
    let path = "/standardInterface/standardHttp/saveDataStorage";
    for path in [path.to_owned(), format!("{path}/")] {
        match catalog::by_address(Zone::Hospital, "post", &path) {
            Match::Found([interface]) => assert_eq!(interface.id, "ic-register-push"),
            other => panic!("{other:?}"),
        }
    }
    let other = catalog::by_address(Zone::Hospital, "GET", path);
    assert!(matches!(other, Match::WrongMethod(["POST"])), "{other:?}");
    assert!(matches!(catalog::by_address(Zone::Cloud, "POST", path), Match::Unknown));
    let upper = path.to_uppercase();
    assert!(matches!(catalog::by_address(Zone::Hospital, "POST", &upper), Match::Unknown));
    for path in ["/hrball/", "/hrball"] {
        assert!(matches!(catalog::by_address(Zone::Hospital, "GET", path), Match::Found([_])));
    }
    // Every HTTP address of the catalogue is found again.
    for interface in catalog::interfaces() {
        for address in interface.addresses {
            let Address::Http { method, path, .. } = address else { continue };
            match catalog::by_address(interface.zone, method, path) {
                Match::Found(found) => assert!(found.iter().any(|it| it.id == interface.id)),
                other => panic!("{} {other:?}", interface.id),
            }
        }
    }
}

#[test]
fn one_path_may_belong_to_two_interfaces() {
    let path = "/prefront/hospitalizationCosts/hisRefund";
    let found = hard::CATALOG.by_address(Zone::Hospital, "POST", path);
    let Match::Found([card, order]) = found else { panic!("{found:?}") };
    assert_eq!((card.section, order.section), ("9.1.1", "13.2.1"));
    assert_eq!(card.shared_with, ["wx-refund-order"]);
    assert!(card.delivery.money && card.delivery.identity == ["refundNo"]);
    let checked = lenient(order, &read(order.example));
    assert_eq!(checked.record.text("amount"), Some("32.45"), "a number became text");
    let checked = lenient(card, &json!({"outTradeNo": "1", "refundNo": "2", "amount": "x"}));
    assert_eq!(checked.faults[0].message_zh, "amount:格式不正确");
}

#[test]
fn an_interface_may_have_two_names_two_answers_and_two_addresses() {
    let detail = hard("hospital.interface.pacsReportDetail");
    assert_eq!(detail.id, "wx-report-detail");
    assert!(std::ptr::eq(detail, hard("hospital.interface.laboratoryReportDetail")));
    let given: Vec<_> = detail.answers.iter().map(|it| it.when.as_ref().unwrap().is[0]).collect();
    assert_eq!(given, ["0", "1"]);
    let value = read(detail.answers[0].example);
    let form = &detail.answers[0];
    let record = catalog::check_answer(detail, form, &value, &Overlay::default()).record;
    let normal: Vec<_> =
        record.list("data.details").iter().map(|it| it.text("normal").unwrap()).collect();
    assert_eq!(normal, ["0", "-1"]);
    for path in ["/prefront/yyghService/hospital", "/yyghwebservice/yyghHttpService/hospital"] {
        let found = hard::CATALOG.by_address(Zone::Hospital, "POST", path);
        assert!(matches!(found, Match::Found([it]) if it.section == "21.1.1"), "{found:?}");
    }
    let upload = hard("wx-hospital-upload");
    let told = catalog::answer(upload, Answer::of(upload, Outcome::Faulty));
    assert_eq!(told, r#"{"success":false,"message":"参数错误","status":-1}"#.as_bytes());
    let told = catalog::answer(detail, Answer::of(detail, Outcome::Success));
    let expected = r#"{"success":true,"msg":"成功","code":"10001","data":null}"#;
    assert_eq!(told, expected.as_bytes());
}

#[test]
fn xml_attributes_lists_inside_lists_and_texts_are_carried() {
    let crisis = hard("pc-syn-crisis-info");
    let record = lenient(crisis, &read(crisis.example)).record;
    assert_eq!(record.text("XmlDocument.Crisis.CrisisSettor"), Some("管理员"));
    assert_eq!(record.text("XmlDocument.Crisis.CrisisSettor@code"), Some("040002"));
    assert_eq!(record.text("XmlDocument.Crisis.CrisisType"), None);
    let plain = json!({"XmlDocument": {"Crisis": {"ExamNo": "1", "CrisisSettor": "管理员"}}});
    let record = lenient(crisis, &plain).record;
    assert_eq!(record.text("XmlDocument.Crisis.CrisisSettor"), Some("管理员"));
    let mut answer = Answer::of(crisis, Outcome::Success);
    answer.message = "a<b & c".into();
    let told = String::from_utf8(catalog::answer(crisis, answer)).unwrap();
    assert!(told.ends_with("<response><code>0</code><desc>a&lt;b &amp; c</desc></response>"));

    let push = hard("ri-exam-push");
    let record = lenient(push, &read(push.example)).record;
    assert_eq!(record.text("examInfo.patientID"), Some("E1"), "a key with a blank");
    let categories = record.list("reportList")[0].list("category");
    assert_eq!(categories[1].text("caCode"), Some("C2"));
    let broken = json!({"examNo": "1", "hospitalCode": "1", "imageList": [{"patientID": "1"}, {}]});
    let strict = catalog::check(push, &broken, Mode::Strict, &Overlay::default());
    assert_eq!(strict.faults[0].message_zh, "imageList[1].patientID:不能为空");
    assert_eq!(strict.faults[0].rule, "ri-exam-push.imageList[].patientID.required");

    let apply = hard("ri-syn-apply-info");
    let record = lenient(apply, &read(apply.example)).record;
    let organs = record.list("XmlDocument.Exam.ExamOrgan.Organ");
    assert_eq!(organs.iter().map(|it| it.text("").unwrap()).collect::<Vec<_>>(), ["头部", "胸部"]);
    assert!(apply.fields[0].children[0].children[0].secret);
    assert_eq!(apply.delivery.query, Some("ri-exam-push"));
}

#[test]
fn a_view_a_procedure_and_a_web_service_are_addresses_of_one_interface() {
    let report = hard("pe-lis-pub-report");
    let record = lenient(report, &read(report.example)).record;
    assert_eq!(record.text("ExamItemID"), Some("GLU"), "columns in capitals");
    let procedure = |it: &Address| matches!(it, Address::Procedure { name: "cp_lis_pubReport" });
    assert!(report.addresses.iter().any(procedure));
    let told = catalog::answer(report, Answer::of(report, Outcome::Failed));
    assert_eq!(told, r#"{"execStatus":-1,"errMessage":"处理异常"}"#.as_bytes());
}

#[test]
fn every_personal_field_of_the_document_is_marked() {
    for interface in catalog::interfaces() {
        for field in interface.fields {
            let person = ["idCard", "IdCard", "patientName", "Phone", "phone", "doctorName"];
            if person.iter().any(|it| field.path.contains(it)) {
                assert!(field.personal, "{} {}", interface.id, field.path);
            }
            assert!(field.kind != Type::Base64 || field.bound > 256);
        }
    }
}
