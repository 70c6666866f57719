//! QIDO-RS (PS3.18 10.6): rows of studies, series and instances.
//!
//! What must hold: rows come in one order whatever the page, so that the pages of a search add up
//! to the whole; a Patient ID is matched by the flow, which knows the links. Runs on a thread that
//! may wait for the disk.

use std::collections::HashSet;
use std::sync::Arc;

use forepost_cache::{Instance, SeriesQuery, SeriesRow, Study, StudyQuery, StudyRow, Uid};

use super::attribute::{self, INSTANCE_ROW};
use super::json::{self, Members};
use super::limits::{LOOSE_INSTANCES_MAX, STUDIES_AT_ONCE};
use super::query::Query;
use super::reply::DicomwebError;
use super::target::Level;
use crate::lookup::Lookup;

/// What a search found.
pub(super) struct Found {
    /// A JSON array of DICOM JSON objects.
    pub(super) body: Vec<u8>,
    /// The studies named in it.
    pub(super) studies: Vec<Uid>,
    /// Whether a further page would not be empty.
    pub(super) more: bool,
}

/// One search.
pub(super) struct Search<'a> {
    /// The flow.
    pub(super) lookup: &'a Lookup,
    /// What is matched.
    pub(super) query: Query,
    /// The level of the rows.
    pub(super) level: Level,
    /// The study of the path.
    pub(super) study: Option<Uid>,
    /// The series of the path.
    pub(super) series: Option<Uid>,
    /// What Retrieve URLs begin with.
    pub(super) base: String,
}

