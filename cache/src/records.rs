//! `study.records`: the truth of what is whole in a study folder.
//!
//! On disk: 8 bytes `FPRECORD`, version as u32; then one record an instance: length u32, CRC-32
//! u32, payload of that length. All numbers are little endian. Payload version 1: version u8,
//! file bytes u64, file CRC-32 u32, series number i32, instance number i32, rows u32, columns
//! u32, frames u32, texts (u16 length and UTF-8 each: SOP, series, study, class, transfer syntax,
//! then [`Texts`] in its order), and the DICOM JSON to the end. Version 2 has before the JSON the
//! places of the frames: length u32 and the form of `pixels`, of length 0 where there are too many
//! to be kept. A file's version is the highest of its payloads; payloads of 1 stay as they are.
//!
//! What must hold: only appended to, by one arrival at a time, or made anew as a whole when
//! instances are taken out (see `leaving`); what lies behind the first record
//! that is not whole is left out when read and cut off when next written. After a crash that was
//! never listed; where the disk itself damaged a record, the objects behind it lie on without
//! one, and `rebuild` takes them in again. A file of a newer version is refused untouched.
//!
//! Refused: the JSON alone as the record (a listing would have to parse megabytes), rows in sled
//! (1.5 GB a million instances, and lost in a power cut).

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::FileExt;

use crate::error::CacheError;
use crate::header::{Header, Texts};
use crate::limits::RECORD_BYTES_MAX;
use crate::pixels::Pixels;
use crate::uid::Uid;

const MAGIC: &[u8; 8] = b"FPRECORD";
/// The newest version, of files and payloads alike.
const VERSION: u32 = 2;
/// Bytes before the first record.
pub(crate) const FRONT_BYTES: u64 = 12;
/// Bytes before a record's payload.
const RECORD_FRONT_BYTES: u64 = 8;

/// The bytes that begin a records file.
pub(crate) fn front() -> [u8; FRONT_BYTES as usize] {
    let mut front = [0; FRONT_BYTES as usize];
    front[..8].copy_from_slice(MAGIC);
    front[8..].copy_from_slice(&VERSION.to_le_bytes());
    front
}

/// Says in an older file that records of this version follow; `Ok(false)`: it says so already. To
/// be synced before such a record, or an older program would take it for a torn one and cut it off.
pub(crate) fn raise_version(file: &File) -> std::io::Result<bool> {
    let mut version = [0; 4];
    file.read_exact_at(&mut version, MAGIC.len() as u64)?;
    if u32::from_le_bytes(version) >= VERSION {
        return Ok(false);
    }
    file.write_all_at(&VERSION.to_le_bytes(), MAGIC.len() as u64)?;
    Ok(true)
}

/// Where a record lies in its file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// Offset of the record's length field.
    pub(crate) at: u64,
    /// Bytes of the payload.
    pub(crate) bytes: u32,
    /// Bytes of the payload before the JSON.
    pub(crate) fixed: u32,
}

/// Appends one record to `out`; `at` of the answer is relative to the start of `out`. JSON that
/// would pass [`RECORD_BYTES_MAX`] cannot come from the data set reader.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    header: &Header,
    bytes: u64,
    crc32: u32,
    pixels: Option<&Pixels>,
    json: &[u8],
) -> Result<Span, CacheError> {
    let at = out.len();
    out.extend_from_slice(&[0; RECORD_FRONT_BYTES as usize]);
    out.push(VERSION as u8);
    out.extend_from_slice(&bytes.to_le_bytes());
    out.extend_from_slice(&crc32.to_le_bytes());
    out.extend_from_slice(&header.series_number.to_le_bytes());
    out.extend_from_slice(&header.instance_number.to_le_bytes());
    for number in [header.rows, header.columns, header.frames] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let ids = [
        header.sop.as_str(),
        header.series.as_str(),
        header.study.as_str(),
        &header.class,
        &header.transfer_syntax,
    ];
    for text in ids.into_iter().chain(header.texts.all()) {
        put_text(out, text);
    }
    let places = out.len();
    out.extend_from_slice(&[0; 4]);
    if let Some(pixels) = pixels {
        pixels.encode(out);
    }
    let length = (out.len() - places - 4) as u32;
    out[places..places + 4].copy_from_slice(&length.to_le_bytes());
    let body = at + RECORD_FRONT_BYTES as usize;
    let fixed = (out.len() - body) as u32;
    out.extend_from_slice(json);
    let payload = out.len() - body;
    if payload > RECORD_BYTES_MAX as usize {
        out.truncate(at);
        return Err(CacheError::TooLarge {
            what: "record of an instance",
            limit: u64::from(RECORD_BYTES_MAX),
        });
    }
    let crc = crc32fast::hash(&out[body..]);
    out[at..at + 4].copy_from_slice(&(payload as u32).to_le_bytes());
    out[at + 4..body].copy_from_slice(&crc.to_le_bytes());
    Ok(Span { at: at as u64, bytes: payload as u32, fixed })
}

