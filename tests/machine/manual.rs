//! The manual's commands on a server, as they stand there. Each line of its blocks of commands is
//! run here, or is on the list of those that other tests run or that this server cannot.

use crate::guest::{Hardware, OUTSIDE};
use crate::service::{CONFIGURATION, Service};
use crate::support::programs::ROOT;

/// Beginnings of lines that are not run here, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("sha256sum ", "the tests of the packages"),
    ("dpkg -i forepost_", "the tests of the packages"),
    ("rpm ", "the tests of the packages"),
    ("tar -xzf ", "the tests of the packages"),
    ("cd forepost-", "the tests of the packages"),
    ("forepost setup --answers", "the tests of the set-up, with answers of their own"),
    ("nmcli ", "there is no NetworkManager on this server"),
    ("firewall-cmd ", "there is no firewalld on this server"),
    ("ssh ", "there is no sshd on this server"),
    ("certutil ", "of Windows"),
    ("cp authority.pem ", "of workstations and other servers; two minutes when it is emulated"),
    ("forepost queue show 4711", "the tests of deliveries"),
    ("forepost queue repair 4711", "the tests of deliveries"),
    ("forepost queue retry 4711", "the tests of deliveries"),
    ("forepost queue write-off 4711", "the tests of deliveries"),
    ("forepost department ", "the tests of the notices"),
    ("forepost dict diff", "the tests of dictionaries"),
    ("forepost dict release", "the tests of dictionaries"),
    ("journalctl -u forepost -f", "it never ends"),
    ("promtool ", "the tests of monitoring"),
    ("install -m 755 /usr/lib/forepost/", "the tests of the packages, with an older program"),
];

/// Lines by whose exit code something is said that is so on this server: the source that is
/// configured does not exist, and nothing listens for a name of 2026.
const MAY_SAY_NO: &[&str] = &["forepost doctor", "ip route get"];

/// The lines of the blocks of commands, without remarks, in their order.
fn commands() -> Vec<String> {
    let text = std::fs::read_to_string(format!("{ROOT}/docs/OPERATING.md")).unwrap();
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            lines.push(line.split("  #").next().unwrap().trim_end().to_owned());
        }
    }
    lines
}

/// The line with what stands for something on this server in the place of the manual's names.
fn here(line: &str) -> String {
    let newest = "$(ls /mnt/backup/*.age | tail -n 1)";
    let backup = "/mnt/backup/forepost-H45010000001-20261129T031500+0800.tar.age";
    // A restore replaces the ledger that is here, as it does on a machine that is kept.
    line.replace(backup, newest)
        .replace("/mnt/backup/FILE", newest)
        .replace("recovery.key --by", "recovery.key --yes --by")
}

#[test]
fn night_the_commands_of_the_manual_do_on_a_server_what_they_are_for() {
    let service = Service::on_new_machine(Hardware::default());
    service.install();
    let machine = &service.machine;
    let text = format!(
        "data = \"/var/lib/forepost\"\n\
         [[hospital]]\ncode = \"H45010000001\"\n\
         [zone.hospital]\nlisten = \"systemd:hospital\"\n\
         [zone.console]\nlisten = \"systemd:console\"\n\
         [[caller]]\nname = \"his\"\naddresses = [\"{OUTSIDE}\"]\npush = true\n\
         [[source]]\nname = \"region\"\nurl = \"http://127.0.0.1:9/dicom-web\"\n\
         [[source.patient_key]]\nkind = \"idCardNo\"\n\
         [[destination]]\nname = \"platform\"\nurl = \"http://127.0.0.1:9\"\n\
         interfaces = [\"ic-settlement-push\"]\n[destination.basic]\n\
         user = \"hospital\"\npassword_file = \"/etc/forepost/platform.password\"\n\
         [backup]\nto = \"/mnt/backup\"\n"
    );
    machine.write(CONFIGURATION, "644", &text);
    machine.write("/etc/forepost/platform.password", "640", "made up\n");
    machine.sh("chgrp forepost /etc/forepost/platform.password");
    machine.sh("install -d -o forepost -g forepost -m 700 /mnt/backup");
    service.switch_on();
    service.await_ready();
    // The first steps of the manual, on which the others stand: a key, and a backup under it.
    machine.sh("forepost backup key --by 张工 > recovery.key");
    machine.sh("systemctl start forepost-backup");
    let _ = service.ask("POST", crate::support::forepost::REGISTER, b"{}");
    let mut ran = 0;
    let mut complaints = Vec::new();
    for line in commands() {
        let is_elsewhere = ELSEWHERE.iter().any(|(beginning, _)| line.starts_with(beginning));
        if is_elsewhere || line.starts_with("forepost backup key") {
            continue;
        }
        ran += 1;
        let told = machine.run(&here(&line));
        let may_say_no = MAY_SAY_NO.iter().any(|beginning| line.starts_with(beginning));
        println!("{} {line}\n{}", told.code, told.output);
        if told.code != 0 && !(may_say_no && told.code == 1) {
            complaints.push(format!("{line}: {} {}", told.code, told.output));
        }
    }
    assert!(ran > 40, "the commands are found, {ran}");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let seen = machine.sh("journalctl -u forepost INTERFACE=ic-register-push -o json --no-pager");
    assert!(seen.contains("\"REQUEST_ID\""), "the journal is asked by its fields: {seen}");
    service.await_ready();
}
