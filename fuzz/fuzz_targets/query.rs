//! Path and query of a DICOMweb request (PS3.18 10.6), as a caller sends them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|target: &str| {
    forepost::dicomweb::fuzz_target(target);
});