/// Writes a text with its length. Texts are bounded far below the field's width.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Reads numbers and texts off the front of a payload; `None` where it ends early.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|b| b[0])
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(self.take().map(u16::from_le_bytes)?);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok()
    }

    pub(crate) fn uid(&mut self) -> Option<Uid> {
        Uid::try_from(self.text()?).ok()
    }
}

/// The beginning of a record's payload; the texts are decoded only where they are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Record<'a> {
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
    pub(crate) series_number: i32,
    pub(crate) instance_number: i32,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) frames: u32,
    pub(crate) sop: Uid,
    pub(crate) series: Uid,
    pub(crate) study: Uid,
    pub(crate) class: &'a str,
    pub(crate) transfer_syntax: &'a str,
    texts: &'a [u8],
    /// Where its frames lie, if that is kept.
    pub(crate) pixels: Option<Pixels>,
    /// Bytes before the JSON.
    pub(crate) fixed: u32,
}

impl<'a> Record<'a> {
    /// Decodes a payload whose CRC was right; `None` if it is none of ours.
    pub(crate) fn decode(payload: &'a [u8]) -> Option<Record<'a>> {
        let mut fields = Fields(payload);
        let version = fields.u8()?;
        if version == 0 || u32::from(version) > VERSION {
            return None;
        }
        let mut record = Record {
            bytes: fields.u64()?,
            crc32: fields.u32()?,
            series_number: fields.i32()?,
            instance_number: fields.i32()?,
            rows: fields.u32()?,
            columns: fields.u32()?,
            frames: fields.u32()?,
            sop: fields.uid()?,
            series: fields.uid()?,
            study: fields.uid()?,
            class: fields.text()?,
            transfer_syntax: fields.text()?,
            texts: &[],
            pixels: None,
            fixed: 0,
        };
        let texts = fields.0;
        for _ in 0..Texts::COUNT {
            fields.text()?;
        }
        record.texts = &texts[..texts.len() - fields.0.len()];
        if version >= 2 {
            let length = fields.u32()? as usize;
            let (places, rest) = fields.0.split_at_checked(length)?;
            fields.0 = rest;
            record.pixels = Pixels::decode(places, record.bytes);
        }
        record.fixed = (payload.len() - fields.0.len()) as u32;
        Some(record)
    }

    /// The whole header.
    pub(crate) fn header(&self) -> Header {
        let mut texts = Texts::default();
        let mut fields = Fields(self.texts);
        for field in texts.all_mut() {
            field.push_str(fields.text().unwrap_or_default());
        }
        Header {
            study: self.study.clone(),
            series: self.series.clone(),
            sop: self.sop.clone(),
            class: self.class.to_owned(),
            transfer_syntax: self.transfer_syntax.to_owned(),
            series_number: self.series_number,
            instance_number: self.instance_number,
            rows: self.rows,
            columns: self.columns,
            frames: self.frames,
            texts,
        }
    }
}

/// How far a records file could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes up to the end of the last whole record; 0 where even the front is torn.
    pub(crate) whole: u64,
    /// Bytes of the file.
    pub(crate) file: u64,
}

