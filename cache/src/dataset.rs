//! Reads an object's data set once: header, DICOM JSON, and whether it is whole.
//!
//! What for: an object that arrives must be filed by its identifiers, described without opening
//! it again, and refused if it was cut off. What must hold: no length field is believed before
//! it was compared with the bytes there are; nothing is allocated by a claim; depth, elements,
//! values and output are bounded (`limits`). Pixels and other long values are stepped over: the
//! JSON names them by a `BulkDataURI` relative to the instance, `bulkdata/` and the tag, before it
//! the tag and item number of each sequence around it. Asked for, such a value is found by reading
//! the data set again.
//!
//! Three ends: *whole* (element lengths add up to the end of the file), *truncated* (an element
//! needs more bytes than there are), *broken* (the bytes make no sense): a broken object is kept
//! with what could be read, as viewers often show what parsers refuse. A cut exactly between two
//! elements cannot be told.
//!
//! Refused: dicom-object, which reads values by their claimed length into memory, fails as a
//! whole where one element is odd, and does not say whether the end was reached. Tests hold our
//! JSON against its.
//!
//! Start at [`read`].

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

use crate::charset::Charset;
use crate::dicom_json as json;
use crate::error::CacheError;
use crate::header::{Gathered, Header};
use crate::inflate::{InflateError, inflate};
use crate::limits::{
    ELEMENTS_MAX, FRAGMENT_WINDOW_BYTES, INFLATED_BYTES_MAX, INFLATED_HEAD_BYTES, INLINE_BYTES_MAX,
    JSON_BYTES_MAX, SEQUENCE_DEPTH_MAX, VALUE_BYTES_MAX, WINDOW_BYTES,
};
use crate::pixels::{Met, Pixels};

const UNDEFINED: u32 = u32::MAX;
const ITEM: u32 = 0xfffe_e000;
const ITEM_END: u32 = 0xfffe_e00d;
const SEQUENCE_END: u32 = 0xfffe_e0dd;
const CHARACTER_SET: u32 = 0x0008_0005;
const PIXEL_REPRESENTATION: u32 = 0x0028_0103;
const EXTENDED_OFFSETS: u32 = 0x7fe0_0001;
/// Part 10 preamble and prefix (PS3.10 §7.1).
const PREAMBLE_BYTES: u64 = 132;

/// One object as read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) header: Header,
    /// DICOM JSON of the instance, its long values named and left out.
    pub(crate) json: Vec<u8>,
    /// Why reading stopped early, if it did.
    pub(crate) broken: Option<&'static str>,
    /// Where the data set begins, behind the file meta information.
    pub(crate) data_set_at: u64,
    /// Where its frames lie.
    pub(crate) pixels: Pixels,
    /// Where the value lies that was asked for.
    pub(crate) bulk: Option<Range<u64>>,
}

/// Reads a Part 10 object of `size` bytes. `head` holds its beginning; the rest is in `file`.
/// `wanted` is a `BulkDataURI` of its JSON whose value is looked for.
pub(crate) fn read(
    head: &[u8],
    file: Option<&File>,
    size: u64,
    wanted: Option<&str>,
) -> Result<Reading, CacheError> {
    let mut source = Source::new(head, file, size);
    let mut gathered = Gathered::default();
    let start = meta(&mut source, &mut gathered).map_err(|stop| match stop {
        Stop::Broken(reason) => CacheError::NotDicom { reason },
        stop => stop.error(size),
    })?;
    let syntax = Syntax::of(&gathered.transfer_syntax);
    if syntax.deflated {
        return read_deflated(head, file, size, start, gathered);
    }
    let mut walk = Walk::new(source, gathered);
    walk.bulk = Bulk { named: !syntax.big, wanted, found: None };
    walk.finish(start, syntax, size)
}

/// Where the data set of a Part 10 object of `size` bytes begins.
pub(crate) fn start(file: &File, size: u64) -> Result<u64, CacheError> {
    let mut source = Source::new(&[], Some(file), size);
    meta(&mut source, &mut Gathered::default()).map_err(|stop| stop.error(size))
}

fn read_deflated(
    head: &[u8],
    file: Option<&File>,
    size: u64,
    start: u64,
    gathered: Gathered,
) -> Result<Reading, CacheError> {
    let input = Sequential { source: Source::new(head, file, size), at: start };
    let inflated = inflate(input, INFLATED_HEAD_BYTES).map_err(|error| match error {
        InflateError::CutOff => CacheError::Truncated { expected: size + 1, got: size },
        InflateError::Broken => CacheError::NotDicom { reason: "deflated data set is damaged" },
        InflateError::TooLarge => {
            CacheError::TooLarge { what: "inflated data set", limit: INFLATED_BYTES_MAX }
        }
        InflateError::Io(source) => CacheError::io("reading a deflated object")(source),
    })?;
    let source = Source::new(&inflated.head, None, inflated.bytes);
    let syntax = Syntax { explicit: true, big: false, deflated: false };
    let reading = Walk::new(source, gathered).finish(0, syntax, size)?;
    Ok(Reading { data_set_at: start, pixels: Pixels::DEFLATED, ..reading })
}

