//! Frames and bulk data of an instance (PS3.18 10.4.1.1.5 and 10.4.1.1.6): ranges of its file.
//!
//! What must hold: pixels leave as they are stored, under the media type of their transfer syntax
//! (PS3.18 8.7.3.3), or not at all; what cannot be given says how it is stored. Implicit and
//! Explicit VR Little Endian are the same once pixels are alone, and are named as the second.
//! Encapsulated pixels are given as bulk data frame by frame, a video as one stream.
//!
//! Refused: decoding and encoding; turning the bytes of big endian pixels round; inflating a
//! deflated object to take one frame out. Start at [`choose`].

use std::ops::Range;
use std::sync::Arc;

use forepost_cache::{Instance, NoFrame, Pixels, Study};
use http::HeaderMap;

use super::accept::{self, OCTETS, Stored};
use super::objects::{Boundary, Content, Extent};
use super::reply::{DicomwebError, PieceError};
use super::{Chosen, Level, Scope, boundary, select};
use crate::http::Files;

const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";

/// Names of pixel data in the metadata: of whole numbers, single and double precision.
const PIXEL_DATA: [&str; 3] = ["bulkdata/7FE00010", "bulkdata/7FE00008", "bulkdata/7FE00009"];

/// What is asked for of an instance.
pub(super) enum Wanted {
    /// Frames by their numbers.
    Frames(Vec<u32>),
    /// A value as the metadata name it.
    Value(String),
}

/// How it is asked for.
pub(super) struct Asked {
    /// The instance.
    pub(super) scope: Scope,
    /// What of it.
    pub(super) wanted: Wanted,
    /// The header of the request.
    pub(super) headers: HeaderMap,
    /// The `accept` parameter of its query.
    pub(super) parameter: Option<String>,
    /// What maps files for its connection.
    pub(super) files: Option<Files>,
}

impl Asked {
    /// Whether it can be chosen without waiting for the disk.
    pub(super) fn at_hand(&self, study: &Study) -> bool {
        let instance = self.scope.instance.as_ref().and_then(|sop| study.instance(sop));
        let known = instance.is_none_or(|instance| instance.pixels().is_some());
        known && !matches!(&self.wanted, Wanted::Value(name) if !PIXEL_DATA.contains(&&**name))
    }
}

/// Chooses what is sent of a snapshot. May wait for the disk unless it is at hand.
pub(super) fn choose(asked: &Asked, study: Arc<Study>) -> Result<Chosen, DicomwebError> {
    let Asked { scope, wanted, headers, parameter, files } = asked;
    let mut selection = select(study, scope, files.clone())?;
    let Some(instance) = selection.instances().next() else {
        return Err(DicomwebError::NotHere { level: Level::Instance.name() });
    };
    let syntax = instance.transfer_syntax.to_string();
    let (stored, pieces) = match wanted {
        Wanted::Frames(numbers) => frames(&selection.study, instance, numbers.clone(), &syntax)?,
        Wanted::Value(name) => value(&selection.study, instance, name, &syntax)?,
    };
    let one = pieces.count() == 1;
    let (media, multipart) = accept::parts(headers, parameter.as_deref(), one, &stored)?;
    let part = stored.content_type(media);
    if multipart {
        let boundary = boundary();
        let media = format!("multipart/related; type=\"{media}\"; boundary={boundary}");
        selection.content = Content::Pieces { media: part, pieces };
        return Ok(Chosen {
            selection,
            boundary: Some(Boundary { text: boundary, extent: Extent::WHOLE }),
            media,
            within: None,
        });
    }
    let (pieces, within) = within(headers, pieces)?;
    selection.content = Content::Pieces { media: part.clone(), pieces };
    Ok(Chosen { selection, boundary: None, media: part, within })
}

/// Parts that are ranges of one file.
pub(super) enum Pieces {
    /// Frames, each a part.
    Frames(Pixels, Vec<u32>),
    /// One part.
    One(Vec<Range<u64>>),
}

impl Pieces {
    /// Parts in all.
    pub(super) fn count(&self) -> usize {
        match self {
            Pieces::Frames(_, numbers) => numbers.len(),
            Pieces::One(_) => 1,
        }
    }

