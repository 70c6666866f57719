use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::codec::json::{Limits, parse};

fn push() -> &'static Interface {
    find("ic-register-push").unwrap()
}

fn run(value: &Value, mode: Mode, overlay: &str) -> Checked {
    check(push(), value, mode, &Overlay::parse(overlay).unwrap())
}

fn lenient(value: &Value) -> Checked {
    run(value, Mode::Lenient, "")
}

fn rules(faults: &[FieldFault]) -> Vec<&str> {
    faults.iter().map(|it| it.rule.strip_prefix("ic-register-push.").unwrap()).collect()
}

/// Deliveries of older programs are known again by the hash of these bytes.
#[test]
fn what_leaves_is_the_same_bytes_in_every_build() {
    let value = json!({"setlId": "1", "hospitalld": "H1", "accessionNo": "A", "examPart": "P"});
    let interface = find("ic-settlement-push").unwrap();
    let checked = check(interface, &value, Mode::Lenient, &Overlay::default());
    let text = String::from_utf8(compose(interface, &checked.record)).unwrap();
    assert_eq!(text, r#"{"accessionNo":"A","examPart":"P","hospitalld":"H1","setlId":"1"}"#);
}

/// A registration that the strict mode accepts.
fn whole() -> Value {
    json!({
        "idCardNo": "110199197003120038", "hospitalld": "123456", "mobilePhone": "13800000003",
        "patientName": "测试", "patientSex": "男", "patientAge": "52", "patientType": "1",
        "outpatientNumber": "25984256", "registDateTime": "2022-7-1 10:45:22",
        "outpatientDateTime": "2022-7-15 09:30:00", "outpatientDeptName": "内科",
        "outpatientDeptCode": "N01", "outpatientDocName": "王二", "outpatientDocHisUid": "1001",
        "quitType": "0", "outpatientType": "0",
    })
}

fn with(changes: Value) -> Value {
    let mut body = whole();
    for (key, value) in changes.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

#[test]
fn a_whole_registration_passes_strictly_and_in_silence() {
    let checked = run(&whole(), Mode::Strict, "");
    assert_eq!((rules(&checked.faults), rules(&checked.warnings)), (vec![], vec![]));
    assert_eq!(checked.record.text("patientName"), Some("测试"));
    assert_eq!(checked.record.text("bedNo"), None);
}

#[test]
fn the_printed_example_passes_with_warnings_only() {
    let value = parse(push().example.as_bytes(), None, Limits::new(8192)).unwrap().value;
    let checked = lenient(&value);
    assert_eq!(rules(&checked.faults), [] as [&str; 0]);
    assert_eq!(
        rules(&checked.warnings),
        [
            "patientType.required",
            "outpatientDeptCode.required",
            "outpatientDocHisUid.required",
            "outpatientType.enum",
        ]
    );
    assert_eq!(checked.record.text("outpatientType"), None);
    assert_eq!(checked.record.raw("outpatientType"), Some("4"));
    assert_eq!(checked.record.text("registDateTime"), Some("2022-7-1 10:45:22"));
}

#[test]
fn an_empty_body_is_told_every_fault_at_once_with_its_section() {
    let checked = lenient(&json!({}));
    let told: Vec<_> = checked.faults.iter().map(|it| it.message_zh.as_str()).collect();
    assert_eq!(
        told,
        [
            "hospitalld:不能为空",
            "patientName:不能为空",
            "outpatientNumber:不能为空",
            "idCardNo、healthNo、insuranceId、medicareNo:不能都为空",
        ]
    );
    assert!(checked.faults.iter().all(|it| it.section == "3.4.2" && !it.document.is_empty()));
    let strict = run(&json!({}), Mode::Strict, "");
    assert_eq!(strict.faults.len(), 17, "{:?}", rules(&strict.faults));
    assert_eq!(check(push(), &json!([]), Mode::Lenient, &Overlay::default()).faults.len(), 1);
}

#[test]
fn the_least_that_can_be_found_again_is_kept() {
    let admission = json!({
        "hospitalId": 123456, "hospitalizationId": "Z1", "patientName": "测试",
        "admissionRegistDateTime": "2022-7-1", "medicareNo": "75452620",
    });
    let checked = lenient(&admission);
    assert_eq!(rules(&checked.faults), [] as [&str; 0]);
    assert_eq!(checked.record.text("hospitalld"), Some("123456"), "alias, number");
    for key in ["hospitalizationId", "admissionRegistDateTime"] {
        let mut body = admission.clone();
        body[key] = json!("");
        assert_eq!(rules(&lenient(&body).faults), ["visit"], "{key}");
    }
    let mut body = admission.clone();
    body["medicareNo"] = json!(null);
    assert_eq!(rules(&lenient(&body).faults), ["identifier"]);
}

#[test]
fn inpatient_fields_are_wanted_of_inpatients_only_and_discharge_never() {
    let strict = run(&with(json!({"patientType": "2"})), Mode::Strict, "");
    let wanted = [
        "admissionRegistDateTime.required",
        "admissionDateTime.required",
        "admissionDeptCode.required",
        "admissionDeptName.required",
        "currentDeptCode.required",
        "currentDeptName.required",
    ];
    assert_eq!(rules(&strict.faults), wanted);
    let lenient = lenient(&with(json!({"patientType": 2})));
    assert_eq!((lenient.faults.len(), rules(&lenient.warnings)), (0, wanted.to_vec()));
}

#[test]
fn patient_type_0_is_read_as_9_and_told() {
    let checked = lenient(&with(json!({"patientType": "0"})));
    assert_eq!(checked.record.text("patientType"), Some("9"));
    assert_eq!(rules(&checked.warnings), ["patientType.enum"]);
    let strict = run(&with(json!({"patientType": "0"})), Mode::Strict, "");
    assert_eq!(rules(&strict.faults), ["patientType.enum"]);
}

#[test]
fn a_date_that_does_not_read_is_kept_but_not_used() {
    let checked = lenient(&with(json!({"outpatientDateTime": "下周五"})));
    assert_eq!(rules(&checked.warnings), ["outpatientDateTime.format"]);
    assert_eq!(checked.record.text("outpatientDateTime"), None);
    assert_eq!(checked.record.raw("outpatientDateTime"), Some("下周五"));
    let strict = run(&with(json!({"outpatientDateTime": "下周五"})), Mode::Strict, "");
    assert_eq!(rules(&strict.faults), ["outpatientDateTime.format"]);
}

#[test]
fn a_text_at_the_bound_is_kept_and_one_character_more_is_refused() {
    for mode in [Mode::Lenient, Mode::Strict] {
        let at = run(&with(json!({"outpatientDocName": "王".repeat(256)})), mode, "");
        assert_eq!(rules(&at.faults), [] as [&str; 0]);
        let over = run(&with(json!({"outpatientDocName": "王".repeat(257)})), mode, "");
        assert_eq!(rules(&over.faults), ["outpatientDocName.bound"]);
        assert_eq!(over.record.raw("outpatientDocName"), None);
        let control = run(&with(json!({"outpatientDocName": "王\u{0}"})), mode, "");
        assert_eq!(rules(&control.faults), ["outpatientDocName.bound"]);
    }
}

#[test]
fn numbers_become_text_and_rounded_ones_are_not_used() {
    let checked = lenient(&with(json!({"patientAge": 52, "mobilePhone": 13_800_000_003_u64})));
    assert_eq!(checked.record.text("patientAge"), Some("52"));
    assert_eq!(checked.record.text("mobilePhone"), Some("13800000003"));
    let long = parse(b"{\"healthNo\":123456789012345678901234}", None, Limits::new(99)).unwrap();
    let checked = lenient(&long.value);
    assert!(rules(&checked.warnings).contains(&"healthNo.type"));
    assert_eq!(checked.record.text("healthNo"), None);
    let checked = lenient(&with(json!({"patientSex": {"a": 1}, "patientName": ["a"]})));
    assert_eq!(rules(&checked.warnings), ["patientName.type", "patientSex.type"]);
}

#[test]
fn unknown_fields_are_told_once_by_name_and_never_as_a_number_or_a_name_of_a_person() {
    let body = with(json!({"vendorFlag": "1", "x_y": 2, "13800000003": "phoneNumber", "张三": 1}));
    let checked = lenient(&body);
    assert_eq!(rules(&checked.warnings), ["unknown"]);
    let told = format!("{:?}", checked.warnings);
    assert!(told.contains("vendorFlag") && told.contains("x_y"), "{told}");
    assert!(!told.contains("13800000003") && !told.contains("张三"), "{told}");
    let mut unknown = checked.record.unknown().to_vec();
    unknown.sort();
    assert_eq!(unknown, ["?", "vendorFlag", "x_y"]);
    let interface = find("ic-check-again").unwrap();
    let body = json!({"examList": [{"x": 1}, {"x": 2}]});
    let checked = check(interface, &body, Mode::Lenient, &Overlay::default());
    assert_eq!(checked.record.unknown(), ["examList[].x"]);
}

#[test]
fn a_list_inside_a_body_keeps_its_elements() {
    let interface = find("ic-check-again").unwrap();
    let value = parse(interface.example.as_bytes(), None, Limits::new(8192)).unwrap().value;
    let checked = check(interface, &value, Mode::Lenient, &Overlay::default());
    let list = checked.record.list("examList");
    assert_eq!(list[1].text("examName"), Some("胸部侧位"));
    assert_eq!(checked.record.text("messageType"), Some("1"));
    let one = json!({"examList": {"examCode": "CX1"}});
    let checked = check(interface, &one, Mode::Strict, &Overlay::default());
    assert!(checked.faults.iter().any(|it| it.message_zh == "examList[0].examName:不能为空"));
    let many = json!({"examList": vec![json!({"examCode": "1", "examName": "x"}); 1_001]});
    let checked = check(interface, &many, Mode::Lenient, &Overlay::default());
    assert!(checked.faults.iter().any(|it| it.rule == "ic-check-again.examList.bound"));
}

#[test]
fn a_settlement_body_is_an_object_a_list_or_a_list_under_a_key() {
    let interface = find("ic-settlement-push").unwrap();
    let one = json!({"setlId": "1"});
    assert_eq!(bodies(interface, &one), [&one]);
    assert_eq!(bodies(interface, &json!([one, one])), [&one, &one]);
    assert_eq!(bodies(interface, &json!({"list": [one]})), [&one]);
    assert_eq!(bodies(push(), &json!([1])), [&json!([1])]);
}

#[test]
fn an_overlay_changes_levels_by_rule_or_by_field() {
    let body = json!({"hospitalld": "1", "patientName": "测试", "outpatientNumber": "1",
        "idCardNo": "1", "patientAge": "52", "patientType": "7"});
    let overlay = "[levels]\n\"ic-register-push.mobilePhone\" = \"off\"\n\
        \"ic-register-push.patientType\" = \"reject\"\n\
        \"ic-register-push.patientSex.required\" = \"reject\"\n\
        \"ic-register-push.unknown\" = \"off\"\n";
    let checked = run(&body, Mode::Lenient, overlay);
    assert_eq!(rules(&checked.faults), ["patientSex.required", "patientType.enum"]);
    assert!(!rules(&checked.warnings).contains(&"mobilePhone.required"));
    assert!(rules(&checked.warnings).contains(&"quitType.required"));
}

#[test]
fn an_overlay_lists_all_its_mistakes_and_lowers_no_floor() {
    let faults = Overlay::parse(
        "[levels]\n\"ic-register-push.nothing\" = \"off\"\n\"ic-no.x\" = \"warn\"\n\
         \"ic-register-push.visit\" = \"warn\"\n\"ic-register-push.patientName\" = \"warn\"\n\
         \"ic-register-push.bedNo.bound\" = \"off\"\n",
    )
    .unwrap_err();
    let floors = faults.iter().filter(|it| matches!(it, OverlayFault::Floor { .. })).count();
    assert_eq!((faults.len(), floors), (5, 3), "{faults:?}");
    let form = Overlay::parse("[levels]\nx = \"maybe\"\n").unwrap_err();
    assert!(form[0].to_string().starts_with("line 2: "), "{form:?}");
    assert!(Overlay::parse("[level]\n").is_err());
    let raised = "[levels]\n\"ic-register-push.patientName\" = \"reject\"\n";
    assert_eq!(Overlay::parse(raised).unwrap().len(), 1);
}

#[test]
fn lenient_accepts_whatever_strict_accepts() {
    // The floor of the lenient mode may not be above the strict one, field by field.
    fn look(fields: &'static [table::Field]) {
        for field in fields {
            for kind in [Kind::Required, Kind::Enum, Kind::Length, Kind::Format, Kind::Type] {
                let level = |mode| check::level_of(field, kind, mode);
                assert!(level(Mode::Lenient) <= level(Mode::Strict), "{}", field.path);
            }
            look(field.children);
        }
    }
    interfaces().iter().for_each(|it| look(it.fields));
}

fn texts() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!([{"a": 1}, 2])),
        Just(json!({"#text": "x", "a": [1]})),
    ]
}

