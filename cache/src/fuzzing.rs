//! What the fuzzers call; compiled for them only.

use std::fs::File;

use crate::dataset;
use crate::records;

/// The DICOM JSON of an object, unless it is refused.
pub fn data_set(object: &[u8]) -> Option<Vec<u8>> {
    dataset::read(object, None, object.len() as u64, None).ok().map(|reading| reading.json)
}

/// Bytes up to the end of the last whole record of a file, unless it is refused.
pub fn records(file: &File) -> Option<u64> {
    let mut json = Vec::new();
    let scanned = records::scan(file, &mut |span, record| {
        let _ = record.header();
        json.clear();
        assert!(records::read_json(file, span, &mut json).is_ok_and(|whole| whole));
        Ok(())
    });
    scanned.ok().map(|extent| extent.whole)
}
