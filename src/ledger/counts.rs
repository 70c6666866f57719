//! How many registrations, plans and fetches there are, by state, without walking them: a hospital
//! has millions, and is asked for its metrics every few seconds.
//!
//! Always holds, at every commit: each number here is what counting the rows would give. Triggers
//! on the rows keep it, so that no writer can forget to.

use rusqlite::Connection;

use super::{Ledger, LedgerError};

/// What is there is counted once, when an older ledger is opened.
pub(super) const TABLES: &str = "
CREATE TABLE row_count(
  what TEXT NOT NULL,                -- a table
  state TEXT NOT NULL,               -- of its rows; empty where they have none
  count INTEGER NOT NULL,
  PRIMARY KEY(what, state)
) STRICT, WITHOUT ROWID;
INSERT INTO row_count SELECT 'registration', '', count(*) FROM registration;
INSERT INTO row_count SELECT 'plan', state, count(*) FROM plan GROUP BY state;
INSERT INTO row_count SELECT 'fetch', state, count(*) FROM fetch GROUP BY state;

CREATE TRIGGER registration_made AFTER INSERT ON registration BEGIN
  UPDATE row_count SET count = count + 1 WHERE what = 'registration';
END;
CREATE TRIGGER registration_lost AFTER DELETE ON registration BEGIN
  UPDATE row_count SET count = count - 1 WHERE what = 'registration';
END;

CREATE TRIGGER plan_made AFTER INSERT ON plan BEGIN
  INSERT INTO row_count(what, state, count) VALUES('plan', NEW.state, 1)
    ON CONFLICT(what, state) DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER plan_moved AFTER UPDATE OF state ON plan WHEN NEW.state <> OLD.state BEGIN
  UPDATE row_count SET count = count - 1 WHERE what = 'plan' AND state = OLD.state;
  INSERT INTO row_count(what, state, count) VALUES('plan', NEW.state, 1)
    ON CONFLICT(what, state) DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER plan_lost AFTER DELETE ON plan BEGIN
  UPDATE row_count SET count = count - 1 WHERE what = 'plan' AND state = OLD.state;
END;

CREATE TRIGGER fetch_made AFTER INSERT ON fetch BEGIN
  INSERT INTO row_count(what, state, count) VALUES('fetch', NEW.state, 1)
    ON CONFLICT(what, state) DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER fetch_moved AFTER UPDATE OF state ON fetch WHEN NEW.state <> OLD.state BEGIN
  UPDATE row_count SET count = count - 1 WHERE what = 'fetch' AND state = OLD.state;
  INSERT INTO row_count(what, state, count) VALUES('fetch', NEW.state, 1)
    ON CONFLICT(what, state) DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER fetch_lost AFTER DELETE ON fetch BEGIN
  UPDATE row_count SET count = count - 1 WHERE what = 'fetch' AND state = OLD.state;
END;
";

impl Ledger {
    /// Registrations kept, of all hospitals.
    pub fn registrations(&self) -> Result<u64, LedgerError> {
        let counts = self.read(|connection| counts(connection, "registration"))?;
        Ok(counts.first().map_or(0, |(_, count)| *count))
    }

    /// Plans by state, for the metrics.
    pub fn plan_counts(&self) -> Result<Vec<(String, u64)>, LedgerError> {
        self.read(|connection| counts(connection, "plan"))
    }

    /// Fetches by state, for the metrics.
    pub fn fetch_counts(&self) -> Result<Vec<(String, u64)>, LedgerError> {
        self.read(|connection| counts(connection, "fetch"))
    }
}

/// A state that once had rows is told with 0, so that no gauge stands still above it.
fn counts(connection: &Connection, what: &str) -> Result<Vec<(String, u64)>, LedgerError> {
    let mut statement = connection
        .prepare_cached("SELECT state, count FROM row_count WHERE what = ?1 ORDER BY state")?;
    let rows =
        statement.query_map([what], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATES: [&str; 3] = ["searching", "ready", "over"];

    /// Every count as kept and as counted now, those of 0 left out.
    fn both(connection: &Connection) -> [Vec<(String, u64)>; 2] {
        let read = |sql: &str| {
            let mut statement = connection.prepare(sql).unwrap();
            let rows = statement
                .query_map([], |row| {
                    let what: String = row.get(0)?;
                    Ok((what + " " + &row.get::<_, String>(1)?, row.get::<_, i64>(2)? as u64))
                })
                .unwrap();
            rows.collect::<Result<Vec<_>, _>>().unwrap()
        };
        [
            read("SELECT what, state, count FROM row_count WHERE count <> 0 ORDER BY 1, 2"),
            read(
                "SELECT 'fetch', state, count(*) FROM fetch GROUP BY state
                 UNION ALL SELECT 'plan', state, count(*) FROM plan GROUP BY state
                 UNION ALL SELECT 'registration', '', count(*) FROM registration
                   HAVING count(*) > 0 ORDER BY 1, 2",
            ),
        ]
    }

    /// What the ledger does to these rows: writes them, writes over them, moves them; and what it
    /// never does, takes them away.
    fn act(connection: &Connection, (what, id, state): (u8, i64, usize)) {
        let state = STATES[state];
        let sql = match what {
            0 => {
                "INSERT INTO registration VALUES(?1, 'H', CAST(?1 AS BLOB), x'', x'', ?2, 1, 1)
                 ON CONFLICT(id) DO UPDATE SET patient_type = excluded.patient_type"
            }
            1 => {
                "INSERT INTO plan(registration, state, urgent, due_at, updated_at)
                 VALUES(?1, ?2, 0, 1, 1)
                 ON CONFLICT(registration) DO UPDATE SET state = excluded.state"
            }
            2 => "UPDATE plan SET state = ?2, cause = NULL WHERE registration = ?1",
            3 => {
                "INSERT INTO fetch(study, state, urgent, due_at, next_at)
                 VALUES(CAST(?1 AS TEXT), ?2, 0, 1, 1)
                 ON CONFLICT(study) DO UPDATE SET state = excluded.state"
            }
            4 => "UPDATE fetch SET state = ?2, have = 1 WHERE study = CAST(?1 AS TEXT)",
            5 => "DELETE FROM plan WHERE registration = ?1 AND state = ?2",
            6 => "DELETE FROM registration WHERE id = ?1 AND patient_type <> ?2",
            _ => "DELETE FROM fetch WHERE study = CAST(?1 AS TEXT) AND state = ?2",
        };
        connection.execute(sql, rusqlite::params![id, state]).unwrap();
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_counting_gives_also_in_an_older_ledger(
            before in proptest::collection::vec((0..8u8, 0..9i64, 0..3usize), 0..40),
            after in proptest::collection::vec((0..8u8, 0..9i64, 0..3usize), 0..80),
        ) {
            let mut connection = Connection::open_in_memory().unwrap();
            crate::ledger::schema::as_version_one(&connection);
            before.into_iter().for_each(|one| act(&connection, one));
            crate::ledger::schema::migrate(&mut connection).unwrap();
            let [kept, counted] = both(&connection);
            prop_assert_eq!(kept, counted);
            for one in after {
                act(&connection, one);
                let [kept, counted] = both(&connection);
                prop_assert_eq!(kept, counted, "after {:?}", one);
            }
        }
    }
}
