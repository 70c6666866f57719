//! Where the frames of an object lie in its file.
//!
//! What for: one frame of a long object is sent as a range of its file, without reading the rest.
//! What must hold: a range never leaves the pixel data's value, whatever the object claims; what
//! cannot be told is said and never guessed; memory is offsets only (`limits`).
//!
//! Native pixels (PS3.5 §8.2) are told by arithmetic. Encapsulated ones (PS3.5 §A.4) are walked
//! once, when the object arrives: the fragments there are count, and the tables only say which of
//! them begin a frame. So a table that lies can name a wrong fragment, never a place outside; one
//! that does not fit the fragments is passed over.
//!
//! On disk, in a record: kind u8, number of frames u32; then for native pixels their offset u64,
//! bytes u64 and bits of a frame u64; for encapsulated ones the first fragment's offset u64, their
//! count u32, the length u32 of each, how frames are told u8, and if by a list its count u32 and
//! the number u32 of each frame's first fragment.
//!
//! Refused: offsets of frames as the tables give them (32 bits wrap, and they lie); cutting the
//! padding byte off a frame (decoders pass over it). Start at [`Pixels::frame`].

use std::iter;
use std::ops::Range;
use std::sync::Arc;

use crate::limits::{FRAGMENTS_KEPT_MAX, FRAGMENTS_MAX};
use crate::records::Fields;

/// Bytes of an item's tag and length, before its value (PS3.5 §7.5).
const ITEM_FRONT_BYTES: u64 = 8;

/// The pixel data of an object: where it lies, and its frames in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Number of Frames (0028,0008); at least 1.
    frames: u32,
    layout: Layout,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Layout {
    Absent,
    Deflated,
    TooMany,
    Native { at: u64, bytes: u64, frame_bits: u64 },
    Encapsulated(Arc<Fragments>),
}

#[derive(Debug, PartialEq, Eq)]
struct Fragments {
    /// Where each fragment's value begins, and where it would if one more followed.
    starts: Box<[u64]>,
    told: Told,
}

/// Which fragments make a frame.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// Each one.
    Each,
    /// All of them the only one.
    All,
    /// The first fragment of each frame.
    Firsts(Box<[u32]>),
    /// It cannot be told.
    Not,
}

/// Why there is no such frame, or no way to tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoFrame {
    /// The object has no pixel data, or what there is could not be read.
    #[error("the object has no pixel data")]
    NoPixels,
    /// Frames are counted from 1 to this.
    #[error("the object has {count} frames")]
    Beyond {
        /// Frames that are there.
        count: u32,
    },
    /// The data set is deflated as a whole (PS3.5 §A.5), so its values have no place in the file.
    #[error("the data set is deflated")]
    Deflated,
    /// Neither a table nor the fragments say where a frame begins, or the attributes that give a
    /// native frame's size are missing or contradict the value.
    #[error("the object does not tell where its frames begin")]
    NotTold,
    /// Frames of one-bit pixels that begin or end within a byte (PS3.5 §8.1.1).
    #[error("frames begin within a byte")]
    WithinByte,
}

impl Pixels {
    /// Of a deflated object.
    pub(crate) const DEFLATED: Pixels = Pixels { frames: 1, layout: Layout::Deflated };

    /// Whether the pixels are in fragments, as compressed ones are.
    pub fn encapsulated(&self) -> bool {
        matches!(self.layout, Layout::TooMany | Layout::Encapsulated(_))
    }

    /// How many frames are there whole; an error where that cannot be told.
    pub fn frames(&self) -> Result<u32, NoFrame> {
        match &self.layout {
            Layout::Absent => Err(NoFrame::NoPixels),
            Layout::Deflated => Err(NoFrame::Deflated),
            Layout::TooMany => Err(NoFrame::NotTold),
            Layout::Native { bytes, frame_bits, .. } => {
                let held = bytes.saturating_mul(8).checked_div(*frame_bits).unwrap_or(0);
                let count = held.min(u64::from(self.frames)) as u32;
                if count == 0 { Err(NoFrame::NotTold) } else { Ok(count) }
            }
            Layout::Encapsulated(fragments) => match &fragments.told {
                Told::Each => Ok(fragments.count() as u32),
                Told::All => Ok(1),
                Told::Firsts(firsts) => Ok(firsts.len() as u32),
                Told::Not => Err(NoFrame::NotTold),
            },
        }
    }

