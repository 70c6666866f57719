//! A small Debian in a folder of its own, entered by chroot.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::packages::ROOT;

/// A copy of a system, gone with the value.
pub struct System {
    folder: TempDir,
}

/// What a command said and how it ended.
pub struct Answer {
    pub code: i32,
    pub said: String,
}

impl Answer {
    /// The words of a command that ended well; else the test has failed.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.code, 0, "{}", self.said);
        self.said
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Answer {
        let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        Answer { code: output.status.code().unwrap_or(-1), said: texts.concat() }
    }
}

impl System {
    /// The Debian 12 that the tests of machines use, too.
    pub fn debian12() -> System {
        System::copy("root.sh", "debian12-small")
    }

    /// Another release of Debian.
    pub fn other(release: &str) -> System {
        System::copy("other_systems.sh", release)
    }

    fn copy(script: &str, name: &str) -> System {
        let output = Command::new(Path::new(ROOT).join("tests/support").join(script))
            .arg(name)
            .stderr(Stdio::inherit())
            .output()
            .expect("the script that makes systems starts");
        let place = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{script} {name} made no system; its words are above");
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let from = Path::new(place.trim()).join("root/.");
        let copied = Command::new("cp").arg("-a").arg(from).arg(folder.path()).status().unwrap();
        assert!(copied.success(), "the system could not be copied");
        // The one of the machines leaves out pages and documents, which are what is looked at here.
        let filters = folder.path().join("etc/dpkg/dpkg.cfg.d");
        for entry in fs::read_dir(filters).into_iter().flatten() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let system = System { folder };
        system.run("mknod -m 666 /dev/null c 1 3 || true").done();
        system
    }

    /// The path here of a path there.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside.trim_start_matches('/'))
    }

    /// Whether something is there, be it a link that leads nowhere.
    pub fn has(&self, inside: &str) -> bool {
        self.path(inside).symlink_metadata().is_ok()
    }

    /// Copies a file in; gives its path there.
    pub fn bring(&self, file: &Path) -> String {
        let name = file.file_name().unwrap().to_str().unwrap();
        fs::copy(file, self.path("/root").join(name)).unwrap();
        format!("/root/{name}")
    }

    /// Runs a line of shell as root, without a terminal.
    pub fn run(&self, line: &str) -> Answer {
        let mut command = Command::new("chroot");
        command.arg(self.folder.path()).args(["/bin/sh", "-c", line]).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        // A C locale has no Chinese; dpkg would complain of the description.
        command.env("LANG", "C.UTF-8").env("PERL_BADLANG", "0").stdin(Stdio::null());
        command.output().expect("chroot starts: run these tests as root").into()
    }

    /// Runs a line of shell as root on a terminal, where a person types `typed`.
    pub fn run_on_terminal(&self, line: &str, typed: &str) -> Answer {
        let root = self.folder.path().display();
        let line = format!("chroot {root} /bin/sh -c '{line}'");
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs([("HOME", "/root"), ("LANG", "C.UTF-8"), ("TERM", "dumb"), ("SHELL", "/bin/sh")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("script starts; it is a part of every Debian");
        // Its end would hang up the terminal, so it stays open until the command has ended.
        let mut keyboard = child.stdin.take().unwrap();
        keyboard.write_all(typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(keyboard);
        output.into()
    }

    /// Mode and owner as `stat` says them: `755 root:root`.
    pub fn stat(&self, inside: &str) -> String {
        self.run(&format!("stat -c '%a %U:%G' {inside}")).done().trim().to_owned()
    }
}
