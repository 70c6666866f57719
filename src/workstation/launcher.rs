//! The launcher as a workstation downloads it: what `make launcher` built, with the address by
//! which the workstation reached us written into it.
//!
//! The program cannot ask for its server, and the name of a downloaded file is the user's; so there
//! is a block of [`LAUNCHER_BLOCK_BYTES`] in it that begins with [`MARK`] and is empty behind it.

use axum::body::Body;
use http::{Request, Response, StatusCode};
use include_dir::{Dir, File, include_dir};
use memchr::memmem;

use super::setup::{file, own_address};
use crate::http::bare;
use crate::limits::LAUNCHER_BLOCK_BYTES;

/// What `make launcher` built; nothing where that was not done before this binary.
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/target/launcher");

/// How the block begins.
const MARK: &[u8] = b"FOREPOST-ADDRESS:";

/// Where the launcher for Windows installs itself.
pub(super) const WINDOWS_PATH: &str = "%LOCALAPPDATA%\\Forepost\\forepost.exe";

/// Where the launcher for Linux installs itself.
pub(super) const LINUX_PATH: &str = "$HOME/.local/bin/forepost-launcher";

/// The names under which they are offered.
const WINDOWS_NAME: &str = "forepost-launcher.exe";
const LINUX_NAME: &str = "forepost-launcher";

/// What this build offers, each with the system that it is for.
pub(super) fn offered() -> Vec<(&'static str, String)> {
    // Built on the machine that built this binary, for its processor.
    let linux = format!("Linux {}", std::env::consts::ARCH);
    let all = [(WINDOWS_NAME, "Windows 7+".to_owned()), (LINUX_NAME, linux)];
    all.into_iter().filter(|(name, _)| program(name).is_some()).collect()
}

pub(super) async fn windows(request: Request<Body>) -> Response<Body> {
    answer(request, WINDOWS_NAME)
}

pub(super) async fn linux(request: Request<Body>) -> Response<Body> {
    answer(request, LINUX_NAME)
}

fn program(name: &str) -> Option<&'static [u8]> {
    FILES.get_file(name).map(File::contents)
}

fn answer(request: Request<Body>, name: &str) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let Some(program) = program(name) else { return bare(StatusCode::NOT_FOUND) };
    match own_address(&parts).and_then(|own| addressed(program, &own)) {
        Some(program) => file(name, program),
        None => bare(StatusCode::BAD_REQUEST),
    }
}

/// The program with the address in its block; `None` when there is no block, or when the address
/// would leave no zero behind it.
fn addressed(program: &[u8], address: &str) -> Option<Vec<u8>> {
    let block = memmem::find(program, MARK)?;
    let (from, end) = (block + MARK.len(), block + LAUNCHER_BLOCK_BYTES);
    if address.len() >= end - from || program.len() < end {
        return None;
    }
    let mut program = program.to_vec();
    program[from..end].fill(0);
    program[from..from + address.len()].copy_from_slice(address.as_bytes());
    Some(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LOGIN_BYTES_MAX;

    #[test]
    fn the_launcher_has_our_numbers_and_our_mark() {
        let header = include_str!("../../launcher/launcher.h");
        for (name, number) in
            [("ADDRESS_BLOCK_BYTES", LAUNCHER_BLOCK_BYTES), ("LOGIN_BYTES_MAX", LOGIN_BYTES_MAX)]
        {
            assert!(header.contains(&format!("#define {name} {number}\n")), "{name}");
        }
        let mark = format!("#define MARK \"{}\"", String::from_utf8_lossy(MARK));
        assert!(include_str!("../../launcher/launcher.c").contains(&mark));
        for program in FILES.files().map(File::contents) {
            assert_eq!(memmem::find_iter(program, MARK).count(), 1, "one block, and no other mark");
        }
    }

    #[test]
    fn an_address_is_written_into_the_block_and_nowhere_else() {
        let room = LAUNCHER_BLOCK_BYTES - MARK.len();
        let program = [b"before", MARK, &vec![0; room], b"behind"].concat();
        let longest = "h".repeat(room - 1);
        for address in ["", "http://h", &longest] {
            let written = addressed(&program, address).unwrap();
            let expected = [
                b"before".as_slice(),
                MARK,
                address.as_bytes(),
                &vec![0; room - address.len()],
                b"behind",
            ];
            assert_eq!(written, expected.concat());
            // One that was filled before is filled anew.
            assert_eq!(addressed(&written, "").unwrap(), program);
        }
        assert_eq!(addressed(&program, &"h".repeat(room)), None);
        for cut in 0..program.len() - b"behind".len() {
            assert_eq!(addressed(&program[..cut], "http://h"), None, "{cut}");
        }
    }
}
