use std::collections::HashSet;

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, FileDicomObject, InMemDicomObject, from_reader};

use super::*;

fn phantom(kind: Kind, charset: Charset) -> Phantom {
    Phantom {
        kind,
        patient: Patient {
            name: "Wang^Xiaodong=王^小东".to_owned(),
            id: "P1".to_owned(),
            birth_date: "19700101".to_owned(),
            sex: "M".to_owned(),
            age: "055Y".to_owned(),
        },
        charset,
        institution: Institution {
            name: "青松市中心医院".to_owned(), code: "H11".to_owned()
        },
        study_date: "20250102".to_owned(),
        study_time: "093000".to_owned(),
        accession: "A1".to_owned(),
        description: "胸部增强".to_owned(),
        body_part: "CHEST".to_owned(),
        seed: 7,
    }
}

fn read(bytes: &[u8]) -> DefaultDicomObject {
    from_reader(bytes).unwrap()
}

fn text(object: &FileDicomObject<InMemDicomObject>, tag: dicom_core::Tag) -> String {
    object.element(tag).unwrap().to_str().unwrap().into_owned()
}

/// Pixel values of a file, and how many there should be.
fn pixels(object: &DefaultDicomObject) -> Vec<u16> {
    let bytes = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
    let number = |tag| object.element(tag).unwrap().to_int::<usize>().unwrap();
    assert_eq!(bytes.len(), number(tags::ROWS) * number(tags::COLUMNS) * 2);
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

#[test]
fn names_come_back_from_each_character_set_and_are_written_in_it() {
    for (charset, encoding) in [
        (Charset::Utf8, encoding_rs::UTF_8),
        (Charset::Gb18030, encoding_rs::GB18030),
        (Charset::Gbk, encoding_rs::GBK),
    ] {
        let bytes = phantom(Kind::Mr { slices: 2 }, charset).write(0);
        let object = read(&bytes);
        assert_eq!(text(&object, tags::PATIENT_NAME), "Wang^Xiaodong=王^小东");
        assert_eq!(text(&object, tags::INSTITUTION_NAME), "青松市中心医院");
        let name = encoding.encode("王^小东").0;
        assert!(bytes.windows(name.len()).any(|part| part == &name[..]), "{charset:?}");
        let hospital = object.element(tags::INSTITUTION_CODE_SEQUENCE).unwrap();
        let item = &hospital.items().unwrap()[0];
        assert_eq!(item.element(tags::CODE_MEANING).unwrap().to_str().unwrap(), "青松市中心医院");
    }
}

#[test]
fn the_same_phantom_is_the_same_bytes_and_another_seed_another_study() {
    let one = phantom(Kind::Ct { slices: 3 }, Charset::Utf8);
    assert_eq!(one.write(1), one.clone().write(1));
    let other = Phantom { seed: 8, ..one.clone() };
    assert_ne!(one.study_uid(), other.study_uid());
    assert_ne!(pixels(&read(&one.write(1))), pixels(&read(&other.write(1))));
}

#[test]
fn on_a_chest_film_lungs_are_dark_the_heart_is_bright_and_air_is_black() {
    let object = read(&phantom(Kind::Film { views: 1 }, Charset::Utf8).write(0));
    let pixels = pixels(&object);
    let mean = |column: usize, row: usize| {
        let rows = (row..row + 20).flat_map(|row| &pixels[row * 1_024 + column..][..20]);
        rows.map(|pixel| u32::from(*pixel)).sum::<u32>() / 400
    };
    let (corner, lung, heart) = (mean(0, 0), mean(350, 560), mean(620, 780));
    assert!(corner < 60, "beside the neck {corner}");
    assert!((500..2_200).contains(&lung), "right lung {lung}");
    assert!(heart > lung + 500, "heart {heart}, lung {lung}");
    assert_eq!(text(&object, tags::VIEW_POSITION), "PA");
}

#[test]
fn uids_are_uuids_under_2_25_and_differ() {
    let ct = phantom(Kind::Ct { slices: 40 }, Charset::Utf8);
    let uids: HashSet<String> = (0..40).map(|number| ct.instance_uid(number)).collect();
    assert_eq!(uids.len(), 40);
    for uid in uids.iter().chain([&ct.study_uid()]) {
        let number: u128 = uid.strip_prefix("2.25.").unwrap().parse().unwrap();
        assert_eq!((number >> 76) & 0xf, 8, "version of {uid}");
        assert_eq!((number >> 62) & 0x3, 2, "variant of {uid}");
        assert!(uid.len() <= 64);
    }
}

#[test]
fn a_ct_has_localizers_and_the_same_slices_twice() {
    let ct = phantom(Kind::Ct { slices: 14 }, Charset::Gb18030);
    let mut series = Vec::new();
    for number in 0..ct.instances() {
        let slot = ct.slot(number);
        series.push((slot.series, slot.number));
    }
    assert_eq!(series[..3], [(1, 1), (1, 2), (2, 1)]);
    assert_eq!(series.iter().filter(|(of, _)| *of == 2).count(), 6);
    assert_eq!(series.iter().filter(|(of, _)| *of == 3).count(), 6);
    let (soft, lung) = (read(&ct.write(4)), read(&ct.write(10)));
    let place = |object: &DefaultDicomObject| text(object, tags::IMAGE_POSITION_PATIENT);
    assert_eq!(place(&soft), place(&lung));
    assert_eq!(text(&lung, tags::WINDOW_CENTER), "-600");
    assert_eq!(text(&read(&ct.write(0)), tags::IMAGE_TYPE), "ORIGINAL\\PRIMARY\\LOCALIZER");
}

#[test]
fn a_ct_slice_holds_air_lung_fat_muscle_blood_and_bone() {
    let ct = phantom(Kind::Ct { slices: 9 }, Charset::Utf8);
    let pixels = pixels(&read(&ct.write(5)));
    let share = |low: i32, high: i32| {
        let inside = |pixel: &&u16| (low..high).contains(&(i32::from(**pixel) - 1024));
        pixels.iter().filter(inside).count() as f32 / pixels.len() as f32
    };
    assert!((0.2..0.6).contains(&share(-1025, -930)), "air {}", share(-1025, -930));
    assert!((0.08..0.4).contains(&share(-930, -600)), "lung {}", share(-930, -600));
    assert!((0.03..0.3).contains(&share(-150, -50)), "fat {}", share(-150, -50));
    assert!((0.02..0.3).contains(&share(20, 140)), "tissue {}", share(20, 140));
    assert!((0.01..0.2).contains(&share(140, 300)), "blood {}", share(140, 300));
    assert!((0.001..0.1).contains(&share(300, 1500)), "bone {}", share(300, 1500));
}

#[test]
fn t1_and_t2_turn_water_and_fat_over() {
    let mr = phantom(Kind::Mr { slices: 20 }, Charset::Utf8);
    let brightest = |number| {
        let mut values = pixels(&read(&mr.write(number)));
        values.sort_unstable();
        (values[values.len() / 20], values[values.len() * 49 / 50])
    };
    let ((dark1, bright1), (dark2, bright2)) = (brightest(5), brightest(15));
    assert!(dark1 < 60 && dark2 < 60, "around the head there is nothing");
    assert!((500..1200).contains(&bright1) && (500..1400).contains(&bright2));
    assert_ne!(bright1, bright2);
}

#[test]
fn a_header_is_the_instance_without_its_pixels() {
    let film = phantom(Kind::Film { views: 1 }, Charset::Gbk);
    let object = read(&film.write_header(0));
    assert!(object.element(tags::PIXEL_DATA).is_err());
    assert_eq!(text(&object, tags::SOP_INSTANCE_UID), film.instance_uid(0));
    assert_eq!(object.meta().media_storage_sop_instance_uid(), film.instance_uid(0));
}