/// The DICOM JSON of a data set that came without a file, in Implicit VR Little Endian: a match of
/// a C-FIND (PS3.4 C.4.1). Read with the same leniency in its character set as an object.
///
/// Fails where it is cut off or makes no sense; one odd element only loses itself.
pub fn implicit_json(data_set: &[u8]) -> Result<Vec<u8>, CacheError> {
    let size = data_set.len() as u64;
    let mut walk = Walk::new(Source::new(data_set, None, size), Gathered::default());
    walk.whole(0, Syntax::IMPLICIT).map_err(|stop| stop.error(size))?;
    Ok(walk.json)
}

/// Why reading stopped.
#[derive(Debug)]
enum Stop {
    /// An element needs the file to have this many bytes.
    Truncated {
        expected: u64,
    },
    /// The bytes make no sense.
    Broken(&'static str),
    /// The inflated beginning is used up; what follows was only counted.
    Beyond,
    Io(io::Error),
}

impl Stop {
    fn error(self, size: u64) -> CacheError {
        match self {
            Stop::Truncated { expected } => CacheError::Truncated { expected, got: size },
            Stop::Broken(reason) => CacheError::NotDicom { reason },
            Stop::Beyond => CacheError::NotDicom { reason: "data set is too long to be read" },
            Stop::Io(source) => CacheError::io("reading an object back")(source),
        }
    }
}

/// How elements are written (PS3.5 Annex A).
#[derive(Clone, Copy)]
struct Syntax {
    explicit: bool,
    big: bool,
    deflated: bool,
}

impl Syntax {
    const IMPLICIT: Syntax = Syntax { explicit: false, big: false, deflated: false };

    fn of(uid: &str) -> Syntax {
        let (explicit, big, deflated) = match uid {
            // The second is GE's private form: implicit little endian with swapped pixels.
            "1.2.840.10008.1.2" | "1.2.840.113619.5.2" => (false, false, false),
            "1.2.840.10008.1.2.2" => (true, true, false),
            "1.2.840.10008.1.2.1.99" | "1.2.840.10008.1.2.4.95" => (true, false, true),
            _ => (true, false, false),
        };
        Syntax { explicit, big, deflated }
    }

    fn u16(self, b: &[u8]) -> u16 {
        let two = [b[0], b[1]];
        if self.big { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) }
    }

    fn u32(self, b: &[u8]) -> u32 {
        let four = [b[0], b[1], b[2], b[3]];
        if self.big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }

    fn u64(self, b: &[u8]) -> u64 {
        let eight = [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]];
        if self.big { u64::from_be_bytes(eight) } else { u64::from_le_bytes(eight) }
    }

    fn tag(self, b: &[u8]) -> u32 {
        u32::from(self.u16(b)) << 16 | u32::from(self.u16(&b[2..]))
    }
}

/// The object's bytes: the beginning from memory, the rest through a window.
struct Source<'a> {
    head: &'a [u8],
    file: Option<&'a File>,
    size: u64,
    window: Vec<u8>,
    window_at: u64,
    window_bytes: usize,
}

impl<'a> Source<'a> {
    fn new(head: &'a [u8], file: Option<&'a File>, size: u64) -> Source<'a> {
        Source { head, file, size, window: Vec::new(), window_at: 0, window_bytes: WINDOW_BYTES }
    }

    /// `n` bytes at `at`; `n` is at most [`VALUE_BYTES_MAX`].
    fn bytes(&mut self, at: u64, n: usize) -> Result<&[u8], Stop> {
        let end = at.saturating_add(n as u64);
        if end > self.size {
            return Err(Stop::Truncated { expected: end });
        }
        if end <= self.head.len() as u64 {
            return Ok(&self.head[at as usize..end as usize]);
        }
        let inside = at >= self.window_at && end <= self.window_at + self.window.len() as u64;
        if !inside {
            let file = self.file.ok_or(Stop::Beyond)?;
            let want = (n.max(self.window_bytes) as u64).min(self.size - at);
            self.window.resize(want as usize, 0);
            self.window_at = at;
            if let Err(error) = file.read_exact_at(&mut self.window, at) {
                self.window.clear();
                return Err(Stop::Io(error));
            }
        }
        let from = (at - self.window_at) as usize;
        Ok(&self.window[from..from + n])
    }

    /// Whether nothing but zeros follows: padding that some archives add.
    fn only_zeros_from(&mut self, mut at: u64) -> Result<bool, Stop> {
        while at < self.size {
            let n = (self.size - at).min(WINDOW_BYTES as u64);
            if self.bytes(at, n as usize)?.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += n;
        }
        Ok(true)
    }
}

