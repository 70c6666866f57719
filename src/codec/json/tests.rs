use proptest::prelude::*;
use serde_json::json;

use super::*;

const LIMITS: Limits = Limits::new(256 * 1024);

fn read(body: impl AsRef<[u8]>) -> Read {
    parse(body.as_ref(), Some("application/json"), LIMITS).unwrap()
}

fn fault(body: impl AsRef<[u8]>) -> ReadFault {
    parse(body.as_ref(), Some("application/json"), LIMITS).unwrap_err()
}

fn kinds(read: &Read) -> Vec<RepairKind> {
    read.repairs.iter().map(|it| it.kind).collect()
}

#[test]
fn a_clean_body_needs_no_repair() {
    let body = json!({"patientName": "张三", "list": [1, -2, 1.5, true, null, {"a": "b c"}]});
    let read = read(body.to_string());
    assert_eq!(read.value, body);
    assert_eq!(read.repairs, []);
}

#[test]
fn every_encoding_gives_the_same_value() {
    let text = r#"{"patientName":"张三，联通","a":"é"}"#;
    let value = read(text).value;
    let marked = read([b"\xef\xbb\xbf", text.as_bytes()].concat());
    assert_eq!((marked.value, marked.repairs[0].kind), (value.clone(), RepairKind::ByteOrderMark));
    let gb = read(GB18030.encode(text).0);
    assert_eq!((gb.value, gb.repairs[0].kind), (value.clone(), RepairKind::Gb18030));
    let units = |order: fn(u16) -> [u8; 2]| {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(order).collect::<Vec<_>>()
    };
    for body in [units(u16::to_le_bytes), units(u16::to_be_bytes)] {
        let read = read(body);
        assert_eq!((read.value, read.repairs[0].kind), (value.clone(), RepairKind::Utf16));
    }
}