    /// The ranges of the file that make one frame, counted from 1, in order and without the item
    /// headers between fragments; padding of a fragment is part of it.
    pub fn frame(&self, number: u32) -> Result<Vec<Range<u64>>, NoFrame> {
        let count = self.frames()?;
        if number == 0 || number > count {
            return Err(NoFrame::Beyond { count });
        }
        let place = number as usize - 1;
        match &self.layout {
            Layout::Native { at, frame_bits, .. } => {
                let from = place as u64 * frame_bits;
                let to = from + frame_bits;
                // Behind the last frame of the object nothing but padding shares its byte.
                if !from.is_multiple_of(8) || !(to.is_multiple_of(8) || number == self.frames) {
                    return Err(NoFrame::WithinByte);
                }
                let (from, to) = (at + from / 8, at + to.div_ceil(8));
                Ok(iter::once(from..to).collect())
            }
            Layout::Encapsulated(fragments) => Ok(match &fragments.told {
                Told::Firsts(firsts) => {
                    let to = firsts.get(place + 1).map_or(fragments.count(), |to| *to as usize);
                    fragments.ranges(firsts[place] as usize, to)
                }
                Told::Each => fragments.ranges(place, place + 1),
                Told::All | Told::Not => fragments.ranges(0, fragments.count()),
            }),
            Layout::Absent | Layout::Deflated | Layout::TooMany => Err(NoFrame::NoPixels),
        }
    }

    /// The whole value as one stream: native pixels, or the fragments of a video joined (PS3.5
    /// §A.4.5). `None` where there is none, or it has no place in the file.
    pub fn whole(&self) -> Option<Vec<Range<u64>>> {
        match &self.layout {
            Layout::Native { at, bytes, .. } => Some(iter::once(*at..at + bytes).collect()),
            Layout::Encapsulated(fragments) => Some(fragments.ranges(0, fragments.count())),
            Layout::Absent | Layout::Deflated | Layout::TooMany => None,
        }
    }

    /// Whether it is small enough to be kept in memory and in the record.
    pub(crate) fn is_kept(&self) -> bool {
        match &self.layout {
            Layout::Encapsulated(fragments) => fragments.count() <= FRAGMENTS_KEPT_MAX,
            Layout::TooMany => false,
            Layout::Absent | Layout::Deflated | Layout::Native { .. } => true,
        }
    }

    /// Bytes of memory behind it.
    pub(crate) fn memory(&self) -> usize {
        match &self.layout {
            Layout::Encapsulated(fragments) => match &fragments.told {
                Told::Firsts(firsts) => 64 + 8 * fragments.starts.len() + 4 * firsts.len(),
                Told::Each | Told::All | Told::Not => 64 + 8 * fragments.starts.len(),
            },
            _ => 0,
        }
    }

    /// Appends its form in a record.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let front = |out: &mut Vec<u8>, kind: u8| {
            out.push(kind);
            out.extend_from_slice(&self.frames.to_le_bytes());
        };
        match &self.layout {
            Layout::Absent | Layout::TooMany => front(out, 0),
            Layout::Deflated => front(out, 1),
            Layout::Native { at, bytes, frame_bits } => {
                front(out, 2);
                for number in [at, bytes, frame_bits] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
            Layout::Encapsulated(fragments) => {
                front(out, 3);
                fragments.encode(out);
            }
        }
    }

    /// Reads that form; `None` if it is none, or leaves a file of so many bytes.
    pub(crate) fn decode(form: &[u8], file_bytes: u64) -> Option<Pixels> {
        let mut fields = Fields(form);
        let (kind, frames) = (fields.u8()?, fields.u32()?.max(1));
        let layout = match kind {
            0 => Layout::Absent,
            1 => Layout::Deflated,
            2 => {
                let (at, bytes, frame_bits) = (fields.u64()?, fields.u64()?, fields.u64()?);
                at.checked_add(bytes).filter(|end| *end <= file_bytes)?;
                Layout::Native { at, bytes, frame_bits }
            }
            3 => Layout::Encapsulated(Arc::new(Fragments::decode(&mut fields, file_bytes)?)),
            _ => return None,
        };
        Some(Pixels { frames, layout })
    }
}

impl Fragments {
    fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The values of the fragments from one on, up to another.
    fn ranges(&self, from: usize, to: usize) -> Vec<Range<u64>> {
        self.starts[from..=to].windows(2).map(|two| two[0]..two[1] - ITEM_FRONT_BYTES).collect()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.starts[0].to_le_bytes());
        out.extend_from_slice(&(self.count() as u32).to_le_bytes());
        for two in self.starts.windows(2) {
            let length = two[1] - two[0] - ITEM_FRONT_BYTES;
            out.extend_from_slice(&(length as u32).to_le_bytes());
        }
        match &self.told {
            Told::Each => out.push(0),
            Told::All => out.push(1),
            Told::Not => out.push(2),
            Told::Firsts(firsts) => {
                out.push(3);
                out.extend_from_slice(&(firsts.len() as u32).to_le_bytes());
                firsts.iter().for_each(|first| out.extend_from_slice(&first.to_le_bytes()));
            }
        }
    }

    fn decode(fields: &mut Fields, file_bytes: u64) -> Option<Fragments> {
        let first = fields.u64()?;
        let count = fields.u32()? as usize;
        if count > FRAGMENTS_KEPT_MAX {
            return None;
        }
        let mut starts = Vec::with_capacity(count + 1);
        starts.push(first);
        let mut at = first;
        for _ in 0..count {
            let end = at.checked_add(u64::from(fields.u32()?))?;
            if end > file_bytes {
                return None;
            }
            at = end + ITEM_FRONT_BYTES;
            starts.push(at);
        }
        let told = match fields.u8()? {
            0 => Told::Each,
            1 => Told::All,
            2 => Told::Not,
            3 => {
                let frames = fields.u32()? as usize;
                let firsts: Option<Box<[u32]>> =
                    (0..frames.min(count)).map(|_| fields.u32()).collect();
                let firsts = firsts?;
                let ordered = firsts.is_sorted_by(|a, b| a < b);
                if !ordered || firsts.last().is_none_or(|last| *last as usize >= count) {
                    return None;
                }
                Told::Firsts(firsts)
            }
            _ => return None,
        };
        Some(Fragments { starts: starts.into(), told })
    }
}

