//! Opens one SM2 text again and again on one thread: `decrypt KEY TEXT SECONDS`.
//!
//! KEY is a file with the private key, TEXT the ciphertext in any form that is read. The form is
//! remembered after the first time, as it is for a sender. The last line of the output is JSON:
//! texts opened, and the seconds that it took.

use std::error::Error;
use std::time::{Duration, Instant};

use forepost::seal::sm2::Sm2Key;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [key, text, seconds] = arguments.as_slice() else {
        // `cargo bench` runs every bench: without its arguments there is nothing to open.
        println!("usage: decrypt KEY TEXT SECONDS");
        return Ok(());
    };
    let key = Sm2Key::from_pem_or_hex(&std::fs::read_to_string(key)?)?;
    let (_, form) = key.decrypt(text, None)?;
    let (began, length) = (Instant::now(), Duration::from_secs_f64(seconds.parse()?));
    let mut opened = 0_u64;
    while began.elapsed() < length {
        std::hint::black_box(key.decrypt(std::hint::black_box(text), Some(form))?);
        opened += 1;
    }
    println!("{{\"opened\":{opened},\"seconds\":{:.6}}}", began.elapsed().as_secs_f64());
    Ok(())
}
