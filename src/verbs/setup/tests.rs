//! Answers to a configuration and back.

use std::collections::BTreeSet;
use std::path::Path;

use toml::Table;

use super::answers::{Answers, line, texts, typed};
use super::compose::{Composed, NewFile, compose};
use super::peers;
use super::present;
use super::questions::{Kind, SECTIONS, Standard};
use super::site::{Site, SocketUnit};
use super::template::template;
use super::write::{Written, write};
use crate::config::Config;
use crate::model::Time;

/// Every section and every kind of entry. The files named stand in the folder of the test.
const FULL: &str = r#"
[[hospital]]
code = "H1"
names = ["市一院"]
[[hospital]]
code = "H2"
[machine]
hospital_address = "192.0.2.10"
cloud_address = "198.51.100.10"
names = ["192.0.2.10", "front.local"]
time_server = "ntp.local"
sockets = false
[his]
addresses = ["192.0.2.20"]
token = true
exam_dictionary_url = "http://192.0.2.20/"
dictionary_token = "D1C7"
[[database]]
name = "his"
connection = "Driver=d;UID=u"
password = "P4SS"
views = ["ic-register-view", "ic-dept-view"]
[workstations]
networks = ["192.0.2.0/24"]
viewer = "https://v/open?study={study}"
[[source]]
name = "region"
url = "https://cloud.example/dicom-web"
token = "T0KEN"
sha256 = true
[[source]]
name = "north"
kind = "dimse"
address = "pacs.north.example:104"
called_ae = "NORTH"
[[source]]
name = "pushing"
kind = "push"
addresses = ["203.0.113.5"]
[[destination]]
name = "platform"
url = "https://platform.example/"
interfaces = ["ic-settlement-push", "ic-register-push"]
login = "basic"
user = "u"
password = "W0RD"
[[destination]]
name = "other"
url = "https://other.example/"
login = "header"
header = "X-App"
token = "4PP"
[[caller]]
name = "pacs"
kind = "pacs"
addresses = ["192.0.2.40"]
[[caller]]
name = "cloud"
kind = "cloud"
[backup]
to = "/backup/forepost"
"#;

fn composed(file: &str, present_text: &str, site: &Site) -> (Answers, Composed) {
    let table: Table = present_text.parse().unwrap();
    let present = present::answers(&table, site);
    let answers = Answers::from_file(file, &present).unwrap();
    let composed = compose(&answers, &present, present_text, site).unwrap();
    (answers, composed)
}

/// Writes all of it below the root of the test.
fn store(composed: &Composed, site: &Site) -> Written {
    write(composed, site, Time(1_793_500_000_000)).unwrap()
}

fn site() -> (tempfile::TempDir, Site) {
    let root = tempfile::tempdir().unwrap();
    let site = Site::new(root.path(), Path::new("/etc/forepost/forepost.toml"));
    (root, site)
}

/// The least that is answered.
const SMALL: &str = "[[hospital]]\ncode = \"H1\"\n[his]\ntoken = true\n\
                     [machine]\nhospital_address = \"192.0.2.10\"\n";

#[test]
fn a_title_opens_the_door_for_archives_and_without_it_the_door_goes() {
    let (_root, site) = site();
    let (_, first) = composed(&format!("{SMALL}ae_title = \"GATE\"\n"), "", &site);
    let zone = "[zone.dicom]\nlisten = \"systemd:dicom\"\nae_title = \"GATE\"";
    assert!(first.text.contains(zone), "{}", first.text);
    store(&first, &site);
    assert_eq!(site.bound(SocketUnit::Dicom), Some("192.0.2.10:104".parse().unwrap()));
    // The hospital's address moves, and this one with it.
    let (_, moved) = composed("[machine]\nhospital_address = \"192.0.2.11\"\n", &first.text, &site);
    store(&moved, &site);
    assert_eq!(site.bound(SocketUnit::Dicom), Some("192.0.2.11:104".parse().unwrap()));
    let present = present::answers(&moved.text.parse().unwrap(), &site);
    let mut answers = present.clone();
    let mut machine = answers.one("machine");
    machine.remove("ae_title");
    answers.set("machine", machine);
    let gone = compose(&answers, &present, &moved.text, &site).unwrap();
    assert!(!gone.text.contains("GATE") && !gone.text.contains("systemd:dicom"), "{}", gone.text);
    assert!(!gone.units.contains(&SocketUnit::Dicom));
    // The files that it names lie in the test's folder; of the zone nothing is wrong.
    let said = Config::parse(&gone.text, "x").err().map(|fault| fault.to_string());
    assert!(!said.unwrap_or_default().contains("dicom"));
}

