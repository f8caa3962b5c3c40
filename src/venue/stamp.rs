//! Times as exchanges print them: RFC 3339 in UTC, read at fixed positions.

use crate::model::time::Time;
use crate::venue::scan::{Scan, decimals, digits, falling};

/// Reads times that mostly lie in the same second as the one before: only the fraction is read anew.
#[derive(Clone, Copy, Debug)]
pub struct Stamps {
    /// The last time up to and with its point.
    second: [u8; 20],
    /// Nanoseconds since 1970 where that second began.
    start: u64,
}

impl Default for Stamps {
    /// No time begins with zero bytes, so the first one is read whole.
    fn default() -> Self {
        Self {
            second: [0; 20],
            start: 0,
        }
    }
}

impl Stamps {
    /// Reads a time and the quote that ends it.
    #[inline]
    pub fn read(&mut self, scan: &mut Scan<'_>) -> Option<Time> {
        let text = scan.rest();
        if text.first_chunk() == Some(&self.second)
            && let Some((units, mut len)) = decimals(text.get(20..)?)
        {
            /// Nanoseconds in a unit of 1e-8 of a second.
            const UNIT: u64 = 10;
            let mut nanos = units * UNIT;
            if len == 8
                && let Some(ninth @ b'0'..=b'9') = text.get(28)
            {
                nanos += u64::from(ninth - b'0');
                len += 1;
            }
            scan.bytes(20 + len)?;
            scan.literal(b"Z\"")?;
            return self.start.checked_add(nanos).map(Time);
        }
        self.read_whole(scan)
    }

    fn read_whole(&mut self, scan: &mut Scan<'_>) -> Option<Time> {
        let text = scan.text()?;
        let time = rfc3339(text)?;
        if let Some(second) = text.first_chunk::<20>().filter(|second| second[19] == b'.') {
            self.second = *second;
            self.start = time.0 - time.0 % UNITS[0];
        }
        Some(time)
    }
}

/// Decimals of a second at most.
const FRACTION_DIGITS_MAX: usize = 9;
/// Nanoseconds in one unit of the last digit of a fraction, by how many digits there are.
const UNITS: [u64; FRACTION_DIGITS_MAX + 1] = falling();

/// Reads `2026-08-09T21:05:48[.fraction]Z` with one to nine digits of fraction, in nanoseconds since
/// 1970. `None` for whatever else, another zone than `Z` included.
#[inline]
pub fn rfc3339(text: &[u8]) -> Option<Time> {
    let (head, tail) = text.split_first_chunk::<19>()?;
    let [
        y1,
        y2,
        y3,
        y4,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b'T',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
    ] = *head
    else {
        return None;
    };
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let (hour, minute, second) = (two(h1, h2)?, two(n1, n2)?, two(s1, s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_since_1970(year, month, day)? * 86_400 + hour * 3_600 + minute * 60 + second;
    let nanos = fraction(tail)?;
    seconds
        .checked_mul(1_000_000_000)?
        .checked_add(nanos)
        .map(Time)
}

/// Reads what stands behind the seconds, in nanoseconds.
#[inline]
fn fraction(tail: &[u8]) -> Option<u64> {
    let fraction = match tail {
        b"Z" => return Some(0),
        [b'.', fraction @ .., b'Z'] => fraction,
        _ => return None,
    };
    let (value, len) = digits(fraction, 0);
    if len == 0 || len != fraction.len() {
        return None;
    }
    Some(value * UNITS.get(len)?)
}

#[inline]
fn two(tens: u8, ones: u8) -> Option<u64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| u64::from(tens) * 10 + u64::from(ones))
}

/// Counts days of the Gregorian calendar; `None` before 1970 and for days that no month has.
#[inline]
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    /// Days before each month of a common year.
    const BEFORE: [u64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    let index = usize::try_from(month.checked_sub(1)?).ok()?;
    let (start, end) = (*BEFORE.get(index)?, *BEFORE.get(index + 1)?);
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_in_month = end - start + u64::from(is_leap && month == 2);
    if day == 0 || day > days_in_month {
        return None;
    }
    let past = year.checked_sub(1)?;
    // 719,162 days lie between the first day of year 1 and that of 1970.
    let before_year = (past * 365 + past / 4 - past / 100 + past / 400).checked_sub(719_162)?;
    Some(before_year + start + u64::from(is_leap && month > 2) + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, nanos: u64) {
        assert_eq!(rfc3339(text.as_bytes()), Some(Time(nanos)), "{text}");
    }

    #[test]
    fn times_are_nanoseconds_since_1970() {
        check("1970-01-01T00:00:00Z", 0);
        check("2000-02-29T12:00:00.5Z", 951_825_600_500_000_000);
        check("2021-04-17T16:48:53.365913Z", 1_618_678_133_365_913_000);
        check("2024-12-31T23:59:59.999999999Z", 1_735_689_599_999_999_999);
        check("2026-08-09T21:05:48.228568804Z", 1_786_309_548_228_568_804);
        check("2100-03-01T00:00:00Z", 4_107_542_400_000_000_000);
    }

    #[test]
    fn times_of_one_second_are_read_as_each_alone() {
        let mut stamps = Stamps::default();
        for text in [
            "2021-04-17T16:48:53.365913Z",
            "2021-04-17T16:48:53.365914Z",
            "2021-04-17T16:48:53.5Z",
            "2021-04-17T16:48:53.123456789Z",
            "2021-04-17T16:48:53Z",
            "2021-04-17T16:48:54.000001Z",
            "2021-04-17T16:48:53.1Z",
            "2021-04-17T16:48:53.Z",
            "2021-04-17T16:48:53.1234567890Z",
            "2021-04-17T16:48:53.12345x",
            "2021-04-17T16:48:53.1Z ",
            "2021-04-17T16:48:53.1",
        ] {
            let quoted = format!("{text}\",");
            let mut scan = Scan::new(quoted.as_bytes());
            let read = stamps.read(&mut scan);
            assert_eq!(read, rfc3339(text.as_bytes()), "{text}");
            assert!(read.is_none() || scan.rest() == b",", "{text}");
        }
    }

    #[test]
    fn each_day_is_one_day_after_the_one_before() {
        let mut expected = 0;
        for year in 1970..2110 {
            for month in 1..=12 {
                let days = (1..=31).filter_map(|day| days_since_1970(year, month, day));
                for count in days {
                    assert_eq!(count, expected, "{year}-{month}");
                    expected += 1;
                }
            }
        }
        assert_eq!(expected, 51_134);
    }

    #[test]
    fn what_is_no_such_time_is_none() {
        for text in [
            "",
            "2021-04-17T16:48:53",
            "2021-04-17T16:48:53.Z",
            "2021-04-17T16:48:53.1234567890Z",
            "2021-04-17T16:48:53.12a4Z",
            "2021-04-17T16:48:53+00:00",
            "2021-04-17 16:48:53Z",
            "2021-13-17T16:48:53Z",
            "2021-00-17T16:48:53Z",
            "2021-02-29T16:48:53Z",
            "2100-02-29T00:00:00Z",
            "2021-04-31T16:48:53Z",
            "2021-04-17T24:00:00Z",
            "2021-04-17T16:60:00Z",
            "2021-04-17T16:48:60Z",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "202x-04-17T16:48:53Z",
        ] {
            assert_eq!(rfc3339(text.as_bytes()), None, "{text}");
        }
    }
}