/// Reads all whole records of a file in order, giving each to `visit`.
pub(crate) fn scan(
    file: &File,
    visit: &mut dyn FnMut(Span, &Record) -> Result<(), CacheError>,
) -> Result<Extent, CacheError> {
    let failed = |error| CacheError::io("reading study records")(error);
    let size = file.metadata().map_err(failed)?.len();
    let mut reader = BufReader::with_capacity(256 << 10, At { file, at: 0 });
    let mut extent = Extent { whole: 0, file: size };
    if size < FRONT_BYTES {
        return Ok(extent);
    }
    let mut front = [0; FRONT_BYTES as usize];
    reader.read_exact(&mut front).map_err(failed)?;
    let version = u32::from_le_bytes([front[8], front[9], front[10], front[11]]);
    if &front[..8] != MAGIC {
        return Ok(extent);
    }
    if version == 0 || version > VERSION {
        let what = "study.records";
        return Err(CacheError::Version { what, got: version, expected: VERSION });
    }
    extent.whole = FRONT_BYTES;
    let mut payload = Vec::new();
    while extent.whole + RECORD_FRONT_BYTES <= size {
        let mut fields = [0; RECORD_FRONT_BYTES as usize];
        reader.read_exact(&mut fields).map_err(failed)?;
        let bytes = u32::from_le_bytes([fields[0], fields[1], fields[2], fields[3]]);
        let crc = u32::from_le_bytes([fields[4], fields[5], fields[6], fields[7]]);
        let end = extent.whole + RECORD_FRONT_BYTES + u64::from(bytes);
        if bytes > RECORD_BYTES_MAX || end > size {
            break;
        }
        payload.resize(bytes as usize, 0);
        reader.read_exact(&mut payload).map_err(failed)?;
        if crc32fast::hash(&payload) != crc {
            break;
        }
        let Some(record) = Record::decode(&payload) else { break };
        visit(Span { at: extent.whole, bytes, fixed: record.fixed }, &record)?;
        extent.whole = end;
    }
    Ok(extent)
}

/// Writes a records file of those records of another for which `kept` says so, byte for byte.
pub(crate) fn copy(
    from: &File,
    to: &mut dyn Write,
    kept: &dyn Fn(&Record) -> bool,
) -> Result<(), CacheError> {
    const STEP: &str = "copying study records";
    to.write_all(&front()).map_err(CacheError::io(STEP))?;
    let mut bytes = Vec::new();
    scan(from, &mut |span, record| {
        if !kept(record) {
            return Ok(());
        }
        bytes.resize(RECORD_FRONT_BYTES as usize + span.bytes as usize, 0);
        from.read_exact_at(&mut bytes, span.at)
            .and_then(|()| to.write_all(&bytes))
            .map_err(CacheError::io(STEP))
    })?;
    Ok(())
}

/// Appends the JSON of a record to `out`; `false` if the record is damaged.
pub(crate) fn read_json(file: &File, span: Span, out: &mut Vec<u8>) -> std::io::Result<bool> {
    let start = out.len();
    let bytes = span.bytes as usize;
    out.resize(start + RECORD_FRONT_BYTES as usize + bytes, 0);
    file.read_exact_at(&mut out[start..], span.at)?;
    let body = start + RECORD_FRONT_BYTES as usize;
    let crc = u32::from_le_bytes([out[start + 4], out[start + 5], out[start + 6], out[start + 7]]);
    if out[start..start + 4] != span.bytes.to_le_bytes() || crc32fast::hash(&out[body..]) != crc {
        out.truncate(start);
        return Ok(false);
    }
    out.drain(start..body + span.fixed as usize);
    Ok(true)
}

