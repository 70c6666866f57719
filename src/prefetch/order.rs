//! In which order the missing instances of a study are asked for.
//!
//! What for: a doctor who opens a study while it arrives should have the report at once, then one
//! image of every series to choose by, then the rest in whole series, because one request for a
//! series is far cheaper than hundreds for its instances.
//!
//! What always holds: nothing that is here is asked for again, but for the one first image of a
//! long series; every missing instance is covered by what is asked for; the order depends on the
//! manifest alone. Start reading at [`fetch_order`].

use std::collections::{HashMap, HashSet, VecDeque};

use forepost_cache::{Study, Uid};

use crate::model::{ListedInstance, ListedSeries, Wanted};

/// Instances that a series must exceed to be asked for as a whole although its first image is here.
/// One image of twenty-one sent twice costs less than twenty requests; of five it does not.
pub const SERIES_AGAIN_MIN: usize = 20;

/// Structured reports and key object selections (PS3.4 B.5: 88.11 to 88.76, key objects 88.59).
const REPORT_CLASSES: &str = "1.2.840.10008.5.1.4.1.1.88.";
/// Encapsulated documents (PS3.4 B.5: PDF 104.1, CDA 104.2, models for printing 104.3 and on).
const DOCUMENT_CLASSES: &str = "1.2.840.10008.5.1.4.1.1.104.";

/// What to ask for, first things first: reports and key objects one by one, one image a series
/// (the middle one by number), then the rest. Series keep the order of the manifest.
pub fn fetch_order(manifest: &[ListedInstance], here: &HashSet<Uid>) -> Vec<Wanted> {
    let mut seen = HashSet::new();
    let (documents, images): (Vec<&ListedInstance>, Vec<&ListedInstance>) = manifest
        .iter()
        .filter(|listed| seen.insert(&listed.sop))
        .partition(|listed| is_document(&listed.class));
    let mut wanted: Vec<Wanted> =
        documents.into_iter().filter(|listed| !here.contains(&listed.sop)).map(one).collect();
    let series = by_series(images);
    let alone = series.len() == 1;
    let mut rest = Vec::new();
    for images in series {
        let (kept, mut missing): (Vec<_>, Vec<_>) =
            images.iter().copied().partition(|listed| here.contains(&listed.sop));
        let long = images.len() > SERIES_AGAIN_MIN;
        // A lone long series streams in order anyway; a first image would only delay it.
        if kept.is_empty() && !(alone && long) {
            wanted.push(one(missing.remove(missing.len() / 2)));
        }
        match missing.first() {
            Some(listed) if long && kept.len() <= 1 => {
                rest.push(Wanted::Series(listed.series.clone()));
            }
            _ => rest.extend(missing.into_iter().map(one)),
        }
    }
    wanted.extend(rest);
    wanted
}

/// Brings to the front what of the order is needed for `first`, which somebody waits for. An
/// instance that is to come with its series is asked for by itself before it; what is not missing
/// changes nothing.
pub fn put_first(order: &mut VecDeque<Wanted>, first: Wanted) {
    let needed = |wanted: &Wanted| match (&first, wanted) {
        (Wanted::Study, _) | (_, Wanted::Study) => false,
        (Wanted::Series(waited), Wanted::Series(series) | Wanted::Instance(series, _)) => {
            waited == series
        }
        (Wanted::Instance(..), Wanted::Instance(..)) => *wanted == first,
        (Wanted::Instance(waited, _), Wanted::Series(series)) => waited == series,
    };
    let (mut front, rest): (Vec<_>, Vec<_>) = order.drain(..).partition(needed);
    if let (Wanted::Instance(..), Some(Wanted::Series(_))) = (&first, front.first()) {
        front.insert(0, first);
    }
    order.extend(front.into_iter().chain(rest));
}

/// What a place says it has of a study: by series where it counts them, else instance by instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outline {
    /// Instances of each series.
    Series(Vec<(Uid, u32)>),
    /// Every instance.
    Instances(Vec<ListedInstance>),
}

impl Outline {
    /// From a list of series; `None` when one of them is not counted.
    pub fn of_series(listed: &[ListedSeries]) -> Option<Outline> {
        let counted = |one: &ListedSeries| Some((one.series.clone(), one.instances?));
        listed.iter().map(counted).collect::<Option<_>>().map(Outline::Series)
    }

    /// Instances in all.
    pub fn instances(&self) -> u32 {
        match self {
            Outline::Series(series) => series.iter().map(|(_, instances)| instances).sum(),
            Outline::Instances(manifest) => manifest.len() as u32,
        }
    }

