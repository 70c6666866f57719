//! A `study.records` that a disk damaged or somebody else wrote: what is read of it is whole.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|records: &[u8]| {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(records).expect("its bytes");
    let whole = forepost_cache::fuzzing::records(&file);
    assert!(whole.unwrap_or(0) <= records.len() as u64);
});