proptest! {
    #[test]
    fn no_body_makes_a_check_panic_and_no_value_reaches_a_message(
        at in 0usize..13,
        pick in prop::collection::vec((0usize..40, texts()), 0..20),
        strict in any::<bool>(),
    ) {
        let interface = interfaces()[at];
        let mut body = serde_json::Map::new();
        for (place, value) in pick {
            let name = interface.fields.get(place).map_or("extra", |it| it.name);
            body.insert(name.into(), value);
        }
        let mark = "秘密的值0123456789";
        body.insert("patientName".into(), json!(mark.repeat(30)));
        body.insert("registDateTime".into(), json!(mark));
        body.insert("patientType".into(), json!(mark));
        let mode = if strict { Mode::Strict } else { Mode::Lenient };
        let checked = check(interface, &Value::Object(body), mode, &Overlay::default());
        for fault in checked.faults.iter().chain(&checked.warnings) {
            let told = format!("{fault:?}");
            prop_assert!(!told.contains("秘密"));
        }
    }
}

mod compiling {
    use crate::catalog::compile::{Diagnostic, compile};

    const SYSTEM: &str = "title = \"甲\"\ntitle_en = \"A\"\ndocument = \"甲文档\"\n\
        [[dictionary]]\nname = \"yes_no\"\ntitle = \"是否\"\n\
        entries = { \"0\" = \"否\", \"1\" = \"是\" }\n";