    /// The ranges of one. All were tried when they were chosen, so that none fails here.
    pub(super) fn ranges(&self, place: usize) -> Vec<Range<u64>> {
        match self {
            Pieces::Frames(pixels, numbers) => pixels.frame(numbers[place]).unwrap_or_default(),
            Pieces::One(ranges) => ranges.clone(),
        }
    }
}

/// Bytes in these ranges.
pub(super) fn bytes(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

fn frames<'a>(
    study: &Study,
    instance: &Instance,
    numbers: Vec<u32>,
    syntax: &'a str,
) -> Result<(Stored<'a>, Pieces), DicomwebError> {
    let failed = |source| PieceError::Frame { source, stored: syntax.to_owned() };
    let pixels = study.pixels(instance)?;
    numbers.iter().try_for_each(|number| pixels.frame(*number).map(|_| ())).map_err(failed)?;
    Ok((stored(syntax, pixels.encapsulated()), Pieces::Frames(pixels, numbers)))
}

fn value<'a>(
    study: &Study,
    instance: &Instance,
    name: &str,
    syntax: &'a str,
) -> Result<(Stored<'a>, Pieces), DicomwebError> {
    let missing = DicomwebError::NotHere { level: "value" };
    if !PIXEL_DATA.contains(&name) {
        let range = study.bulk(instance, name)?.ok_or(missing)?;
        let stored = Stored { media: OCTETS, named: None, syntax, strange: false };
        return Ok((stored, Pieces::One(Vec::from_iter([range]))));
    }
    let failed = |source| PieceError::Frame { source, stored: syntax.to_owned() };
    let pixels = study.pixels(instance)?;
    let stored = stored(syntax, pixels.encapsulated());
    let stream = !pixels.encapsulated() || stored.media.starts_with("video/");
    let pieces = match pixels.frames() {
        Err(NoFrame::NoPixels) => return Err(missing),
        Err(NoFrame::NotTold) | Ok(_) if stream => {
            let whole = pixels.whole().ok_or_else(|| failed(NoFrame::NotTold))?;
            Pieces::One(whole)
        }
        Ok(count) => Pieces::Frames(pixels, (1..=count).collect()),
        Err(source) => return Err(failed(source).into()),
    };
    Ok((stored, pieces))
}

/// How pixels of a transfer syntax are named (PS3.18 tables 8.7.3-2 to 8.7.3-5).
fn stored(syntax: &str, encapsulated: bool) -> Stored<'_> {
    if !encapsulated {
        // The second is GE's private form, whose pixels are big endian too.
        let strange = matches!(syntax, "1.2.840.10008.1.2.2" | "1.2.840.113619.5.2");
        let named = Some(if strange { syntax } else { EXPLICIT_LITTLE });
        return Stored { media: OCTETS, named, syntax, strange };
    }
    let (family, number) = syntax.rsplit_once('.').unwrap_or((syntax, ""));
    let media = match (family, number) {
        ("1.2.840.10008.1.2", "5") => "image/dicom-rle",
        ("1.2.840.10008.1.2.4", number) => match number.parse::<u16>().unwrap_or(0) {
            50..=70 => "image/jpeg",
            80 | 81 => "image/jls",
            90 | 91 => "image/jp2",
            92 | 93 => "image/jpx",
            100 | 101 => "video/mpeg2",
            102..=108 => "video/mp4",
            110..=112 => "image/jxl",
            201..=203 => "image/jphc",
            _ => OCTETS,
        },
        // The same streams in fragments that need not be whole (PS3.5 §A.4.5).
        ("1.2.840.10008.1.2.4.100" | "1.2.840.10008.1.2.4.101", "1") => "video/mpeg2",
        (
            "1.2.840.10008.1.2.4.102"
            | "1.2.840.10008.1.2.4.103"
            | "1.2.840.10008.1.2.4.104"
            | "1.2.840.10008.1.2.4.105"
            | "1.2.840.10008.1.2.4.106",
            "1",
        ) => "video/mp4",
        _ => OCTETS,
    };
    // Pixels in fragments that are not compressed are those of Explicit VR Little Endian.
    let plain = syntax == "1.2.840.10008.1.2.1.98";
    let named = Some(if plain { EXPLICIT_LITTLE } else { syntax });
    Stored { media, named, syntax, strange: media == OCTETS && !plain }
}

