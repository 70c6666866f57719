//! Compiles `interfaces/` into the static table that `src/catalog` includes.
//!
//! The output depends on the texts alone: files are sorted, no date, no path of the machine.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

#[path = "src/catalog/compile.rs"]
mod compile;
#[path = "src/catalog/generate.rs"]
mod generate;
#[path = "src/catalog/schema.rs"]
mod schema;
// The compiler writes these structs as text and builds none of them.
#[allow(dead_code)]
#[path = "src/catalog/table.rs"]
mod table;

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=interfaces\ncargo:rerun-if-changed=src/catalog");
    let sources = read(Path::new("interfaces")).expect("interfaces/ is readable");
    let code = match compile::compile(&sources) {
        Ok(code) => code,
        Err(diagnostics) => {
            diagnostics.iter().for_each(|it| eprintln!("{it}"));
            return ExitCode::FAILURE;
        }
    };
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(folder.join("catalog.rs"), code).expect("OUT_DIR is writable");
    // What Rust does not build is built before it, by `make`, and taken in by `include_dir!`. Where
    // it was not, the folder is made, so that cargo sees when it is filled.
    for built in ["target/web", "target/launcher"] {
        fs::create_dir_all(built).expect("target/ is writable");
        println!("cargo:rerun-if-changed={built}");
    }
    ExitCode::SUCCESS
}

/// All texts below `folder`, one level of systems deep.
fn read(folder: &Path) -> io::Result<Vec<(String, String)>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources.extend(read(&path)?);
        } else {
            sources.push((path.to_string_lossy().into_owned(), fs::read_to_string(&path)?));
        }
    }
    sources.sort();
    Ok(sources)
}