    fn interface(id: &str, rest: &str) -> String {
        format!(
            "id = \"{id}\"\nsection = \"1\"\ntitle = \"测试\"\ntitle_en = \"Test\"\n\
             purpose = \"测试\"\nprovider = \"platform\"\ncaller = \"his\"\nzone = \"hospital\"\n\
             {rest}"
        )
    }

    const REST: &str = "[delivery]\ncarriage = \"sync\"\nambiguous = \"resend\"\n\
        [[address]]\nkind = \"http\"\nmethod = \"POST\"\npath = \"/a/\"\n\
        [[field]]\npath = \"list\"\ntype = \"list\"\nlabel = \"列表\"\n\
        [[field]]\npath = \"list[].flag\"\nlabel = \"标记\"\naliases = [\"mark\"]\n\
        dictionary = \"yes_no\"\nrequired = true\npersonal = true\n";

    fn sources(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect()
    }

    fn one(rest: &str) -> Vec<Diagnostic> {
        let text = interface("x", rest);
        let files = [("a/system.toml", SYSTEM), ("a/x.toml", &text), ("a/x.request.example", "{}")];
        compile(&sources(&files)).unwrap_err()
    }

    #[track_caller]
    fn told(diagnostics: &[Diagnostic], key: &str, what: &str) {
        let found = diagnostics.iter().any(|it| it.key == key && it.what.contains(what));
        assert!(found, "{diagnostics:#?}");
        assert!(diagnostics.iter().all(|it| !it.instead.is_empty()));
    }

