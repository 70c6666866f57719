//! Everything that was answered goes to the disk, in an order that a power cut may break anywhere.
//!
//! Each file is written beside its place, synced, and renamed, so it is the old one or the new one.
//! The configuration comes last, because nothing starts without it: secrets, certificate, sockets,
//! a copy of the configuration before, then the configuration. A run that was cut off is run again.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::compose::{Composed, NewFile};
use super::site::Site;
use crate::model::{Time, UtcOffset};
use crate::verbs::certificate;
use crate::verbs::whole::{self, Owner, sync_folder_of};

/// Mode of what only root and the service may read.
const SECRET: u32 = 0o640;
/// Mode of what anybody may read.
const PUBLIC: u32 = 0o644;

/// Copies of one second that are told apart.
const COPIES_MAX: usize = 9;

/// Why not everything was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteFault {
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] certificate::CertificateFault),
}

/// One line of what was done, or would be.
#[derive(Debug, PartialEq)]
pub struct Done {
    /// Which file, as seen from inside.
    pub path: PathBuf,
    /// Its mode.
    pub mode: u32,
    /// Whether it was as it should be already.
    pub same: bool,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// Every file.
    pub files: Vec<Done>,
    /// Where the configuration before went.
    pub copy: Option<PathBuf>,
    /// Whether a socket has another address than before.
    pub moved: bool,
}

/// What stands in the way of a certificate for these names: those that the authority that is there
/// does not sign for.
pub fn unsigned_names(composed: &Composed, site: &Site) -> Vec<String> {
    let known = site.certificate_names(&composed.tls).unwrap_or_default();
    if known.is_empty() {
        return Vec::new();
    }
    composed.names.iter().filter(|name| !known.contains(name)).cloned().collect()
}

/// Moves the folder of another authority out of the way; what it signed stays good until it ends.
pub fn put_authority_aside(composed: &Composed, site: &Site, now: Time) -> Result<(), WriteFault> {
    let folder = site.at(&composed.tls);
    let aside = folder.with_extension(stamp(now));
    fs::rename(&folder, &aside).map_err(fault(&folder))?;
    sync_folder_of(&folder).map_err(fault(&folder))
}

/// What would be written.
pub fn planned(composed: &Composed, site: &Site) -> Vec<Done> {
    let files = composed.files.iter().map(|file| done(file, site));
    let door = composed.tls.join("door.pem");
    let tls = ["authority.pem", "authority.key", "door.pem", "door.key"].into_iter();
    let tls = tls.filter(|_| needs_certificate(composed, site) && !door.as_os_str().is_empty());
    let tls = tls.map(|name| Done {
        path: composed.tls.join(name),
        mode: match name {
            "authority.key" => 0o600,
            "door.key" => SECRET,
            _ => PUBLIC,
        },
        same: false,
    });
    let config = done(&config_file(composed, site), site);
    files.chain(tls).chain([config]).collect()
}

/// Writes everything.
pub fn write(composed: &Composed, site: &Site, now: Time) -> Result<Written, WriteFault> {
    let group = site.group();
    let mut written = Written::default();
    make_folder(&site.at(&site.folder)).map_err(fault(&site.folder))?;
    let (sockets, secrets): (Vec<&NewFile>, Vec<&NewFile>) =
        composed.files.iter().partition(|file| !file.path.starts_with(&site.folder));
    for file in secrets {
        written.files.push(put(file, site, group)?);
    }
    if needs_certificate(composed, site) {
        let folder = site.at(&composed.tls);
        make_folder(&folder).map_err(fault(&folder))?;
        certificate::make(&folder, &composed.names, now)?;
        let key = folder.join("door.key");
        let owner = Owner { group, ..Owner::default() };
        File::open(&key).and_then(|file| owner.take(&file, SECRET)).map_err(fault(&key))?;
        sync_folder_of(&key).map_err(fault(&key))?;
        let made = [("authority.pem", PUBLIC), ("authority.key", 0o600), ("door.pem", PUBLIC)];
        let made = made.into_iter().chain([("door.key", SECRET)]);
        let made = made.map(|(name, mode)| (composed.tls.join(name), mode));
        written.files.extend(made.map(|(path, mode)| Done { path, mode, same: false }));
    }
    for file in sockets {
        let one = put(file, site, group)?;
        written.moved |= !one.same;
        written.files.push(one);
    }
    let config = config_file(composed, site);
    if !done(&config, site).same {
        written.copy = keep_present(site, now)?;
    }
    written.files.push(put(&config, site, group)?);
    Ok(written)
}

fn needs_certificate(composed: &Composed, site: &Site) -> bool {
    !composed.names.is_empty() && !site.at(&composed.tls).join("door.pem").exists()
}

fn config_file(composed: &Composed, site: &Site) -> NewFile {
    NewFile { path: site.config.clone(), text: composed.text.clone(), secret: false }
}

fn done(file: &NewFile, site: &Site) -> Done {
    let at = site.at(&file.path);
    let found = fs::metadata(&at).map(|found| found.mode() & 0o777).ok();
    let wanted = if file.secret { SECRET } else { PUBLIC };
    // A hand that made the configuration harder to read had its reason.
    let mode = found.filter(|found| !file.secret && found & !PUBLIC == 0).unwrap_or(wanted);
    let same_text = fs::read(&at).is_ok_and(|there| there == file.text.as_bytes());
    Done { path: file.path.clone(), mode, same: same_text && found == Some(mode) }
}

fn put(file: &NewFile, site: &Site, group: Option<u32>) -> Result<Done, WriteFault> {
    let one = done(file, site);
    let at = site.at(&file.path);
    let owned = fs::metadata(&at)
        .is_ok_and(|found| !file.secret || group.is_none_or(|group| found.gid() == group));
    if one.same && owned {
        return Ok(one);
    }
    let folder = at.parent().unwrap_or(Path::new("/"));
    make_folder(folder).map_err(fault(folder))?;
    let group = group.filter(|_| file.secret);
    let owner = Owner { group, ..Owner::default() };
    whole::put(&at, file.text.as_bytes(), one.mode, owner).map_err(fault(&at))?;
    Ok(Done { same: false, ..one })
}

/// The copy of the configuration before, under a name with its moment.
fn keep_present(site: &Site, now: Time) -> Result<Option<PathBuf>, WriteFault> {
    let at = site.at(&site.config);
    let text = match fs::read(&at) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(&at)(error)),
    };
    let mode = fs::metadata(&at).map_err(fault(&at))?.mode() & 0o777;
    let name = format!("{}.{}", site.config.display(), stamp(now));
    let names = (1..=COPIES_MAX).map(|count| match count {
        1 => PathBuf::from(&name),
        more => PathBuf::from(format!("{name}.{more}")),
    });
    let mut free = names.filter(|copy| !site.at(copy).exists());
    let copy = free.next().unwrap_or_else(|| PathBuf::from(&name));
    whole::put(&site.at(&copy), &text, mode, Owner::default()).map_err(fault(&copy))?;
    Ok(Some(copy))
}

/// The hospital's wall clock, as part of a file's name.
fn stamp(now: Time) -> String {
    now.wall(UtcOffset::china()).strftime("%Y%m%d-%H%M%S").to_string()
}

/// A folder that everybody may list, whatever the mask of this session is.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    sync_folder_of(path)
}

fn fault(path: &Path) -> impl Fn(io::Error) -> WriteFault + '_ {
    |source| WriteFault::File { path: path.display().to_string(), source }
}
