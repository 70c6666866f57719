//! How fast a CT study arrives, against the bare disk: 525 KB files written and synced in batches
//! of 32 with their folder. Rounds alternate, since the disk's speed wanders.
//!
//! `cargo bench -p forepost-cache --bench arrive -- [FOLDER]`

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use forepost_cache::{Cache, Uid};

const INSTANCES: u32 = 1000;
const ROUNDS: u32 = 5;
const PIXEL_BYTES: usize = 512 * 512 * 2;
const PIECE_BYTES: usize = 64 << 10;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(parent).expect("a folder to measure in");
    let objects: Vec<Vec<u8>> = (1..=INSTANCES).map(object).collect();
    let bytes: usize = objects.iter().map(Vec::len).sum();
    let cache = Cache::open(&folder.path().join("cache")).expect("a cache");
    let (mut bare, mut arrived) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(rate(bytes, || write_bare(&folder.path().join("bare"), &objects)));
        fs::remove_dir_all(folder.path().join("bare")).expect("removed");
        arrived.push(rate(bytes, || arrive(&cache, &objects)));
        time_reading(&cache);
        cache.remove_study(&study()).expect("removed");
    }
    let (bare, arrived) = (median(bare), median(arrived));
    println!("bare {bare:.0} MB/s, cache {arrived:.0} MB/s: {:.0} %", arrived / bare * 100.0);
    time_header(&cache, &objects[0]);
    cache.close().expect("closed");
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn rate(bytes: usize, work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    bytes as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

fn write_bare(folder: &Path, objects: &[Vec<u8>]) {
    fs::create_dir(folder).expect("a folder");
    for (batch, objects) in objects.chunks(32).enumerate() {
        let mut files = Vec::new();
        for (n, object) in objects.iter().enumerate() {
            let mut file = File::create(folder.join(format!("{batch}-{n}"))).expect("a file");
            for piece in object.chunks(PIECE_BYTES) {
                file.write_all(piece).expect("written");
            }
            files.push(file);
        }
        files.iter().for_each(|file| file.sync_data().expect("synced"));
        File::open(folder).and_then(|folder| folder.sync_all()).expect("synced");
    }
}

fn arrive(cache: &Cache, objects: &[Vec<u8>]) {
    let mut arrival = cache.arrival(&study()).expect("an arrival");
    for bytes in objects {
        let mut object = arrival.begin().expect("an object");
        for piece in bytes.chunks(PIECE_BYTES) {
            object.write(piece).expect("written");
        }
        let whole = arrival.complete(object).expect("whole");
        assert!(arrival.keep(whole).expect("kept"));
    }
    assert_eq!(arrival.seal().expect("sealed").instances, INSTANCES);
}

fn time_reading(cache: &Cache) {
    let study = cache.study(&study()).expect("read").expect("here");
    let begun = Instant::now();
    let metadata = study.all_metadata(None).expect("read");
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    println!("metadata of {INSTANCES} instances: {} KB in {ms:.1} ms", metadata.len() / 1000);
}

/// What `complete` costs: reading the header and making the metadata.
fn time_header(cache: &Cache, bytes: &[u8]) {
    let mut arrival = cache.arrival(&study()).expect("an arrival");
    let mut spent = 0.0;
    for _ in 0..500 {
        let mut object = arrival.begin().expect("an object");
        object.write(bytes).expect("written");
        let begun = Instant::now();
        let whole = arrival.complete(object).expect("whole");
        spent += begun.elapsed().as_secs_f64();
        drop(whole);
    }
    println!("a header: {:.0} us", spent / 500.0 * 1e6);
}

fn study() -> Uid {
    Uid::try_from("1.2.826.0.1.3680043.10.1").expect("a uid")
}

/// A CT slice with about 150 elements of header, as scanners write them.
fn object(number: u32) -> Vec<u8> {
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    put(&mut file, 0x0002_0010, b"UI", b"1.2.840.10008.1.2.1\0");
    put(&mut file, 0x0008_0005, b"CS", b"GB18030 ");
    put(&mut file, 0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0");
    put(&mut file, 0x0008_0018, b"UI", format!("{}.1.{number:05}", study()).as_bytes());
    put(&mut file, 0x0008_0060, b"CS", b"CT");
    put(&mut file, 0x0008_1030, b"LO", b"\xd0\xd8\xb2\xbf\xc6\xbd\xc9\xa8");
    put(&mut file, 0x0010_0010, b"PN", b"Zhang^San=\xd5\xc5^\xc8\xfd ");
    for n in 0..120 {
        put(&mut file, 0x0018_1100 + n, b"DS", b"12.3456\\78.9012 ");
    }
    put(&mut file, 0x0020_000d, b"UI", format!("{}", study()).as_bytes());
    put(&mut file, 0x0020_000e, b"UI", format!("{}.1", study()).as_bytes());
    put(&mut file, 0x0020_0013, b"IS", format!("{number:04}").as_bytes());
    for n in 0..20 {
        put(&mut file, 0x0028_1100 + n, b"US", &[1, 2]);
    }
    file.extend_from_slice(&[0xe0, 0x7f, 0x10, 0, b'O', b'W', 0, 0]);
    file.extend_from_slice(&(PIXEL_BYTES as u32).to_le_bytes());
    let mut noise = number;
    file.extend((0..PIXEL_BYTES / 4).flat_map(|_| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.to_le_bytes()
    }));
    file
}

fn put(file: &mut Vec<u8>, tag: u32, vr: &[u8], value: &[u8]) {
    let padded = value.len() + value.len() % 2;
    file.extend_from_slice(&((tag >> 16) as u16).to_le_bytes());
    file.extend_from_slice(&(tag as u16).to_le_bytes());
    file.extend_from_slice(vr);
    file.extend_from_slice(&(padded as u16).to_le_bytes());
    file.extend_from_slice(value);
    file.resize(file.len() + padded - value.len(), 0);
}