/// Reads from an offset of its own, so that a shared file's position is left alone.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read_at(into, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::{FrameSize, Met};

    fn header(n: i32) -> Header {
        let texts = Texts { patient_name: "Wang=王^小东".into(), ..Texts::default() };
        Header {
            study: Uid::try_from("1.2").unwrap(),
            series: Uid::try_from("1.2.3").unwrap(),
            sop: Uid::try_from(&*format!("1.2.3.{n}")).unwrap(),
            class: "1.2.840.10008.5.1.4.1.1.2".into(),
            transfer_syntax: "1.2.840.10008.1.2.1".into(),
            series_number: 2,
            instance_number: n,
            rows: 512,
            columns: 256,
            frames: 1,
            texts,
        }
    }

    /// Native, in fragments of three kinds, and not kept.
    fn pixels(n: i32) -> Option<Pixels> {
        let mut met = Met::default();
        match n {
            1 => met.value(200..900),
            2 => [300..400, 408..500, 508..510, 518..600]
                .into_iter()
                .for_each(|value| met.fragment(value, [0; 2])),
            _ => return None,
        }
        Some(met.pixels(2, FrameSize::default(), &[vec![0, 208]]))
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn written() -> (Vec<u8>, Vec<u64>) {
        let mut bytes = front().to_vec();
        let mut ends = vec![FRONT_BYTES];
        for n in 1..=3 {
            let pixels = pixels(n);
            encode(&mut bytes, &header(n), 1000 + n as u64, 7, pixels.as_ref(), b"{\"a\":1}")
                .unwrap();
            ends.push(bytes.len() as u64);
        }
        (bytes, ends)
    }

    #[test]
    fn records_come_back_and_a_torn_tail_at_every_byte_is_left_out() {
        let (bytes, ends) = written();
        for cut in 0..=bytes.len() {
            let file = file(&bytes[..cut]);
            let mut seen = Vec::new();
            let extent = scan(&file, &mut |span, record| {
                seen.push(span);
                assert_eq!(record.header(), header(seen.len() as i32));
                assert_eq!((record.bytes, record.crc32), (1000 + seen.len() as u64, 7));
                assert_eq!(record.pixels, pixels(seen.len() as i32));
                Ok(())
            })
            .unwrap();
            let whole = ends.iter().filter(|end| **end <= cut as u64).max();
            assert_eq!(extent.whole, whole.copied().unwrap_or(0));
            assert_eq!(seen.len(), ends.iter().filter(|e| **e <= cut as u64).count().max(1) - 1);
            for span in seen {
                let mut json = Vec::new();
                assert!(read_json(&file, span, &mut json).unwrap());
                assert_eq!(json, b"{\"a\":1}");
            }
        }
    }

    #[test]
    fn a_changed_byte_ends_the_reading_at_its_record() {
        let (bytes, ends) = written();
        for at in FRONT_BYTES as usize..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            let extent = scan(&file(&damaged), &mut |_, _| Ok(())).unwrap();
            assert_eq!(extent.whole, *ends.iter().rfind(|end| **end <= at as u64).unwrap());
        }
    }

    #[test]
    fn every_version_is_read_as_it_was_written_and_a_newer_one_is_refused() {
        // Three records as each version writes them; these files must never change.
        let one = include_bytes!("../tests/fixtures/records-version-1.bin");
        let two = include_bytes!("../tests/fixtures/records-version-2.bin");
        for stored in [&one[..], two] {
            let mut seen = 0;
            scan(&file(stored), &mut |span, record| {
                seen += 1;
                assert_eq!(record.header(), header(seen));
                assert_eq!(record.pixels, if stored == two { pixels(seen) } else { None });
                let mut json = Vec::new();
                assert!(read_json(&file(stored), span, &mut json).unwrap());
                assert_eq!(json, b"{\"a\":1}");
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, 3);
        }
        assert_eq!(two[..], written().0[..]);
        let mut newer = two.to_vec();
        newer[8] = 3;
        let refused = scan(&file(&newer), &mut |_, _| Ok(()));
        assert!(matches!(refused, Err(CacheError::Version { got: 3, expected: 2, .. })));
    }

    #[test]
    fn an_older_file_goes_on_with_newer_records_and_says_so() {
        let (newer, _) = written();
        let older = file(include_bytes!("../tests/fixtures/records-version-1.bin"));
        assert!(raise_version(&older).unwrap());
        assert!(!raise_version(&older).unwrap());
        let end = older.metadata().unwrap().len();
        older.write_all_at(&newer[FRONT_BYTES as usize..], end).unwrap();
        let mut known = Vec::new();
        let extent = scan(&older, &mut |_, record| {
            known.push(record.pixels.is_some());
            Ok(())
        });
        assert_eq!(extent.unwrap().whole, older.metadata().unwrap().len());
        assert_eq!(known, [false, false, false, true, true, false]);
        let mut front = [0; FRONT_BYTES as usize];
        older.read_exact_at(&mut front, 0).unwrap();
        assert_eq!(front, super::front());
    }

    #[test]
    fn a_record_at_the_limit_is_written_and_one_byte_more_is_refused() {
        let mut out = Vec::new();
        let span = encode(&mut out, &header(1), 1, 1, None, b"").unwrap();
        let room = (RECORD_BYTES_MAX - span.fixed) as usize;
        out.clear();
        let json = vec![b' '; room + 1];
        let span = encode(&mut out, &header(1), 1, 1, None, &json[..room]).unwrap();
        assert_eq!(span.bytes, RECORD_BYTES_MAX);
        out.clear();
        assert!(encode(&mut out, &header(1), 1, 1, None, &json).is_err());
        assert!(out.is_empty());
    }
}