#[test]
fn addresses_and_titles_that_were_written_by_hand_stay_where_nobody_asks_for_them() {
    let (_root, site) = site();
    let (_, first) = composed(&format!("{SMALL}sockets = false\n"), "", &site);
    let by_hand = first.text.replace("127.0.0.1:9180", "192.0.2.99:9180")
        + "\n[zone.dicom]\nlisten_tls = \"192.0.2.98:2762\"\nae_title = \"OWN\"\n\
           certificate = \"/c\"\ncertificate_key = \"/k\"\n";
    let (_, again) = composed("[machine]\ntime_server = \"ntp.local\"\n", &by_hand, &site);
    for line in ["listen = \"192.0.2.99:9180\"", "ae_title = \"OWN\"", "\"192.0.2.98:2762\""] {
        assert!(again.text.contains(line), "{line} in\n{}", again.text);
    }
    let elsewhere =
        first.text + "\n[zone.dicom]\nlisten = \"192.0.2.98:104\"\nae_title = \"OWN\"\n";
    let (_, again) = composed("[machine]\ntime_server = \"ntp.local\"\n", &elsewhere, &site);
    let zone = "[zone.dicom]\nlisten = \"192.0.2.98:104\"\nae_title = \"OWN\"\n";
    assert!(again.text.contains(zone), "{}", again.text);
}

#[test]
fn our_certificate_for_a_peer_is_copied_and_nobody_else_reads_its_key() {
    let (root, site) = site();
    let from = |name: &str| {
        let path = root.path().join(name);
        std::fs::write(&path, name).unwrap();
        path.display().to_string()
    };
    let file = format!(
        "[[hospital]]\ncode = \"H1\"\n[machine]\nhospital_address = \"192.0.2.10\"\n[his]\n\
         token = true\n[[source]]\nname = \"a\"\nurl = \"https://a/\"\n\
         client_certificate = \"{}\"\nclient_key = \"{}\"\n",
        from("given.pem"),
        from("given.key"),
    );
    let (_, first) = composed(&file, "", &site);
    for line in [
        "client_certificate = [\"/etc/forepost/source-a.client.pem\"]",
        "client_key_file = \"/etc/forepost/source-a.client.key\"",
    ] {
        assert!(first.text.contains(line), "{line} in\n{}", first.text);
    }
    let written = |name: &str| first.files.iter().find(|one| one.path.ends_with(name)).unwrap();
    let [certificate, key] = ["source-a.client.pem", "source-a.client.key"].map(written);
    assert_eq!((certificate.text.as_str(), certificate.secret), ("given.pem", false));
    assert_eq!((key.text.as_str(), key.secret), ("given.key", true));
    // Who answers nothing the next time keeps both.
    store(&first, &site);
    let (_, again) = composed("", &first.text, &site);
    assert_eq!(again.text, first.text);
    let copied = |one: &NewFile| one.path.to_string_lossy().contains("client");
    assert!(!again.files.iter().any(copied), "nothing is copied twice");
}

