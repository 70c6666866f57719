//! A PDU of DICOM's upper layer (PS3.8 9.3): read or refused. A panic of the library that reads it
//! is caught, as in the product, and is no finding.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| {})),
    |pdu: &[u8]| forepost::dicom::fuzz_pdu(pdu)
);