    #[test]
    fn a_small_catalogue_compiles_to_this() {
        let text = interface("x", REST);
        let files = [("a/x.request.example", "{}"), ("a/x.toml", &text), ("a/system.toml", SYSTEM)];
        insta::assert_snapshot!(compile(&sources(&files)).unwrap());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_known_ones() {
        let found = one(&REST.replace("label = \"列表\"", "lable = \"列表\""));
        assert_eq!(found.len(), 1);
        assert!(found[0].key.starts_with("line "), "{found:?}");
        assert!(found[0].what.contains("unknown field `lable`"), "{found:?}");
        assert!(found[0].instead.contains("`label`"), "{found:?}");
        assert!(found[0].to_string().starts_with("a/x.toml: line "));
    }

    #[test]
    fn every_mistake_of_a_file_is_found_in_one_run() {
        let rest = REST.replace("\"yes_no\"", "\"none\"").replace("\"/a/\"", "\"a\"")
            + "[[field]]\npath = \"other.name\"\nlabel = \"x\"\n\
               [[field]]\npath = \"list[].Mark\"\nlabel = \"x\"\n\
               [[rule]]\nname = \"r\"\nany_of = [[\"nothing\"]]\nlenient = \"warn\"\n\
               strict = \"warn\"\n[[answer]]\nname = \"ok\"\n";
        let found = one(&rest);
        told(&found, "field.list[].flag", "unknown dictionary none");
        told(&found, "address.path", "is not a path");
        told(&found, "field.other.name", "not declared");
        told(&found, "field.list[].Mark", "the name or an alias is taken");
        told(&found, "rule.r", "names the unknown field nothing");
        told(&found, "answer.ok", "without an example");
        assert_eq!(found.len(), 6, "{found:#?}");
    }

    #[test]
    fn an_interface_without_an_example_and_an_example_without_one_are_found() {
        let text = interface("x", REST);
        let files = [("a/system.toml", SYSTEM), ("a/x.toml", &text), ("a/y.request.example", "{}")];
        let found = compile(&sources(&files)).unwrap_err();
        told(&found, "field", "an interface without an example");
        told(&found, "file name", "belongs to no interface");
        assert!(compile(&sources(&[("a/x.toml", &text)])).unwrap_err()[0].what.contains("system"));
    }

    #[test]
    fn a_path_of_two_interfaces_must_be_declared_in_both() {
        let first = interface("x", REST);
        let second = interface("y", &REST.replace("/a/", "/a"));
        let shared = interface("y", &format!("shared_with = [\"x\"]\n{}", REST));
        let both = interface("x", &format!("shared_with = [\"y\"]\n{}", REST));
        let run = |x: &str, y: &str| {
            let files = [
                ("a/system.toml", SYSTEM),
                ("a/x.toml", x),
                ("a/x.request.example", "{}"),
                ("b/system.toml", SYSTEM),
                ("b/y.toml", y),
                ("b/y.request.example", "{}"),
            ];
            compile(&sources(&files))
        };
        let found = run(&first, &second).unwrap_err();
        assert_eq!(found.len(), 2);
        told(&found, "address.path", "/a is also the path of x");
        told(&found, "address.path", "/a is also the path of y");
        assert_eq!(run(&first, &shared).unwrap_err().len(), 1);
        assert!(run(&both, &shared).unwrap().contains("shared_with: &[\"x\"]"));
        let elsewhere = second.replace("\"hospital\"", "\"cloud\"");
        assert!(run(&first, &elsewhere).is_ok(), "another zone is another door");
        assert!(run(&first, &first).is_err(), "an id is there once");
    }

    #[test]
    fn conditions_treatments_lengths_and_queries_are_checked() {
        let rest = REST.replace("required = true", "length_max = 300\nlength_min = 400");
        told(&one(&rest), "field.list[].flag", "length_max exceeds the bound");
        told(&one(&rest), "field.list[].flag", "length_min exceeds length_max");
        let rest = REST.replace("personal = true", "treat = { \"4\" = \"7\" }");
        told(&one(&rest), "field.list[].flag", "treat leads to 7");
        let rest = REST.replace("personal = true", "when = { field = \"kind\", is = [\"1\"] }");
        told(&one(&rest), "field.list[].flag.when", "names the unknown field kind");
        let rest = REST.replace("\"resend\"", "\"query\"");
        told(&one(&rest), "delivery.query", "belong together");
        let rest = REST.replace("\"resend\"", "\"query\"\nquery = \"z\"\nidentity = [\"q\"]");
        told(&one(&rest), "delivery.query", "unknown interface z");
        told(&one(&rest), "delivery.identity", "names the unknown field q");
    }
}
