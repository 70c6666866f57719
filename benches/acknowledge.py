"""Durable acknowledgements: `saveDataStorage` against PostgreSQL doing the same three writes.

Both sides keep on the same disk, speak over loopback, and have 64 connections that stay open. A
registration has about 1 KB and a visit of its own. PostgreSQL gets the row of about 1 KB, the plan
and the audit row in one prepared statement: one round trip, one commit.

First what is acknowledged is all that is done: the only source wants a number that no registration
has, so that its plan waits. Then, for what it costs, with what follows an acknowledgement: every
plan is taken up, searched and settled, in two commits more (no source is configured, which is the
fastest of searches).
"""

import json

from peers import REGISTER, Forepost, Postgres, fresh, wrk
from studies import id_number, registration

CONNECTIONS = 64

TABLES = """
CREATE TABLE registration(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, hospital text NOT NULL,
  visit bigint NOT NULL, body text NOT NULL, patient_type text NOT NULL,
  received_at bigint NOT NULL, updated_at bigint NOT NULL, UNIQUE(hospital, visit));
CREATE TABLE plan(
  registration bigint PRIMARY KEY, state text NOT NULL, urgent boolean NOT NULL,
  due_at bigint NOT NULL, next_at bigint, updated_at bigint NOT NULL);
CREATE TABLE audit(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at bigint NOT NULL, kind text NOT NULL,
  caller text NOT NULL, registration bigint);
"""

# One statement, one implicit transaction.
STATEMENT = r"""
\set visit random(1, 1000000000000000)
WITH kept AS (
  INSERT INTO registration(hospital, visit, body, patient_type, received_at, updated_at)
  VALUES ('123456', :visit, :body, '1', 1795219200000, 1795219200000)
  ON CONFLICT (hospital, visit) DO UPDATE SET body = excluded.body,
    patient_type = excluded.patient_type, updated_at = excluded.updated_at
  RETURNING id
), planned AS (
  INSERT INTO plan(registration, state, urgent, due_at, next_at, updated_at)
  SELECT id, 'searching', false, 1795219200000, 1795219200000, 1795219200000 FROM kept
  ON CONFLICT (registration) DO UPDATE SET state = excluded.state, urgent = excluded.urgent,
    due_at = excluded.due_at, next_at = excluded.next_at, updated_at = excluded.updated_at
)
INSERT INTO audit(at, kind, caller, registration)
SELECT 1795219200000, 'registration', 'his', id FROM kept;
"""


def template():
    """The body with places for what differs, and a few thousand identity numbers."""
    body = json.dumps(registration("@VISIT@", "@ID@", "测试甲"), ensure_ascii=False)
    return [body] + [id_number(number) for number in range(5000)]


def run(rows, options):
    folder = fresh("acknowledge")
    lines = template()
    size = len(lines[0].replace("@ID@", lines[1]).replace("@VISIT@", "0" * 12).encode())
    (folder / "bodies.txt").write_text("\n".join(lines) + "\n")
    (folder / "writes.sql").write_text(STATEMENT)
    what = f"durable acknowledgements of registrations, {size} bytes, {CONNECTIONS} connections"
    with Postgres() as postgres:
        postgres.sql(TABLES)
        # Nobody listens at the discard port; nobody has this number, so nobody is asked.
        silent = Forepost(options.binary, folder / "alone", "127.0.0.1:9", "healthNo")
        measure(rows, options, silent, postgres, what, 1.0)
        followed = Forepost(options.binary, folder / "followed")
        measure(rows, options, followed, postgres, "the same, each plan searched and settled", None)


def measure(rows, options, forepost, postgres, what, goal):
    folder = forepost.folder.parent
    size = (folder / "bodies.txt").read_text().index("\n")
    seconds = 3 if options.quick else 10
    sent = 0
    tags = iter(range(10, 100))

    def ours():
        nonlocal sent
        result = wrk(forepost.url + REGISTER, CONNECTIONS, seconds,
                     ["register", next(tags), folder / "bodies.txt"])
        sent += result["requests"]
        return result["requests"] / result["seconds"]

    def theirs():
        return postgres.pgbench(folder / "writes.sql", CONNECTIONS, seconds, {"body": "x" * size})

    with forepost:
        rows.compare(what, "/s", "PostgreSQL", options.pairs, ours, theirs, goal)
        # wrk leaves with requests under way: those may be kept without being counted.
        kept = forepost.registrations()
    if not sent <= kept <= sent + options.pairs * CONNECTIONS:
        raise SystemExit(f"bench: {sent} acknowledged, but {kept} kept")