struct Sequential<'a> {
    source: Source<'a>,
    at: u64,
}

impl io::Read for Sequential<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.source.size - self.at.min(self.source.size);
        let n = (into.len() as u64).min(left).min(WINDOW_BYTES as u64) as usize;
        match self.source.bytes(self.at, n) {
            Ok(bytes) => into[..n].copy_from_slice(bytes),
            Err(Stop::Io(error)) => return Err(error),
            Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        self.at += n as u64;
        Ok(n)
    }
}

/// Reads the file meta information (PS3.10 §7.1); its end is where group 2 ends, since the group
/// length is often wrong. Returns where the data set starts.
fn meta(source: &mut Source, gathered: &mut Gathered) -> Result<u64, Stop> {
    if source.size < PREAMBLE_BYTES || source.bytes(128, 4)? != b"DICM" {
        return Err(Stop::Broken("no part 10 prefix"));
    }
    let syntax = Syntax { explicit: true, big: false, deflated: false };
    let mut at = PREAMBLE_BYTES;
    while at + 8 <= source.size && syntax.u16(source.bytes(at, 2)?) == 2 {
        let element = element(source, at, syntax)?;
        let end = element.at + u64::from(element.len);
        if element.len == UNDEFINED || end > source.size {
            return Err(Stop::Truncated { expected: end });
        }
        let field = match element.tag {
            0x0002_0002 => Some(&mut gathered.media_class),
            0x0002_0003 => Some(&mut gathered.media_sop),
            0x0002_0010 => Some(&mut gathered.transfer_syntax),
            _ => None,
        };
        if let Some(field) = field
            && element.len <= 128
        {
            let bytes = source.bytes(element.at, element.len as usize)?;
            *field = String::from_utf8_lossy(bytes).trim_matches(PADDING).to_owned();
        }
        at = end;
    }
    if gathered.transfer_syntax.is_empty() {
        return Err(Stop::Broken("no transfer syntax uid"));
    }
    Ok(at)
}

const PADDING: [char; 2] = [' ', '\0'];

/// One element's front: what it is and where its value lies.
struct Element {
    tag: u32,
    vr: VR,
    len: u32,
    at: u64,
}

fn element(source: &mut Source, at: u64, syntax: Syntax) -> Result<Element, Stop> {
    let front = source.bytes(at, 8)?;
    let tag = syntax.tag(front);
    if !syntax.explicit || tag >> 16 == 0xfffe {
        let len = syntax.u32(&front[4..]);
        return Ok(Element { tag, vr: VR::UN, len, at: at + 8 });
    }
    let letters = [front[4], front[5]];
    if !letters.iter().all(u8::is_ascii_uppercase) {
        return Err(Stop::Broken("an element has no value representation"));
    }
    let short = syntax.u16(&front[6..]);
    // A VR that is not known has the long form (PS3.5 §7.1.2).
    let vr = VR::from_binary(letters).unwrap_or(VR::UN);
    if is_short(vr) && vr != VR::UN {
        return Ok(Element { tag, vr, len: u32::from(short), at: at + 8 });
    }
    let len = syntax.u32(source.bytes(at + 8, 4)?);
    Ok(Element { tag, vr, len, at: at + 12 })
}

/// Whether the explicit form has a 16-bit length (PS3.5 table 7.1-1 and 7.1-2).
fn is_short(vr: VR) -> bool {
    use VR::*;
    !matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}

/// What is being read just now.
struct Walk<'a> {
    source: Source<'a>,
    gathered: Gathered,
    json: Vec<u8>,
    elements: u32,
    /// Pixel Representation of the data set is 1: `US or SS` means SS.
    signed: bool,
    /// The sequences that are open, each with the number of its item, from 1.
    path: Vec<(u32, u32)>,
    met: Met,
    bulk: Bulk<'a>,
}

/// Values that the JSON does not carry.
#[derive(Default)]
struct Bulk<'a> {
    /// The JSON names them: they have a place in the file, and are little endian (PS3.18 §F.2.6).
    named: bool,
    wanted: Option<&'a str>,
    found: Option<Range<u64>>,
}

/// Where a data set lies: in which syntax, up to where, how deep, in which sequence.
#[derive(Clone, Copy)]
struct Place {
    syntax: Syntax,
    /// No element may pass it.
    limit: u64,
    /// Ends by an item delimiter, not at `limit`.
    delimited: bool,
    depth: usize,
    /// Tag of the root's sequence if this is its first item directly; 0 at the root; else `NONE`.
    sequence: u32,
}

