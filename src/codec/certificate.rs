//! How long a certificate is good (RFC 5280, 4.1.2.5). Everything else of it is judged by the TLS
//! library, which tells what is wrong but not when it will be.

use der::asn1::{GeneralizedTime, UtcTime};
use der::{Decode, Header, Reader, SliceReader, Tag};

use crate::model::Time;

/// The moments from which and until which a certificate in DER is good; `None` where it is none.
pub fn validity(certificate: &[u8]) -> Option<(Time, Time)> {
    read(certificate).ok()
}

fn read(certificate: &[u8]) -> der::Result<(Time, Time)> {
    let mut reader = SliceReader::new(certificate)?;
    // What follows the moments is not looked at, so neither sequence is read to its end.
    for _ in ["certificate", "to be signed"] {
        Header::decode(&mut reader)?.tag().assert_eq(Tag::Sequence)?;
    }
    // Version, which version 1 leaves out; serial number, signature's algorithm, issuer.
    let has_version = Tag::peek(&reader)? != Tag::Integer;
    for _ in 0..if has_version { 4 } else { 3 } {
        reader.tlv_bytes()?;
    }
    reader.sequence(|validity| Ok((moment(validity)?, moment(validity)?)))
}

fn moment<'a>(reader: &mut impl Reader<'a>) -> der::Result<Time> {
    let since_1970 = match Tag::peek(reader)? {
        Tag::UtcTime => reader.decode::<UtcTime>()?.to_unix_duration(),
        _ => reader.decode::<GeneralizedTime>()?.to_unix_duration(),
    };
    Ok(Time(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn both_forms_of_a_date_are_read() {
        // RFC 5280, 4.1.2.5: from 2050 on a date is a GeneralizedTime.
        for (year, ends) in [(2030, 1_893_456_000_000), (2060, 2_840_140_800_000)] {
            let mut about = CertificateParams::new(vec!["front.local".to_owned()]).unwrap();
            about.not_before = date_time_ymd(2026, 11, 1);
            about.not_after = date_time_ymd(year, 1, 1);
            let key = KeyPair::generate().unwrap();
            let made = about.self_signed(&key).unwrap();
            let (from, until) = validity(made.der()).unwrap();
            assert_eq!((from, until), (Time(1_793_491_200_000), Time(ends)));
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for bytes in [&b""[..], b"\x30", b"\x30\x03\x02\x01\x01", &[0x30; 64]] {
            assert_eq!(validity(bytes), None);
        }
    }
}