#[test]
fn a_declared_gbk_wins_over_bytes_that_happen_to_be_utf8() {
    // 联 is C1AA in GBK; 猫 is C3A8, which is é in UTF-8.
    let body = GB18030.encode(r#"{"a":"猫"}"#).0;
    let declared = parse(&body, Some("application/json; charset=\"GBK\""), LIMITS).unwrap();
    assert_eq!(declared.value, json!({"a": "猫"}));
    let undeclared = parse(&body, None, LIMITS).unwrap();
    assert_eq!(undeclared.value, json!({"a": "è"}));
}

#[test]
fn spaces_and_full_width_punctuation_between_tokens_are_repaired() {
    let read = read("{\u{a0}\"a\"\u{3000}：\u{feff}\"x：，y\"，\"b\":\u{a0}[1，2]\u{a0}}");
    assert_eq!(read.value, json!({"a": "x：，y", "b": [1, 2]}));
    let count = |kind| read.repairs.iter().find(|it| it.kind == kind).unwrap().count;
    assert_eq!((count(RepairKind::Space), count(RepairKind::Punctuation)), (5, 3));
}

#[test]
fn keys_and_texts_are_trimmed_and_wide_blanks_inside_become_blanks() {
    let read = read(
        "{\"patientName \u{a0}\":\" \\t张\u{3000}三\u{3000}\",\"d\":\"2022-7-1\u{a0}10:45:22\"}",
    );
    assert_eq!(read.value, json!({"patientName": "张 三", "d": "2022-7-1 10:45:22"}));
    assert_eq!(kinds(&read), [RepairKind::Trimmed]);
    assert_eq!(read.repairs[0].count, 3);
}

#[test]
fn of_a_repeated_key_the_last_value_counts_and_it_is_told() {
    let read = read(r#"{"a":1,"b":2,"a ":3,"a":4}"#);
    assert_eq!(read.value, json!({"a": 4, "b": 2}));
    assert!(read.repairs.contains(&Repair { kind: RepairKind::RepeatedKey, count: 2 }));
}

#[test]
fn a_comma_before_a_closing_bracket_is_dropped_and_a_lone_one_is_not() {
    let read = read("{\"a\": [1, \"x,\" ,\n],\u{a0}}");
    assert_eq!(read.value, json!({"a": [1, "x,"]}));
    assert!(read.repairs.contains(&Repair { kind: RepairKind::TrailingComma, count: 2 }));
    for body in ["[,]", "{,}", "[1,,]", "{\"a\":,}"] {
        assert!(matches!(fault(body), ReadFault::Syntax { .. }), "{body}");
    }
}

#[test]
fn a_raw_line_feed_inside_a_text_becomes_a_blank() {
    let read = read("{\"a\":\"x\ny\"}");
    assert_eq!(read.value, json!({"a": "x y"}));
    assert_eq!(kinds(&read), [RepairKind::Control]);
}

#[test]
fn a_wrong_content_type_is_not_held_against_json() {
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("?")] {
        assert_eq!(parse(b" {\"a\":1}", kind, LIMITS).unwrap().value, json!({"a": 1}));
    }
}

#[test]
fn json_in_a_form_is_taken_out() {
    let form = Some("application/x-www-form-urlencoded; charset=UTF-8");
    for body in ["data=%7B%22a%22%3A%22%E5%BC%A0%2B+1%22%7D", "%7B%22a%22:%22%E5%BC%A0%2B+1%22%7D="]
    {
        let read = parse(body.as_bytes(), form, LIMITS).unwrap();
        assert_eq!(read.value, json!({"a": "张+ 1"}), "{body}");
        assert_eq!(kinds(&read), [RepairKind::Form]);
    }
    let none = parse(b"a=1&b=2", form, LIMITS).unwrap_err();
    assert_eq!(none.to_string(), "not JSON: the body is a form without JSON");
}

#[test]
fn every_unreadable_body_gets_a_clear_answer_that_does_not_quote_it() {
    let cases: [(&[u8], &str); 11] = [
        (b"", "empty body"),
        (" \n\u{a0}".as_bytes(), "empty body"),
        (b"<a/>", "not JSON: the body is XML"),
        (b"{\"a\":1} x", "not JSON: text after the end at line 1 column 9"),
        (b"{\"a\":1", "not JSON: body ends early at line 1 column 6"),
        (b"{\"a\":\"\0\"}", "not JSON: NUL character at line 1 column 7"),
        (
            "{\n \"名\":\"张三\"\n \"b\":1}".as_bytes(),
            "not JSON: expected `,` or `}` at line 3 column 2",
        ),
        (b"{a:1}", "not JSON: key must be a string at line 1 column 2"),
        (b"{\"a\":\xff\xff}", "not text: neither UTF-8 nor GB18030 from byte 5 on"),
        (b"hello", "not JSON: expected value at line 1 column 1"),
        (b"{\"a\":1}{\"a\":2}", "not JSON: text after the end at line 1 column 8"),
    ];
    for (body, told) in cases {
        assert_eq!(fault(body).to_string(), told);
    }
}

#[test]
fn each_limit_holds_and_one_more_is_refused() {
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(parse(deep(32).as_bytes(), None, LIMITS).is_ok());
    assert!(matches!(fault(deep(33)), ReadFault::TooDeep { limit: 32, line: 1, column: 33 }));
    assert!(matches!(fault("[".repeat(100_000)), ReadFault::TooDeep { .. }));
    let limits = Limits { nodes_max: 4, ..LIMITS };
    assert!(parse(b"[1,2,3]", None, limits).is_ok());
    assert!(matches!(parse(b"[1,2,3,4]", None, limits), Err(ReadFault::TooMany { .. })));
    let limits = Limits::new(7);
    assert!(parse(b"[1,2,3]", None, limits).is_ok());
    let fault = parse(b"[1,2,3] ", None, limits).unwrap_err();
    assert_eq!(fault, ReadFault::TooLarge { got: 8, limit: 7 });
}

#[test]
fn brackets_and_commas_inside_texts_do_not_count() {
    let body = json!({"a": "[[[[".repeat(100), "b": "\\\",".repeat(100)}).to_string();
    let limits = Limits { depth_max: 1, nodes_max: 4, ..LIMITS };
    assert!(parse(body.as_bytes(), None, limits).is_ok());
}

#[test]
fn a_body_cut_at_any_byte_is_refused() {
    let text = "{\"患者 \":\"张\u{a0}三\"，\"l\":[{\"a\":1.5},{\"b\":\"\\u5f20\"}],\"t\":true}";
    let wide: Vec<u8> =
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for body in [text.as_bytes().to_vec(), GB18030.encode(text).0.into_owned(), wide] {
        assert!(parse(&body, None, LIMITS).is_ok());
        for end in 0..body.len() {
            assert!(parse(&body[..end], None, LIMITS).is_err(), "{end}");
        }
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[!-~一-龥]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z一-龥]{1,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_unrepaired(value in values()) {
        let read = parse(value.to_string().as_bytes(), None, LIMITS).unwrap();
        prop_assert_eq!(read.value, value);
        prop_assert!(read.repairs.is_empty());
    }

    #[test]
    fn what_is_written_in_gb18030_reads_back(value in values()) {
        let text = value.to_string();
        let body = GB18030.encode(&text).0.into_owned();
        let kind = Some("application/json;charset=gb18030");
        prop_assert_eq!(parse(&body, kind, LIMITS).unwrap().value, value);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, None, LIMITS);
    }

    #[test]
    fn no_damage_makes_it_panic(value in values(), at in any::<usize>(), byte in any::<u8>()) {
        let mut body = value.to_string().into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let _ = parse(&body, None, LIMITS);
    }
}

#[test]
fn numbers_keep_their_digits_where_that_is_asked_for() {
    let text = r#"{"a":500.00,"b":[-1.50e+3,7],"c":"7.0 \" 8","d":true,"e\\":null,"f":0}"#;
    let read = parse_with_number_texts(text.as_bytes(), None, Limits::new(1_000)).unwrap();
    let expected = json!({
        "a": "500.00", "b": ["-1.50e+3", "7"], "c": "7.0 \" 8", "d": true, "e\\": null, "f": "0",
    });
    assert_eq!(read.value, expected);
    let alone = parse_with_number_texts(b"12", None, Limits::new(10)).unwrap();
    assert_eq!(alone.value, json!("12"));
}
