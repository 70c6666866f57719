//! Settlements (结算): from checked records to deliveries with a deadline.
//!
//! For: the rule of 24 hours (imaging cloud's document, 3.6). Always holds: the answer leaves
//! after the commit; each record becomes one delivery a destination; the clock runs from the
//! settlement where the hospital gives its time, else from the arrival here, and the evidence says
//! which. Start at [`Settlements::accept`].

use crate::catalog::{self, Interface, Record};
use crate::codec::time::parse_datetime;
use crate::delivery::{Bell, Route, Routes};
use crate::ledger::{Enqueued, KeptSettlement, Ledger, LedgerError};
use crate::model::{NewDelivery, Settlement, Start, Time, UtcOffset};

/// The interface by which settlements leave.
pub const PUSH: &str = "ic-settlement-push";

/// The catalogue's name for the time of a settlement, which the document does not have.
const SETTLED_AT: &str = "setlTime";

/// Milliseconds that a given time of settlement may lie ahead of the arrival or behind it before
/// it counts as a mistake: a day ahead, a year behind.
const GIVEN_AHEAD_MS: i64 = 86_400_000;
const GIVEN_BEHIND_MS: i64 = 366 * 86_400_000;

/// What the flow is built with.
pub struct Settlements {
    /// The disk of record.
    pub ledger: Ledger,
    /// Told that there is something to send.
    pub bell: Bell,
    /// Who gets settlements.
    pub routes: Routes,
    /// The hospital's wall clock.
    pub offset: UtcOffset,
    /// Hospitals whose self-pay settlements are acknowledged and not sent.
    pub insured_only: Vec<String>,
}

/// A record with what the catalogue does not know of it.
pub struct Arrived {
    /// The record.
    pub record: Record,
    /// The time of the settlement, where the hospital gives it in a field of a name of its own.
    pub settled_at: Option<String>,
}

impl Settlements {
    /// Keeps records that the catalogue let through: all, or on an error none. `possibly_late`:
    /// they were seen in a view that had not been read for longer than usual. Returns after the
    /// commit what each delivery came to.
    pub async fn accept(
        &self,
        records: &[Arrived],
        possibly_late: bool,
        now: Time,
    ) -> Result<Vec<Enqueued>, LedgerError> {
        let mut kept = Vec::with_capacity(records.len());
        for one in records {
            let settlement = self.read(one, now);
            if settlement.is_self_pay() && self.insured_only.contains(&settlement.hospital) {
                metrics::counter!("settlements_left_out_total").increment(1);
                continue;
            }
            let deliveries = self.deliveries(&one.record, &settlement, possibly_late, now);
            kept.push(KeptSettlement { settlement, deliveries });
        }
        let ends = self.ledger.settle(kept, now).await?;
        for end in &ends {
            let outcome = match end {
                Enqueued::New(_) => "new",
                Enqueued::Instead(_) => "instead",
                Enqueued::Unchanged(_) => "unchanged",
                Enqueued::Parked(_) => "parked",
            };
            metrics::counter!("settlements_accepted_total", "outcome" => outcome).increment(1);
        }
        self.bell.ring();
        Ok(ends)
    }

    fn read(&self, arrived: &Arrived, now: Time) -> Settlement {
        let text = |name: &str| arrived.record.text(name).unwrap_or_default().to_owned();
        let number = |name: &str| arrived.record.text(name).map(str::to_owned);
        let own = arrived.record.text(SETTLED_AT);
        let given = arrived.settled_at.as_deref().or(own).and_then(parse_datetime);
        let given = given.and_then(|wall| Time::from_wall(wall, self.offset));
        let plausible =
            |at: &Time| (-GIVEN_AHEAD_MS..=GIVEN_BEHIND_MS).contains(&now.since_ms(*at));
        Settlement {
            hospital: text("hospitalld"),
            accession: number("accessionNo"),
            study_order: number("studyOrderId"),
            settlement: text("setlId"),
            fee: text("feedetlSn"),
            item: text("medListCodg"),
            // Sent and compared as it came: a part that is no code is the hospital's to mend.
            exam_part: arrived.record.raw("examPart").unwrap_or_default().trim().to_owned(),
            settled_at: given.filter(plausible),
        }
    }

    fn deliveries(
        &self,
        record: &Record,
        settlement: &Settlement,
        possibly_late: bool,
        now: Time,
    ) -> Vec<NewDelivery> {
        let interface = interface();
        let (starts_at, start) = match settlement.settled_at {
            Some(at) => (at, Start::Given),
            None if possibly_late => (now, Start::PossiblyLate),
            None => (now, Start::Arrival),
        };
        let body = catalog::compose(interface, record);
        let new = |route: &Route| NewDelivery {
            interface: PUSH,
            hospital: settlement.hospital.clone(),
            destination: route.destination.clone(),
            // Written where the stored record is found.
            identity: String::new(),
            body: body.clone(),
            starts_at,
            start,
            deadline_ms: interface.delivery.deadline_s.map(|seconds| i64::from(seconds) * 1_000),
            parked: None,
        };
        self.routes.to(PUSH).map(new).collect()
    }
}

fn interface() -> &'static Interface {
    catalog::find(PUSH).expect("the catalogue of this build has it")
}
