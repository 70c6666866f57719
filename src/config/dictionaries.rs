//! `[dictionary]` and `[[dictionary_source]]`.

use std::time::Duration;

use super::section::Section;
use super::sources::{take_client_certificate, take_waits};
use crate::http::Hospital;
use crate::model::DictionaryKind;
use crate::upstream::DictionaryOptions;

/// Minutes between two questions, unless the source says otherwise: a new item is priced in the
/// morning and ordered in the afternoon.
const INTERVAL_MINUTES_DEFAULT: i64 = 60;

/// Percent of a dictionary's codes that may vanish unasked.
const SHRINK_PERCENT_DEFAULT: i64 = 20;

pub(super) fn take(
    root: &mut Section<'_>,
    hospitals: &[Hospital],
) -> (u32, Vec<DictionaryOptions>) {
    let mut section = root.section("dictionary");
    let percent = section.number("shrink_percent_max", 0, 100).unwrap_or(SHRINK_PERCENT_DEFAULT);
    section.end();
    let sections = root.sections("dictionary_source");
    let sources: Vec<_> = sections.into_iter().map(|one| take_source(one, hospitals)).collect();
    for (at, source) in sources.iter().enumerate() {
        if sources[..at].iter().any(|before| before.name == source.name) {
            root.mistake("dictionary_source.name", &format!("`{}` is there twice", source.name));
        }
    }
    (percent as u32, sources)
}

fn take_source(mut section: Section<'_>, hospitals: &[Hospital]) -> DictionaryOptions {
    let kind = section.text("kind").and_then(|name| DictionaryKind::from_name(&name));
    let kind = kind.unwrap_or_else(|| {
        section.mistake("kind", "expected `exam` or `dept`");
        DictionaryKind::Exam
    });
    let hospital = section.text("hospital").or_else(|| match hospitals {
        [only] => Some(only.code.clone()),
        _ => None,
    });
    let hospital = hospital.unwrap_or_else(|| section.missing("hospital"));
    if !hospitals.iter().any(|served| served.code == hospital) {
        section.mistake("hospital", "no [[hospital]] has this code");
    }
    let minutes = section.number("interval_minutes", 1, 10_080).unwrap_or(INTERVAL_MINUTES_DEFAULT);
    let options = DictionaryOptions {
        name: section.text("name").unwrap_or_else(|| section.missing("name")),
        base_url: section.text("url").unwrap_or_else(|| section.missing("url")),
        kind,
        hospital,
        interval: Duration::from_secs(minutes as u64 * 60),
        headers: section.secret_headers(),
        authorities_pem: section.files("ca_files"),
        client_certificate: take_client_certificate(&mut section),
        waits: take_waits(&mut section),
    };
    section.end();
    options
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const SMALL: &str = "data = \"/d\"\n[[hospital]]\ncode = \"H1\"\n";

    #[test]
    fn a_source_of_the_only_hospital_needs_no_code_and_the_defaults_hold() {
        let source = "[[dictionary_source]]\nname = \"his\"\nkind = \"dept\"\nurl = \"http://h\"\n";
        let config = Config::parse(&format!("{SMALL}{source}"), "f").unwrap();
        let source = &config.dictionary_sources[0];
        assert_eq!((source.hospital.as_str(), source.interval.as_secs()), ("H1", 3_600));
        assert_eq!(config.shrink_percent_max, 20);
    }

    #[test]
    fn every_mistake_about_dictionaries_is_named() {
        let text = "[dictionary]\nshrink_percent_max = 101\n\
                    [[dictionary_source]]\nname = \"a\"\nkind = \"drug\"\nurl = \"http://h\"\n\
                    hospital = \"H2\"\n\
                    [[dictionary_source]]\nname = \"a\"\nkind = \"exam\"\ninterval_minutes = 0\n\
                    [[caller]]\nname = \"c\"\naddresses = [\"127.0.0.1\"]\nsuccess_code = 7\n\
                    hospitals = [\"H2\"]\n";
        let fault = Config::parse(&format!("{SMALL}{text}"), "f").err().unwrap().to_string();
        for expected in [
            ": dictionary.shrink_percent_max: ",
            ": dictionary_source[0].kind: ",
            ": dictionary_source[0].hospital: ",
            ": dictionary_source[1].url: ",
            ": dictionary_source[1].interval_minutes: ",
            ": dictionary_source.name: ",
            ": caller[0].success_code: ",
            ": caller.hospitals: ",
        ] {
            assert!(fault.contains(expected), "{expected} in\n{fault}");
        }
    }
}
