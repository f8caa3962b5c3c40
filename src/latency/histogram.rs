//! Histograms of nanoseconds, and their form in files: HdrHistogram V2, deflated.
//!
//! The form is that of the HdrHistogram tools: a header of 40 bytes (big endian), then one zigzag
//! LEB128 number of at most nine bytes for each bucket, where a negative one stands for that many
//! empty buckets (`v2_serializer.rs` of the crate hdrhistogram 7.6.0, read 2026-11-23). It is written
//! and read here and not by the crate, whose reader takes the size of its buffer from the file.

use std::io::{Read, Write};

use data_encoding::BASE64;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use hdrhistogram::Histogram;
use thiserror::Error;

/// One nanosecond; what is less counts as this.
pub const LOWEST_NS: u64 = 1;
/// One minute; what is longer counts as this. No probe is waited for that long.
pub const HIGHEST_NS: u64 = 60_000_000_000;
/// Significant decimal digits of a value.
pub const DIGITS: u8 = 3;
/// Characters of one histogram in a file; a full one that cannot be compressed has fewer.
pub const TEXT_BYTES_MAX: usize = 512 * 1024;

const COOKIE: u32 = 0x1C84_9313;
const DEFLATED_COOKIE: u32 = 0x1C84_9314;
const HEADER_BYTES: usize = 40;
/// Buckets between one power of two and the next, and their power of two: what three digits need.
const HALF: u64 = 1_024;
const HALF_BITS: u32 = 10;
/// Buckets up to [`HIGHEST_NS`], rounded up to whole powers of two.
const BUCKETS: u64 = 27 * HALF;
const NUMBER_BYTES_MAX: usize = 9;
const INFLATED_BYTES_MAX: usize = HEADER_BYTES + 27 * 1_024 * NUMBER_BYTES_MAX;

/// Why a text is no histogram of ours.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HistogramError {
    #[error("the histogram is not base64")]
    Base64,
    #[error("the histogram does not begin as HdrHistogram V2, deflated, does")]
    Cookie,
    #[error("the histogram is cut off or damaged")]
    Damaged,
    #[error("the histogram is longer than one of {DIGITS} digits up to a minute can be")]
    TooLong,
    #[error("the histogram is not one of nanoseconds, {DIGITS} digits, up to a minute")]
    Bounds,
}

/// Makes an empty histogram.
///
/// # Panics
/// Never: the bounds are constants that the crate takes, which a test holds.
pub fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS)
        .expect("constant bounds that a test holds")
}

/// Adds one value; what is out of bounds counts as the bound.
pub fn record(histogram: &mut Histogram<u64>, value_ns: u64) {
    histogram.saturating_record(value_ns.clamp(LOWEST_NS, HIGHEST_NS));
}

/// Writes a histogram as base64 of V2, deflated.
pub fn to_text(histogram: &Histogram<u64>) -> String {
    let plain = plain(histogram);
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    let packed = packer
        .write_all(&plain)
        .and_then(|()| packer.finish())
        .unwrap_or_default();
    let mut bytes = DEFLATED_COOKIE.to_be_bytes().to_vec();
    bytes.extend_from_slice(
        &u32::try_from(packed.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    bytes.extend_from_slice(&packed);
    BASE64.encode(&bytes)
}

/// Reads what [`to_text`] wrote.
///
/// # Errors
/// [`HistogramError`]: the text is damaged, too long or of other bounds.
pub fn from_text(text: &str) -> Result<Histogram<u64>, HistogramError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(HistogramError::TooLong);
    }
    let bytes = BASE64
        .decode(text.as_bytes())
        .map_err(|_| HistogramError::Base64)?;
    let packed = bytes
        .strip_prefix(&DEFLATED_COOKIE.to_be_bytes())
        .ok_or(HistogramError::Cookie)?;
    let (length, packed) = packed.split_first_chunk().ok_or(HistogramError::Damaged)?;
    if usize::try_from(u32::from_be_bytes(*length)) != Ok(packed.len()) {
        return Err(HistogramError::Damaged);
    }
    let limit = u64::try_from(INFLATED_BYTES_MAX + 1).unwrap_or(u64::MAX);
    let mut plain = Vec::new();
    ZlibDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut plain)
        .map_err(|_| HistogramError::Damaged)?;
    if plain.len() > INFLATED_BYTES_MAX {
        return Err(HistogramError::TooLong);
    }
    from_plain(&plain)
}

