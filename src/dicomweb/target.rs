//! What a path names (PS3.18 10.3, tables 10.3.2-1, 10.4.1-1 to 10.4.1-6 and 10.6.1-1).

use forepost_cache::Uid;

use super::limits::FRAME_NUMBERS_MAX;
use super::reply::{DicomwebError, PieceError};

/// A level of the information model (PS3.4 C.6.2), upper levels first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Study.
    Study,
    /// Series.
    Series,
    /// Instance.
    Instance,
}

impl Level {
    /// The word in logs and sentences.
    pub(super) fn name(self) -> &'static str {
        match self {
            Level::Study => "study",
            Level::Series => "series",
            Level::Instance => "instance",
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// QIDO-RS: rows of a level, within a study or a series where the path names one.
    Search {
        /// The level of the rows.
        level: Level,
        /// The study of the path.
        study: Option<Uid>,
        /// The series of the path.
        series: Option<Uid>,
    },
    /// WADO-RS: metadata.
    Metadata(Scope),
    /// WADO-RS: objects.
    Objects(Scope),
    /// WADO-RS: frames of an instance, by their numbers from 1, each once.
    Frames(Scope, Vec<u32>),
    /// WADO-RS: one value of an instance, as the metadata name it relative to the instance.
    Bulk(Scope, String),
}

/// A study, or a series or an instance of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// Study Instance UID.
    pub(super) study: Uid,
    /// Series Instance UID.
    pub(super) series: Option<Uid>,
    /// SOP Instance UID; only with a series.
    pub(super) instance: Option<Uid>,
}

impl Target {
    /// Reads what follows the base path, without its first slash.
    pub(super) fn parse(path: &str) -> Result<Target, DicomwebError> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let steps: Vec<&str> = path.splitn(8, '/').collect();
        let scope = |study: &str, series: Option<&str>, instance: Option<&str>| {
            Ok::<_, DicomwebError>(Scope {
                study: uid(study, Level::Study)?,
                series: series.map(|one| uid(one, Level::Series)).transpose()?,
                instance: instance.map(|one| uid(one, Level::Instance)).transpose()?,
            })
        };
        let rows = |level, scope: Option<Scope>| {
            let (study, series) = scope.map_or((None, None), |one| (Some(one.study), one.series));
            Target::Search { level, study, series }
        };
        Ok(match steps.as_slice() {
            ["studies"] => rows(Level::Study, None),
            ["series"] => rows(Level::Series, None),
            ["instances"] => rows(Level::Instance, None),
            ["studies", study] => Target::Objects(scope(study, None, None)?),
            ["studies", study, "metadata"] => Target::Metadata(scope(study, None, None)?),
            ["studies", study, "series"] => rows(Level::Series, Some(scope(study, None, None)?)),
            ["studies", study, "instances"] => {
                rows(Level::Instance, Some(scope(study, None, None)?))
            }
            ["studies", study, "series", series] => {
                Target::Objects(scope(study, Some(series), None)?)
            }
            ["studies", study, "series", series, "metadata"] => {
                Target::Metadata(scope(study, Some(series), None)?)
            }
            ["studies", study, "series", series, "instances"] => {
                rows(Level::Instance, Some(scope(study, Some(series), None)?))
            }
            ["studies", study, "series", series, "instances", instance] => {
                Target::Objects(scope(study, Some(series), Some(instance))?)
            }
            ["studies", study, "series", series, "instances", instance, "metadata"] => {
                Target::Metadata(scope(study, Some(series), Some(instance))?)
            }
            ["studies", study, "series", series, "instances", instance, "frames", list]
                if !list.contains('/') =>
            {
                let scope = scope(study, Some(series), Some(instance))?;
                Target::Frames(scope, numbers(list)?)
            }
            ["studies", study, "series", series, "instances", instance, "bulkdata", path] => {
                let scope = scope(study, Some(series), Some(instance))?;
                Target::Bulk(scope, bulk(path).ok_or(DicomwebError::NoSuchResource)?)
            }
            steps => return Err(absent(steps)),
        })
    }

    /// The word of the service in logs and metrics.
    pub(super) fn service(&self) -> &'static str {
        match self {
            Target::Search { .. } => "search",
            Target::Metadata(_) => "metadata",
            Target::Objects(_) => "retrieve",
            Target::Frames(..) => "frames",
            Target::Bulk(..) => "bulkdata",
        }
    }

    /// The study that objects sent to this resource must be of, `None` inside for any; `None` where
    /// nothing is sent to (PS3.18 10.5).
    pub(super) fn store(&self) -> Option<Option<&Uid>> {
        match self {
            Target::Search { level: Level::Study, study: None, .. } => Some(None),
            Target::Objects(Scope { study, series: None, .. }) => Some(Some(study)),
            _ => None,
        }
    }

    /// The study that the path names.
    pub(super) fn study(&self) -> Option<&Uid> {
        match self {
            Target::Search { study, .. } => study.as_ref(),
            Target::Metadata(scope)
            | Target::Objects(scope)
            | Target::Frames(scope, _)
            | Target::Bulk(scope, _) => Some(&scope.study),
        }
    }
}

/// A resource of the standard that this version does not make, or none at all.
fn absent(steps: &[&str]) -> DicomwebError {
    const LATER: [&str; 4] = ["rendered", "thumbnail", "bulkdata", "pixeldata"];
    let later = steps.iter().flat_map(|step| step.split('/'));
    match later.filter_map(|step| LATER.into_iter().find(|word| *word == step)).next() {
        Some(what) => DicomwebError::NotMade { what },
        None => DicomwebError::NoSuchResource,
    }
}

