//! An arriving object (PS3.10, PS3.5): whatever it is, its header is read or refused in bounded
//! time and memory, and its metadata is DICOM JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|object: &[u8]| {
    if let Some(json) = forepost_cache::fuzzing::data_set(object) {
        let value: serde_json::Value = serde_json::from_slice(&json).expect("DICOM JSON");
        assert!(value.is_object());
    }
});