/// The attributes that say how long a native frame is (PS3.3 §C.7.6.3.1).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FrameSize {
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    /// Samples per Pixel; 0 if absent.
    pub(crate) samples: u32,
    /// Bits Allocated; 0 if absent.
    pub(crate) bits: u32,
    /// Two pixels share their colours (YBR_FULL_422): a third less.
    pub(crate) halved: bool,
}

impl FrameSize {
    fn bits(self) -> u64 {
        let samples = u64::from(self.samples.max(1));
        let bits = (u64::from(self.rows) * u64::from(self.columns))
            .saturating_mul(samples)
            .saturating_mul(u64::from(self.bits));
        if self.halved && samples == 3 { bits / 3 * 2 } else { bits }
    }
}

/// What the walk through a data set meets of its pixels.
#[derive(Debug, Default)]
pub(crate) struct Met {
    native: Option<Range<u64>>,
    /// The first fragment's offset and each one's end as [`Fragments::starts`] has them.
    starts: Vec<u64>,
    /// Fragments that begin as an image does.
    images: Vec<u32>,
    too_many: bool,
    /// The values of Extended Offset Table and Basic Offset Table.
    pub(crate) extended: Range<u64>,
    pub(crate) basic: Range<u64>,
}

impl Met {
    /// The value of native pixels; the first one met counts.
    pub(crate) fn value(&mut self, value: Range<u64>) {
        self.native.get_or_insert(value);
    }

    /// The next fragment's value, and its first two bytes.
    pub(crate) fn fragment(&mut self, value: Range<u64>, begins: [u8; 2]) {
        if self.starts.len() > FRAGMENTS_MAX {
            self.too_many = true;
            return;
        }
        if self.starts.is_empty() {
            self.starts.push(value.start);
        }
        // Start of image of JPEG and JPEG-LS, start of codestream of JPEG 2000.
        if matches!(begins, [0xff, 0xd8 | 0x4f]) {
            self.images.push(self.starts.len() as u32 - 1);
        }
        self.starts.push(value.end + ITEM_FRONT_BYTES);
    }

    /// Whether a table is needed to tell the frames.
    pub(crate) fn wants_table(&self, frames: u32) -> bool {
        !self.too_many && frames > 1 && self.starts.len() > frames as usize + 1
    }

    /// Puts it together. `tables` are the offset tables that could be read, the more trusted
    /// first: bytes from the first fragment's item to each frame's first item (PS3.5 §A.4).
    pub(crate) fn pixels(self, frames: u32, size: FrameSize, tables: &[Vec<u64>]) -> Pixels {
        let frames = frames.max(1);
        let layout = match self.native {
            Some(value) => {
                let (at, bytes) = (value.start, value.end - value.start);
                Layout::Native { at, bytes, frame_bits: size.bits() }
            }
            None if self.too_many => Layout::TooMany,
            None if self.starts.is_empty() => Layout::Absent,
            None => {
                let told = self.told(frames as usize, tables);
                Layout::Encapsulated(Arc::new(Fragments { starts: self.starts.into(), told }))
            }
        };
        Pixels { frames, layout }
    }

    fn told(&self, frames: usize, tables: &[Vec<u64>]) -> Told {
        let fragments = self.starts.len() - 1;
        if frames == 1 {
            return Told::All;
        }
        if fragments == frames {
            return Told::Each;
        }
        let fitting = tables.iter().filter(|table| table.len() == frames);
        if let Some(firsts) = fitting.filter_map(|table| self.firsts(table)).next() {
            return Told::Firsts(firsts);
        }
        if self.images.len() == frames && self.images[0] == 0 {
            return Told::Firsts(self.images.clone().into());
        }
        Told::Not
    }

    /// The fragments that a table names, if each is one and they are in order from the first on.
    fn firsts(&self, table: &[u64]) -> Option<Box<[u32]>> {
        let fragments = &self.starts[..self.starts.len() - 1];
        let first = *fragments.first()?;
        let places: Option<Box<[u32]>> = table
            .iter()
            .map(|offset| fragments.binary_search(&first.checked_add(*offset)?).ok())
            .map(|place| place.map(|place| place as u32))
            .collect();
        places.filter(|places| places.first() == Some(&0) && places.is_sorted_by(|a, b| a < b))
    }
}