/// Numbers of frames (PS3.18 10.4.1.1.6): from 1, separated by commas, none twice.
fn numbers(list: &str) -> Result<Vec<u32>, DicomwebError> {
    let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
    if list.split(',').nth(FRAME_NUMBERS_MAX).is_some() {
        return Err(DicomwebError::TooMany { what: "frames", limit: FRAME_NUMBERS_MAX });
    }
    let numbers: Option<Vec<u32>> = list.split(',').map(number).collect();
    let numbers = numbers.ok_or(PieceError::FrameList)?;
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    match sorted.is_sorted_by(|a, b| a < b) {
        true => Ok(numbers),
        false => Err(PieceError::FrameList.into()),
    }
}

/// The name of a value that the metadata leave out: a tag, before it the tag and the item number
/// of each sequence around it.
fn bulk(path: &str) -> Option<String> {
    let mut steps = 0;
    for (n, step) in path.split('/').enumerate() {
        let digits = match n % 2 {
            0 => step.len() == 8 && step.bytes().all(|byte| byte.is_ascii_hexdigit()),
            _ => step.parse::<u32>().is_ok(),
        };
        if !digits {
            return None;
        }
        steps = n + 1;
    }
    (steps % 2 == 1).then(|| format!("bulkdata/{}", path.to_ascii_uppercase()))
}

fn uid(text: &str, level: Level) -> Result<Uid, DicomwebError> {
    Uid::try_from(text).map_err(|source| DicomwebError::PathUid { level: level.name(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_of_this_version_is_known() {
        for (path, service, level) in [
            ("studies", "search", Some(Level::Study)),
            ("studies/", "search", Some(Level::Study)),
            ("series", "search", Some(Level::Series)),
            ("instances", "search", Some(Level::Instance)),
            ("studies/1.2/series", "search", Some(Level::Series)),
            ("studies/1.2/instances", "search", Some(Level::Instance)),
            ("studies/1.2/series/3/instances", "search", Some(Level::Instance)),
            ("studies/1.2", "retrieve", None),
            ("studies/1.2/series/3", "retrieve", None),
            ("studies/1.2/series/3/instances/4", "retrieve", None),
            ("studies/1.2/metadata", "metadata", None),
            ("studies/1.2/series/3/metadata", "metadata", None),
            ("studies/1.2/series/3/instances/4/metadata", "metadata", None),
            ("studies/1.2/series/3/instances/4/frames/1", "frames", None),
            ("studies/1.2/series/3/instances/4/frames/3,1,2/", "frames", None),
            ("studies/1.2/series/3/instances/4/bulkdata/7fe00010", "bulkdata", None),
            ("studies/1.2/series/3/instances/4/bulkdata/54000100/2/54001010", "bulkdata", None),
        ] {
            let target = Target::parse(path).unwrap();
            assert_eq!(target.service(), service, "{path}");
            if let Target::Search { level: found, .. } = &target {
                assert_eq!(Some(*found), level, "{path}");
            }
            assert_eq!(target.study().is_some(), path.contains("1.2"), "{path}");
        }
    }

    #[test]
    fn what_is_malformed_or_absent_says_so() {
        for path in ["studies/1..2", "studies/a", "studies/1/series/%2e%2e", "studies//metadata"] {
            let error = Target::parse(path).unwrap_err();
            assert!(matches!(error, DicomwebError::PathUid { .. }), "{path}: {error}");
        }
        for path in [
            "studies/1/series/2/instances/3/frames/1/rendered",
            "studies/1/bulkdata",
            "studies/1/rendered",
            "studies/1/series/2/thumbnail",
        ] {
            let error = Target::parse(path).unwrap_err();
            assert!(matches!(error, DicomwebError::NotMade { .. }), "{path}: {error}");
        }
        for list in ["0", "", "1,", "1,,2", "a", "-1", "1-3", "1,2,1", "4294967296", "1.0"] {
            let path = format!("studies/1/series/2/instances/3/frames/{list}");
            let refused = Target::parse(&path);
            // Without a number the path ends at a slash, and names nothing.
            let expected = |error: &DicomwebError| match list {
                "" => matches!(error, DicomwebError::NoSuchResource),
                _ => matches!(error, DicomwebError::Piece(PieceError::FrameList)),
            };
            assert!(refused.as_ref().is_err_and(expected), "{list}: {refused:?}");
        }
        let list = |count: usize| {
            let numbers: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
            Target::parse(&format!("studies/1/series/2/instances/3/frames/{}", numbers.join(",")))
        };
        assert!(list(FRAME_NUMBERS_MAX).is_ok());
        let many = list(FRAME_NUMBERS_MAX + 1);
        assert!(matches!(many, Err(DicomwebError::TooMany { .. })));
        for tag in ["7fe0001", "x", "7FE00010/1", "7FE00010/x/00081111", "..", "7FE00010//7FE00010"]
        {
            let path = format!("studies/1/series/2/instances/3/bulkdata/{tag}");
            assert!(matches!(Target::parse(&path), Err(DicomwebError::NoSuchResource)), "{tag}");
        }
        for path in ["", "patients", "studies/1/files", "studies/1/series/2/instances/3/4/5/6"] {
            let error = Target::parse(path).unwrap_err();
            assert!(matches!(error, DicomwebError::NoSuchResource), "{path}: {error}");
        }
    }
}
