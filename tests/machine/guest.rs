//! A hospital's server: Debian 12 in QEMU, where systemd is really PID 1.
//!
//! The processor is emulated, so everything in it takes ten to twenty times as long as outside, and
//! no figure measured in it says anything of the product. The system on its disk is made once by
//! `root.sh`; each machine has a copy. What it is told and what it says goes through a port that
//! is no terminal: a root shell, one command at a time. Its network is QEMU's own: this machine
//! is 10.0.2.2 for it, and a port of 127.0.0.1 here leads to each port of it that a test names.
//!
//! Killing the emulator is the power cut: what the guest had not yet written to its disk is gone.
//! It is lenient in one way: what a drive keeps in a volatile cache of its own is not modelled.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tempfile::TempDir;

use crate::support::programs::ROOT;
use crate::support::wait_for;

/// The port at which the HIS and the viewers come in.
pub const DOOR: u16 = 80;
/// The port at which archives verify.
pub const ARCHIVES: u16 = 104;
/// What this machine is called in the guest.
pub const OUTSIDE: &str = "10.0.2.2";
/// The guest's own address, which root.sh gives it.
pub const INSIDE: &str = "10.0.2.15";
/// How long a boot may take until its shell answers: 5 s on two quiet cores.
const BOOT_WAIT: Duration = Duration::from_secs(240);
/// How long something may take that a test waits for in a guest.
pub const GUEST_PATIENCE: Duration = Duration::from_secs(180);
/// Seconds that a command may take in the guest, unless the test says otherwise.
const COMMAND_SECONDS: u32 = 120;
/// What the answer of a command may take beyond the command's own time.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Starts that are tried: a port may be taken between its choice and its use.
const STARTS_MAX: usize = 3;
/// Lines of the console that a failed test prints.
const CONSOLE_LINES: usize = 80;
/// Memory of the guest, in MiB: the daemon's 40, what dpkg and systemd take, and the page cache.
const MEMORY: &str = "1024";

/// What a machine is, beside its system.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// Its ports that can be reached from outside.
    pub doors: Vec<u16>,
    /// Whether its cable is plugged in.
    pub network: bool,
    /// What its clock shows at the start, as `2026-11-29T12:00:00` in UTC; the truth if `None`.
    pub clock: Option<&'static str>,
    /// Files that lie in `brought`, where the shell begins, like those on a stick that somebody
    /// plugged in.
    pub brought: Vec<PathBuf>,
}

impl Default for Hardware {
    fn default() -> Hardware {
        Hardware { doors: vec![DOOR, ARCHIVES], network: true, clock: None, brought: Vec::new() }
    }
}

/// The machine. It ends with this value.
pub struct Machine {
    pub hardware: Hardware,
    folder: TempDir,
    process: Option<Child>,
    ports: Vec<u16>,
    control: Mutex<Option<Control>>,
}

/// The way to the guest's root shell.
struct Control {
    stream: BufReader<UnixStream>,
    commands: u64,
}

/// What became of a command.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code; 124 when its time was over.
    pub code: i32,
    /// What it wrote, errors included.
    pub output: String,
}

impl Machine {
    /// A new machine, booted until its shell answers.
    pub fn boot(hardware: Hardware) -> Machine {
        let mut machine = Machine::assemble(hardware);
        machine.power_on();
        machine.bring();
        machine
    }

    /// Everything but the power.
    pub fn assemble(hardware: Hardware) -> Machine {
        let folder = tempfile::tempdir().expect("a folder for the machine");
        let disk = folder.path().join("disk");
        let copied = Command::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .args([&root().join("disk"), &disk])
            .status()
            .expect("cp starts");
        assert!(copied.success(), "the system's disk can be copied");
        let stick = Command::new("tar")
            .args(["--create", "--transform=s,.*/,,", "--absolute-names", "--file"])
            .arg(folder.path().join("stick"))
            .args(&hardware.brought)
            .args(hardware.brought.is_empty().then_some("--files-from=/dev/null"))
            .status()
            .expect("tar starts");
        assert!(stick.success(), "what is brought can be packed: {:?}", hardware.brought);
        let (ports, control) = (Vec::new(), Mutex::new(None));
        Machine { hardware, folder, process: None, ports, control }
    }

    /// Switches it on and waits for its shell.
    pub fn power_on(&mut self) {
        assert!(self.process.is_none(), "the machine runs already");
        let begun = Instant::now();
        let started = (0..STARTS_MAX).any(|_| self.try_power_on());
        assert!(started, "QEMU did not start in {STARTS_MAX} tries");
        self.await_up();
        println!("the machine's shell answered after {:.1?}", begun.elapsed());
    }

