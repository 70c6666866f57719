//! A DIMSE command set (PS3.7 6.3): what is read can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|command: &[u8]| forepost::dicom::fuzz_command(command));
