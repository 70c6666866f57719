//! Backups: made beside a service under load, opened by Debian's own `age`, `tar` and `sha256sum`,
//! and restored onto another machine, which goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::deliveries::await_end;
use crate::power::Disk;
use crate::support::forepost::Forepost;
use crate::support::patient::{Patient, due_at};
use crate::support::platform::{Platform, settlement};
use crate::support::setup::Setup;
use crate::support::{PATIENCE, wait_for};
use crate::upgrading::lay_out;

/// What its caller shows; it stands in a file that the configuration names.
const TOKEN: &str = "made-up-token-of-a-test";

/// The place of backups, with a hospital's own key made by `age-keygen`.
struct Vault {
    place: TempDir,
    recipient: String,
}

impl Vault {
    fn new() -> Vault {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("to")).unwrap();
        let made = Command::new("age-keygen").arg("-o").arg(place.path().join("own.key")).output();
        assert!(made.expect("Debian's age is installed").status.success());
        let shown = Command::new("age-keygen").arg("-y").arg(place.path().join("own.key")).output();
        let recipient = String::from_utf8(shown.unwrap().stdout).unwrap().trim().to_owned();
        Vault { place, recipient }
    }

    fn to(&self) -> PathBuf {
        self.place.path().join("to")
    }

    fn own_key(&self) -> PathBuf {
        self.place.path().join("own.key")
    }

    /// The table of a configuration that backs up to here.
    fn section(&self, more: &str) -> String {
        let (to, recipient) = (self.to(), &self.recipient);
        format!("[backup]\nto = \"{}\"\nrecipients = [\"{recipient}\"]\n{more}", to.display())
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.to()).unwrap();
        let mut names: Vec<String> =
            entries.map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn setup(vault: &Vault, platform: Option<&Platform>, more: &str) -> Setup {
    let destination = platform.map(Platform::for_settlements).unwrap_or_default();
    Setup {
        callers: "[[caller]]\nname = \"his\"\naddresses = [\"127.0.0.1\"]\npush = true\n\
                  images = true\n[[caller]]\nname = \"other\"\ntoken_file = \
                  \"{folder}/other.token\"\n"
            .into(),
        files: vec![("other.token", format!("{TOKEN}\n"))],
        more: destination + &vault.section(more),
        ..Setup::default()
    }
}

fn backup(forepost: &Forepost) -> Value {
    forepost.verb_json(&["backup", "--json"])
}

/// Runs `restore`, for a machine whose data and configuration are others.
fn restore(file: &Path, key: &Path, to: &Forepost, more: &[&str]) -> Output {
    let config = to.data().with_file_name("restored").join("forepost.toml");
    Command::new(env!("CARGO_BIN_EXE_forepost"))
        .arg("restore")
        .arg(file)
        .arg("--key-file")
        .arg(key)
        .args(["--by", "李工", "--json", "--data"])
        .arg(to.data())
        .arg("--config")
        .arg(config)
        .args(more)
        .output()
        .unwrap()
}

fn restored(output: &Output) -> Value {
    assert!(output.status.success(), "{}", words(output));
    serde_json::from_slice(&output.stdout).expect("--json prints JSON")
}

fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    )
}

fn run(program: &str, arguments: &[&str], folder: &Path, stdin: Option<fs::File>) -> Output {
    let stdin = stdin.map_or_else(Stdio::null, Stdio::from);
    let ran = Command::new(program).args(arguments).current_dir(folder).stdin(stdin).output();
    let ran = ran.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(ran.status.success(), "{program} {arguments:?}: {}", words(&ran));
    ran
}

