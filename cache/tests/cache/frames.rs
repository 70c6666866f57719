//! Where frames and bulk data lie: in made-up encapsulations against a simple model, and in the
//! records of older versions.

use std::os::unix::fs::FileExt;

use forepost_cache::{Cache, Instance, NoFrame, Study};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{EXPLICIT, Elements, fixtures, json, object, offer, part10, study_uid, uid};

const JPEG: &str = "1.2.840.10008.1.2.4.50";
const ITEM: u32 = 0xfffe_e000;
const SEQUENCE_END: u32 = 0xfffe_e0dd;

/// The image attributes that every object here has.
fn image(frames: u32, rows: u16, columns: u16, bits: u16) -> Elements {
    Elements::default()
        .put(0x0008_0018, "UI", b"1.2.1.1")
        .put(0x0020_000d, "UI", b"1.2")
        .put(0x0020_000e, "UI", b"1.2.1")
        .put(0x0028_0002, "US", &1_u16.to_le_bytes())
        .put(0x0028_0008, "IS", frames.to_string().as_bytes())
        .put(0x0028_0010, "US", &rows.to_le_bytes())
        .put(0x0028_0011, "US", &columns.to_le_bytes())
        .put(0x0028_0100, "US", &bits.to_le_bytes())
}

/// Gives `look` the one instance of a cache that holds this object.
fn with<T>(bytes: &[u8], look: impl FnOnce(&Study, &Instance) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut arrival = cache.arrival(&uid("1.2")).unwrap();
    assert!(offer(&mut arrival, bytes).unwrap());
    arrival.seal().unwrap();
    let study = cache.study(&uid("1.2")).unwrap().unwrap();
    look(&study, &study.instances()[0])
}

fn frame(study: &Study, instance: &Instance, number: u32) -> Result<Vec<u8>, NoFrame> {
    let pixels = study.pixels(instance).unwrap();
    let file = study.object(instance).unwrap();
    let mut whole = Vec::new();
    for range in pixels.frame(number)? {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start).unwrap();
        whole.extend(bytes);
    }
    Ok(whole)
}

/// What the offset tables of a made-up object say.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Table {
    Absent,
    Basic,
    Extended,
    /// Two bytes beside every fragment but the first.
    Beside,
    /// The last frame lies far behind the file.
    Outside,
    /// One entry is missing.
    Short,
    Backwards,
}

#[derive(Debug, Clone)]
struct Encapsulation {
    /// Fragments of each frame.
    frames: Vec<Vec<Vec<u8>>>,
    table: Table,
    /// What the first fragment of each frame begins with.
    mark: Option<[u8; 2]>,
}

impl Encapsulation {
    fn bytes(&self) -> Vec<u8> {
        let mut value = Elements::default();
        let mut offsets = Vec::new();
        for frame in &self.frames {
            offsets.push(value.0.len() as u64);
            for (n, fragment) in frame.iter().enumerate() {
                let mut content = fragment.clone();
                if let (0, Some(mark)) = (n, self.mark) {
                    content[..2].copy_from_slice(&mark);
                }
                value = value.bare(ITEM, content.len() as u32);
                value.0.extend(content);
            }
        }
        match self.table {
            Table::Beside => offsets.iter_mut().skip(1).for_each(|offset| *offset += 2),
            Table::Outside => *offsets.last_mut().unwrap() = 0xffff_fff0,
            Table::Short => drop(offsets.pop()),
            Table::Backwards => offsets.reverse(),
            Table::Absent | Table::Basic | Table::Extended => {}
        }
        let mut object = image(self.frames.len() as u32, 4, 4, 8);
        if self.table == Table::Extended {
            let table: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
            object = object.front(0x7fe0_0001, "UN", table.len() as u32);
            object.0.extend(table);
        }
        let basic: Vec<u8> = match self.table {
            Table::Absent | Table::Extended => Vec::new(),
            _ => offsets.iter().flat_map(|offset| (*offset as u32).to_le_bytes()).collect(),
        };
        object = object.front(0x7fe0_0010, "OB", u32::MAX).bare(ITEM, basic.len() as u32);
        object.0.extend(basic);
        object.0.extend(value.0);
        part10(JPEG, &object.bare(SEQUENCE_END, 0).0)
    }

