//! What goes on to a platform as it came: registrations and look-ups, by configuration.
//!
//! For: a platform that does its own prefetch, or wants to know what was asked here. Always holds:
//! the caller is answered from here, after the commit; a registration goes on in the commit that
//! keeps it, and so does a look-up of which something is kept here. Start at [`Onward::accept`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::catalog::{self, Interface, Record};
use crate::delivery::{Bell, Routes};
use crate::intake::Opener;
use crate::ledger::{Ledger, LedgerError};
use crate::model::{NewDelivery, Registration, Start, Time};
use crate::seal::sm2;

/// Why a delivery waits for a person: its identity numbers cannot be encrypted to the destination.
const UNOPENED: &str = "an identity number is under an SM2 key that is not here";

/// What the flow is built with.
pub struct Onward {
    /// The disk of record.
    pub ledger: Ledger,
    /// Told that there is something to send.
    pub bell: Bell,
    /// Who gets what.
    pub routes: Routes,
    /// Opens what was encrypted to the hospital and goes to somebody else.
    pub opener: Arc<Opener>,
    /// Tells one call from another where the document gives records no identity.
    pub calls: AtomicU64,
}

impl Onward {
    /// Keeps records that the catalogue let through: all, or on an error none.
    pub async fn accept(
        &self,
        interface: &'static Interface,
        records: Vec<Record>,
        sender: &str,
        now: Time,
    ) -> Result<(), LedgerError> {
        let mut deliveries = Vec::new();
        for record in &records {
            deliveries.extend(self.call(interface, record, sender, now).await);
        }
        self.ledger.enqueue(deliveries, now).await?;
        self.bell.ring();
        Ok(())
    }

    /// What goes on of a record, to be kept in the commit of what becomes of it here.
    pub async fn call(
        &self,
        interface: &'static Interface,
        record: &Record,
        sender: &str,
        now: Time,
    ) -> Vec<NewDelivery> {
        let identity = self.identity(interface, record, now);
        self.deliveries(interface, record, &identity, sender, now).await
    }

    /// What goes on of a registration; its visit is its identity.
    pub async fn registration(
        &self,
        interface: &'static Interface,
        record: &Record,
        registration: &Registration,
        sender: &str,
        now: Time,
    ) -> Vec<NewDelivery> {
        let identity = format!("{}\0{}", registration.hospital, registration.visit.as_str());
        self.deliveries(interface, record, &identity, sender, now).await
    }

    /// The fields that the catalogue names; a call that has none of them is like no other.
    fn identity(&self, interface: &Interface, record: &Record, now: Time) -> String {
        let fields = interface.delivery.identity;
        if fields.iter().any(|field| record.text(field).is_some()) {
            let texts = fields.iter().map(|field| record.text(field).unwrap_or_default());
            return texts.collect::<Vec<_>>().join("\0");
        }
        format!("{} {}", now.0, self.calls.fetch_add(1, Ordering::Relaxed))
    }

    async fn deliveries(
        &self,
        interface: &'static Interface,
        record: &Record,
        identity: &str,
        sender: &str,
        now: Time,
    ) -> Vec<NewDelivery> {
        let mut deliveries = Vec::new();
        for route in self.routes.to(interface.id) {
            let (body, parked) = match route.reseals {
                true => self.opened(interface, record, sender).await,
                false => (catalog::compose(interface, record), None),
            };
            let deadline_s = interface.delivery.deadline_s;
            deliveries.push(NewDelivery {
                interface: interface.id,
                hospital: record.text("hospitalld").unwrap_or_default().to_owned(),
                destination: route.destination.clone(),
                identity: identity.to_owned(),
                body,
                starts_at: now,
                start: Start::Arrival,
                deadline_ms: deadline_s.map(|seconds| i64::from(seconds) * 1_000),
                parked,
            });
        }
        deliveries
    }

    /// The body with the identity numbers in plain text, to be encrypted anew where it leaves; and
    /// why it cannot leave, where one does not open.
    async fn opened(
        &self,
        interface: &'static Interface,
        record: &Record,
        sender: &str,
    ) -> (Vec<u8>, Option<&'static str>) {
        let mut record = record.clone();
        for field in catalog::IDENTITY_NUMBERS {
            let Some(text) = record.raw(field).map(str::to_owned) else { continue };
            if !sm2::looks_encrypted(&text) {
                continue;
            }
            match self.opener.open(Some(sender), &text).await {
                Some(plain) => record.replace(field, plain),
                None => return (catalog::compose(interface, &record), Some(UNOPENED)),
            }
        }
        (catalog::compose(interface, &record), None)
    }
}