#[test]
fn a_backup_under_load_opens_with_age_and_goes_on_elsewhere_with_all_that_was_acknowledged() {
    let vault = Vault::new();
    let mut platform = Platform::start();
    platform.down();
    let mut forepost = Forepost::start(setup(&vault, Some(&platform), ""));
    let key = forepost.verb_json(&["backup", "key", "--by", "李工", "--json"]);
    let recovery = vault.place.path().join("recovery.key");
    fs::write(&recovery, key["secret"].as_str().unwrap()).unwrap();
    forepost.verb_json(&["keys", "new", "autumn", "--json"]);
    let before: Vec<Value> =
        (1..=20).map(|number| Patient::new(number).registration(24, i64::from(number))).collect();
    before.iter().for_each(|one| forepost.accept(one));
    let settled: Vec<Value> = (700..720).map(settlement).collect();
    forepost.accept_settlements(&json!(settled));
    let end = AtomicBool::new(false);
    let (made, while_it_ran) = std::thread::scope(|scope| {
        let pushing = scope.spawn(|| {
            let mut number = 20;
            while !end.load(Ordering::Relaxed) {
                number += 1;
                forepost.accept(&Patient::new(number).registration(24, i64::from(number)));
            }
            number - 20
        });
        let made: Vec<Value> = (0..3).map(|_| backup(&forepost)).collect();
        end.store(true, Ordering::Relaxed);
        (made.into_iter().next().unwrap(), pushing.join().unwrap())
    });
    assert!(while_it_ran > 0, "registrations were acknowledged meanwhile");
    let file = PathBuf::from(made["file"].as_str().unwrap());
    opens_without_us(&vault, &file);
    forepost.kill();

    // The machine is gone; another one, with other paths.
    let mut other = Forepost::prepare(setup(&vault, Some(&platform), ""));
    let told = restored(&restore(&file, &recovery, &other, &[]));
    assert_eq!((&told["restored"], &told["mistakes"]), (&json!(true), &Value::Null));
    let config = other.data().with_file_name("restored");
    let text = fs::read_to_string(config.join("forepost.toml")).unwrap();
    assert!(text.contains(&format!("data = \"{}\"", other.data().display())), "{text}");
    assert_eq!(fs::read_to_string(config.join("other.token")).unwrap(), format!("{TOKEN}\n"));
    let mode = fs::metadata(config.join("other.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    platform.up();
    other.restart();
    let plans = other.plans();
    for one in &before {
        assert!(plans.contains_key(&due_at(one)), "a registration from before is not there");
    }
    assert_eq!(other.deliveries().len(), settled.len());
    let keys = other.verb_json(&["keys", "list", "--json"]);
    assert_eq!(keys[0]["name"], "autumn");
    await_end(&other);
    assert!(settled.iter().all(|one| platform.holds(one).is_some()));
    other.accept(&Patient::new(5_000).registration(30, 0));
    let audit = other.verb_json(&["audit", "show", "--json"]);
    assert!(audit.to_string().contains("restored"), "{audit}");
}

/// Debian's programs open it, list it, and find every sum right.
fn opens_without_us(vault: &Vault, file: &Path) {
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("forepost-123456-2") && name.ends_with(".tar.age"), "{name}");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(file).unwrap();
    for open in ["manifest.json", "SQLite format", TOKEN, "registration"] {
        let found = bytes.windows(open.len()).any(|window| window == open.as_bytes());
        assert!(!found, "`{open}` stands in the file");
    }
    let folder = tempfile::tempdir().unwrap();
    let own = vault.own_key();
    let tar = folder.path().join("backup.tar");
    run(
        "age",
        &["-d", "-i", own.to_str().unwrap(), "-o", tar.to_str().unwrap(), file.to_str().unwrap()],
        folder.path(),
        None,
    );
    let listed = run("tar", &["-tf", "backup.tar"], folder.path(), None);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!((lines[0], *lines.last().unwrap()), ("manifest.json", "SHA256SUMS"));
    for name in [
        "config/forepost.toml",
        "files/1",
        "keys/ledger.keys",
        "keys/backup.recipients",
        "keys/sm2/autumn.pem",
        "ledger/forepost.db",
    ] {
        assert!(lines.contains(&name), "{name} is not in\n{listed}");
    }
    run("tar", &["-xf", "backup.tar"], folder.path(), None);
    run("sha256sum", &["--strict", "-c", "SHA256SUMS"], folder.path(), None);
    assert_eq!(fs::read_to_string(folder.path().join("files/1")).unwrap(), format!("{TOKEN}\n"));
}

#[test]
fn a_restore_refuses_what_would_be_lost_by_its_number_and_keeps_what_it_replaces() {
    let vault = Vault::new();
    let mut platform = Platform::start();
    platform.down();
    let mut forepost = Forepost::start(setup(&vault, Some(&platform), ""));
    forepost.accept(&Patient::new(31).registration(24, 31));
    forepost.accept_settlements(&json!([settlement(731), settlement(732)]));
    let file = PathBuf::from(backup(&forepost)["file"].as_str().unwrap());
    let key = vault.own_key();
    // The service is running.
    let refused = restore(&file, &key, &forepost, &["--yes"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        words(&refused).contains("systemctl stop 'forepost-*.socket' forepost"),
        "{}",
        words(&refused)
    );
    forepost.accept(&Patient::new(32).registration(24, 32));
    forepost.accept_settlements(&json!([settlement(733)]));
    forepost.stop();
    let counted = restored(&restore(&file, &key, &forepost, &["--dry-run"]));
    let lacking = &counted["here_and_lacking"];
    assert_eq!(lacking["total"], 2);
    assert_eq!(lacking["registrations"], json!({"123456": 1}));
    assert_eq!(lacking["undelivered"], json!({"ic-settlement-push": {"waiting": 1}}));
    assert_eq!(lacking["goes_on_from_the_backup"], true);
    for (more, code) in
        [(&["--yes"][..], 1), (&[], 1), (&["--yes", "--lose", "1"], 64), (&["--lose", "2"], 64)]
    {
        let refused = restore(&file, &key, &forepost, more);
        assert_eq!(refused.status.code(), Some(code), "{more:?}: {}", words(&refused));
        assert!(words(&refused).contains('2'), "{}", words(&refused));
    }
    // Nothing was touched.
    forepost.restart();
    assert_eq!((forepost.plans().len(), forepost.deliveries().len()), (2, 3));
    forepost.stop();
    let told = restored(&restore(&file, &key, &forepost, &["--yes", "--lose", "2"]));
    let aside = told["kept_aside"].as_array().unwrap();
    assert!(aside[0].as_str().unwrap().contains("ledger.before-"), "{told}");
    platform.up();
    forepost.restart();
    assert_eq!((forepost.plans().len(), forepost.deliveries().len()), (1, 2));
    await_end(&forepost);
    // What is aside is a ledger with its keys, for whoever wants to look.
    for path in aside.iter().map(|one| PathBuf::from(one.as_str().unwrap())) {
        assert!(path.is_dir(), "{}", path.display());
    }
}

#[test]
fn a_restore_that_was_cut_off_keeps_the_service_from_starting_until_it_is_run_again() {
    let vault = Vault::new();
    let mut forepost = Forepost::start(setup(&vault, None, ""));
    forepost.accept(&Patient::new(41).registration(24, 41));
    let file = PathBuf::from(backup(&forepost)["file"].as_str().unwrap());
    forepost.stop();
    fs::write(forepost.data().join("restore.unfinished"), "").unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_forepost"))
        .args(["serve", "--config"])
        .arg(forepost.data().with_file_name("forepost.toml"))
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(words(&ended).contains("run the same `forepost restore` again"), "{}", words(&ended));
    restored(&restore(&file, &vault.own_key(), &forepost, &["--yes"]));
    forepost.restart();
    assert_eq!(forepost.plans().len(), 1);
}

#[test]
fn a_restore_that_is_killed_anywhere_leaves_the_old_ledger_or_comes_to_its_end_the_next_time() {
    let vault = Vault::new();
    let mut forepost = Forepost::start(setup(&vault, None, ""));
    forepost.accept(&Patient::new(45).registration(24, 45));
    let file = PathBuf::from(backup(&forepost)["file"].as_str().unwrap());
    forepost.stop();
    let config = forepost.data().with_file_name("restored").join("forepost.toml");
    let (mut killed, mut half) = (0, 0);
    for step in 0..40 {
        let mut restoring = Command::new(env!("CARGO_BIN_EXE_forepost"))
            .arg("restore")
            .arg(&file)
            .arg("--key-file")
            .arg(vault.own_key())
            .args(["--by", "李工", "--yes", "--data"])
            .arg(forepost.data())
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Where it stands is the machine's doing; each step goes a little further.
        std::thread::sleep(std::time::Duration::from_millis(5 * step));
        let _ = restoring.kill();
        let ended = restoring.wait().unwrap();
        killed += u32::from(!ended.success());
        if forepost.data().join("restore.unfinished").exists() {
            half += 1;
            continue;
        }
        // Whichever ledger is there is whole, and its keys open it.
        let queue = forepost.verb(&["plans", "list", "--json"]);
        let plans: Value = serde_json::from_slice(&queue.stdout).expect("it opens");
        assert_eq!(plans.as_array().unwrap().len(), 1, "step {step}");
        if ended.success() {
            break;
        }
    }
    println!("{killed} killed, {half} of them between the first step and the last");
    assert!(killed > 3, "none was killed in time");
    restored(&restore(&file, &vault.own_key(), &forepost, &["--yes"]));
    let left = fs::read_dir(config.parent().unwrap()).unwrap();
    let left: Vec<_> = left.map(|one| one.unwrap().file_name()).collect();
    assert!(!left.iter().any(|one| one.to_string_lossy().ends_with(".restoring")), "{left:?}");
    forepost.restart();
    assert_eq!(forepost.plans().len(), 1);
}

#[test]
fn a_file_that_is_damaged_cut_or_sealed_to_others_changes_nothing() {
    let vault = Vault::new();
    let forepost = Forepost::start(setup(&vault, None, ""));
    forepost.accept(&Patient::new(51).registration(24, 51));
    let file = PathBuf::from(backup(&forepost)["file"].as_str().unwrap());
    let empty = Forepost::prepare(setup(&vault, None, ""));
    let bytes = fs::read(&file).unwrap();
    let bad = vault.place.path().join("bad.tar.age");
    let verify = |file: &Path, key: Option<PathBuf>| {
        let mut arguments = vec!["backup".into(), "verify".into(), file.display().to_string()];
        if let Some(key) = key {
            arguments.extend(["--key-file".into(), key.display().to_string()]);
        }
        forepost.verb(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(verify(&file, Some(vault.own_key())).status.success());
    assert!(words(&verify(&file, None)).contains("as it was written"));
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    for bytes in [&changed[..], &bytes[..bytes.len() - 1], &bytes[..bytes.len() / 2], b"", b"x"] {
        fs::write(&bad, bytes).unwrap();
        let refused = restore(&bad, &vault.own_key(), &empty, &[]);
        assert_eq!(refused.status.code(), Some(1), "{}", words(&refused));
        assert_eq!(verify(&bad, Some(vault.own_key())).status.code(), Some(1));
        assert!(!empty.data().join("ledger").exists() && !empty.data().join("keys").exists());
    }
    let stranger = vault.place.path().join("stranger.key");
    run("age-keygen", &["-o", stranger.to_str().unwrap()], vault.place.path(), None);
    let refused = restore(&file, &stranger, &empty, &[]);
    assert!(words(&refused).contains("none of the given keys opens it"), "{}", words(&refused));
    // A file that a hospital opened by itself is restored without a key.
    let open = vault.place.path().join("open.tar");
    let own = vault.own_key();
    let arguments = ["-d", "-i", own.to_str().unwrap(), "-o", open.to_str().unwrap()];
    run("age", &[&arguments[..], &[file.to_str().unwrap()]].concat(), vault.place.path(), None);
    restored(&restore(&open, &own, &empty, &[]));
}

#[test]
fn a_folder_that_is_missing_another_or_full_fails_loudly_and_leaves_old_backups_alone() {
    let vault = Vault::new();
    let forepost =
        Forepost::start(setup(&vault, None, "keep_daily = 2\nkeep_weekly = 0\nkeep_monthly = 0\n"));
    assert_eq!(forepost.metric("backup_age_seconds"), f64::INFINITY);
    let old = ["20260901T031500+0800", "20260902T031500+0800", "20260903T031500+0800"]
        .map(|stamp| format!("forepost-123456-{stamp}.tar.age"));
    let others = [
        "holiday.jpg",
        "forepost-654321-20260901T031500+0800.tar.age",
        "forepost-123456-20260901T031500+0800.tar.age.txt",
    ];
    let left = "forepost-123456-20260904T031500+0800.tar.age.part";
    for name in old.iter().map(String::as_str).chain(others).chain([left]) {
        fs::write(vault.to().join(name), name).unwrap();
    }
    let made = backup(&forepost);
    let removed: Vec<&str> =
        made["removed"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!(removed, [old[1].as_str(), old[0].as_str()]);
    let files = vault.files();
    assert!(files.contains(&old[2]) && others.iter().all(|one| files.contains(&(*one).into())));
    assert!(!files.contains(&left.into()), "what was cut off before is gone");
    let listed = forepost.verb_json(&["backup", "list", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(forepost.metric("backup_age_seconds") < 60.0);

    // The mount is missing: the folder is there, and it is another one.
    let kept = vault.place.path().join("kept");
    fs::rename(vault.to(), &kept).unwrap();
    fs::create_dir(vault.to()).unwrap();
    let refused = forepost.verb(&["backup"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(words(&refused).contains("--new-folder"), "{}", words(&refused));
    assert_eq!(vault.files(), [""; 0]);
    fs::remove_dir(vault.to()).unwrap();
    let refused = forepost.verb(&["backup"]);
    assert!(words(&refused).contains("mounted?"), "{}", words(&refused));
    assert_eq!(forepost.metric("backup_failures_total"), 2.0);
    fs::create_dir(vault.to()).unwrap();
    assert!(forepost.verb(&["backup", "--new-folder"]).status.success());
    assert!(forepost.verb(&["backup"]).status.success(), "the new one is known now");
    assert_eq!(fs::read_dir(kept).unwrap().count(), 6, "nobody touched the other one");
}

#[test]
fn a_full_or_read_only_disk_refuses_and_keeps_what_is_there() {
    let Some(mut disk) = Disk::of(64 << 20) else {
        eprintln!("left out: no disk of its own can be mounted here");
        return;
    };
    disk.mount();
    let vault = Vault::new();
    let mut setup = setup(&vault, None, "mounted = true\n");
    setup.more = setup.more.replace(
        &format!("to = \"{}\"", vault.to().display()),
        &format!("to = \"{}\"", disk.folder().display()),
    );
    let forepost = Forepost::start(setup);
    let elsewhere = forepost.verb(&["backup", "--to", vault.to().to_str().unwrap()]);
    assert!(words(&elsewhere).contains("the mount is missing"), "{}", words(&elsewhere));
    let made = backup(&forepost);
    let file = PathBuf::from(made["file"].as_str().unwrap());
    let filler = disk.folder().join("filler");
    let mut room = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut room, &[1; 1 << 20]).is_ok() {}
    drop(room);
    let full = forepost.verb(&["backup"]);
    assert_eq!(full.status.code(), Some(1));
    assert!(words(&full).contains("bytes free and the backup needs"), "{}", words(&full));
    fs::remove_file(&filler).unwrap();
    let folder = disk.folder();
    let folder = folder.to_str().unwrap();
    run("mount", &["-o", "remount,ro", folder], Path::new("/"), None);
    let read_only = forepost.verb(&["backup"]);
    assert_eq!(read_only.status.code(), Some(1));
    assert!(words(&read_only).contains("Read-only"), "{}", words(&read_only));
    run("mount", &["-o", "remount,rw", folder], Path::new("/"), None);
    assert_eq!(fs::metadata(&file).unwrap().len(), made["bytes"].as_u64().unwrap());
    assert_eq!(forepost.metric("backup_failures_total"), 3.0);
    assert!(forepost.verb(&["backup"]).status.success());
}

#[test]
fn nothing_is_written_that_nobody_could_open_and_the_recovery_key_is_shown_once() {
    let vault = Vault::new();
    let mut plain = setup(&vault, None, "");
    plain.more = format!("[backup]\nto = \"{}\"\n", vault.to().display());
    let mut forepost = Forepost::start(plain);
    let refused = forepost.verb(&["backup"]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(words(&refused).contains("forepost backup key"), "{}", words(&refused));
    let shown = forepost.verb(&["backup", "key"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    let secret = text.lines().last().unwrap();
    assert!(secret.starts_with("AGE-SECRET-KEY-1"), "{text}");
    for file in forepost.files().iter().filter(|file| file.is_file()) {
        let bytes = fs::read(file).unwrap();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{} holds the secret", file.display());
    }
    let again = forepost.verb(&["backup", "key"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(words(&again).contains("--replace"), "{}", words(&again));
    // What was shown, printed and typed in again is a key file as it stands.
    let key = vault.place.path().join("recovery.key");
    fs::write(&key, &text).unwrap();
    let file = PathBuf::from(backup(&forepost)["file"].as_str().unwrap());
    let verify = ["backup", "verify", file.to_str().unwrap(), "--key-file", key.to_str().unwrap()];
    assert!(forepost.verb(&verify).status.success());
    // Plain only when it is said.
    forepost.setup.more.push_str("plain = true\n");
    forepost.stop();
    forepost.restart();
    let file = PathBuf::from(backup(&forepost)["file"].as_str().unwrap());
    assert!(file.to_str().unwrap().ends_with(".tar"));
    run("tar", &["-tf", file.to_str().unwrap()], vault.place.path(), None);
}

#[test]
fn a_backup_of_an_older_format_is_restored_into_this_version() {
    let vault = Vault::new();
    let old = Forepost::prepare(setup(&vault, None, ""));
    old.setup.write(old.data().parent().unwrap());
    lay_out(12, &old.data());
    // The service was not restarted since the upgrade: nothing changes its tables under it.
    let file = PathBuf::from(backup(&old)["file"].as_str().unwrap());
    let verify = ["backup", "verify", file.to_str().unwrap(), "--json", "--key-file"];
    let manifest = old.verb_json(&[&verify[..], &[vault.own_key().to_str().unwrap()]].concat());
    assert_eq!(manifest["ledger"]["version"], 12);
    let mut new = Forepost::prepare(setup(&vault, None, ""));
    restored(&restore(&file, &vault.own_key(), &new, &[]));
    new.restart();
    assert_eq!((new.plans().len(), new.deliveries().len()), (6, 7));
    assert_eq!(backup(&new)["registrations"], 6);
}

#[test]
fn one_process_serves_from_a_data_folder() {
    let forepost = Forepost::start(Setup::default());
    let second = Command::new(env!("CARGO_BIN_EXE_forepost"))
        .args(["serve", "--config"])
        .arg(forepost.data().with_file_name("forepost.toml"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(words(&second).contains("serves from this data folder"), "{}", words(&second));
    let listens =
        wait_for(PATIENCE, || (forepost.get("/dicom-web/studies").status < 500).then_some(()));
    assert!(listens.is_some());
}
