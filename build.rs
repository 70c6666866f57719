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
    fs::write(folder.join("web.rs"), embedded("target/web")).expect("OUT_DIR is writable");
    let launchers = embedded("target/launcher");
    fs::write(folder.join("launcher.rs"), launchers).expect("OUT_DIR is writable");
    ExitCode::SUCCESS
}

/// A list of the files of a folder with their bytes, as Rust. What Rust does not build is built
/// before it, by `make`; where it was not, the folder is made, so that cargo sees when it is filled.
fn embedded(folder: &str) -> String {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let folder = root.join(folder);
    fs::create_dir_all(&folder).expect("the folder of built files can be made");
    println!("cargo:rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(&folder).expect("the folder of built files is readable");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry is readable").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let item = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        format!("({name:?}, include_bytes!({:?}).as_slice()),", path.to_string_lossy())
    };
    format!("&[{}]", files.iter().map(item).collect::<String>())
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
