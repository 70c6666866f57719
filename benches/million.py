"""A million instances in 6,000 study folders: start-up, search, rebuild, memory.

The objects have headers only and come in through the cache's own arrival, by benches/fill.rs; they
stay under target/bench/million for the next run. The kernel's page cache is as the fill or the
last run left it.
"""

import json
import statistics
import subprocess

from peers import BASE, WORK, Forepost, request, take, wrk
from studies import Study

INSTANCES = 1_000_000
STUDIES = 6_000
CONNECTIONS = 8
STARTS = 5
# Thousands at the end whose rate is held against that of the first.
LAST = 100

P99_MS = 5
START_SECONDS = 2
LATE_PERCENT = 110
ANON_MB = 150


class Template(Study):
    """An object whose numbers benches/fill.rs replaces: each is as long as those that follow."""

    def __init__(self):
        super().__init__(0, 2, 0)
        self.patient_id = "PATIENT-000000"
        self.uid = "2.25.3150000001000000"

    def birth_date(self):
        return "19700101"

    def series_uid(self, number):
        return "2.25.3150000002000000"

    def sop_uid(self, number):
        return "2.25.315000000300000000000"


def fill(options, folder):
    """Gives the rate of the fill that made the cache, by this run or an earlier one."""
    cache, kept = folder / "data" / "cache", folder / "fill.json"
    cache.parent.mkdir(parents=True, exist_ok=True)
    template = folder / "template.dcm"
    template.write_bytes(Template().file(0))
    print(f"  filling {cache.relative_to(WORK)}; minutes the first time", flush=True)
    command = [options.fill, cache, template, STUDIES, INSTANCES]
    said = json.loads(take([str(one) for one in command]).splitlines()[-1])
    if said["filled"]:
        rate = said["filled"] / said["seconds"]
        thousands = said["thousands"]
        late = statistics.median(thousands[-LAST:]) / thousands[0]
        print(f"  filled {said['filled']} instances in {said['seconds']:.0f} s, {rate:,.0f}/s")
        kept.write_text(json.dumps({"rate": rate, "bytes": template.stat().st_size,
                                    "late": late}))
    return json.loads(kept.read_text())


def run(rows, options):
    folder = WORK / "million"
    filled = fill(options, folder)
    rows.bound(f"durable arrival of header-only objects of {filled['bytes']} bytes, two studies "
               "at a time", filled["rate"], "/s", None)
    rows.bound("the same, time of a thousand at the end (median of a hundred) in that of the first",
               100 * filled["late"], "%", LATE_PERCENT)
    forepost = Forepost(options.binary, folder, log="warn")
    starts = []
    for _ in range(STARTS):
        with forepost:
            starts.append(forepost.started)
    rows.bound(f"start-up until every door listens, {INSTANCES:,} instances, median of {STARTS}",
               statistics.median(starts), "s", START_SECONDS)
    with forepost:
        status, said = request(forepost.console, "GET", "/health")
        held = json.loads(said)["cache"]
        if status != 200 or held["instances"] != INSTANCES or held["studies"] != STUDIES:
            raise SystemExit(f"bench: the cache does not hold the million: {said}")
        searched(rows, options, folder, forepost)
    seconds = rebuild_seconds(forepost)
    rows.bound(f"`cache rebuild` of the search rows, {INSTANCES:,} instances", seconds, "s", None)


def searched(rows, options, folder, forepost):
    file = folder / "paths.txt"
    file.write_text("".join(f"{BASE}/studies?PatientID=PATIENT-{number:06}\n"
                            for number in range(STUDIES)))
    status, body = request(forepost.address, "GET", file.read_text().splitlines()[STUDIES // 2])
    if status != 200 or len(json.loads(body)) != 1:
        raise SystemExit(f"bench: a patient is not found: {status} {body[:200]}")
    idle = forepost.rss_anon()
    seconds = 3 if options.quick else 10
    # One viewer first: on many connections the sender's own turn on the cores is in the figure.
    alone = [wrk(forepost.url, 1, seconds, ["paths", file])["p99_ms"] for _ in range(3)]
    rows.bound(f"QIDO-RS studies by PatientID among {INSTANCES:,} instances, p99 on one "
               "connection, median of 3", statistics.median(alone), "ms", P99_MS)
    results = [wrk(forepost.url, CONNECTIONS, seconds, ["paths", file]) for _ in range(3)]
    middle = statistics.median(one["p50_ms"] for one in results)
    late = statistics.median(one["p99_ms"] for one in results)
    rate = statistics.median(one["requests"] / one["seconds"] for one in results)
    rows.bound(f"the same, p99 on {CONNECTIONS} connections as fast as they go", late, "ms", None)
    rows.bound("the same, p50", middle, "ms", None)
    rows.bound("the same, rate", rate, "/s", None)
    rows.bound(f"RssAnon with {INSTANCES:,} instances, idle after start", idle / 1e6, "MB", ANON_MB)
    rows.bound("the same after those searches", forepost.rss_anon() / 1e6, "MB", ANON_MB)


def rebuild_seconds(forepost):
    """As `time` has it; the service does not run."""
    command = [forepost.binary, "cache", "rebuild", "--json", "--config", forepost.config]
    timed = ["bash", "-c", 'TIMEFORMAT=%R; time "$@"', "rebuild", *map(str, command)]
    done = subprocess.run(timed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0 or json.loads(done.stdout)["instances"] != INSTANCES:
        raise SystemExit(f"bench: rebuild failed: {done.stdout}{done.stderr[-500:]}")
    return float(done.stderr.split()[-1])