/// Which bytes of a whole are sent: first, last, and how many there are.
pub(super) type Within = (u64, u64, u64);

/// The pieces within the one range that the request names (RFC 9110, 14.2). Of a list of ranges,
/// and where a condition says that it depends on a version, everything is sent: no version is told.
fn within(headers: &HeaderMap, pieces: Pieces) -> Result<(Pieces, Option<Within>), PieceError> {
    let ranges = pieces.ranges(0);
    let total = bytes(&ranges);
    let spec = headers.get(http::header::RANGE).and_then(|value| value.to_str().ok());
    let spec = spec.filter(|_| !headers.contains_key(http::header::IF_RANGE));
    let Some(spec) = spec.and_then(|spec| spec.trim().strip_prefix("bytes=")) else {
        return Ok((pieces, None));
    };
    let number = |text: &str| text.parse::<u64>().ok();
    let (first, last) = match spec.split_once('-') {
        Some(("", suffix)) => match number(suffix) {
            Some(suffix) => (total.saturating_sub(suffix), total),
            None => return Ok((pieces, None)),
        },
        Some((first, last)) => match (number(first), last.is_empty(), number(last)) {
            (Some(first), true, _) => (first, total),
            (Some(first), false, Some(last)) if first <= last => (first, last),
            _ => return Ok((pieces, None)),
        },
        None => return Ok((pieces, None)),
    };
    if first >= total {
        return Err(PieceError::Range { bytes: total });
    }
    let last = last.min(total - 1);
    Ok((Pieces::One(cut(&ranges, first, last + 1)), Some((first, last, total))))
}

/// The bytes of these ranges from one on, up to another.
fn cut(ranges: &[Range<u64>], from: u64, to: u64) -> Vec<Range<u64>> {
    let mut before = 0;
    let mut left = Vec::new();
    for range in ranges {
        let length = range.end - range.start;
        let (start, end) = (from.saturating_sub(before).min(length), to.saturating_sub(before));
        if start < end.min(length) {
            left.push(range.start + start..range.start + end.min(length));
        }
        before += length;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_out_of_several() {
        let ranges = [10..13, 20..24, 30..31];
        let all: Vec<u64> = ranges.iter().cloned().flatten().collect();
        for from in 0..8 {
            for to in from + 1..=8 {
                let cut: Vec<u64> = cut(&ranges, from, to).into_iter().flatten().collect();
                assert_eq!(cut, all[from as usize..to as usize], "{from}..{to}");
            }
        }
    }

    #[test]
    fn every_transfer_syntax_has_its_media_type() {
        for (number, media) in [
            ("4.50", "image/jpeg"),
            ("4.51", "image/jpeg"),
            ("4.57", "image/jpeg"),
            ("4.70", "image/jpeg"),
            ("4.80", "image/jls"),
            ("4.81", "image/jls"),
            ("4.90", "image/jp2"),
            ("4.91", "image/jp2"),
            ("4.92", "image/jpx"),
            ("4.100", "video/mpeg2"),
            ("4.100.1", "video/mpeg2"),
            ("4.102", "video/mp4"),
            ("4.106.1", "video/mp4"),
            ("4.110", "image/jxl"),
            ("4.201", "image/jphc"),
            ("4.203", "image/jphc"),
            ("5", "image/dicom-rle"),
            ("1.98", OCTETS),
            ("8.1", OCTETS),
        ] {
            let syntax = format!("1.2.840.10008.1.2.{number}");
            assert_eq!(stored(&syntax, true).media, media, "{number}");
        }
        assert_eq!(stored("1.2.840.10008.1.2", false).named, Some(EXPLICIT_LITTLE));
        assert_eq!(stored("1.2.840.10008.1.2.1.98", true).named, Some(EXPLICIT_LITTLE));
        assert!(stored("1.2.840.10008.1.2.2", false).strange);
        assert!(stored("1.2.3", true).strange);
    }
}
