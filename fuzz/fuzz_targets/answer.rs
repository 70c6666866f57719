//! A source's answer to a search (PS3.18 10.6.3), read as studies, series and instances.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    forepost::upstream::fuzz_answer(body);
});