#[test]
fn a_configuration_answers_what_it_was_made_from_and_stays_as_it_is() {
    let (_root, site) = site();
    let (answers, first) = composed(FULL, "", &site);
    peers::config(&first, &site).unwrap();
    store(&first, &site);
    let table: Table = first.text.parse().unwrap();
    let present = present::answers(&table, &site);
    for section in SECTIONS.iter().filter(|one| one.key != "setup") {
        let entries = |of: &Answers| match section.identity {
            None => vec![of.one(section.key)],
            Some(_) => of.list(section.key),
        };
        let (given, found) = (entries(&answers), entries(&present));
        assert_eq!(given.len(), found.len(), "{}", section.key);
        for (given, found) in given.iter().zip(&found) {
            for question in section.questions {
                let key = question.key;
                if question.kind == Kind::Secret {
                    let kept = line(found, &format!("{key}_file")).is_some();
                    assert_eq!(line(given, key).is_some(), kept, "{}.{key}", section.key);
                } else if found.contains_key(key) {
                    assert_eq!(given.get(key), found.get(key), "{}.{key}", section.key);
                }
            }
        }
    }
    // The same answers again, and none at all, change not a byte and make no token.
    let without_secrets: String = FULL
        .lines()
        .filter(|line| !line.contains("P4SS"))
        .map(|line| format!("{line}\n"))
        .collect();
    for file in [without_secrets.as_str(), ""] {
        let (_, again) = composed(file, &first.text, &site);
        assert_eq!(again.text, first.text);
        assert!(again.tokens.is_empty());
    }
    assert_eq!(first.tokens.len(), 3, "the HIS, the pushing cloud, the asking cloud");
    for token in &first.tokens {
        assert_eq!(token.text.len(), 64);
        assert!(!first.text.contains(&token.text), "a token is not in the configuration");
    }
    for secret in ["D1C7", "P4SS", "T0KEN", "W0RD", "4PP"] {
        assert!(!first.text.contains(secret), "{secret}");
        let holding = first.files.iter().filter(|file| file.text.contains(secret));
        assert_eq!(holding.filter(|file| file.secret).count(), 1, "{secret}");
    }
}

#[test]
fn what_a_hand_wrote_stays_when_setup_runs_again() {
    let (_root, site) = site();
    let (_, first) = composed(FULL, "", &site);
    store(&first, &site);
    let by_hand = first
        .text
        .replace(
            "name = \"region\"\n",
            "name = \"region\" # ours\nparallel_max = 2\nindex = true\n",
        )
        .replace(
            "[zone.console]",
            "[eviction] # the small disk\nhigh_percent = 70\nlow_percent = 60\n\n[zone.console]",
        )
        + "\n[[caller]] # by hand\nname = \"research\"\naddresses = [\"192.0.2.77\"]\n\
           images = true\nask_sources = true\n";
    let change = "[[source]]\nname = \"region\"\nurl = \"https://new.example/dicom-web\"\n\
                  [[source]]\nname = \"south\"\nurl = \"https://south.example/dicom-web\"\n";
    let (_, second) = composed(change, &by_hand, &site);
    peers::config(&second, &site).unwrap();
    for kept in [
        "name = \"region\" # ours",
        "parallel_max = 2",
        "index = true",
        "[eviction] # the small disk",
        "[[caller]] # by hand",
        "ask_sources = true",
        "https://new.example/dicom-web",
        "https://south.example/dicom-web",
        "sha256 = true",
        "source-region.token",
    ] {
        assert!(second.text.contains(kept), "{kept} in\n{}", second.text);
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let gone: Vec<String> = lines(&by_hand).difference(&lines(&second.text)).cloned().collect();
    assert_eq!(gone, ["url = \"https://cloud.example/dicom-web\""]);
}

#[test]
fn a_list_that_is_written_inline_is_changed_and_something_else_is_named() {
    let (_root, site) = site();
    let inline = "data = \"/d\"\nhospital = [{ code = \"H1\" }]\nsource = 7\n";
    let table: Table = inline.parse().unwrap();
    let present = present::answers(&table, &site);
    let file = "[[hospital]]\ncode = \"H2\"\n[machine]\nhospital_address = \"192.0.2.1\"\n\
                [his]\ntoken = true\n[[source]]\nname = \"a\"\nurl = \"http://a/\"\n";
    let answers = Answers::from_file(file, &present).unwrap();
    let mistakes = compose(&answers, &present, inline, &site).err().unwrap();
    let keys: Vec<&str> = mistakes.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["source"]);
    let done = compose(&answers, &present, &inline.replace("source = 7\n", ""), &site).unwrap();
    let table: Table = done.text.parse().unwrap();
    assert_eq!(Answers(table).list("hospital").len(), 2, "{}", done.text);
}

