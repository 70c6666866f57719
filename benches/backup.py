"""Acknowledgements while a backup is made: p99 with a backup under way, over p99 without one.

The ledger is filled with registrations to 1 GB once, and stays under target/bench/backup. Then one
registration after another is pushed at a fixed rate, for as long as a backup takes, in turn without
and with one. Both write on the same disk, which is the harder case: a backup belongs on another.
"""

import http.client
import json
import shutil
import statistics
import subprocess
import threading
import time

from acknowledge import template
from peers import REGISTER, WORK, Forepost, wrk

GIGABYTE = 1_000_000_000
# A second. Far more than a large hospital's: 10,000 registrations in a morning are one.
RATE = 50
GOAL = 2.0


def fill(forepost, bodies, bytes_wanted):
    """Pushes until the ledger is that long."""
    file = forepost.folder / "data" / "ledger" / "forepost.db"
    tag = int(time.time())
    while not file.exists() or file.stat().st_size < bytes_wanted:
        tag += 1
        wrk(forepost.url + REGISTER, 64, 10, ["register", tag % 90 + 10, bodies])
        print(f"  filled {file.stat().st_size / 1e6:,.0f} MB", flush=True)


def pushed(forepost, lines, until):
    """Milliseconds of each acknowledgement, of one every 1/RATE s until `until()`."""
    host = forepost.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host)
    took, number, begun = [], 0, time.monotonic()
    while not until():
        number += 1
        time.sleep(max(0, begun + number / RATE - time.monotonic()))
        visit = f"{time.time_ns() % 10**12:012}"
        body = lines[0].replace("@ID@", lines[1 + number % 5000]).replace("@VISIT@", visit)
        asked = time.monotonic()
        connection.request("POST", REGISTER, body.encode(), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        told = json.loads(reply.read())
        took.append((time.monotonic() - asked) * 1000)
        if told["code"] != 200:
            raise SystemExit(f"bench: not acknowledged: {told}")
    return took


def p99(took):
    return statistics.quantiles(took, n=100)[98]


def run(rows, options):
    folder = WORK / "backup"
    folder.mkdir(parents=True, exist_ok=True)
    to = folder / "to"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    lines = template()
    bodies = folder / "bodies.txt"
    bodies.write_text("\n".join(lines) + "\n")
    wanted = GIGABYTE // 10 if options.quick else GIGABYTE
    forepost = Forepost(options.binary, folder / "served", "127.0.0.1:9", "healthNo")
    with forepost:
        fill(forepost, bodies, wanted)
        config = forepost.folder / "forepost.toml"
        if not (forepost.folder / "data/keys/backup.recipients").exists():
            subprocess.run([options.binary, "backup", "key", "--config", config], check=True,
                           stdout=subprocess.DEVNULL)
        ratios, alone, beside, seconds = [], [], [], []
        for pair in range(options.pairs):
            made = {}

            def backup():
                made["done"] = subprocess.run(
                    # An earlier run's ledger remembers the folder, which is another now.
                    [options.binary, "backup", "--json", "--new-folder", "--to", to, "--config",
                     config],
                    check=True, capture_output=True)

            thread = threading.Thread(target=backup)
            thread.start()
            beside.append(p99(pushed(forepost, lines, lambda: not thread.is_alive())))
            thread.join()
            told = json.loads(made["done"].stdout)
            seconds.append(told["seconds"])
            end = time.monotonic() + told["seconds"]
            alone.append(p99(pushed(forepost, lines, lambda: time.monotonic() > end)))
            ratios.append(beside[-1] / alone[-1])
            print(f"  pair {pair + 1}: {beside[-1]:.2f} and {alone[-1]:.2f} ms, backup of "
                  f"{told['bytes'] / 1e6:,.0f} MB in {seconds[-1]:.0f} s", flush=True)
            for file in to.glob("*.tar.age"):
                file.unlink()
    what = f"acknowledgement at {RATE} registrations a second, 99 of 100"
    rows.bound(f"{what}, no backup", statistics.median(alone), "ms", None)
    rows.bound(f"{what}, while a ledger of {wanted / 1e9:.1f} GB is backed up to its own disk",
               statistics.median(beside), "ms", None)
    rows.bound("the second over the first, median", statistics.median(ratios), "times", GOAL)
    rows.bound("the backup", statistics.median(seconds), "s", None)