    fn try_power_on(&mut self) -> bool {
        let socket = self.folder.path().join("control");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("a socket for the shell");
        listener.set_nonblocking(true).expect("a listener can be asked");
        self.ports = self.hardware.doors.iter().map(|_| free_port()).collect();
        let words = fs::File::options().create(true).append(true).open(self.path("qemu.log"));
        let mut process = Command::new("qemu-system-x86_64")
            .args(self.arguments(&socket))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words.expect("a file for QEMU's words"))
            .spawn()
            .expect("QEMU starts; .ci/setup installs it");
        let connected = wait_for(BOOT_WAIT, || {
            if process.try_wait().expect("QEMU can be waited for").is_some() {
                return Some(None);
            }
            listener.accept().ok().map(|(stream, _)| Some(stream))
        });
        let Some(Some(stream)) = connected else {
            let _ = process.kill();
            let _ = process.wait();
            eprintln!("{}", fs::read_to_string(self.path("qemu.log")).unwrap_or_default());
            return false;
        };
        stream.set_nonblocking(false).expect("a stream can wait");
        let control = Control { stream: BufReader::new(stream), commands: 0 };
        *self.control.lock().expect("no test thread panicked") = Some(control);
        self.process = Some(process);
        true
    }

    fn arguments(&self, socket: &Path) -> Vec<String> {
        let [kernel, initrd] = ["kernel", "initrd"].map(|name| root().join(name));
        // Flushes are not passed on to the real disk: the power cut is the emulator's end, and
        // what it has written to a file of this machine survives that.
        let drive = |file: &str, more: &str| {
            format!("file={},format=raw,if=virtio,cache=unsafe{more}", self.path(file).display())
        };
        let mut network = format!("user,id=network,restrict=off,ipv6=off,host={OUTSIDE}");
        for (door, port) in self.hardware.doors.iter().zip(&self.ports) {
            network.push_str(&format!(",hostfwd=tcp:127.0.0.1:{port}-{INSIDE}:{door}"));
        }
        let append = "console=ttyS0 net.ifnames=0 mitigations=off quiet systemd.show_status=1 \
                      module_blacklist=kvm,kvm_amd,powernow_k8,psmouse,i2c_piix4,floppy";
        let mut arguments = [
            "-accel tcg,thread=multi -cpu max -smp 2 -nodefaults -no-user-config -display none",
            &format!("-m {MEMORY} -serial file:{}", self.path("console").display()),
            &format!("-kernel {} -initrd {}", kernel.display(), initrd.display()),
            &format!("-drive {} -drive {}", drive("disk", ""), drive("stick", ",readonly=on")),
            &format!("-chardev socket,id=control,path={}", socket.display()),
            "-device virtio-serial-pci -device virtserialport,chardev=control,name=control",
            "-device virtio-rng-pci",
        ]
        .join(" ");
        if self.hardware.network {
            arguments.push_str(&format!(" -netdev {network}"));
            arguments.push_str(" -device virtio-net-pci,netdev=network,romfile=");
        }
        if let Some(clock) = self.hardware.clock {
            arguments.push_str(&format!(" -rtc base={clock}"));
        }
        let mut arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        arguments.extend(["-append".to_owned(), append.to_owned()]);
        arguments
    }

    /// Waits until the shell says that it is up; gives the number of the boot.
    fn await_up(&self) -> String {
        let mut control = self.control.lock().expect("no test thread panicked");
        let control = control.as_mut().expect("the machine runs");
        let line = control.line(BOOT_WAIT).unwrap_or_else(|| panic!("no shell in {BOOT_WAIT:?}"));
        let boot = line.strip_prefix("up ").unwrap_or_else(|| panic!("up, not {line:?}"));
        boot.trim().to_owned()
    }

    /// Puts what was brought where the tests look for it.
    pub fn bring(&self) {
        self.sh("mkdir -p brought && tar -x -f /dev/vdb -C brought");
    }

    /// Runs a command and gives what became of it.
    pub fn run_for(&self, seconds: u32, command: &str) -> Ran {
        let mut control = self.control.lock().expect("no test thread panicked");
        let control = control.as_mut().expect("the machine runs");
        control.commands += 1;
        let number = control.commands;
        let line = format!("{number} {seconds} {}\n", BASE64.encode(command));
        control.stream.get_mut().write_all(line.as_bytes()).expect("the guest's shell listens");
        let wait = Duration::from_secs(seconds.into()) + ANSWER_WAIT;
        let answer = control.line(wait);
        let answer = answer.unwrap_or_else(|| panic!("no answer in {wait:?} to: {command}"));
        let mut parts = answer.trim_end().splitn(3, ' ');
        let mut part = || parts.next().unwrap_or_default();
        assert_eq!(part(), number.to_string(), "the answer to {command}");
        let code = part().parse().expect("an exit code");
        let output = BASE64.decode(part()).expect("the output is in Base64");
        Ran { code, output: String::from_utf8_lossy(&output).trim_end().to_owned() }
    }

    /// The same, for at most [`COMMAND_SECONDS`].
    pub fn run(&self, command: &str) -> Ran {
        self.run_for(COMMAND_SECONDS, command)
    }

    /// Runs a command that must succeed; gives what it wrote.
    pub fn sh(&self, command: &str) -> String {
        let ran = self.run(command);
        assert_eq!(ran.code, 0, "{command}\n{}", ran.output);
        ran.output
    }

    /// Runs a command until what it writes is as `wanted` says.
    pub fn await_sh(&self, command: &str, wanted: impl Fn(&Ran) -> bool) -> String {
        let mut last = None;
        let found = wait_for(GUEST_PATIENCE, || {
            let ran = self.run(command);
            let good = wanted(&ran);
            last = Some(ran.clone());
            good.then_some(ran.output)
        });
        found.unwrap_or_else(|| panic!("after {GUEST_PATIENCE:?}: {command}\n{last:?}"))
    }

    /// Writes a file in the guest.
    pub fn write(&self, path: &str, mode: &str, content: &str) {
        let content = BASE64.encode(content);
        self.sh(&format!(
            "install -D -m {mode} /dev/null {path} && base64 -d > {path} <<<'{content}'"
        ));
    }

    /// Copies a file of the guest to here; gives where it is.
    pub fn take(&self, inside: &str, to: &Path) -> PathBuf {
        let content = self.sh(&format!("base64 --wrap=0 {inside}"));
        let content = BASE64.decode(content).expect("base64 writes Base64");
        fs::write(to, content).expect("what was taken can be kept");
        to.to_owned()
    }

    /// `127.0.0.1:port`, which leads to that port of the guest.
    pub fn door(&self, door: u16) -> String {
        let at = self.hardware.doors.iter().position(|known| *known == door);
        format!("127.0.0.1:{}", self.ports[at.expect("the door is among the hardware's")])
    }

    /// Boots again in an orderly way.
    pub fn reboot(&self) {
        let begun = Instant::now();
        let before = self.sh("cat /proc/sys/kernel/random/boot_id");
        self.sh("systemctl --no-block reboot");
        let after = self.await_up();
        assert_ne!(before, after, "it is another boot");
        println!("the machine was back after {:.1?}", begun.elapsed());
    }

    /// Cuts the power.
    pub fn cut(&mut self) {
        let mut process = self.process.take().expect("the machine runs");
        process.kill().expect("QEMU can be killed");
        process.wait().expect("QEMU can be waited for");
        *self.control.lock().expect("no test thread panicked") = None;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a failed test should tell of it.
    fn tell(&self) {
        let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let ask = "systemctl --failed --no-legend; journalctl -b -n 80 --no-pager -o short";
            self.run_for(30, ask).output
        }));
        eprintln!("--- the guest's journal\n{}", asked.unwrap_or_default());
        let console = fs::read(self.path("console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<&str> = console.lines().collect();
        let tail = &lines[lines.len().saturating_sub(CONSOLE_LINES)..];
        eprintln!("--- the console's last of {} lines\n{}", lines.len(), tail.join("\n"));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Control {
    /// The next line, if it comes within `wait`.
    fn line(&mut self, wait: Duration) -> Option<String> {
        self.stream.get_ref().set_read_timeout(Some(wait)).expect("a wait can be set");
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => panic!("the machine went off"),
            Ok(_) => Some(line),
            Err(_) => None,
        }
    }
}

/// Where the system is that every machine has a copy of; made when it is not there yet.
fn root() -> PathBuf {
    let script = Path::new(ROOT).join("tests/support/root.sh");
    let output = Command::new(script)
        .arg("debian12")
        .stderr(Stdio::inherit())
        .output()
        .expect("root.sh starts");
    assert!(output.status.success(), "root.sh made no system; its words are above");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address").port()
}