fn plain(histogram: &Histogram<u64>) -> Vec<u8> {
    let mut numbers = Vec::new();
    let mut next = 0;
    for step in histogram.iter_recorded() {
        let index = index_of(step.value_iterated_to());
        if index > next {
            put_number(
                &mut numbers,
                -i64::try_from(index - next).unwrap_or(i64::MAX),
            );
        }
        put_number(
            &mut numbers,
            i64::try_from(step.count_at_value()).unwrap_or(i64::MAX),
        );
        next = index + 1;
    }
    let mut bytes = header(u32::try_from(numbers.len()).unwrap_or(u32::MAX)).to_vec();
    bytes.append(&mut numbers);
    bytes
}

fn header(payload_bytes: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[0..4].copy_from_slice(&COOKIE.to_be_bytes());
    header[4..8].copy_from_slice(&payload_bytes.to_be_bytes());
    header[12..16].copy_from_slice(&u32::from(DIGITS).to_be_bytes());
    header[16..24].copy_from_slice(&LOWEST_NS.to_be_bytes());
    header[24..32].copy_from_slice(&HIGHEST_NS.to_be_bytes());
    header[32..40].copy_from_slice(&1.0_f64.to_be_bytes());
    header
}

fn from_plain(bytes: &[u8]) -> Result<Histogram<u64>, HistogramError> {
    let (head, mut numbers) = bytes
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(HistogramError::Damaged)?;
    let length = u32::try_from(numbers.len()).map_err(|_| HistogramError::TooLong)?;
    if head[4..8] != length.to_be_bytes() {
        return Err(HistogramError::Damaged);
    }
    if *head != header(length) {
        return Err(HistogramError::Bounds);
    }
    let mut histogram = empty();
    let mut index = 0_u64;
    let mut total = 0_u64;
    while !numbers.is_empty() {
        let number = take_number(&mut numbers)?;
        if index >= BUCKETS {
            return Err(HistogramError::TooLong);
        }
        if number <= 0 {
            // Zero is one empty bucket, a negative number as many as it says.
            index = index.saturating_add(number.unsigned_abs().max(1));
            continue;
        }
        let count = number.unsigned_abs();
        total = total.checked_add(count).ok_or(HistogramError::Damaged)?;
        histogram
            .record_n(value_of(index), count)
            .map_err(|_| HistogramError::TooLong)?;
        index += 1;
    }
    Ok(histogram)
}

/// Returns the number of a value's bucket.
fn index_of(value: u64) -> u64 {
    let bits = u64::BITS - (value | (2 * HALF - 1)).leading_zeros();
    let bucket = bits - (HALF_BITS + 1);
    (u64::from(bucket) << HALF_BITS) + (value >> bucket)
}

/// Returns the lowest value of a bucket.
fn value_of(index: u64) -> u64 {
    let bucket = (index >> HALF_BITS).saturating_sub(1);
    (index - (bucket << HALF_BITS)) << bucket
}

fn put_number(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned();
    for _ in 1..NUMBER_BYTES_MAX {
        let [low, ..] = rest.to_le_bytes();
        if rest < 0x80 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
        rest >>= 7;
    }
    let [low, ..] = rest.to_le_bytes();
    bytes.push(low);
}

