//! The sample configuration: accepted as it is, accepted with every option taken, and complete.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tempfile::TempDir;

use crate::packages::{BINARY, ROOT};

fn sample() -> String {
    fs::read_to_string(Path::new(ROOT).join("packaging/forepost.toml.sample")).unwrap()
}

/// With every option taken: a line with its text right behind the number sign is one.
fn whole() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(option) if option.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => {
            option.to_owned()
        }
        _ => line.to_owned(),
    };
    sample().lines().map(|text| line(text) + "\n").collect()
}

/// What `forepost check` says of a text, and its exit code.
fn check(text: &str, folder: &Path) -> (i32, String) {
    let path = folder.join("forepost.toml");
    fs::write(&path, text).unwrap();
    let output = Command::new(BINARY).args(["check", "--config"]).arg(&path).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Keys of the right kind in the place of the files that the text names.
fn write_files(text: &str, folder: &Path) {
    let read = |name: &str| fs::read_to_string(Path::new(ROOT).join("tests/fixtures").join(name));
    let vectors: toml::Table = read("sm2.toml").unwrap().parse().unwrap();
    let private = vectors["key_pkcs8"].as_str().unwrap().to_owned();
    // Its PKCS #8 ends with the public half.
    let body: String = private.lines().filter(|line| !line.starts_with("---")).collect();
    let der = BASE64.decode(body).unwrap();
    let public = hex::encode(&der[der.len() - 65..]);
    for piece in text.split('"').filter_map(|piece| piece.strip_prefix("/etc/forepost/")) {
        let content = match piece {
            "hospital.sm2.pem" => private.clone(),
            "overlay.toml" => "[levels]\n".to_owned(),
            one if one.ends_with("sm2.pem") => public.clone(),
            one if one.ends_with("rsa.pem") => read("rsa_public.pem").unwrap(),
            _ => "made-up".to_owned(),
        };
        let path = folder.join(piece);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn the_sample_is_accepted_as_it_is() {
    let folder = TempDir::new().unwrap();
    let (code, said) = check(&sample(), folder.path());
    assert_eq!((code, said.as_str()), (0, ""));
}

#[test]
fn the_sample_is_accepted_with_every_option_taken() {
    let folder = TempDir::new().unwrap();
    let text = whole();
    write_files(&text, folder.path());
    let at = folder.path().to_str().unwrap();
    let (code, said) = check(&text.replace("/etc/forepost", at), folder.path());
    assert_eq!((code, said.as_str()), (0, ""), "{said}");
}

/// The words in small letters that stand alone in a literal of the code that reads the
/// configuration are its keys, and the values that it knows.
#[test]
fn no_key_that_the_parser_knows_is_missing_from_the_sample() {
    let whole = whole();
    let words: BTreeSet<&str> =
        whole.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let mut sources = vec![Path::new(ROOT).join("src/config.rs")];
    let parts = fs::read_dir(Path::new(ROOT).join("src/config")).unwrap();
    sources.extend(parts.map(|entry| entry.unwrap().path()));
    let mut known = BTreeSet::new();
    for path in sources {
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in lines {
            known.extend(line.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    let is_word = |word: &&String| {
        let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(small)
    };
    let known: Vec<String> = known.iter().filter(is_word).cloned().collect();
    assert!(known.len() > 100, "the rule finds no keys any more: {known:?}");
    // How a connection string names a password, which it may not hold.
    let foreign = ["password", "pwd"];
    let missing: Vec<&String> = known
        .iter()
        .filter(|word| !words.contains(word.as_str()) && !foreign.contains(&word.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "packaging/forepost.toml.sample does not have {missing:?}; add each with its meaning in \
         Chinese and English"
    );
}

/// An explanation comes in both languages, the Chinese first.
#[test]
fn every_option_is_explained_in_both_languages() {
    let is_chinese = |line: &str| line.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    let text = sample();
    // A command stands apart and belongs to no language.
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("#     ")).collect();
    let mut at = 0;
    while at < lines.len() {
        let is_prose = |line: &&&str| line.starts_with("# ") && !line.starts_with("# ──");
        let block: Vec<&str> = lines[at..].iter().take_while(is_prose).copied().collect();
        if !block.is_empty() {
            let english = block.iter().any(|line| !is_chinese(line));
            assert!(is_chinese(block[0]) && english, "one language only: {block:?}");
        }
        at += block.len().max(1);
    }
}
