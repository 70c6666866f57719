//! The hospital's SM2 keys: made and shown by the verb, taken up by a running service.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::cloud::Cloud;
use crate::support::forepost::Forepost;
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;
use crate::support::programs::{openssl, python};
use crate::support::setup::Setup;
use crate::support::study::Study;

/// A verb that must succeed and prints JSON.
fn told(forepost: &Forepost, arguments: &[&str]) -> Value {
    let output = forepost.verb(arguments);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {words}");
    serde_json::from_slice(&output.stdout).expect("--json prints JSON")
}

/// The number under the key that `keys` has shown, made by other programs in every form.
fn sealed(shown: &Value, number: &str) -> Vec<String> {
    let public = &shown["public"];
    let task = json!({
        "public": public["hex"], "private": "1", "plain": number, "ours": {},
        "key": "0".repeat(32), "start": "0".repeat(32),
    });
    let gmssl = python("ciphers.py", &[&task.to_string()]);
    let mut texts = Vec::new();
    for mode in ["1", "0"] {
        let bare = gmssl["sm2"][mode].as_str().unwrap();
        texts.push(bare.to_owned());
        texts.push(format!("04{bare}").to_uppercase());
        texts.push(BASE64_STANDARD.encode(hex::decode(bare).unwrap()));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("public.pem");
    fs::write(&file, public["pem"].as_str().unwrap()).unwrap();
    let inkey = file.to_str().unwrap();
    let der = openssl(&["pkeyutl", "-encrypt", "-pubin", "-inkey", inkey], number.as_bytes());
    texts.push(hex::encode(&der));
    texts.push(BASE64_STANDARD.encode(&der));
    texts
}

fn with_number(patient: &Patient, text: &str, seconds: i64) -> Value {
    let mut registration = patient.registration(26, seconds);
    registration["idCardNo"] = json!(text);
    registration
}

#[test]
fn keys_are_made_listed_and_shown_without_their_private_half() {
    let forepost = Forepost::start(Setup::default());
    assert_eq!(told(&forepost, &["keys", "list", "--json"]), json!([]));
    let made = told(&forepost, &["keys", "new", "autumn", "--by", "李工", "--json"]);
    assert_eq!((&made["state"], &made["made_by"]), (&json!("active"), &json!("李工")));
    let path = forepost.data().join("keys/sm2/autumn.pem");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&path).unwrap();
    let again = forepost.verb(&["keys", "new", "autumn"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("already"));
    assert_eq!(fs::read_to_string(&path).unwrap(), kept, "never overwritten");

    told(&forepost, &["keys", "new", "winter", "--json"]);
    let list = told(&forepost, &["keys", "list", "--json"]);
    let rows: Vec<_> =
        list.as_array().unwrap().iter().map(|one| (&one["name"], &one["state"])).collect();
    let expected = [("winter", "active"), ("autumn", "retired")].map(|(a, b)| (json!(a), json!(b)));
    assert_eq!(rows, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    assert!(list[0]["made_by"].as_str().is_some_and(|by| !by.is_empty()), "somebody made it");

    let shown = told(&forepost, &["keys", "show", "autumn", "--json"]);
    assert_eq!(shown["public"], made["public"]);
    let public = &shown["public"];
    let text = |name: &str| public[name].as_str().unwrap().to_owned();
    assert_eq!(text("hex"), text("x") + &text("y"));
    assert_eq!(text("hex_04"), format!("04{}", text("hex")));
    assert_eq!(BASE64_STANDARD.encode(hex::decode(text("hex_04")).unwrap()), text("base64"));
    let der = openssl(&["pkey", "-pubin", "-outform", "DER"], text("pem").as_bytes());
    assert_eq!(BASE64_STANDARD.encode(der), text("der_base64"));

    let private = openssl(&["pkey", "-text", "-noout"], kept.as_bytes());
    let private = String::from_utf8(private).unwrap();
    let (_, private) = private.split_once("priv:").unwrap();
    let (private, _) = private.split_once("pub:").unwrap();
    let private: String = private.chars().filter(char::is_ascii_hexdigit).collect();
    assert_eq!(private.len(), 64);
    for arguments in [vec!["keys", "show", "autumn"], vec!["keys", "list"], vec!["keys", "show"]] {
        let page = String::from_utf8(forepost.verb(&arguments).stdout).unwrap();
        assert!(!page.contains("PRIVATE") && !page.contains(&private), "{page}");
        let shows = arguments.len() == 3;
        assert_eq!(page.contains(&text("hex")), shows, "{page}");
    }
    assert_eq!(forepost.verb(&["keys", "show", "summer"]).status.code(), Some(1));
    assert_eq!(forepost.verb(&["keys", "new", "../summer"]).status.code(), Some(1));
}

#[test]
fn the_key_of_the_configuration_is_listed_and_retired_by_the_first_one_made_here() {
    let key = openssl(&["genpkey", "-algorithm", "SM2"], b"");
    let forepost = Forepost::start(Setup {
        more: "[intake]\nsm2_key_file = \"{folder}/sm2.key\"\n".to_owned(),
        files: vec![("sm2.key", String::from_utf8(key.clone()).unwrap())],
        ..Setup::default()
    });
    let shown = told(&forepost, &["keys", "show", "--json"]);
    let told_of = (&shown["name"], &shown["state"], &shown["made_at_ms"]);
    assert_eq!(told_of, (&json!("sm2_key_file"), &json!("active"), &Value::Null));
    let public = openssl(&["pkey", "-pubout"], &key);
    assert_eq!(shown["public"]["pem"].as_str().unwrap().as_bytes(), public);
    told(&forepost, &["keys", "new", "ours", "--json"]);
    let list = told(&forepost, &["keys", "list", "--json"]);
    assert_eq!(list[1]["state"], "retired", "{list}");
    assert_eq!(list[1]["name"], "sm2_key_file", "{list}");
}

#[test]
fn a_plan_without_a_key_is_taken_up_when_the_key_is_made_while_the_service_runs() {
    let patient = Patient::new(910);
    let orthanc = Orthanc::with(&[&Study::of(&patient, 910)]);
    let cloud = Cloud::before(&orthanc);
    // The key is made elsewhere first, so that its texts are here before it is.
    let elsewhere = Forepost::start(Setup::default());
    let shown = told(&elsewhere, &["keys", "new", "first", "--json"]);
    let texts = sealed(&shown, &patient.id_card);
    let forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    forepost.keep_secret(texts.clone());
    forepost.keep_secret([patient.id_card.clone()]);
    let waits = with_number(&patient, &texts[0], 0);
    forepost.accept(&waits);
    assert_eq!(forepost.plan(&waits)["state"], "no identifier");
    assert_eq!(cloud.asked().len(), 0);

    let folder = forepost.data().join("keys/sm2");
    fs::create_dir_all(&folder).unwrap();
    let file = elsewhere.data().join("keys/sm2/first.pem");
    fs::copy(file, folder.join("first.pem")).unwrap();
    let plan = forepost.await_state(&waits, "ready");
    assert_eq!(plan["chosen"], 1, "{plan:#}");

    for (at, text) in texts.iter().enumerate() {
        let registration = with_number(&patient, text, 1 + at as i64);
        forepost.accept(&registration);
        let plan = forepost.await_state(&registration, "ready");
        assert_eq!(plan["chosen"], 1, "{text}: {plan:#}");
    }
    assert_eq!(forepost.metric("sm2_texts_total"), (texts.len() + 1) as f64);

    // A rotation: the old key's texts still open beside the new one's.
    let shown = told(&forepost, &["keys", "new", "second", "--json"]);
    let new = with_number(&patient, &sealed(&shown, &patient.id_card)[0], 60);
    forepost.accept(&new);
    forepost.await_state(&new, "ready");
    let old = with_number(&patient, &texts[3], 61);
    forepost.accept(&old);
    forepost.await_state(&old, "ready");
}

#[test]
fn damage_and_a_strange_key_are_answered_like_any_other_registration() {
    let patient = Patient::new(911);
    let orthanc = Orthanc::with(&[&Study::of(&patient, 911)]);
    let cloud = Cloud::before(&orthanc);
    let mut forepost = Forepost::prepare(Setup::with(&[cloud.source("region")]));
    let elsewhere = Forepost::start(Setup::default());
    let strange =
        sealed(&told(&elsewhere, &["keys", "new", "strange", "--json"]), &patient.id_card);
    forepost.setup.write(forepost.data().parent().unwrap());
    let shown = told(&forepost, &["keys", "new", "ours", "--json"]);
    forepost.restart();
    forepost.keep_secret([patient.id_card.clone()]);
    let good = sealed(&shown, &patient.id_card).swap_remove(0);
    let mut texts = strange;
    for at in [0, 70, 140, good.len() - 1] {
        let other = if good.as_bytes()[at] == b'0' { "1" } else { "0" };
        let mut damaged = good.clone();
        damaged.replace_range(at..at + 1, other);
        texts.push(damaged);
    }
    texts.push(good[..good.len() - 2].to_owned());
    for (at, text) in texts.iter().enumerate() {
        let registration = with_number(&patient, text, at as i64);
        // `accept` holds status and body against those of every success.
        forepost.accept(&registration);
        let plan = forepost.plan(&registration);
        let told = (&plan["state"], &plan["cause"]);
        assert_eq!(told, (&json!("no identifier"), &json!("no usable identifier")), "{text}");
    }
    assert_eq!(cloud.asked().len(), 0);
    let registration = with_number(&patient, &good, 99);
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
}