    /// Instances that are not here.
    pub fn missing(&self, study: Option<&Study>) -> u32 {
        match self {
            Outline::Series(series) => {
                let here = here_by_series(study);
                let missing = |(uid, instances): &(Uid, u32)| {
                    instances.saturating_sub(here.get(uid).copied().unwrap_or(0))
                };
                series.iter().map(missing).sum()
            }
            Outline::Instances(manifest) => {
                let is_here = |sop: &Uid| study.is_some_and(|study| study.instance(sop).is_some());
                manifest.iter().filter(|listed| !is_here(&listed.sop)).count() as u32
            }
        }
    }
}

/// The requests for a study whose series are counted, while they are put together.
#[derive(Debug, Default)]
pub struct SeriesOrder {
    documents: Vec<Wanted>,
    /// Series that are partly here: their missing instances have to be told one by one.
    pub partly_here: Vec<Uid>,
    /// Long series of which one image is wanted before the rest.
    pub first_wanted: Vec<Uid>,
    /// Those images.
    pub first: Vec<Wanted>,
    /// Everything else.
    pub rest: Vec<Wanted>,
}

impl SeriesOrder {
    /// Sorts the series of a study by what is here of each.
    pub fn new(listed: &[ListedSeries], study: Option<&Study>) -> SeriesOrder {
        let here = here_by_series(study);
        let images = listed.iter().filter(|one| !is_document_modality(&one.modality)).count();
        let mut order = SeriesOrder::default();
        for one in listed {
            let instances = one.instances.unwrap_or(0);
            let here = here.get(&one.series).copied().unwrap_or(0);
            if here >= instances {
                continue;
            }
            if here > 0 {
                order.partly_here.push(one.series.clone());
            } else if is_document_modality(&one.modality) {
                order.documents.push(Wanted::Series(one.series.clone()));
            } else {
                if images > 1 && instances as usize > SERIES_AGAIN_MIN {
                    order.first_wanted.push(one.series.clone());
                }
                order.rest.push(Wanted::Series(one.series.clone()));
            }
        }
        order
    }

    /// All requests, first things first.
    pub fn wanted(self) -> Vec<Wanted> {
        let SeriesOrder { mut documents, first, rest, .. } = self;
        documents.extend(first);
        documents.extend(rest);
        documents
    }
}

fn here_by_series(study: Option<&Study>) -> HashMap<Uid, u32> {
    let mut here = HashMap::new();
    for instance in study.iter().flat_map(|study| study.instances()) {
        *here.entry(instance.series.clone()).or_insert(0) += 1;
    }
    here
}

/// Structured reports, key objects, presentation states and documents (PS3.3 C.7.3.1.1.1).
fn is_document_modality(modality: &str) -> bool {
    matches!(modality, "SR" | "KO" | "PR" | "DOC")
}

fn is_document(class: &str) -> bool {
    class.starts_with(REPORT_CLASSES) || class.starts_with(DOCUMENT_CLASSES)
}

fn one(listed: &ListedInstance) -> Wanted {
    Wanted::Instance(listed.series.clone(), listed.sop.clone())
}

