"""A view of a million registrations in PostgreSQL, polled again after a hundred of its rows changed.

First all of it is taken once, which takes minutes and is not measured; every visit is over, so that
nothing is searched. Then the daemon starts anew, a hundred rows change, and the poll that finds them
is measured: its milliseconds from the daemon's own log, RssAnon of the daemon and of its reader,
the process in which the database's driver runs, each 50 ms.
"""

import pathlib
import re
import threading

from peers import Forepost, Postgres, fresh, wait_for

ROWS = 1_000_000
CHANGED = 100
SAMPLE_SECONDS = 0.05
FILL_SECONDS = 1_800
POLL_SECONDS = 300

GOAL_SECONDS = 10
GOAL_MB = 100

DRIVER = "/usr/lib/x86_64-linux-gnu/odbc/psqlodbcw.so"

# Every person is made up: phones in 1380000xxxx, and no identity numbers at all.
TABLES = """
CREATE TABLE visits AS SELECT
  n::integer AS id, '123456'::varchar(20) AS hospitalld,
  ('88' || lpad(n::text, 10, '0'))::varchar(20) AS healthNo,
  ('77' || lpad(n::text, 10, '0'))::varchar(20) AS insuranceId,
  ('1380000' || lpad((n % 10000)::text, 4, '0'))::varchar(11) AS mobilePhone,
  ('测试' || (n % 100))::varchar(20) AS patientName, '男'::varchar(4) AS patientSex,
  '52'::varchar(4) AS patientAge, '1'::varchar(2) AS patientType,
  ('MZ' || lpad(n::text, 12, '0'))::varchar(20) AS outpatientNumber,
  timestamp '2026-11-01 08:00:00' + n * interval '1 second' AS registDateTime,
  timestamp '2026-11-02 08:00:00' + n * interval '1 second' AS outpatientDateTime,
  '心内科'::varchar(20) AS outpatientDeptName, '301'::varchar(10) AS outpatientDeptCode,
  '赵医生'::varchar(20) AS outpatientDocName, 'd0007'::varchar(10) AS outpatientDocHisUid,
  'D110199000007'::varchar(20) AS outpatientDocCode, '0'::varchar(2) AS quitType,
  '1'::varchar(2) AS outpatientType
FROM generate_series(1, {rows}) AS n;
ALTER TABLE visits ADD PRIMARY KEY (id);
CREATE VIEW View_Register_Info AS SELECT * FROM visits;
"""

TABLES_OF_CONFIGURATION = """
[[databases]]
name = "his"
connection = "Driver={driver};Server=127.0.0.1;Port={port};Database=postgres;UID=bench;\
UseDeclareFetch=1;Fetch=2000"
charset = "utf-8"
[[views]]
name = "registrations"
interface = "ic-register-view"
database = "his"
interval_seconds = 5
"""


class Sampler(threading.Thread):
    """Watches the memory of the daemon and of whatever reader it has."""

    def __init__(self, forepost):
        super().__init__(daemon=True)
        self.forepost = forepost
        self.daemon_bytes = self.reader_bytes = 0
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(SAMPLE_SECONDS):
            self.daemon_bytes = max(self.daemon_bytes, self.forepost.rss_anon())
            for reader in readers(self.forepost.process.pid):
                self.reader_bytes = max(self.reader_bytes, reader)

    def stop(self):
        self.over.set()
        self.join()


def readers(daemon):
    """RssAnon of the daemon's children in bytes."""
    found = []
    for task in pathlib.Path(f"/proc/{daemon}/task").iterdir():
        try:
            for child in (task / "children").read_text().split():
                status = pathlib.Path(f"/proc/{child}/status").read_text()
                found += [int(kb) * 1024 for kb in re.findall(r"RssAnon:\s+(\d+)", status)]
        except OSError:
            continue
    return found


def polls(forepost):
    """Rows, new rows and milliseconds of every whole poll of this log."""
    said = forepost.log.read_text()
    found = re.findall(r"view read .*rows=(\d+) new=(\d+) milliseconds=(\d+)", said)
    return [tuple(int(number) for number in poll) for poll in found]


def run(rows, options):
    count = ROWS // 10 if options.quick else ROWS
    folder = fresh("views")
    with Postgres() as postgres:
        postgres.sql(TABLES.format(rows=count))
        more = TABLES_OF_CONFIGURATION.format(driver=DRIVER, port=postgres.port)
        forepost = Forepost(options.binary, folder)
        forepost.config.write_text(forepost.config.read_text() + more)
        print(f"  {count} rows are taken for the first time; minutes", flush=True)
        with forepost:
            wait_for("the first poll", lambda: polls(forepost), FILL_SECONDS, 0.5)
        before = len(polls(forepost))
        with forepost:
            sampler = Sampler(forepost)
            sampler.start()
            # The first poll after the start may have begun before the change.
            wait_for("a poll", lambda: len(polls(forepost)) > before, POLL_SECONDS, 0.2)
            postgres.sql(f"UPDATE visits SET outpatientDeptCode = '302' WHERE id <= {CHANGED}")
            # By the log: asking the console would count a million plans each time.
            found = wait_for("the changes", lambda: [
                poll for poll in polls(forepost)[before:] if poll[1] == CHANGED], POLL_SECONDS, 0.2)
            sampler.stop()
        read, _, milliseconds = found[0]
    if read != count:
        raise SystemExit(f"bench: {read} rows were read, {count} are there")
    what = f"poll of a view of {count:,} rows of 18 columns, {CHANGED} of them changed"
    rows.bound(what, milliseconds / 1000, "s", GOAL_SECONDS)
    rows.bound("largest RssAnon of the daemon meanwhile", sampler.daemon_bytes / 1e6, "MB", GOAL_MB)
    rows.bound("largest RssAnon of its reader, with the database's driver",
               sampler.reader_bytes / 1e6, "MB", GOAL_MB)
