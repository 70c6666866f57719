//! The configuration file of an appliance under test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What an appliance is set up with. Everything not named stands at its default: one hospital
/// `123456`, one caller on 127.0.0.1 that pushes and reads.
#[derive(Debug, Clone)]
pub struct Setup {
    pub hospitals: String,
    pub callers: String,
    pub sources: Vec<String>,
    /// Lines of the file's root, before its tables.
    pub root: String,
    /// Tables at its end.
    pub more: String,
    /// Lines of `[zone.hospital]`.
    pub hospital_zone: String,
    /// Files beside the configuration: name, content. Readable by the owner only.
    pub files: Vec<(&'static str, String)>,
    /// Where the data lies, when not beside the configuration.
    pub data: Option<PathBuf>,
    pub log: &'static str,
    /// `forepost.toml` is there already, because the product wrote it.
    pub written: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            hospitals: "[[hospital]]\ncode = \"123456\"\nnames = [\"本市第一人民医院\"]\n".into(),
            callers: "[[caller]]\nname = \"his\"\naddresses = [\"127.0.0.1\"]\npush = true\n\
                      images = true\n"
                .into(),
            sources: Vec::new(),
            root: String::new(),
            more: String::new(),
            hospital_zone: "listen = \"127.0.0.1:0\"\n".into(),
            files: Vec::new(),
            data: None,
            log: "debug",
            written: false,
        }
    }
}

impl Setup {
    /// With these `[[source]]` tables, in this order.
    pub fn with(sources: &[String]) -> Setup {
        Setup { sources: sources.to_vec(), ..Setup::default() }
    }

    /// With these `[[destination]]` tables, in this order.
    pub fn sending(destinations: &[String]) -> Setup {
        Setup { more: destinations.concat(), ..Setup::default() }
    }

    /// Where the data of an appliance in `folder` lies.
    pub fn data(&self, folder: &Path) -> PathBuf {
        self.data.clone().unwrap_or_else(|| folder.join("data"))
    }

    /// Writes the configuration and its files into `folder`. `{folder}` stands for it in texts.
    pub fn write(&self, folder: &Path) -> PathBuf {
        if self.written {
            return folder.join("forepost.toml");
        }
        let mut text = format!("data = \"{}\"\n{}", self.data(folder).display(), self.root);
        text.push_str(&self.hospitals);
        text.push_str(&format!("[zone.hospital]\n{}", self.hospital_zone));
        text.push_str("[zone.console]\nlisten = \"127.0.0.1:0\"\n");
        text.push_str(&self.callers);
        text.push_str(&self.sources.concat());
        text.push_str(&self.more);
        // How full the disk of the tests is says nothing: what leaves by it is tried on disks of
        // their own.
        if self.data.is_none() && !text.contains("[eviction]") && !text.contains("\ncache =") {
            text.push_str("[eviction]\nhigh_percent = 99\nlow_percent = 98\n");
        }
        let text = text.replace("{folder}", &folder.display().to_string());
        for (name, content) in &self.files {
            write_private(&folder.join(name), content);
        }
        let path = folder.join("forepost.toml");
        write_private(&path, &text);
        path
    }
}

fn write_private(path: &Path, content: &str) {
    fs::write(path, content).expect("a file of the set-up can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
}