/// The images of each series by number; series in the order in which they are first listed.
fn by_series(images: Vec<&ListedInstance>) -> Vec<Vec<&ListedInstance>> {
    let mut places = std::collections::HashMap::new();
    let mut series: Vec<Vec<&ListedInstance>> = Vec::new();
    for listed in images {
        let place = *places.entry(&listed.series).or_insert(series.len());
        if place == series.len() {
            series.push(Vec::new());
        }
        series[place].push(listed);
    }
    for images in &mut series {
        images.sort_by_key(|listed| (listed.number, &listed.sop));
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

    fn uid(text: &str) -> Uid {
        Uid::try_from(text).unwrap()
    }

    /// Series `2.25.<series>` with instances numbered from 1.
    fn series(series: u32, class: &str, count: i32) -> Vec<ListedInstance> {
        let listed = |number| ListedInstance {
            series: uid(&format!("2.25.{series}")),
            sop: uid(&format!("2.25.{series}.{number}")),
            class: class.to_owned(),
            number,
        };
        (1..=count).map(listed).collect()
    }

    fn instance(series: u32, number: i32) -> Wanted {
        Wanted::Instance(uid(&format!("2.25.{series}")), uid(&format!("2.25.{series}.{number}")))
    }

    fn here(sops: &[&str]) -> HashSet<Uid> {
        sops.iter().map(|sop| uid(sop)).collect()
    }

    #[test]
    fn reports_come_first_then_one_image_a_series_then_the_rest() {
        let mut manifest = series(1, CT, 300);
        manifest.extend(series(2, CT, 3));
        manifest.extend(series(3, "1.2.840.10008.5.1.4.1.1.88.11", 1));
        manifest.extend(series(4, "1.2.840.10008.5.1.4.1.1.88.59", 1));
        manifest.extend(series(5, "1.2.840.10008.5.1.4.1.1.104.1", 1));
        let expected = vec![
            instance(3, 1),
            instance(4, 1),
            instance(5, 1),
            instance(1, 151),
            instance(2, 2),
            Wanted::Series(uid("2.25.1")),
            instance(2, 1),
            instance(2, 3),
        ];
        assert_eq!(fetch_order(&manifest, &HashSet::new()), expected);
    }

    #[test]
    fn a_lone_long_series_is_asked_for_at_once_also_beside_a_report() {
        let limit = SERIES_AGAIN_MIN as i32;
        let mut manifest = series(1, CT, limit + 1);
        let whole = vec![Wanted::Series(uid("2.25.1"))];
        assert_eq!(fetch_order(&manifest, &HashSet::new()), whole);
        manifest.extend(series(3, "1.2.840.10008.5.1.4.1.1.88.11", 1));
        let order = fetch_order(&manifest, &HashSet::new());
        assert_eq!(order, vec![instance(3, 1), whole[0].clone()]);
        let order = fetch_order(&series(1, CT, limit), &HashSet::new());
        assert_eq!(order.len(), SERIES_AGAIN_MIN, "a short one goes instance by instance");
        assert_eq!(order[0], instance(1, limit / 2 + 1));
    }

    #[test]
    fn what_is_here_is_not_asked_for_again() {
        let mut manifest = series(1, CT, 30);
        manifest.extend(series(2, CT, 3));
        let order = fetch_order(&manifest, &here(&["2.25.1.16", "2.25.2.2"]));
        let expected = vec![Wanted::Series(uid("2.25.1")), instance(2, 1), instance(2, 3)];
        assert_eq!(order, expected, "only the first image of the long series is here");
        let kept: HashSet<Uid> = manifest.iter().skip(2).map(|listed| listed.sop.clone()).collect();
        assert_eq!(fetch_order(&manifest, &kept), vec![instance(1, 1), instance(1, 2)]);
        let all = manifest.iter().map(|listed| listed.sop.clone()).collect();
        assert_eq!(fetch_order(&manifest, &all), vec![]);
    }

    #[test]
    fn an_instance_listed_twice_is_asked_for_once() {
        let mut manifest = series(1, CT, 2);
        manifest.extend(series(1, CT, 2));
        assert_eq!(fetch_order(&manifest, &HashSet::new()), vec![instance(1, 2), instance(1, 1)]);
    }

    #[test]
    fn what_somebody_waits_for_goes_first_and_what_is_here_is_not_asked_for() {
        let series = |n: u32| Wanted::Series(uid(&format!("2.25.{n}")));
        let after = |first: Wanted| {
            let mut order = VecDeque::from([instance(9, 1), series(1), series(2), instance(3, 7)]);
            put_first(&mut order, first);
            Vec::from(order)
        };
        let as_it_was = vec![instance(9, 1), series(1), series(2), instance(3, 7)];
        assert_eq!(after(series(2)), [series(2), instance(9, 1), series(1), instance(3, 7)]);
        assert_eq!(after(series(3)), [instance(3, 7), instance(9, 1), series(1), series(2)]);
        let one = instance(2, 5);
        assert_eq!(after(one.clone()), [one, series(2), instance(9, 1), series(1), instance(3, 7)]);
        assert_eq!(after(instance(3, 7))[0], instance(3, 7));
        for here in [Wanted::Study, series(8), instance(3, 8), instance(8, 1)] {
            assert_eq!(after(here), as_it_was);
        }
    }

    proptest::proptest! {
        #[test]
        fn everything_missing_is_covered_and_nothing_kept_is_named(
            counts in proptest::collection::vec(1..40i32, 0..5),
            kept in proptest::collection::hash_set((1..6u32, 1..40i32), 0..60),
        ) {
            let manifest: Vec<ListedInstance> = (1u32..)
                .zip(&counts)
                .flat_map(|(number, count)| series(number, CT, *count))
                .collect();
            let kept: HashSet<Uid> =
                kept.iter().map(|(s, n)| uid(&format!("2.25.{s}.{n}"))).collect();
            let order = fetch_order(&manifest, &kept);
            for listed in &manifest {
                let whole = order.contains(&Wanted::Series(listed.series.clone()));
                let single = order.contains(&one(listed));
                if kept.contains(&listed.sop) {
                    assert!(!single);
                } else {
                    assert!(whole || single);
                }
            }
        }
    }
}