    /// The frames as they should be read; `None`: nobody can tell.
    fn model(&self) -> Option<Vec<Vec<u8>>> {
        let fragments: usize = self.frames.iter().map(Vec::len).sum();
        let single = self.frames.len() == 1 || fragments == self.frames.len();
        let table = matches!(self.table, Table::Basic | Table::Extended);
        if !single && !table && self.mark.is_none() {
            return None;
        }
        let frame = |fragments: &Vec<Vec<u8>>| {
            let mut whole = fragments.concat();
            if let Some(mark) = self.mark {
                whole[..2].copy_from_slice(&mark);
            }
            whole
        };
        Some(self.frames.iter().map(frame).collect())
    }
}

fn encapsulations() -> impl Strategy<Value = Encapsulation> {
    // No content of itself looks like the beginning of an image.
    let fragment = (1..40_usize, 0..0xff_u8).prop_map(|(half, byte)| vec![byte; 2 * half]);
    let frames = vec(vec(fragment, 1..4), 1..6);
    let table = prop::sample::select(vec![
        Table::Absent,
        Table::Basic,
        Table::Extended,
        Table::Beside,
        Table::Outside,
        Table::Short,
        Table::Backwards,
    ]);
    let mark = prop::sample::select(vec![None, Some([0xff, 0xd8]), Some([0xff, 0x4f])]);
    (frames, table, mark).prop_map(|(frames, table, mark)| Encapsulation { frames, table, mark })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn frames_are_told_as_the_model_tells_them(encapsulation in encapsulations()) {
        with(&encapsulation.bytes(), |study, instance| {
            let pixels = instance.pixels().expect("few fragments are kept");
            prop_assert!(pixels.encapsulated());
            match encapsulation.model() {
                Some(frames) => {
                    prop_assert_eq!(pixels.frames(), Ok(frames.len() as u32));
                    for (number, expected) in (1..).zip(frames) {
                        prop_assert_eq!(frame(study, instance, number).unwrap(), expected);
                    }
                    let count = encapsulation.frames.len() as u32;
                    for number in [0, count + 1, u32::MAX] {
                        prop_assert_eq!(pixels.frame(number), Err(NoFrame::Beyond { count }));
                    }
                }
                None => prop_assert_eq!(pixels.frame(1), Err(NoFrame::NotTold)),
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_table_leads_out_of_the_value(
        offsets in vec(prop_oneof![0..200_u32, any::<u32>()], 2..5),
        fragments in vec(0..20_u32, 3..8),
    ) {
        let mut object = image(offsets.len() as u32, 4, 4, 8)
            .front(0x7fe0_0010, "OB", u32::MAX)
            .bare(ITEM, 4 * offsets.len() as u32);
        offsets.iter().for_each(|offset| object.0.extend(offset.to_le_bytes()));
        let from = part10(JPEG, &object.0).len() as u64;
        for length in fragments {
            object = object.bare(ITEM, 2 * length);
            object.0.extend(vec![7; 2 * length as usize]);
        }
        let to = part10(JPEG, &object.0).len() as u64;
        with(&part10(JPEG, &object.bare(SEQUENCE_END, 0).0), |_, instance| {
            let pixels = instance.pixels().unwrap();
            for number in 1..=pixels.frames().unwrap_or(0) {
                for range in pixels.frame(number).unwrap() {
                    prop_assert!(from + 8 <= range.start && range.start <= range.end);
                    prop_assert!(range.end <= to);
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn native_frames_follow_one_another() {
    for (bits, frame_bytes) in [(8_u16, 12_usize), (16, 24), (32, 48)] {
        let value: Vec<u8> = (0..3 * frame_bytes).map(|n| n as u8).collect();
        let object = part10(EXPLICIT, &image(3, 3, 4, bits).put(0x7fe0_0010, "OW", &value).0);
        with(&object, |study, instance| {
            assert!(!instance.pixels().unwrap().encapsulated());
            for number in 1..=3 {
                let from = (number as usize - 1) * frame_bytes;
                let expected = &value[from..from + frame_bytes];
                assert_eq!(frame(study, instance, number).unwrap(), expected);
            }
            assert_eq!(frame(study, instance, 4), Err(NoFrame::Beyond { count: 3 }));
        });
        // A value that ends early holds the frames that are whole in it.
        let object = &value[..3 * frame_bytes - 2];
        let object = part10(EXPLICIT, &image(3, 3, 4, bits).put(0x7fe0_0010, "OW", object).0);
        with(&object, |_, instance| assert_eq!(instance.pixels().unwrap().frames(), Ok(2)));
    }
    for (tag, bits) in [(0x7fe0_0008, 32), (0x7fe0_0009, 64)] {
        let value: Vec<u8> = (0..2 * 12 * bits / 8).map(|n| n as u8).collect();
        let object = part10(EXPLICIT, &image(2, 3, 4, bits).put(tag, "UN", &value).0);
        with(&object, |study, instance| {
            assert_eq!(frame(study, instance, 2).unwrap(), &value[value.len() / 2..]);
        });
    }
}

#[test]
fn frames_of_single_bits_are_given_where_they_are_whole_bytes() {
    let bits = |frames, rows, columns, bytes: usize| {
        let value: Vec<u8> = (0..bytes).map(|n| n as u8).collect();
        part10(EXPLICIT, &image(frames, rows, columns, 1).put(0x7fe0_0010, "OB", &value).0)
    };
    with(&bits(3, 4, 4, 6), |study, instance| {
        assert_eq!(frame(study, instance, 3).unwrap(), [4, 5]);
    });
    // 3 x 5 bits: the first frame ends within its second byte.
    with(&bits(2, 3, 5, 4), |study, instance| {
        assert_eq!(frame(study, instance, 1), Err(NoFrame::WithinByte));
        assert_eq!(frame(study, instance, 2), Err(NoFrame::WithinByte));
    });
    with(&bits(1, 3, 5, 2), |study, instance| {
        assert_eq!(frame(study, instance, 1).unwrap(), [0, 1]);
    });
}

#[test]
fn what_has_no_frames_says_why() {
    let none = part10(EXPLICIT, &image(1, 3, 4, 8).0);
    with(&none, |study, instance| {
        assert_eq!(frame(study, instance, 1), Err(NoFrame::NoPixels));
    });
    let sizeless = image(1, 0, 0, 8).put(0x7fe0_0010, "OW", &[1; 12]);
    with(&part10(EXPLICIT, &sizeless.0), |study, instance| {
        assert_eq!(frame(study, instance, 1), Err(NoFrame::NotTold));
    });
    // An icon's pixels are not the object's.
    let icon = Elements::default().put(0x7fe0_0010, "OW", &[1; 12]);
    let mut nested = image(1, 3, 4, 8).front(0x0088_0200, "SQ", icon.0.len() as u32 + 8);
    nested = nested.bare(ITEM, icon.0.len() as u32);
    nested.0.extend(icon.0);
    with(&part10(EXPLICIT, &nested.0), |study, instance| {
        assert_eq!(frame(study, instance, 1), Err(NoFrame::NoPixels));
    });
}

#[test]
fn values_that_are_left_out_are_named_and_found() {
    let long = |byte: u8| vec![byte; 1_200];
    let item = Elements::default().put(0x0042_0011, "OB", &long(2)).0;
    let mut elements = image(1, 3, 4, 8).put(0x0042_0011, "OB", &long(1));
    elements = elements.front(0x5400_0100, "SQ", 2 * (item.len() as u32 + 8));
    for _ in 0..2 {
        elements = elements.bare(ITEM, item.len() as u32);
        elements.0.extend(&item);
    }
    let object = part10(EXPLICIT, &elements.put(0x7fe0_0010, "OW", &[9; 12]).0);
    with(&object, |study, instance| {
        let named = json(study, &instance.sop);
        let sequence = &named["54000100"]["Value"];
        for (element, uri, content) in [
            (&named["00420011"], "bulkdata/00420011", long(1)),
            (&sequence[0]["00420011"], "bulkdata/54000100/1/00420011", long(2)),
            (&sequence[1]["00420011"], "bulkdata/54000100/2/00420011", long(2)),
            (&named["7FE00010"], "bulkdata/7FE00010", vec![9; 12]),
        ] {
            assert_eq!(element["BulkDataURI"], uri);
            let range = study.bulk(instance, uri).unwrap().unwrap();
            assert_eq!(object[range.start as usize..range.end as usize], content);
        }
        for uri in ["bulkdata/54000100/3/00420011", "bulkdata/00080018", "bulkdata/"] {
            assert_eq!(study.bulk(instance, uri).unwrap(), None, "{uri}");
        }
    });
}

/// The records as the first version wrote them: without the places of frames.
fn downgraded(records: &[u8]) -> Vec<u8> {
    let u32_at = |at: usize| u32::from_le_bytes(records[at..at + 4].try_into().unwrap()) as usize;
    let mut older = records[..12].to_vec();
    older[8] = 1;
    let mut at = 12;
    while at < records.len() {
        let length = u32_at(at);
        let payload = &records[at + 8..at + 8 + length];
        // Version, file bytes and six more numbers, then five identifiers and 28 texts.
        let mut places = 1 + 8 + 4 * 6;
        for _ in 0..5 + 28 {
            let text = u16::from_le_bytes(payload[places..places + 2].try_into().unwrap());
            places += 2 + usize::from(text);
        }
        let json = places + 4 + u32_at(at + 8 + places);
        let mut shorter = [&payload[..places], &payload[json..]].concat();
        shorter[0] = 1;
        older.extend((shorter.len() as u32).to_le_bytes());
        older.extend(crc32fast::hash(&shorter).to_le_bytes());
        older.extend(shorter);
        at += 8 + length;
    }
    older
}

#[test]
fn a_cache_of_the_first_version_tells_the_same_frames_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut kept = Vec::new();
    for (name, bytes) in fixtures() {
        let of = study_uid(&cache, &bytes);
        let mut arrival = cache.arrival(&of).unwrap();
        offer(&mut arrival, &bytes).unwrap();
        arrival.seal().unwrap();
        drop(arrival);
        let study = cache.study(&of).unwrap().unwrap();
        let known: Vec<_> = study.instances().iter().map(|one| one.pixels().cloned()).collect();
        assert!(known.iter().all(Option::is_some), "{name}");
        // One fixture is of a study that another brought.
        kept.retain(|(kept, _)| *kept != of);
        kept.push((of, known));
    }
    cache.close().unwrap();
    drop(cache);
    for (of, _) in &kept {
        let records = folder.path().join("studies").join(of.as_str()).join("study.records");
        std::fs::write(&records, downgraded(&std::fs::read(&records).unwrap())).unwrap();
    }
    let cache = Cache::open(folder.path()).unwrap();
    for (of, known) in &kept {
        let study = cache.study(of).unwrap().unwrap();
        for (instance, known) in study.instances().iter().zip(known) {
            assert_eq!(instance.pixels(), None);
            assert_eq!(Some(study.pixels(instance).unwrap()), *known);
            json(&study, &instance.sop);
            assert!(!object(&study, &instance.sop).is_empty());
        }
    }
    // A newer record behind the older ones.
    let (of, _) = &kept[0];
    let mut arrival = cache.arrival(of).unwrap();
    let elements = Elements::default()
        .put(0x0008_0018, "UI", b"1.2.9.9")
        .put(0x0020_000d, "UI", of.as_str().as_bytes())
        .put(0x0020_000e, "UI", b"1.2.9")
        .put(0x7fe0_0010, "OW", &[1; 12]);
    assert!(offer(&mut arrival, &part10(EXPLICIT, &elements.0)).unwrap());
    arrival.seal().unwrap();
    drop(arrival);
    cache.close().unwrap();
    drop(cache);
    let cache = Cache::open(folder.path()).unwrap();
    let study = cache.study(of).unwrap().unwrap();
    let told = |instance: &Instance| instance.pixels().is_some();
    assert_eq!(study.instances().iter().filter(|one| told(one)).count(), 1);
    assert!(study.instances().len() >= 2);
}