const NOWHERE: u32 = u32::MAX;

impl<'a> Walk<'a> {
    fn new(source: Source<'a>, gathered: Gathered) -> Walk<'a> {
        Walk {
            source,
            gathered,
            json: Vec::new(),
            elements: 0,
            signed: false,
            path: Vec::new(),
            met: Met::default(),
            bulk: Bulk::default(),
        }
    }

    /// Reads the data set that begins at `start`, in a file of `size` bytes.
    fn finish(mut self, start: u64, syntax: Syntax, size: u64) -> Result<Reading, CacheError> {
        let broken = match self.whole(start, syntax) {
            Ok(()) | Err(Stop::Beyond) => None,
            Err(Stop::Broken(reason)) => Some(reason),
            Err(stop) => return Err(stop.error(size)),
        };
        let frames = self.gathered.frames;
        let mut tables = Vec::new();
        if self.met.wants_table(frames) {
            tables.extend(self.table(self.met.extended.clone(), 8, frames));
            tables.extend(self.table(self.met.basic.clone(), 4, frames));
        }
        let pixels = self.met.pixels(frames, self.gathered.frame_size(), &tables);
        let (json, bulk) = (self.json, self.bulk.found);
        let header = self.gathered.finish()?;
        Ok(Reading { header, json, broken, data_set_at: start, pixels, bulk })
    }

    /// Walks the data set that begins at `start`; the JSON is closed wherever it stops.
    fn whole(&mut self, start: u64, syntax: Syntax) -> Result<(), Stop> {
        let limit = self.source.size;
        let place = Place { syntax, limit, delimited: false, depth: 0, sequence: 0 };
        self.json.push(b'{');
        let walked = self.data_set(start, place, Charset::DEFAULT);
        self.json.push(b'}');
        walked.map(|_| ())
    }

    /// An offset table of little endian numbers, if it has one for each frame.
    fn table(&mut self, value: Range<u64>, width: u64, frames: u32) -> Option<Vec<u64>> {
        if value.end - value.start != width * u64::from(frames) {
            return None;
        }
        let mut table = Vec::new();
        for at in value.clone().step_by(WINDOW_BYTES) {
            let n = (value.end - at).min(WINDOW_BYTES as u64) as usize;
            let bytes = self.source.bytes(at, n).ok()?.chunks_exact(width as usize);
            table.extend(bytes.map(|b| b.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))));
        }
        Some(table)
    }

    /// Reads elements until the place ends; returns where.
    fn data_set(&mut self, mut at: u64, place: Place, mut set: Charset) -> Result<u64, Stop> {
        while at < place.limit {
            if place.depth == 0 && self.at_padding(at)? {
                return Ok(place.limit);
            }
            let mut element = self.front(at, place)?;
            if element.tag == ITEM_END && place.delimited {
                return Ok(element.at);
            }
            if element.tag >> 16 == 0xfffe {
                return Err(Stop::Broken("a delimiter stands where an element should"));
            }
            if !place.syntax.explicit {
                element.vr = self.dictionary_vr(element.tag);
            }
            let mark = self.json.len();
            at = match self.element(&element, place, &mut set) {
                Ok(end) => end,
                Err(Stop::Broken(reason)) if element.len == UNDEFINED => {
                    self.json.truncate(mark);
                    return Err(Stop::Broken(reason));
                }
                Err(Stop::Broken(_)) => {
                    // Its end is known, so only this element is lost.
                    self.json.truncate(mark);
                    element.at + u64::from(element.len)
                }
                Err(stop) => {
                    self.json.truncate(mark);
                    return Err(stop);
                }
            };
            if self.json.len() > JSON_BYTES_MAX {
                self.json.truncate(mark);
                if place.depth > 0 {
                    return Err(Stop::Broken("the metadata is too long"));
                }
            }
        }
        match place.delimited {
            true if place.limit == self.source.size => {
                Err(Stop::Truncated { expected: place.limit + 8 })
            }
            true => Err(Stop::Broken("an item has no end")),
            false => Ok(at),
        }
    }

    /// Whether the rest of the file is padding; a rest too short for an element is a cut.
    fn at_padding(&mut self, at: u64) -> Result<bool, Stop> {
        let left = self.source.size - at;
        if left >= 8 && self.source.bytes(at, 4)? != [0; 4] {
            return Ok(false);
        }
        match self.source.only_zeros_from(at)? {
            true => Ok(true),
            false if left < 8 => Err(Stop::Truncated { expected: at + 8 }),
            false => Ok(false),
        }
    }

    /// The element's front, its claimed end compared with what there is.
    fn front(&mut self, at: u64, place: Place) -> Result<Element, Stop> {
        self.elements += 1;
        if self.elements > ELEMENTS_MAX {
            return Err(Stop::Broken("too many elements"));
        }
        self.claim(at + 8, place.limit)?;
        let element = element(&mut self.source, at, place.syntax)?;
        if element.len != UNDEFINED {
            self.claim(element.at + u64::from(element.len), place.limit)?;
        }
        Ok(element)
    }

    /// An end past the file is a cut; past the enclosing item it is nonsense.
    fn claim(&self, end: u64, limit: u64) -> Result<(), Stop> {
        if end <= limit {
            Ok(())
        } else if limit == self.source.size {
            Err(Stop::Truncated { expected: end })
        } else {
            Err(Stop::Broken("an element passes the end of its item"))
        }
    }

    /// Reads or steps over one element; returns its end.
    fn element(&mut self, element: &Element, place: Place, set: &mut Charset) -> Result<u64, Stop> {
        let pixels = matches!(element.tag, 0x7fe0_0008..=0x7fe0_0010);
        if element.len == UNDEFINED && (pixels || encapsulates(element.vr)) {
            let end = self.fragments(element.at, place, pixels && place.depth == 0)?;
            if pixels && place.depth == 0 {
                self.left_out(element, place, None);
            }
            return Ok(end);
        }
        if element.vr == VR::SQ || element.len == UNDEFINED {
            // PS3.5 §6.2.2: UN of undefined length is a sequence in implicit little endian.
            let syntax = if element.vr == VR::SQ { place.syntax } else { Syntax::IMPLICIT };
            return self.sequence(element, Place { syntax, ..place }, *set);
        }
        let end = element.at + u64::from(element.len);
        match element.tag {
            EXTENDED_OFFSETS if place.depth == 0 => self.met.extended = element.at..end,
            _ if pixels => {
                self.source.window_bytes = FRAGMENT_WINDOW_BYTES;
                if place.depth == 0 && element.len > 0 {
                    self.met.value(element.at..end);
                }
                self.left_out(element, place, Some(end));
                return Ok(end);
            }
            _ => {}
        }
        // Group lengths (gggg,0000) say nothing and are retired (PS3.5 §7.2).
        if element.tag & 0xffff != 0 {
            self.value(element, place, set)?;
        }
        Ok(end)
    }

    /// Steps over the items of encapsulated pixels (PS3.5 §A.4), of which the first is the Basic
    /// Offset Table. `image`: they are the object's own.
    fn fragments(&mut self, mut at: u64, place: Place, image: bool) -> Result<u64, Stop> {
        self.source.window_bytes = FRAGMENT_WINDOW_BYTES;
        let mut met = Met::default();
        met.extended = self.met.extended.clone();
        let mut first = true;
        loop {
            let item = self.front(at, place)?;
            let end = item.at + u64::from(item.len);
            match (item.tag, item.len) {
                (SEQUENCE_END, _) => {
                    if image {
                        self.met = met;
                    }
                    return Ok(item.at);
                }
                (ITEM, UNDEFINED) => {
                    return Err(Stop::Broken("encapsulated pixels are not items"));
                }
                (ITEM, _) if first => met.basic = item.at..end,
                (ITEM, len) => {
                    // In the window that was read for the item's front.
                    let begins = if len < 2 { [0; 2] } else { self.two_bytes(item.at)? };
                    met.fragment(item.at..end, begins);
                }
                _ => return Err(Stop::Broken("encapsulated pixels are not items")),
            }
            (at, first) = (end, false);
        }
    }

    fn two_bytes(&mut self, at: u64) -> Result<[u8; 2], Stop> {
        let bytes = self.source.bytes(at, 2)?;
        Ok([bytes[0], bytes[1]])
    }

    /// Names a value that the JSON does not carry, by where it stands in the data set; notes where
    /// it lies if it was asked for.
    fn left_out(&mut self, element: &Element, place: Place, end: Option<u64>) {
        if !self.bulk.named || place.syntax.big || element.len == 0 {
            return;
        }
        let mut uri = String::from("bulkdata/");
        for (tag, item) in &self.path {
            uri.push_str(&format!("{tag:08X}/{item}/"));
        }
        uri.push_str(&format!("{:08X}", element.tag));
        json::open(&mut self.json, element.tag, element.vr.to_string().as_bytes());
        self.json.extend_from_slice(b",\"BulkDataURI\":\"");
        self.json.extend_from_slice(uri.as_bytes());
        self.json.extend_from_slice(b"\"}");
        if self.bulk.wanted == Some(&*uri)
            && let Some(end) = end
        {
            self.bulk.found = Some(element.at..end);
        }
    }

    fn sequence(&mut self, element: &Element, place: Place, set: Charset) -> Result<u64, Stop> {
        if place.depth == SEQUENCE_DEPTH_MAX {
            return Err(Stop::Broken("sequences are nested too deep"));
        }
        let delimited = element.len == UNDEFINED;
        let limit = if delimited { place.limit } else { element.at + u64::from(element.len) };
        json::open(&mut self.json, element.tag, b"SQ");
        let empty = self.json.len();
        self.json.extend_from_slice(b",\"Value\":[");
        let mut at = element.at;
        let mut items = 0u32;
        while delimited || at < limit {
            let item = self.front(at, Place { limit, ..place })?;
            at = match item.tag {
                SEQUENCE_END if delimited => {
                    at = item.at;
                    break;
                }
                ITEM => {
                    if items > 0 {
                        self.json.push(b',');
                    }
                    self.json.push(b'{');
                    let inner = self.item_place(&item, element.tag, items, limit, place);
                    self.path.push((element.tag, items + 1));
                    let end = self.data_set(item.at, inner, set);
                    self.path.pop();
                    self.json.push(b'}');
                    end?
                }
                _ => return Err(Stop::Broken("a sequence holds something that is no item")),
            };
            items += 1;
        }
        if items == 0 {
            self.json.truncate(empty);
        } else {
            self.json.push(b']');
        }
        self.json.push(b'}');
        Ok(at)
    }

    fn item_place(&self, item: &Element, tag: u32, n: u32, limit: u64, outer: Place) -> Place {
        let delimited = item.len == UNDEFINED;
        Place {
            syntax: outer.syntax,
            limit: if delimited { limit } else { item.at + u64::from(item.len) },
            delimited,
            depth: outer.depth + 1,
            sequence: if outer.depth == 0 && n == 0 { tag } else { NOWHERE },
        }
    }

    /// Writes one plain value; a long one is named only.
    fn value(&mut self, element: &Element, place: Place, set: &mut Charset) -> Result<(), Stop> {
        let kind = kind(element.vr);
        let most = if kind == Kind::Binary { INLINE_BYTES_MAX } else { VALUE_BYTES_MAX };
        if element.len > most {
            self.left_out(element, place, Some(element.at + u64::from(element.len)));
            return Ok(());
        }
        let bytes = self.source.bytes(element.at, element.len as usize)?;
        let (out, sequence) = (&mut self.json, place.sequence);
        json::open(out, element.tag, element.vr.to_string().as_bytes());
        match kind {
            Kind::Binary => binary(out, bytes, element.vr, place.syntax.big),
            Kind::Number => {
                let first = numbers(out, bytes, element.vr, place.syntax);
                if element.tag == PIXEL_REPRESENTATION {
                    self.signed = first == Some(1);
                }
                if let Some(first) = first {
                    self.gathered.number(sequence, element.tag, first);
                }
            }
            Kind::Text if element.tag == CHARACTER_SET => {
                *set = Charset::declared(&String::from_utf8_lossy(bytes));
                // JSON is UTF-8 whatever the object was (PS3.18 §F.2.2).
                out.extend_from_slice(b",\"Value\":[\"ISO_IR 192\"]");
            }
            Kind::Text => {
                let text = set.decode(bytes);
                let text = text.trim_end_matches(PADDING);
                self.gathered.text(sequence, element.tag, text);
                texts(out, text, element.vr);
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// The VR of an element that does not carry one.
    fn dictionary_vr(&self, tag: u32) -> VR {
        let tag = Tag((tag >> 16) as u16, tag as u16);
        if tag.0 & 1 == 1 && !(0x10..=0xff).contains(&tag.1) {
            return VR::UN;
        }
        match StandardDataDictionary.by_tag(tag).map(DataDictionaryEntry::vr) {
            Some(VirtualVr::Exact(vr)) => vr,
            Some(VirtualVr::Xs) if self.signed => VR::SS,
            Some(VirtualVr::Xs) => VR::US,
            Some(_) => VR::OW,
            None => VR::UN,
        }
    }
}

/// Whether an undefined length means encapsulated items instead of a sequence.
fn encapsulates(vr: VR) -> bool {
    matches!(vr, VR::OB | VR::OW | VR::OD | VR::OF | VR::OL | VR::OV)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Binary,
}

fn kind(vr: VR) -> Kind {
    use VR::*;
    match vr {
        AT | FD | FL | SL | SS | SV | UL | US | UV => Kind::Number,
        OB | OD | OF | OL | OV | OW | SQ | UN => Kind::Binary,
        AE | AS | CS | DA | DS | DT | IS | LO | LT | PN | SH | ST | TM | UC | UI | UR | UT => {
            Kind::Text
        }
    }
}

fn texts(out: &mut Vec<u8>, text: &str, vr: VR) {
    let whole = matches!(vr, VR::LT | VR::ST | VR::UT | VR::UR);
    if text.is_empty() {
        return;
    }
    let values: Vec<Cow<str>> = match whole {
        true => vec![Cow::Borrowed(text)],
        false => text.split('\\').map(|value| Cow::Borrowed(value.trim_matches(PADDING))).collect(),
    };
    json::list(out, &values, |out, value| match vr {
        VR::PN => json::name(out, value),
        VR::IS => match value.parse::<i64>() {
            Ok(number) => json::integer(out, number),
            Err(_) => json::string_or_null(out, value),
        },
        VR::DS => match value.parse::<f64>() {
            Ok(number) if number.is_finite() => json::float(out, number),
            _ => json::string_or_null(out, value),
        },
        _ => json::string_or_null(out, value),
    });
}

/// Writes binary numbers; returns the first if it is a whole number.
fn numbers(out: &mut Vec<u8>, bytes: &[u8], vr: VR, s: Syntax) -> Option<i64> {
    let width = match vr {
        VR::SS | VR::US => 2,
        VR::AT | VR::FL | VR::SL | VR::UL => 4,
        _ => 8,
    };
    let whole = |b: &[u8]| match vr {
        VR::US => Some(i64::from(s.u16(b))),
        VR::SS => Some(i64::from(s.u16(b) as i16)),
        VR::UL => Some(i64::from(s.u32(b))),
        VR::SL => Some(i64::from(s.u32(b) as i32)),
        VR::SV => Some(s.u64(b) as i64),
        _ => None,
    };
    let values: Vec<&[u8]> = bytes.chunks_exact(width).collect();
    json::list(out, &values, |out, b| match (vr, whole(b)) {
        (_, Some(number)) => json::integer(out, number),
        (VR::AT, _) => json::string(out, &format!("{:08X}", s.tag(b))),
        (VR::FL, _) => json::single(out, f32::from_bits(s.u32(b))),
        (VR::UV, _) => out.extend_from_slice(s.u64(b).to_string().as_bytes()),
        _ => json::float(out, f64::from_bits(s.u64(b))),
    });
    values.first().and_then(|b| whole(b))
}

/// Writes a short binary value inline, little endian (PS3.18 §F.2.7).
fn binary(out: &mut Vec<u8>, bytes: &[u8], vr: VR, big: bool) {
    if bytes.is_empty() {
        return;
    }
    let width = match vr {
        VR::OW => 2,
        VR::OF | VR::OL => 4,
        VR::OD | VR::OV => 8,
        _ => 1,
    };
    out.extend_from_slice(b",\"InlineBinary\":\"");
    if big && width > 1 {
        let swapped: Vec<u8> = bytes.chunks(width).flat_map(|w| w.iter().rev().copied()).collect();
        json::base64(out, &swapped);
    } else {
        json::base64(out, bytes);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use super::*;
    use crate::limits::{FRAGMENTS_MAX, HEAD_BYTES};

    const GIB: u64 = 1 << 30;

    /// Writes elements in explicit little endian into a file of holes.
    struct Sparse(File);

    impl Sparse {
        fn new(syntax: &str, frames: u32) -> Sparse {
            let mut sparse = Sparse(tempfile::tempfile().unwrap());
            sparse.0.write_all(&[0; 128]).unwrap();
            sparse.0.write_all(b"DICM").unwrap();
            sparse.short(0x0002_0010, b"UI", syntax.as_bytes());
            for (tag, value) in [
                (0x0008_0018, "1.2.1.1"),
                (0x0020_000d, "1.2"),
                (0x0020_000e, "1.2.1"),
                (0x0028_0008, &*frames.to_string()),
            ] {
                let vr = if tag == 0x0028_0008 { b"IS" } else { b"UI" };
                sparse.short(tag, vr, value.as_bytes());
            }
            for (tag, number) in
                [(0x0028_0010, 16_384_u16), (0x0028_0011, 16_384), (0x0028_0100, 8)]
            {
                sparse.short(tag, b"US", &number.to_le_bytes());
            }
            sparse
        }

        fn tag(&mut self, tag: u32) {
            self.0.write_all(&((tag >> 16) as u16).to_le_bytes()).unwrap();
            self.0.write_all(&(tag as u16).to_le_bytes()).unwrap();
        }

        fn short(&mut self, tag: u32, vr: &[u8], value: &[u8]) {
            self.tag(tag);
            self.0.write_all(vr).unwrap();
            let length = value.len() as u16 + value.len() as u16 % 2;
            self.0.write_all(&length.to_le_bytes()).unwrap();
            self.0.write_all(value).unwrap();
            self.hole(u64::from(length) - value.len() as u64);
        }

        fn long(&mut self, tag: u32, vr: &[u8], length: u32) {
            self.tag(tag);
            self.0.write_all(vr).unwrap();
            self.0.write_all(&[0; 2]).unwrap();
            self.0.write_all(&length.to_le_bytes()).unwrap();
        }

        fn item(&mut self, tag: u32, length: u32) {
            self.tag(tag);
            self.0.write_all(&length.to_le_bytes()).unwrap();
        }

        fn hole(&mut self, bytes: u64) {
            let end = self.0.seek(SeekFrom::Current(bytes as i64)).unwrap();
            if end > self.0.metadata().unwrap().len() {
                self.0.set_len(end).unwrap();
            }
        }

        fn read(&mut self) -> (Reading, u64) {
            let size = self.0.metadata().unwrap().len();
            let mut head = vec![0; HEAD_BYTES.min(size as usize)];
            self.0.read_exact_at(&mut head, 0).unwrap();
            (super::read(&head, Some(&self.0), size, None).unwrap(), size)
        }

        fn at(&self, range: &Range<u64>) -> Vec<u8> {
            let mut bytes = vec![0; 4.min((range.end - range.start) as usize)];
            self.0.read_exact_at(&mut bytes, range.start).unwrap();
            bytes
        }
    }

    #[test]
    fn the_last_native_frame_of_an_object_of_five_gigabytes_is_found() {
        // A value ends at 4 GiB; another one before the pixels brings them further.
        let mut sparse = Sparse::new("1.2.840.10008.1.2.1", 15);
        sparse.long(0x5401_1001, b"OB", GIB as u32);
        sparse.hole(GIB);
        sparse.long(0x7fe0_0010, b"OW", (15 * GIB / 4) as u32);
        sparse.hole(14 * GIB / 4);
        sparse.0.write_all(b"last").unwrap();
        sparse.hole(GIB / 4 - 4);
        let (reading, size) = sparse.read();
        assert!(size > 4_500_000_000 && reading.broken.is_none());
        let ranges = reading.pixels.frame(15).unwrap();
        assert_eq!((ranges.len(), &ranges[0]), (1, &(size - GIB / 4..size)));
        assert_eq!(sparse.at(&ranges[0]), b"last");
    }

    #[test]
    fn the_last_frame_behind_an_extended_table_and_four_gigabytes_is_found() {
        const FRAMES: u64 = 20;
        let mut sparse = Sparse::new("1.2.840.10008.1.2.4.90", FRAMES as u32);
        sparse.long(0x7fe0_0001, b"OV", 8 * FRAMES as u32);
        // Each frame of two fragments, so that the table is needed.
        let frame = GIB / 4 + 16;
        for n in 0..FRAMES {
            sparse.0.write_all(&(n * frame).to_le_bytes()).unwrap();
        }
        sparse.long(0x7fe0_0010, b"OB", UNDEFINED);
        sparse.item(ITEM, 0);
        for n in 0..FRAMES {
            sparse.item(ITEM, (GIB / 4) as u32 - 4);
            sparse.hole(GIB / 4 - 4);
            sparse.item(ITEM, 4);
            sparse.0.write_all(&[n as u8; 4]).unwrap();
        }
        sparse.item(SEQUENCE_END, 0);
        let (reading, size) = sparse.read();
        assert!(size > 5_000_000_000 && reading.broken.is_none());
        assert_eq!(reading.pixels.frames(), Ok(FRAMES as u32));
        let ranges = reading.pixels.frame(FRAMES as u32).unwrap();
        assert_eq!(ranges.len(), 2);
        assert_eq!(sparse.at(&ranges[1]), [FRAMES as u8 - 1; 4]);
        assert_eq!(ranges[1].end, size - 8);
        let middle = reading.pixels.frame(18).unwrap();
        assert!(middle[0].start > u64::from(u32::MAX));
        assert_eq!(sparse.at(&middle[1]), [17; 4]);
    }

    #[test]
    fn fragments_up_to_the_limit_are_told_and_one_more_is_not() {
        for (fragments, told) in [(FRAGMENTS_MAX, true), (FRAGMENTS_MAX + 1, false)] {
            let mut sparse = Sparse::new("1.2.840.10008.1.2.4.90", fragments as u32);
            sparse.long(0x7fe0_0010, b"OB", UNDEFINED);
            sparse.item(ITEM, 0);
            let items = [0xfe, 0xff, 0, 0xe0, 2, 0, 0, 0, 1, 2].repeat(fragments);
            sparse.0.write_all(&items).unwrap();
            sparse.item(SEQUENCE_END, 0);
            let (Reading { pixels, .. }, _) = sparse.read();
            assert_eq!(pixels.frames().is_ok(), told);
            assert_eq!(pixels.frame(fragments as u32).is_ok(), told);
            assert!(pixels.encapsulated() && !pixels.is_kept());
        }
    }
}
