//! Which presentation contexts a C-GET needs: SOP classes by transfer syntaxes (PS3.4 B.5, PS3.5
//! A).
//!
//! What always holds: a context has one transfer syntax. With several in a context the peer chooses
//! one for all objects of the class, and those that it holds in another are converted or fail; one
//! each lets it send every object as it lies. Compressed syntaxes stand first, for peers that take
//! the first context of a class.

use super::association::Proposal;
use super::limits::CONTEXTS_MAX;

/// PS3.5 A.1: what every peer takes.
pub const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";

/// Contexts of an association that are left to services: C-GET, and C-FIND for the next list.
const SERVICES: usize = 2;

/// In which syntaxes objects without pixels are kept.
const PLAIN: &[&str] =
    &["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.1", IMPLICIT_LITTLE, "1.2.840.10008.1.2.2"];

/// In which syntaxes images are kept, the commoner compressions first.
const IMAGE: &[&str] = &[
    "1.2.840.10008.1.2.4.70",  // JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.90",  // JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91",  // JPEG 2000
    "1.2.840.10008.1.2.4.50",  // JPEG baseline
    "1.2.840.10008.1.2.4.51",  // JPEG extended
    "1.2.840.10008.1.2.4.57",  // JPEG lossless
    "1.2.840.10008.1.2.4.80",  // JPEG-LS lossless
    "1.2.840.10008.1.2.4.81",  // JPEG-LS near-lossless
    "1.2.840.10008.1.2.5",     // RLE
    "1.2.840.10008.1.2.4.201", // High-throughput JPEG 2000 lossless
    "1.2.840.10008.1.2.4.202", // the same with RPCL
    "1.2.840.10008.1.2.4.203", // High-throughput JPEG 2000
    "1.2.840.10008.1.2.1.99",  // deflated
    "1.2.840.10008.1.2.1",     // explicit little endian
    IMPLICIT_LITTLE,
    "1.2.840.10008.1.2.2", // explicit big endian, retired
];

/// What classes with moving pictures are kept in besides.
const VIDEO: &[&str] = &[
    "1.2.840.10008.1.2.4.102", // MPEG-4 AVC
    "1.2.840.10008.1.2.4.103",
    "1.2.840.10008.1.2.4.104",
    "1.2.840.10008.1.2.4.105",
    "1.2.840.10008.1.2.4.106",
    "1.2.840.10008.1.2.4.107", // HEVC
    "1.2.840.10008.1.2.4.108",
    "1.2.840.10008.1.2.4.100", // MPEG-2
    "1.2.840.10008.1.2.4.101",
];

const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";

/// Families of classes without pixels, below [`STORAGE`]: waveforms, presentation states, raw data,
/// registrations and fiducials, reports, documents, plans of radiotherapy.
const PLAIN_FAMILIES: &[&str] = &[
    "9.", "11.", "66", "67", "68", "78.", "79.", "80.", "88.", "104.", "481.3", "481.4", "481.5",
    "481.6", "481.7", "481.8", "481.9",
];

/// Classes with moving pictures: endoscopy, microscopy, photography, multi-frame ultrasound.
const VIDEO_CLASSES: &[&str] = &["77.1.1.1", "77.1.2.1", "77.1.4.1", "3.1"];

