//! `forepost certificate`: an authority of the hospital's own, and the certificate of our doors.
//!
//! Desktop notifications, HTTP/2 and a launcher that logs out unseen need HTTPS, and no public
//! authority signs for addresses inside a hospital. The authority made here can sign for servers of
//! the given names alone (RFC 5280, 4.2.1.10 and 4.2.1.12), so that a workstation that trusts it
//! trusts it for nothing else, whoever may steal its key.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData,
};

use super::{DONE, fail};
use crate::clock;
use crate::model::{Time, UtcOffset};

/// Days for which the authority is good: as long as the hardware.
const AUTHORITY_DAYS: i64 = 3_650;

/// Days for which a door's certificate is good; it is made again by the same verb.
const DOOR_DAYS: i64 = 825;

/// Names of one door.
const NAMES_MAX: usize = 32;

/// What `certificate` takes.
#[derive(Args)]
pub struct CertificateArguments {
    /// Names and addresses by which workstations and the HIS reach this machine. Without any, a new
    /// certificate for the same names is made, when the old one runs out.
    names: Vec<String>,
    /// Where authority and certificate lie.
    #[arg(long, default_value = "/etc/forepost/tls")]
    folder: PathBuf,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateFault {
    /// Neither a host name nor an address.
    #[error("`{0}` is neither a host name nor an address")]
    Name(String),
    /// No name, or too many.
    #[error("give the names and addresses of this machine, one to {NAMES_MAX}")]
    Count,
    /// The authority signs for other names.
    #[error(
        "the authority in {folder} signs for {names} alone; for other names make one in another \
         folder (--folder), and have the workstations trust that one"
    )]
    Other { folder: String, names: String },
    /// There is an authority, and its key is elsewhere.
    #[error(
        "authority.key is not in {folder}: put it back for this, or make another authority in \
         another folder (--folder), which every workstation must trust anew"
    )]
    NoKey { folder: String },
    /// A file.
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    /// A key that cannot be read, or a certificate that cannot be made.
    #[error("{0}")]
    Make(#[from] rcgen::Error),
}

/// Runs the verb.
pub fn run(arguments: &CertificateArguments) -> u8 {
    match make(&arguments.folder, &arguments.names, clock::now()) {
        Ok(names) => {
            let at = |name: &str| arguments.folder.join(name).display().to_string();
            println!(
                "Made for {}, for {DOOR_DAYS} days.\n\nIn the configuration, [zone.hospital]:\n\n  \
                 listen_tls = \"0.0.0.0:443\"\n  certificate = \"{}\"\n  certificate_key = \
                 \"{}\"\n\nThe service must be able to read the key: chgrp forepost {2}\nOn \
                 workstations, trust {} (group policy: Trusted Root Certification Authorities). It \
                 signs for these names alone.",
                names.join(", "),
                at("door.pem"),
                at("door.key"),
                at("authority.pem"),
            );
            DONE
        }
        Err(fault) => fail(fault),
    }
}

/// Makes the authority where there is none, and in any case a new certificate. Gives its names.
pub(super) fn make(
    folder: &Path,
    names: &[String],
    now: Time,
) -> Result<Vec<String>, CertificateFault> {
    fs::create_dir_all(folder).map_err(file(folder))?;
    let known = folder.join("names");
    let names = match fs::read_to_string(&known) {
        Ok(text) => {
            let own: Vec<String> = text.lines().map(str::to_owned).collect();
            if names.iter().any(|name| !own.contains(name)) {
                let folder = folder.display().to_string();
                return Err(CertificateFault::Other { folder, names: own.join(", ") });
            }
            own
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => names.to_vec(),
        Err(error) => return Err(file(&known)(error)),
    };
    if names.is_empty() || names.len() > NAMES_MAX {
        return Err(CertificateFault::Count);
    }
    if let Some(odd) = names.iter().find(|name| !is_name(name)) {
        return Err(CertificateFault::Name(odd.clone()));
    }
    let key_path = folder.join("authority.key");
    let key = match fs::read_to_string(&key_path) {
        Ok(pem) => KeyPair::from_pem(&pem)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if folder.join("authority.pem").exists() {
                return Err(CertificateFault::NoKey { folder: folder.display().to_string() });
            }
            let key = KeyPair::generate()?;
            let certificate = authority(&names, &key, now)?.self_signed(&key)?;
            // The certificate comes last: without it everything is made anew.
            write(&known, 0o644, &(names.join("\n") + "\n"))?;
            write(&key_path, 0o600, &key.serialize_pem())?;
            write(&folder.join("authority.pem"), 0o644, &certificate.pem())?;
            key
        }
        Err(error) => return Err(file(&key_path)(error)),
    };
    let issuer = Issuer::new(authority(&names, &key, now)?, key);
    let door_key = KeyPair::generate()?;
    let door = door(&names, now)?.signed_by(&door_key, &issuer)?;
    write(&folder.join("door.key"), 0o640, &door_key.serialize_pem())?;
    write(&folder.join("door.pem"), 0o644, &door.pem())?;
    Ok(names)
}

