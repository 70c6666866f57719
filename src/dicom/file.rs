//! The head of a Part 10 file (PS3.10 7.1): written before what arrives, read from what is sent.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use dicom_object::meta::{FileMetaTable, FileMetaTableBuilder};
use forepost_cache::Uid;

use super::{AeTitle, IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION};
use crate::fault::Fault;

/// Bytes before the prefix `DICM`; they mean nothing.
const PREAMBLE_BYTES: usize = 128;

/// The head of the file of an object that a peer sent: its data set follows as it comes.
pub fn file_head(
    class: &str,
    instance: &Uid,
    syntax: &str,
    source: &AeTitle,
) -> Result<Vec<u8>, Fault> {
    let failed = |error: dicom_object::meta::Error| Fault::ours("file head", error.to_string());
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(class)
        .media_storage_sop_instance_uid(instance.as_str())
        .transfer_syntax(syntax)
        .implementation_class_uid(IMPLEMENTATION_CLASS)
        .implementation_version_name(IMPLEMENTATION_VERSION)
        .source_application_entity_title(source.to_string())
        .build()
        .map_err(failed)?;
    let mut bytes = vec![0; PREAMBLE_BYTES];
    bytes.extend_from_slice(b"DICM");
    meta.write(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// A file that can be sent as it lies.
#[derive(Debug)]
pub struct StoredFile {
    /// SOP Class UID.
    pub class: String,
    /// SOP Instance UID.
    pub instance: Uid,
    /// Transfer Syntax UID of its data set.
    pub syntax: String,
    data_set: BufReader<File>,
}

impl StoredFile {
    /// Opens a Part 10 file and reads its head.
    pub fn open(path: &Path) -> io::Result<StoredFile> {
        let odd = |words: String| io::Error::new(io::ErrorKind::InvalidData, words);
        let mut file = BufReader::new(File::open(path)?);
        file.seek(SeekFrom::Start(PREAMBLE_BYTES as u64))?;
        let meta = FileMetaTable::from_reader(&mut file)
            .map_err(|error| odd(format!("no DICOM file (PS3.10): {error}")))?;
        let instance = Uid::try_from(meta.media_storage_sop_instance_uid())
            .map_err(|error| odd(format!("its SOP Instance UID: {error}")))?;
        Ok(StoredFile {
            class: meta.media_storage_sop_class_uid().to_owned(),
            instance,
            syntax: meta.transfer_syntax().to_owned(),
            data_set: file,
        })
    }

    /// The next bytes of the data set; none at its end.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.data_set.read(&mut bytes[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_back_and_the_data_set_begins_behind_it() {
        let (class, syntax) = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1");
        let (instance, title) = (Uid::try_from("2.25.7").unwrap(), "REGION".try_into().unwrap());
        let head = file_head(class, &instance, syntax, &title).unwrap();
        assert_eq!(&head[128..132], b"DICM");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.dcm");
        std::fs::write(&path, [&head[..], b"the data set"].concat()).unwrap();
        let mut file = StoredFile::open(&path).unwrap();
        assert_eq!((file.class.as_str(), file.syntax.as_str()), (class, syntax));
        assert_eq!(file.instance, instance);
        let mut bytes = [0; 64];
        let read = file.read(&mut bytes).unwrap();
        assert_eq!(&bytes[..read], b"the data set");
        std::fs::write(&path, b"nothing of the kind").unwrap();
        assert!(StoredFile::open(&path).is_err());
    }
}
