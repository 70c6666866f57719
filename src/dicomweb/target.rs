//! What a path names (PS3.18 10.3, tables 10.3.2-1, 10.4.1-1 and 10.6.1-1).

use forepost_cache::Uid;

use super::reply::DicomwebError;

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
            steps => return Err(absent(steps)),
        })
    }

    /// The word of the service in logs and metrics.
    pub(super) fn service(&self) -> &'static str {
        match self {
            Target::Search { .. } => "search",
            Target::Metadata(_) => "metadata",
            Target::Objects(_) => "retrieve",
        }
    }

    /// The study that objects sent to this resource must be of, `None` inside for any; `None` where
    /// nothing is sent to (PS3.18 10.5).
    pub(super) fn store(&self) -> Option<Option<&Uid>> {
        match self {
            Target::Search { level: Level::Study, study: None, .. } => Some(None),
            Target::Objects(Scope { study, series: None, .. }) => Some(Some(study)),
            Target::Search { .. } | Target::Objects(_) | Target::Metadata(_) => None,
        }
    }

    /// The study that the path names.
    pub(super) fn study(&self) -> Option<&Uid> {
        match self {
            Target::Search { study, .. } => study.as_ref(),
            Target::Metadata(scope) | Target::Objects(scope) => Some(&scope.study),
        }
    }
}

/// A resource of the standard that this version does not make, or none at all.
fn absent(steps: &[&str]) -> DicomwebError {
    const LATER: [&str; 5] = ["frames", "rendered", "thumbnail", "bulkdata", "pixeldata"];
    let later = steps.iter().flat_map(|step| step.split('/'));
    match later.filter_map(|step| LATER.into_iter().find(|word| *word == step)).next() {
        Some(what) => DicomwebError::NotMade { what },
        None => DicomwebError::NoSuchResource,
    }
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
            "studies/1/series/2/instances/3/frames/1",
            "studies/1/series/2/instances/3/frames/1/rendered",
            "studies/1/rendered",
            "studies/1/series/2/thumbnail",
            "studies/1/series/2/instances/3/bulkdata/7FE00010",
        ] {
            let error = Target::parse(path).unwrap_err();
            assert!(matches!(error, DicomwebError::NotMade { .. }), "{path}: {error}");
        }
        for path in ["", "patients", "studies/1/files", "studies/1/series/2/instances/3/4/5/6"] {
            let error = Target::parse(path).unwrap_err();
            assert!(matches!(error, DicomwebError::NoSuchResource), "{path}: {error}");
        }
    }
}