#[test]
fn the_template_is_an_answers_file_with_every_question_in_it() {
    let text = template();
    let answers = Answers::from_file(&text, &Answers::default()).unwrap();
    assert_eq!(texts(&answers.one("his"), "addresses").len(), 2);
    for section in &SECTIONS {
        for question in section.questions {
            let line = format!("{} = ", question.key);
            assert!(text.contains(&line), "{}.{}", section.key, question.key);
        }
    }
    let is_key = |rest: &str| {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        rest.split_once(" = ").is_some_and(|(key, _)| key.chars().all(word))
    };
    let whole: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || is_key(rest) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(whole.parse::<Table>().is_ok(), "every example is TOML:\n{whole}");
}

#[test]
fn every_question_is_asked_in_both_languages_and_its_example_is_an_answer() {
    for section in &SECTIONS {
        let mut keys = BTreeSet::new();
        for question in section.questions {
            let place = format!("{}.{}", section.key, question.key);
            assert!(keys.insert(question.key), "{place} is there twice");
            assert!(!question.asks.zh.is_empty() && question.asks.en.is_ascii(), "{place}");
            if !matches!(question.kind, Kind::Secret | Kind::File) {
                typed(question.kind, question.example).unwrap_or_else(|e| panic!("{place}: {e:?}"));
            }
            if let Standard::Is(text) = question.standard {
                typed(question.kind, text).unwrap_or_else(|e| panic!("{place}: {e:?}"));
            }
            if let Some((key, _)) = question.when {
                let at = |key| section.questions.iter().position(|one| one.key == key);
                assert!(at(key) < at(question.key), "{place} is asked before {key}");
            }
        }
        if let Some(identity) = section.identity {
            assert_eq!(section.questions[0].key, identity, "{}", section.key);
        }
    }
}

#[test]
fn every_mistake_of_an_answers_file_is_named_with_its_key() {
    let file = r#"
        colour = 1
        [setup]
        start = "yes"
        [[hospital]]
        code = "H 1"
        nick = "x"
        [[hospital]]
        names = [1]
        [machine]
        hospital_address = "300.1.1.1"
        names = ["a b"]
        time_server = "http://ntp"
        data = "var"
        cloud_port = 0
        hospital_port = "80"
        [his]
        addresses = ["192.0.2.300"]
        exam_dictionary_url = "ftp://x"
        dictionary_token = "a"
        dictionary_token_file = "/etc/hostname"
        [[database]]
        name = "Big"
        views = ["ic-login-http"]
        [workstations]
        viewer = "https://v/open"
        [[source]]
        name = "a"
        kind = "ftp"
        [[source]]
        name = "b"
        called_ae = "X"
        url = "https://user:pw@x/"
        ca_file = "/no/such/file"
        [[source]]
        name = "b"
        kind = "dimse"
        address = "pacs"
        called_ae = "A\\B"
        token = "x"
        [[destination]]
        name = "d"
        url = "https://d/"
        interfaces = ["x"]
        login = "basic"
    "#;
    let mistakes = Answers::from_file(file, &Answers::default()).err().unwrap();
    let keys: BTreeSet<&str> = mistakes.iter().map(|one| one.key.as_str()).collect();
    let expected = BTreeSet::from([
        "colour",
        "setup.start",
        "hospital[0].code",
        "hospital[0].nick",
        "hospital[1].code",
        "hospital[1].names",
        "machine.hospital_address",
        "machine.names",
        "machine.time_server",
        "machine.data",
        "machine.cloud_port",
        "machine.hospital_port",
        "his.addresses",
        "his.exam_dictionary_url",
        "his.dictionary_token",
        "database[0].name",
        "database[0].connection",
        "database[0].views",
        "workstations.viewer",
        "source[0].kind",
        "source[1].called_ae",
        "source[1].url",
        "source[1].ca_file",
        "source[2].name",
        "source[2].address",
        "source[2].called_ae",
        "source[2].token",
        "destination[0].interfaces",
        "destination[0].user",
        "destination[0].password",
    ]);
    assert_eq!(keys, expected, "{mistakes:#?}");
    for one in &mistakes {
        assert!(!one.words.zh.is_empty() && !one.words.en.is_empty(), "{one:?}");
    }
}