fn take_number(bytes: &mut &[u8]) -> Result<i64, HistogramError> {
    let mut number = 0_u64;
    for place in 0..NUMBER_BYTES_MAX {
        let (&byte, rest) = bytes.split_first().ok_or(HistogramError::Damaged)?;
        *bytes = rest;
        if place == NUMBER_BYTES_MAX - 1 {
            number |= u64::from(byte) << 56;
            break;
        }
        number |= u64::from(byte & 0x7F) << (7 * place);
        if byte < 0x80 {
            break;
        }
    }
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_bounds_are_taken() {
        let histogram = empty();
        assert_eq!((histogram.low(), histogram.high()), (LOWEST_NS, HIGHEST_NS));
        assert_eq!(histogram.sigfig(), DIGITS);
        assert!(index_of(HIGHEST_NS) < BUCKETS);
    }

    #[test]
    fn a_bucket_and_its_values_agree_with_the_crate() {
        let histogram = empty();
        for value in [
            1,
            1_023,
            2_047,
            2_048,
            4_095,
            4_096,
            999_999,
            12_345_678_901,
            HIGHEST_NS,
        ] {
            let lowest = value_of(index_of(value));
            assert_eq!(lowest, histogram.lowest_equivalent(value), "{value}");
            assert_eq!(index_of(lowest), index_of(value));
            assert_eq!(
                index_of(histogram.next_non_equivalent(value)),
                index_of(value) + 1
            );
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut histogram = empty();
        assert_eq!(from_text(&to_text(&histogram)), Ok(histogram.clone()));
        for step in 0..5_000_u64 {
            record(&mut histogram, step * step * 2_417);
        }
        histogram.record_n(77, 1 << 40).unwrap();
        record(&mut histogram, 0);
        record(&mut histogram, u64::MAX);
        let read = from_text(&to_text(&histogram)).unwrap();
        assert_eq!(read, histogram);
        assert_eq!(read.max(), histogram.max());
        assert_eq!(to_text(&read), to_text(&histogram));
    }

    #[test]
    fn numbers_of_every_size_read_back() {
        for number in [
            0,
            1,
            -1,
            63,
            64,
            -64,
            -65,
            1 << 55,
            i64::MAX,
            i64::MIN,
            -(1 << 56),
        ] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert!(bytes.len() <= NUMBER_BYTES_MAX);
            let mut rest = bytes.as_slice();
            assert_eq!(take_number(&mut rest), Ok(number));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn damaged_bytes_are_refused_and_never_panic() {
        let mut histogram = empty();
        for step in 1..200_u64 {
            record(&mut histogram, step * 77_777);
        }
        let plain = plain(&histogram);
        for at in 0..plain.len() {
            assert!(from_plain(&plain[..at]).is_err(), "{at}");
            for value in [0, 0x7F, 0x80, 0xFF] {
                let mut changed = plain.clone();
                changed[at] = value;
                drop(from_plain(&changed));
            }
        }
        let text = to_text(&histogram);
        assert_eq!(
            from_text(&text[..text.len() - 4]),
            Err(HistogramError::Damaged)
        );
        assert_eq!(from_text("!"), Err(HistogramError::Base64));
        assert_eq!(from_text("AAAA"), Err(HistogramError::Cookie));
    }

    #[test]
    fn a_length_or_bounds_that_ask_for_memory_are_refused() {
        let mut large = header(u32::MAX);
        assert_eq!(from_plain(&large), Err(HistogramError::Damaged));
        large = header(0);
        large[24..32].copy_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(from_plain(&large), Err(HistogramError::Bounds));
        let zeros = vec![0; 64 * 1_024 * 1_024];
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
        packer.write_all(&zeros).unwrap();
        let packed = packer.finish().unwrap();
        let mut bytes = DEFLATED_COOKIE.to_be_bytes().to_vec();
        bytes.extend(u32::try_from(packed.len()).unwrap().to_be_bytes());
        bytes.extend(packed);
        assert_eq!(
            from_text(&BASE64.encode(&bytes)),
            Err(HistogramError::TooLong)
        );
        let mut beyond = Vec::new();
        put_number(&mut beyond, i64::MIN);
        put_number(&mut beyond, 1);
        let mut plain = header(u32::try_from(beyond.len()).unwrap()).to_vec();
        plain.extend(beyond);
        assert_eq!(from_plain(&plain), Err(HistogramError::TooLong));
    }
}
