"""The programs that are measured: Forepost, and the peers beside it.

Each is a process of our own on a free port of 127.0.0.1 with its files under target/bench, which
is the disk of our ledger too; each is ended by its process id when its `with` block ends.
"""

import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "bench"
REGISTER = "/standardInterface/standardHttp/saveDataStorage"
BASE = "/dicom-web"

# Seconds that a program is given to start, and to end after SIGTERM.
PATIENCE = 60

PR_SET_PDEATHSIG = 1


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def fresh(name):
    """An empty folder under target/bench."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def wait_for(what, ready, seconds=PATIENCE, pause=0.01):
    """Asks until something is given; so many seconds at most."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = ready()
        if got:
            return got
        time.sleep(pause)
    raise SystemExit(f"bench: waited {seconds} s in vain for {what}")


def request(address, method, path, body=None, headers=None):
    """One HTTP exchange: status and body."""
    connection = http.client.HTTPConnection(address, timeout=120)
    try:
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def take(command, **more):
    """Runs a program to its end and gives what it printed; its failure ends the run."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        raise SystemExit(f"bench: {command[0]} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def end_with_parent():
    """A run that is killed leaves no server behind (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """A server in the background, its output in `log`."""

    def __init__(self, command, log, stop=signal.SIGTERM):
        self.log = log
        self.stop_signal = stop
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                preexec_fn=end_with_parent, start_new_session=True,
            )
        self.pid = self.child.pid

    def wait_until(self, ready, seconds=PATIENCE, pause=0.01):
        def alive_and_ready():
            if self.child.poll() is not None:
                text = self.log.read_text(errors="replace")[-2000:]
                raise SystemExit(f"bench: {self.child.args[0]} ended at its start:\n{text}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                return ready()
            return None

        return wait_for(self.child.args[0], alive_and_ready, seconds, pause)

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(self.stop_signal)
            try:
                self.child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


@contextlib.contextmanager
def running(command, log, stop=signal.SIGTERM):
    process = Process(command, log, stop)
    try:
        yield process
    finally:
        process.stop()


class Forepost:
    """The release build, serving; `source` is the address of its DICOMweb source when there is one,
    `more` the end of its configuration, `caller` a line of the only caller's."""

    def __init__(self, binary, folder, source=None, key="idCardNo", log="info",
                 more="", caller=""):
        self.binary = binary
        self.folder = folder
        self.ready_file = folder / "ready.json"
        self.config = folder / "forepost.toml"
        self.log = folder / "forepost.log"
        self.level = log
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(self._config(source, key, caller) + more)
        self.process = None

    def _config(self, source, key, caller):
        text = f"""
data = "{self.folder / 'data'}"
[[hospital]]
code = "123456"
names = ["本院"]
[zone.hospital]
listen = "127.0.0.1:0"
[zone.console]
listen = "127.0.0.1:0"
[prefetch]
look_back_days = 36500
plan_megabytes_max = 100000
[[caller]]
name = "his"
addresses = ["127.0.0.1"]
push = true
images = true
store = true
mirror_status = true
{caller}
"""
        if source:
            text += f"""
[[source]]
name = "region"
url = "http://{source}{BASE}"
[[source.patient_key]]
kind = "{key}"
"""
        return text

    def __enter__(self):
        """Starts; `started` is the number of seconds until every door listened."""
        (self.folder / "data").mkdir(exist_ok=True)
        self.ready_file.unlink(missing_ok=True)
        command = [self.binary, "serve", "--config", self.config,
                   "--ready-file", self.ready_file, "--log", self.level]
        began = time.monotonic()
        self.process = Process(command, self.log)
        self.process.wait_until(self.ready_file.exists, pause=0.001)
        self.started = time.monotonic() - began
        ready = json.loads(self.ready_file.read_text())
        self.address, self.console = ready["hospital"], ready["console"]
        self.url = f"http://{self.address}"
        return self

    def __exit__(self, *_):
        self.process.stop()

    def register(self, registration):
        body = json.dumps(registration, ensure_ascii=False).encode()
        status, said = request(self.address, "POST", REGISTER, body,
                               {"content-type": "application/json"})
        if status != 200:
            raise SystemExit(f"bench: a registration was refused: {status} {said.decode()}")

    def plans(self, limit):
        command = [self.binary, "plans", "list", "--json", "--limit", str(limit),
                   "--config", self.config]
        return json.loads(take([str(part) for part in command]))

    def wait_settled(self, fetches, seconds=600):
        """Waits until so many fetches are settled, by the log: asking would cost time."""
        def settled():
            found = self.log.read_text(errors="replace")
            return found.count("fetch settled") >= fetches

        self.process.wait_until(settled, seconds, pause=0.02)

    def registrations(self):
        _, text = request(self.console, "GET", "/metrics")
        lines = text.decode().splitlines()
        return next(int(l.split()[1]) for l in lines if l.startswith("registrations_kept "))

    def rss_anon(self):
        """Bytes of memory that belong to the process alone (proc(5), RssAnon)."""
        with open(f"/proc/{self.process.pid}/status") as status:
            line = next(line for line in status if line.startswith("RssAnon:"))
        return int(line.split()[1]) * 1024


class Orthanc:
    """An archive with the DICOMweb plugin and a DICOM door, which is called `REGION` and lets
    everybody find and get. What it holds stays for the next run."""

    PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins")

    def __init__(self):
        self.folder = WORK / "orthanc"
        self.folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        port, dicom_port = free_port(), free_port()
        plugins = [pathlib.Path(one) / "libOrthancDicomWeb.so" for one in self.PLUGINS]
        config = {
            "Name": "region",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "HttpPort": port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": True,
            "DicomPort": dicom_port,
            "DicomAet": "REGION",
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            # What it answers in: Latin would lose Chinese names.
            "DefaultEncoding": "Utf8",
            "Plugins": [str(next(one for one in plugins if one.exists()))],
            "DicomWeb": {"Enable": True, "Root": f"{BASE}/"},
        }
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(config, indent=1))
        self.address, self.dicom_port = f"127.0.0.1:{port}", dicom_port
        self.url = f"http://{self.address}"
        self.process = Process(["Orthanc", path], self.folder / "orthanc.log")
        self.process.wait_until(lambda: request(self.address, "GET", "/system")[0] == 200)
        return self

    def __exit__(self, *_):
        self.process.stop()

    def hold(self, study):
        """Uploads a study unless all of it is here already."""
        path = f"{BASE}/instances?StudyInstanceUID={study.uid}&limit=100000"
        _, text = request(self.address, "GET", path)
        if len(json.loads(text or b"[]")) == study.slices:
            return
        connection = http.client.HTTPConnection(self.address, timeout=120)
        for number in range(study.slices):
            connection.request("POST", "/instances", study.file(number))
            reply = connection.getresponse()
            if reply.status != 200:
                raise SystemExit(f"bench: Orthanc refused an object: {reply.status}")
            reply.read()
        connection.close()