#[test]
fn answers_that_contradict_each_other_are_named() {
    let file = r#"
        [[hospital]]
        code = "H1"
        [machine]
        hospital_address = "192.0.2.1"
        cloud_tls_port = 443
        [[source]]
        name = "region"
        kind = "push"
        [[source]]
        name = "workstations"
        kind = "push"
        [[caller]]
        name = "region"
        kind = "cloud"
        [[caller]]
        name = "his"
        kind = "viewer"
    "#;
    let mistakes = Answers::from_file(file, &Answers::default()).err().unwrap();
    let keys: BTreeSet<&str> = mistakes.iter().map(|one| one.key.as_str()).collect();
    let expected = BTreeSet::from([
        "his.addresses",
        "machine.cloud_tls_port",
        "source[1].name",
        "caller[0].name",
        "caller[1].name",
        "caller[1].addresses",
    ]);
    assert_eq!(keys, expected);
}

#[test]
fn the_configuration_is_written_last_and_the_one_before_is_kept() {
    let (_root, site) = site();
    let (_, first) = composed(FULL, "", &site);
    let path = |name: &str| site.at(&site.folder).join(name);
    // What a run that was cut off left is in nobody's way.
    std::fs::create_dir_all(site.at(&site.folder)).unwrap();
    std::fs::write(path(".forepost.toml.new"), "cut").unwrap();
    let written = store(&first, &site);
    assert_eq!(written.files.last().unwrap().path, site.config);
    assert_eq!(written.copy, None);
    assert!(!path(".forepost.toml.new").exists());
    let again = store(&first, &site);
    assert!(again.files.iter().all(|one| one.same), "{:?}", again.files);
    assert_eq!(again.copy, None);
    let (_, second) = composed("[machine]\ntime_server = \"ntp2.local\"\n", &first.text, &site);
    let changed = store(&second, &site);
    let copy = site.at(&changed.copy.unwrap());
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), first.text);
    let name = copy.file_name().unwrap().to_string_lossy().into_owned();
    let stamp = name.strip_prefix("forepost.toml.").unwrap();
    let shape: String = stamp.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "99999999-999999");
}

#[test]
fn every_place_where_power_may_fail_leaves_a_whole_configuration() {
    let (_root, site) = site();
    let (_, first) = composed(FULL, "", &site);
    store(&first, &site);
    let change = "[machine]\ntime_server = \"ntp2.local\"\n[[source]]\nname = \"region\"\n\
                  token = \"N3W\"\n";
    let (_, second) = composed(change, &first.text, &site);
    // A folder where a file should go stops the run there, as a power cut would.
    for stop in second.files.iter().map(|file| &file.path).chain([&site.config]) {
        let name = stop.file_name().unwrap().to_string_lossy();
        let obstacle = site.at(stop).with_file_name(format!(".{name}.new"));
        std::fs::create_dir_all(obstacle.join("in-the-way")).unwrap();
        write(&second, &site, Time(1_793_500_000_000)).err().unwrap();
        let text = std::fs::read_to_string(site.at(&site.config)).unwrap();
        assert_eq!(text, first.text, "stopped at {name}");
        peers::config(&Composed { text, ..Composed::default() }, &site).unwrap();
        std::fs::remove_dir_all(&obstacle).unwrap();
    }
    store(&second, &site);
    let token = std::fs::read_to_string(site.at(&site.folder).join("source-region.token"));
    assert_eq!(token.unwrap(), "Bearer N3W\n");
}