/// The authority as its certificate says it; it is called by its key, so that two are told apart.
fn authority(
    names: &[String],
    key: &KeyPair,
    now: Time,
) -> Result<CertificateParams, rcgen::Error> {
    let mut about = CertificateParams::new(Vec::new())?;
    let print = digest::digest(&digest::SHA256, &key.subject_public_key_info());
    let print = hex::encode(&print.as_ref()[..4]);
    about.distinguished_name.push(DnType::CommonName, format!("Forepost authority {print}"));
    about.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    about.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    about.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let subtree = |name: &String| match name.parse::<IpAddr>() {
        Ok(address) => GeneralSubtree::IpAddress(match address {
            IpAddr::V4(_) => CidrSubnet::from_addr_prefix(address, 32),
            IpAddr::V6(_) => CidrSubnet::from_addr_prefix(address, 128),
        }),
        Err(_) => GeneralSubtree::DnsName(name.clone()),
    };
    let permitted_subtrees: Vec<_> = names.iter().map(subtree).collect();
    // A kind of name of which none is permitted would be free: then none at all is.
    let mut excluded_subtrees = Vec::new();
    let has =
        |is_address: bool| names.iter().any(|one| one.parse::<IpAddr>().is_ok() == is_address);
    if !has(true) {
        excluded_subtrees.extend(
            [CidrSubnet::V4([0; 4], [0; 4]), CidrSubnet::V6([0; 16], [0; 16])]
                .map(GeneralSubtree::IpAddress),
        );
    }
    if !has(false) {
        excluded_subtrees.push(GeneralSubtree::DnsName(String::new()));
    }
    about.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees });
    good(&mut about, now, AUTHORITY_DAYS);
    Ok(about)
}

fn door(names: &[String], now: Time) -> Result<CertificateParams, rcgen::Error> {
    let mut about = CertificateParams::new(names.to_vec())?;
    // No name: some readers take one with a dot here for another name of the door.
    about.distinguished_name.push(DnType::CommonName, "Forepost");
    about.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    about.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    about.use_authority_key_identifier_extension = true;
    good(&mut about, now, DOOR_DAYS);
    Ok(about)
}

/// Good for so many days from now, and from the day before: workstations' clocks are minutes late.
fn good(about: &mut CertificateParams, now: Time, days: i64) {
    let offset = UtcOffset::from_minutes(0).unwrap_or_else(UtcOffset::china);
    let day = |days: i64| {
        let date = now.plus_ms(days * 86_400_000).wall(offset).date();
        rcgen::date_time_ymd(i32::from(date.year()), date.month() as u8, date.day() as u8)
    };
    (about.not_before, about.not_after) = (day(-1), day(days));
}

/// A host name (RFC 1123, 2.1) or an address.
pub(super) fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label))
}

/// Writes a file whole, or leaves the old one, whose owner and group the new one gets.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), CertificateFault> {
    let beside = path.with_extension("new");
    let done = || {
        let _ = fs::remove_file(&beside);
        let mut new =
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        if let Ok(old) = fs::metadata(path) {
            std::os::unix::fs::fchown(&new, Some(old.uid()), Some(old.gid()))?;
        }
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&beside, path)
    };
    done().map_err(file(path))
}

fn file(path: &Path) -> impl Fn(std::io::Error) -> CertificateFault + '_ {
    |source| CertificateFault::File { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_names_and_addresses() {
        for name in ["front", "front.hospital.local", "10.1.2.3", "::1", "a-b.c"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "a..b", "-a", "a-", "a b", "*.a", "http://a", "院", "a/b"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn an_authority_signs_again_for_its_own_names_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, now) = (folder.path(), Time(1_790_000_000_000));
        assert!(matches!(make(path, &[], now), Err(CertificateFault::Count)));
        let names = ["front.local".to_owned(), "192.0.2.1".to_owned()];
        let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
        assert_eq!(make(path, &names, now).unwrap(), names);
        let before = (read("authority.pem"), read("door.pem"));
        assert_eq!(make(path, &[], now).unwrap(), names);
        assert_eq!(read("authority.pem"), before.0);
        assert_ne!(read("door.pem"), before.1);
        // With the key in a safe nothing is made, and nothing is lost.
        fs::rename(path.join("authority.key"), path.join("safe")).unwrap();
        assert!(matches!(make(path, &[], now), Err(CertificateFault::NoKey { .. })));
        assert_eq!(read("authority.pem"), before.0);
        fs::rename(path.join("safe"), path.join("authority.key")).unwrap();
        let other = make(path, &["other.local".to_owned()], now);
        assert!(matches!(other, Err(CertificateFault::Other { .. })));
        assert!(matches!(make(path, &["x y".into()], now), Err(CertificateFault::Other { .. })));
    }
}
