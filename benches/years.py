"""A ledger of a million registrations: how soon it serves, and how little it takes when idle.

The registrations come in as a HIS pushes them, each with its plan, its audit row and its search
settled, so that the ledger has some four million rows. What is idle is read of a ledger without
rows and of this one, each ten seconds after its start.
"""

import statistics
import time

from acknowledge import CONNECTIONS, template
from peers import REGISTER, Forepost, fresh, wrk

REGISTRATIONS = 1_000_000
STARTS = 5
START_SECONDS = 1.0
IDLE_MB = 40
REST_SECONDS = 10


def run(rows, options):
    folder = fresh("years")
    empty = Forepost(options.binary, folder / "empty", log="warn")
    with empty:
        time.sleep(REST_SECONDS)
        rows.bound("RssAnon of an idle service, no rows", empty.rss_anon() / 1e6, "MB", IDLE_MB)
    full = Forepost(options.binary, folder / "full", log="warn")
    wanted = REGISTRATIONS // 20 if options.quick else REGISTRATIONS
    (folder / "bodies.txt").write_text("\n".join(template()) + "\n")
    with full:
        tags = iter(range(10, 100))
        while full.registrations() < wanted:
            wrk(full.url + REGISTER, CONNECTIONS, 10, ["register", next(tags),
                                                       folder / "bodies.txt"])
        kept = int(full.registrations())
    starts, idle = [], []
    for _ in range(STARTS):
        with full:
            starts.append(full.started)
            time.sleep(REST_SECONDS)
            idle.append(full.rss_anon() / 1e6)
    rows.bound(f"start-up until every door listens, ledger of {kept:,} registrations, median of "
               f"{STARTS}", statistics.median(starts), "s", START_SECONDS)
    rows.bound(f"RssAnon of an idle service, ledger of {kept:,} registrations, median of {STARTS}",
               statistics.median(idle), "MB", IDLE_MB)