/// What is proposed when the peer does not name the classes of a series: what images are made in
/// most, then what documents are.
pub const COMMON_CLASSES: &[&str] = &[
    "1.2.840.10008.5.1.4.1.1.2",      // CT
    "1.2.840.10008.5.1.4.1.1.4",      // MR
    "1.2.840.10008.5.1.4.1.1.1.1",    // DX
    "1.2.840.10008.5.1.4.1.1.1",      // CR
    "1.2.840.10008.5.1.4.1.1.7",      // secondary capture
    "1.2.840.10008.5.1.4.1.1.6.1",    // ultrasound
    "1.2.840.10008.5.1.4.1.1.88.11",  // basic text report
    "1.2.840.10008.5.1.4.1.1.88.22",  // enhanced report
    "1.2.840.10008.5.1.4.1.1.88.33",  // comprehensive report
    "1.2.840.10008.5.1.4.1.1.88.59",  // key objects
    "1.2.840.10008.5.1.4.1.1.104.1",  // PDF
    "1.2.840.10008.5.1.4.1.1.2.1",    // enhanced CT
    "1.2.840.10008.5.1.4.1.1.4.1",    // enhanced MR
    "1.2.840.10008.5.1.4.1.1.3.1",    // ultrasound, multi-frame
    "1.2.840.10008.5.1.4.1.1.1.2",    // mammography
    "1.2.840.10008.5.1.4.1.1.12.1",   // angiography
    "1.2.840.10008.5.1.4.1.1.128",    // PET
    "1.2.840.10008.5.1.4.1.1.20",     // nuclear medicine
    "1.2.840.10008.5.1.4.1.1.13.1.3", // tomosynthesis
];

/// The syntaxes in which objects of a class are kept.
fn syntaxes(class: &str) -> impl Iterator<Item = &'static str> {
    let family = class.strip_prefix(STORAGE).unwrap_or("");
    let plain = PLAIN_FAMILIES.iter().any(|prefix| family.starts_with(prefix));
    let video = VIDEO_CLASSES.contains(&family);
    let first = if video { VIDEO } else { &[] };
    first.iter().chain(if plain { PLAIN } else { IMAGE }).copied()
}

/// The contexts for receiving objects of these classes. At most [`CONTEXTS_MAX`] less two where the
/// classes are of one [`packed`] group.
pub fn proposals(classes: &[String]) -> Vec<Proposal> {
    let all = classes.iter().flat_map(|class| {
        let one = move |syntax: &str| Proposal {
            class: class.clone(),
            syntaxes: vec![syntax.to_owned()],
            received: true,
        };
        syntaxes(class).map(one)
    });
    all.collect()
}

/// The classes in groups, each of which fits one association beside the contexts of the services.
pub fn packed(classes: &[String]) -> Vec<Vec<String>> {
    let mut groups: Vec<Vec<String>> = Vec::new();
    let mut room = 0;
    for class in classes {
        let needs = syntaxes(class).count();
        if needs > room {
            groups.push(Vec::new());
            room = CONTEXTS_MAX - SERVICES;
        }
        room -= needs;
        if let Some(group) = groups.last_mut() {
            group.push(class.clone());
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_group_fits_one_association_and_no_class_is_lost() {
        let classes: Vec<String> =
            (1..=40).map(|at| format!("{STORAGE}{at}")).chain(own(COMMON_CLASSES)).collect();
        let groups = packed(&classes);
        assert!(groups.len() > 3);
        assert_eq!(groups.concat(), classes);
        for group in &groups {
            let contexts = proposals(group).len() + SERVICES;
            assert!(contexts <= CONTEXTS_MAX, "{contexts} contexts");
        }
        assert!(packed(&[]).is_empty());
        assert_eq!(packed(&own(COMMON_CLASSES)[..11]).len(), 1, "the commonest fit one");
    }

    #[test]
    fn a_context_has_one_syntax_and_compressed_ones_stand_first() {
        let classes = own(&["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"]);
        let all = proposals(&classes);
        assert!(all.iter().all(|one| one.syntaxes.len() == 1 && one.received));
        let distinct: HashSet<_> = all.iter().map(|one| (&one.class, &one.syntaxes[0])).collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(all.len(), IMAGE.len() + PLAIN.len());
        let at = |syntax: &str| all.iter().position(|one| one.syntaxes == [syntax]).unwrap();
        assert!(at("1.2.840.10008.1.2.5") < at("1.2.840.10008.1.2.1"));
    }

    fn own(classes: &[&str]) -> Vec<String> {
        classes.iter().map(|&class| class.to_owned()).collect()
    }
}
