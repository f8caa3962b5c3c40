//! How figures read: three digits and a unit, shares in percent, the self line.

use crate::latency::report::{OwnLine, Part};
use crate::latency::summary::{Counts, Figures, OneWay};

/// Writes nanoseconds with three digits and the unit that suits them.
pub fn short(ns: u64) -> String {
    let (unit, unit_ns) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let text = scaled(ns, unit_ns);
    match text.as_str() {
        // Rounding has carried it into the next unit.
        "1000" if unit == "µs" => "1.00 ms".to_owned(),
        "1000" if unit == "ms" => "1.00 s".to_owned(),
        _ => format!("{text} {unit}"),
    }
}

/// Writes nanoseconds as a number of `unit_ns` with three digits, rounded to the nearest.
pub fn scaled(ns: u64, unit_ns: u64) -> String {
    let whole = ns / unit_ns;
    let decimals = match whole {
        0..10 => 2,
        10..100 => 1,
        _ => 0,
    };
    let step = 10_u128.pow(decimals);
    let number = (u128::from(ns) * step + u128::from(unit_ns) / 2) / u128::from(unit_ns);
    match decimals {
        0 => number.to_string(),
        1 => format!("{}.{}", number / step, number % step),
        _ => format!("{}.{:02}", number / step, number % step),
    }
}

/// Writes a part as a percentage of the whole, with as many decimals as tell it from none.
pub fn share(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0%".to_owned();
    }
    let hundredths = (u128::from(part) * 10_000 + u128::from(whole) / 2) / u128::from(whole);
    match hundredths {
        0 => "<0.01%".to_owned(),
        _ => format!("{}.{:02}%", hundredths / 100, hundredths % 100),
    }
}

/// Writes what was lost of what was sent.
pub fn loss(counts: Counts) -> String {
    share(counts.lost, counts.probes.saturating_sub(counts.refused))
}

/// Writes a multiple in thousandths, such as `1.48x`.
pub fn multiple(milli: u64) -> String {
    format!("{}.{:02}x", milli / 1_000, milli % 1_000 / 10)
}

/// Says what a one-way delay is, with its bound or why there is none.
pub fn one_way(way: &OneWay) -> String {
    match way {
        OneWay::Known { bound_ns, delay } => format!(
            "p50 {} p99 {} ± {}",
            short(delay.p50_ns),
            short(delay.p99_ns),
            short(*bound_ns)
        ),
        OneWay::Unknown {
            bound_ns,
            at_most_ns,
        } => {
            let clocks = bound_ns.map_or_else(
                || "not compared".to_owned(),
                |bound_ns| format!("± {}", short(bound_ns)),
            );
            let most = short(*at_most_ns);
            format!("asymmetry unknown: p50 0 to {most} (clocks {clocks})")
        }
        OneWay::Contradicted { bound_ns, probes } => format!(
            "contradicted by {probes} probes (clocks ± {}): a clock was stepped or its bound is wrong",
            short(*bound_ns)
        ),
        OneWay::Silent {} => "nothing was answered".to_owned(),
    }
}

/// The self line of a part, without its name: what of its figures may be the tool's own.
pub fn own_line(part: &Part) -> String {
    let own: &OwnLine = &part.claim.own;
    let brief = |figures: Figures| {
        format!(
            "p50 {} p99 {} max {}",
            short(figures.p50_ns),
            short(figures.p99_ns),
            short(figures.max_ns)
        )
    };
    let loopback = own
        .loopback
        .map_or_else(|| "not measured".to_owned(), brief);
    let bound = own.clock_bound_ns.map_or_else(
        || "offsets to peers unknown".to_owned(),
        |bound| format!("offsets to peers ± {}", short(bound)),
    );
    format!(
        "loopback {loopback} · timer late {} · probes left late {} · {} timestamps · {bound}",
        brief(own.timer_late),
        brief(own.sent_late),
        own.timestamps,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let texts = [
            999,
            1_234,
            12_345,
            123_456,
            999_999,
            1_234_567,
            2_000_000_000,
        ]
        .map(short);
        let expected = [
            "999 ns", "1.23 µs", "12.3 µs", "123 µs", "1.00 ms", "1.23 ms", "2.00 s",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_share_is_never_rounded_to_none() {
        assert_eq!(share(0, 10), "0%");
        assert_eq!(share(1, 1_000_000), "<0.01%");
        assert_eq!(share(2, 100), "2.00%");
    }
}
