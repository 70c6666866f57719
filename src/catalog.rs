//! The interface catalogue: what every interface of the documents is called, where it is,
//! which fields it carries, what is answered.
//!
//! What for: one interpreter checks bodies, routes, answers and documents, so that an
//! interface is a TOML file and not code. What always holds: the table is compiled from
//! `interfaces/` by `build.rs` (format: `docs/decisions/0001-catalogue-format.md`), it is
//! `static`, and a mistake in it fails the build. What was refused: reading the files at
//! start, because a hospital would then find our mistakes.
//! Start reading at [`table::Interface`], then [`check`].

pub mod answer;
pub mod check;
pub mod compile;
mod compose;
mod generate;
pub mod overlay;
pub mod record;
mod schema;
pub mod table;

pub use answer::{Answer, Reply, answer, answer_with_list, read_reply};
pub use check::{Checked, FieldFault, bodies, bodies_mut, check, check_answer};
pub use compose::compose;
pub use overlay::{Overlay, OverlayFault};
pub use record::Record;
pub use table::{Interface, Kind, Level, Mode, Outcome, Zone};

use table::Catalog;

/// The fields of the imaging cloud's document that hold identity numbers, plain or under SM2.
pub const IDENTITY_NUMBERS: [&str; 2] = ["idCardNo", "doctorIdCardNo"];

mod generated {
    use super::table::*;

    include!(concat!(env!("OUT_DIR"), "/catalog.rs"));
}

pub use generated::CATALOG;

/// What is found at an HTTP path.
#[derive(Debug)]
pub enum Match {
    /// These interfaces; more than one only where the document gives them one path.
    Found(&'static [&'static Interface]),
    /// The path is known, the method is not; these are.
    WrongMethod(&'static [&'static str]),
    /// Nothing.
    Unknown,
}

/// All interfaces, sorted by document and id.
pub fn interfaces() -> &'static [&'static Interface] {
    CATALOG.interfaces
}

/// The interface with this id, else the first one that a document calls so.
pub fn find(id: &str) -> Option<&'static Interface> {
    CATALOG.find(id)
}

/// What answers at `path` for callers of `zone`.
pub fn by_address(zone: Zone, method: &str, path: &str) -> Match {
    CATALOG.by_address(zone, method, path)
}

impl Catalog {
    /// See [`find`].
    pub fn find(&self, id: &str) -> Option<&'static Interface> {
        let by_id = self.interfaces.iter().find(|it| it.id == id);
        by_id.or_else(|| self.interfaces.iter().find(|it| it.names.contains(&id))).copied()
    }

    /// See [`by_address`]. Paths are compared exactly, apart from a slash at the end; the
    /// method in any case.
    pub fn by_address(&self, zone: Zone, method: &str, path: &str) -> Match {
        let path = path.strip_suffix('/').unwrap_or(path);
        let found = self.routes.binary_search_by(|it| (it.zone, it.path).cmp(&(zone, path)));
        let Ok(at) = found else { return Match::Unknown };
        let route = &self.routes[at];
        match route.methods.iter().position(|it| it.eq_ignore_ascii_case(method)) {
            Some(at) => Match::Found(route.interfaces[at]),
            None => Match::WrongMethod(route.methods),
        }
    }
}

#[cfg(test)]
mod tests;