impl Search<'_> {
    /// Searches.
    pub(super) fn run(mut self) -> Result<Found, DicomwebError> {
        let mut page = Page::new(&self.query);
        if !self.narrow()? {
            return Ok(page.finish());
        }
        let mut studies = self.lookup.studies(self.query.keys.studies.clone())?;
        if let Some(range) = self.query.study_time {
            studies.retain(|row| range.holds(&row.study_time));
        }
        match self.level {
            Level::Study => {
                for row in &studies {
                    match page.next() {
                        Turn::Skip => {}
                        Turn::Take => self.study_row(row, &mut page)?,
                        Turn::Over => break,
                    }
                }
            }
            Level::Series => self.all_series(&studies, &mut page)?,
            Level::Instance => self.all_instances(&studies, &mut page)?,
        }
        Ok(page.finish())
    }

    /// Brings what the path names into the keys. `false`: nothing can match both.
    fn narrow(&mut self) -> Result<bool, DicomwebError> {
        let loose = self.study.is_none() && self.query.keys.studies.study.is_none();
        if self.level == Level::Instance && loose {
            let Some(instances) = &self.query.instances else {
                return Err(DicomwebError::TooWide);
            };
            if instances.len() > LOOSE_INSTANCES_MAX {
                let limit = LOOSE_INSTANCES_MAX;
                return Err(DicomwebError::TooMany { what: "SOPInstanceUID", limit });
            }
            let cache = self.lookup.cache();
            let studies = instances.iter().filter_map(|sop| cache.study_of_instance(sop)).collect();
            self.query.keys.studies.study = Some(studies);
            return Ok(true);
        }
        let both = |path: &Option<Uid>, keys: &mut Option<Vec<Uid>>| {
            let Some(path) = path else { return true };
            let fits = keys.as_ref().is_none_or(|keys| keys.contains(path));
            *keys = Some(vec![path.clone()]);
            fits
        };
        let study = both(&self.study, &mut self.query.keys.studies.study);
        Ok(study && both(&self.series, &mut self.query.keys.series))
    }

    /// Attributes asked for that a row of the level does not hold.
    fn beyond(&self, level: Level) -> bool {
        let has = |tag: &u32| {
            attribute::in_row(level, *tag)
                || (self.relational(Level::Study) && attribute::in_row(Level::Study, *tag))
        };
        self.query.all || !self.query.fields.iter().all(has)
    }

    /// Whether rows say what an upper level says too: the path does not name that level
    /// (PS3.18 10.6.3.3).
    fn relational(&self, upper: Level) -> bool {
        match upper {
            Level::Study => self.level > Level::Study && self.study.is_none(),
            Level::Series => self.level > Level::Series && self.series.is_none(),
            Level::Instance => false,
        }
    }

    /// Whether an attribute of an object belongs into the answer at a level. What is left out of
    /// the metadata is none that is searched for.
    fn wants(&self, level: Level, tag: u32, value: &[u8]) -> bool {
        let asked = (self.query.all && attribute::in_all(level, tag))
            || self.query.fields.binary_search(&tag).is_ok();
        asked && !json::names_bulk(value)
    }

    fn study_row(&self, row: &StudyRow, page: &mut Page) -> Result<(), DicomwebError> {
        let mut url = Vec::new();
        json::url_value(&self.base, &[("studies", row.study.as_str())], &mut url);
        page.names(&row.study);
        if !self.beyond(Level::Study) {
            json::copy_with_url(row.json(), &url, page.row());
            return Ok(());
        }
        let study = self.lookup.cache().study(&row.study)?;
        let first =
            match study.as_deref().and_then(|study| Some((study, study.instances().first()?))) {
                Some((study, first)) => study.metadata(first)?,
                None => Vec::new(),
            };
        let more = Members::of(&first).filter(|(tag, one)| self.wants(Level::Study, *tag, one));
        let all = Members::of(row.json().as_bytes()).chain([json::url_member(&url)]).chain(more);
        json::merge(all, page.row());
        Ok(())
    }

    fn all_series(&self, studies: &[Arc<StudyRow>], page: &mut Page) -> Result<(), DicomwebError> {
        for some in studies.chunks(STUDIES_AT_ONCE) {
            for row in self.series_of(some)? {
                match page.next() {
                    Turn::Skip => {}
                    Turn::Take => {
                        let study = some.iter().find(|study| study.study == row.study);
                        self.series_row(&row, study.map(Arc::as_ref), page)?;
                    }
                    Turn::Over => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// The series of these studies that match, in the order of the studies.
    fn series_of(&self, studies: &[Arc<StudyRow>]) -> Result<Vec<Arc<SeriesRow>>, DicomwebError> {
        let named = studies.iter().map(|row| row.study.clone()).collect();
        let query = SeriesQuery {
            studies: StudyQuery { study: Some(named), ..StudyQuery::default() },
            ..self.query.keys.clone()
        };
        let mut series = self.lookup.cache().search_series(&query)?;
        if let Some(range) = self.query.step_time {
            series.retain(|row| range.holds(&row.step_time));
        }
        Ok(series)
    }

    fn series_row(
        &self,
        row: &SeriesRow,
        study: Option<&StudyRow>,
        page: &mut Page,
    ) -> Result<(), DicomwebError> {
        let path = [("studies", row.study.as_str()), ("series", row.series.as_str())];
        let mut url = Vec::new();
        json::url_value(&self.base, &path, &mut url);
        page.names(&row.study);
        let first = if self.beyond(Level::Series) { self.first_of(row)? } else { Vec::new() };
        let above = study.filter(|_| self.relational(Level::Study));
        let above = above.map_or("{}", StudyRow::json);
        let more = Members::of(&first).filter(|(tag, one)| self.wants(Level::Series, *tag, one));
        let all = Members::of(row.json().as_bytes())
            .chain([json::url_member(&url)])
            .chain(Members::of(above.as_bytes()))
            .chain(more);
        json::merge(all, page.row());
        Ok(())
    }

    /// Metadata of the first instance of a series; nothing where it has just gone.
    fn first_of(&self, row: &SeriesRow) -> Result<Vec<u8>, DicomwebError> {
        let Some(study) = self.lookup.cache().study(&row.study)? else { return Ok(Vec::new()) };
        match study.instances().iter().find(|instance| instance.series == row.series) {
            Some(first) => Ok(study.metadata(first)?),
            None => Ok(Vec::new()),
        }
    }

    fn all_instances(
        &self,
        studies: &[Arc<StudyRow>],
        page: &mut Page,
    ) -> Result<(), DicomwebError> {
        for row in studies {
            let Some(study) = self.lookup.cache().study(&row.study)? else { continue };
            let by_series = self.query.names_series || self.series.is_some();
            let series: Option<HashSet<Uid>> = if by_series {
                let rows = self.series_of(std::slice::from_ref(row))?;
                Some(rows.iter().map(|row| row.series.clone()).collect())
            } else {
                None
            };
            for instance in study.instances() {
                let inside = series.as_ref().is_none_or(|series| series.contains(&instance.series));
                if !inside || !self.matches(instance) {
                    continue;
                }
                match page.next() {
                    Turn::Skip => {}
                    Turn::Take => self.instance_row(&study, instance, page)?,
                    Turn::Over => return Ok(()),
                }
            }
        }
        Ok(())
    }

    fn matches(&self, instance: &Instance) -> bool {
        let query = &self.query;
        query.number.is_none_or(|number| number == instance.number)
            && query.instances.as_ref().is_none_or(|named| named.contains(&instance.sop))
            && query
                .classes
                .as_ref()
                .is_none_or(|named| named.iter().any(|class| class.as_str() == &*instance.class))
    }

    fn instance_row(
        &self,
        study: &Study,
        instance: &Instance,
        page: &mut Page,
    ) -> Result<(), DicomwebError> {
        let row = study.row();
        let path = [
            ("studies", row.study.as_str()),
            ("series", instance.series.as_str()),
            ("instances", instance.sop.as_str()),
        ];
        let mut url = Vec::new();
        json::url_value(&self.base, &path, &mut url);
        page.names(&row.study);
        let own = study.metadata(instance)?;
        let own = Members::of(&own).filter(|(tag, one)| {
            INSTANCE_ROW.binary_search(tag).is_ok() || self.wants(Level::Instance, *tag, one)
        });
        let series = study.series().iter().find(|row| row.series == instance.series);
        let series = series.filter(|_| self.relational(Level::Series));
        let series = series.map_or("{}", SeriesRow::json);
        let above = if self.relational(Level::Study) { row.json() } else { "{}" };
        let online = (0x0008_0056, &b"{\"vr\":\"CS\",\"Value\":[\"ONLINE\"]}"[..]);
        let all = own
            .chain([online, json::url_member(&url)])
            .chain(Members::of(series.as_bytes()))
            .chain(Members::of(above.as_bytes()));
        json::merge(all, page.row());
        Ok(())
    }
}

/// The page of an answer while it fills.
struct Page {
    skip: usize,
    take: usize,
    found: Found,
}

/// What becomes of a row that matches.
enum Turn {
    /// It lies before the page.
    Skip,
    /// It belongs to the page.
    Take,
    /// It lies behind the page.
    Over,
}

impl Page {
    fn new(query: &Query) -> Page {
        let found = Found { body: vec![b'['], studies: Vec::new(), more: false };
        Page { skip: query.offset, take: query.limit, found }
    }

    fn next(&mut self) -> Turn {
        if self.skip > 0 {
            self.skip -= 1;
            return Turn::Skip;
        }
        if self.take == 0 {
            self.found.more = true;
            return Turn::Over;
        }
        self.take -= 1;
        Turn::Take
    }

    /// Where the next row is written.
    fn row(&mut self) -> &mut Vec<u8> {
        if self.found.body.len() > 1 {
            self.found.body.push(b',');
        }
        &mut self.found.body
    }

    /// Notes that a row tells of a study; rows of a study follow each other.
    fn names(&mut self, study: &Uid) {
        if self.found.studies.last() != Some(study) {
            self.found.studies.push(study.clone());
        }
    }

    fn finish(mut self) -> Found {
        self.found.body.push(b']');
        self.found
    }
}