@contextlib.contextmanager
def nginx(folder):
    """nginx giving the files of `folder`; its address."""
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(f"""
{user}
worker_processes auto;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    sendfile on;
    access_log off;
    default_type application/octet-stream;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
""")
    command = ["nginx", "-p", folder, "-c", config, "-e", folder / "error.log"]
    with running(command, folder / "nginx.log", signal.SIGQUIT) as process:
        address = f"127.0.0.1:{port}"
        process.wait_until(lambda: request(address, "GET", "/nginx.conf")[0] == 200)
        yield address


class Postgres:
    """A cluster of its own with PostgreSQL's defaults: fsync and synchronous_commit are on."""

    def __init__(self):
        self.folder = fresh("postgres")
        self.cluster = self.folder / "cluster"
        self.bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        # The server refuses to run as root.
        self.user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.user:
            shutil.chown(self.folder, "postgres")
        self.port = free_port()

    def __enter__(self):
        take(self._as_user("initdb", "-D", self.cluster, "-A", "trust", "-U", "bench",
                           "-E", "UTF8", "--locale", "C"))
        command = self._as_user(
            "postgres", "-D", self.cluster, "-k", self.folder,
            "-c", "listen_addresses=127.0.0.1", "-p", self.port,
        )
        # SIGINT is PostgreSQL's fast shutdown; runuser hands it on.
        self.process = Process(command, self.folder / "postgres.log", signal.SIGINT)
        self.process.wait_until(
            lambda: subprocess.run(
                [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            ).returncode == 0)
        return self

    def __exit__(self, *_):
        # The server's own process, which runuser stands before.
        pid_file = self.cluster / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)
        self.process.child.wait(PATIENCE)

    def _as_user(self, program, *rest):
        return self.user + [str(self.bin / program)] + [str(part) for part in rest]

    def sql(self, text):
        take([str(self.bin / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
              "-p", str(self.port), "-U", "bench", "-d", "postgres"], input=text)

    def pgbench(self, script, clients, seconds, defines):
        """Transactions a second of a script, without the time to connect."""
        command = [self.bin / "pgbench", "-n", "-M", "prepared", "-c", clients, "-j", 2,
                   "-T", seconds, "-f", script, "-h", "127.0.0.1", "-p", self.port,
                   "-U", "bench"]
        for name, value in defines.items():
            command += ["-D", f"{name}={value}"]
        said = take([str(part) for part in command + ["postgres"]], stderr=subprocess.STDOUT)
        line = next(line for line in said.splitlines() if line.startswith("tps = "))
        if "number of failed transactions: 0 " not in said:
            raise SystemExit(f"bench: pgbench had failures:\n{said}")
        return float(line.split()[2])


def wrk(url, connections, seconds, arguments=(), threads=None):
    """Runs wrk with benches/requests.lua: requests, bytes, seconds and latencies."""
    threads = threads or min(2, connections)
    command = ["wrk", "-t", threads, "-c", connections, "-d", f"{seconds}s",
               "--timeout", "60s", "-s", ROOT / "benches" / "requests.lua", url, "--"]
    said = take([str(part) for part in command + list(arguments)], stderr=subprocess.STDOUT)
    result = json.loads(next(l for l in said.splitlines() if l.startswith("{")))
    if result["errors"]:
        raise SystemExit(f"bench: wrk had errors at {url}:\n{said}")
    return result
