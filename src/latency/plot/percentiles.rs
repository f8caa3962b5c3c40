//! The percentile plot: round trip over percentile, a line for each path, labelled at its end.

use crate::latency::figure;
use crate::latency::histogram;
use crate::latency::plot::scale::{self, Kind, Scale};
use crate::latency::plot::{
    Anchor, Drawing, Ink, NAME_LETTERS_MAX, Styles, brief, caption, caption_px, escape, ink,
};
use crate::latency::report::{Measured, Report};

/// Lines of one plot; of more paths, those with the slowest p99 are drawn, and the title says so.
pub const LINES_MAX: usize = 8;

const WIDTH: i32 = 1_000;
const LEFT: i32 = 92;
const RIGHT: i32 = 680;
const TOP: i32 = 84;
const BOTTOM: i32 = 440;
const LABEL_PX: f64 = 16.0;
/// Points of one line.
const POINTS: u16 = 240;
/// The nines of an axis: at least those of p99, at most those of p99.999.
const NINES_MIN: f64 = 2.0;
const NINES_MAX: f64 = 5.0;
const TICKS: [(&str, f64); 7] = [
    ("0", 0.0),
    ("50", 0.5),
    ("90", 0.9),
    ("99", 0.99),
    ("99.9", 0.999),
    ("99.99", 0.9999),
    ("99.999", 0.99999),
];

/// Told apart by hue and by lightness, so that they are with any sight.
const LINES: [Ink; LINES_MAX] = [
    ink(0x1F_6FB4, 0x6C_B6FF),
    ink(0xC2_410C, 0xFF_9B6A),
    ink(0x15_7F3C, 0x6D_DF8D),
    ink(0x7E_22CE, 0xC9_9BFF),
    ink(0x8A_6100, 0xE3_C44C),
    ink(0xBE_185D, 0xFF_8AC0),
    ink(0x0E_7490, 0x56_D4E0),
    ink(0x4B_5563, 0xC4_C9D1),
];

/// One path with what is drawn of it.
struct Line {
    label: String,
    values: hdrhistogram::Histogram<u64>,
    p99_ns: u64,
}

/// Draws the round trips of a report's paths; `None` where nothing was answered.
pub fn draw(report: &Report) -> Option<String> {
    let mut lines: Vec<Line> = report.paths().filter_map(Line::of).collect();
    let found = lines.len();
    lines.sort_by_key(|line| std::cmp::Reverse(line.p99_ns));
    lines.truncate(LINES_MAX);
    let counts = lines.iter().map(|line| line.values.len());
    let nines = scale::count_nines(counts.max()?).clamp(NINES_MIN, NINES_MAX);
    let least = lines.iter().map(|line| line.values.min()).min()?;
    let most = lines.iter().map(|line| line.values.max()).max()?;
    let axis = Scale::of(least, most, BOTTOM, TOP);
    let caption = caption(report, WIDTH);
    let height = BOTTOM + 62 + caption_px(&caption);
    let how = match axis.kind {
        Kind::Linear => "linear",
        Kind::Logarithmic => "logarithmic",
    };
    let which = match found > lines.len() {
        true => format!("the {LINES_MAX} slowest of {found} paths by p99"),
        false => "every path".to_owned(),
    };
    let describe = format!("{which}; probes that were answered, losses in the labels; {how} axis");
    let mut styles = Styles::common();
    for (number, ink) in LINES.iter().take(lines.len()).enumerate() {
        styles.add(format!("line{number}"), "stroke", *ink);
        styles.add(format!("name{number}"), "fill", *ink);
    }
    let mut drawing = Drawing::open(
        "Round trip by percentile",
        &describe,
        &styles,
        WIDTH,
        height,
    );
    draw_axes(&mut drawing, axis, nines);
    let mut ends = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        ends.push((number, draw_line(&mut drawing, number, line, axis, nines)));
    }
    draw_labels(&mut drawing, &lines, ends);
    Some(drawing.close(&caption))
}

impl Line {
    fn of(path: &Measured) -> Option<Self> {
        let rtt = path.rtt.as_ref()?;
        let values = histogram::from_text(&rtt.histogram).ok()?;
        let lost = match path.counts.lost {
            0 => String::new(),
            _ => format!(", {} lost", figure::loss(path.counts)),
        };
        let name = brief(&path.name(), NAME_LETTERS_MAX);
        Some(Self {
            label: format!("{name}: p99 {}{lost}", figure::short(rtt.p99_ns)),
            values,
            p99_ns: rtt.p99_ns,
        })
    }
}

fn draw_axes(drawing: &mut Drawing, axis: Scale, nines: f64) {
    for tick in axis.ticks() {
        let y = axis.place(tick).round() as i32;
        drawing.line("grid", [LEFT, y, RIGHT, y]);
        drawing.text(LEFT - 10, y + 4, Anchor::End, "label", &tick_text(tick));
    }
    for (text, quantile) in TICKS {
        let share = scale::share(scale::nines(quantile), nines);
        if share > 1.001 {
            continue;
        }
        let x = scale::along(LEFT, RIGHT, share).round() as i32;
        drawing.line("grid", [x, TOP, x, BOTTOM]);
        drawing.text(x, BOTTOM + 20, Anchor::Middle, "label", text);
    }
    drawing.line("axis", [LEFT, BOTTOM, RIGHT, BOTTOM]);
    let middle = LEFT.midpoint(RIGHT);
    let title = "percentile of the probes (%; each further nine has the same room)";
    drawing.text(middle, BOTTOM + 44, Anchor::Middle, "muted", title);
    let middle = TOP.midpoint(BOTTOM);
    drawing.raw(format_args!(
        "<text transform=\"translate(26 {middle}) rotate(-90)\" text-anchor=\"middle\" \
         class=\"muted\">round trip (units at the ticks)</text>"
    ));
}

/// Draws one line up to the percentile that its count still tells; returns where it ends.
fn draw_line(
    drawing: &mut Drawing,
    number: usize,
    line: &Line,
    axis: Scale,
    nines: f64,
) -> [f64; 2] {
    let until = scale::share(scale::count_nines(line.values.len()), nines).min(1.0);
    let mut points = String::new();
    let mut end = [0.0; 2];
    for point in 0..=POINTS {
        let along = scale::share(f64::from(point), f64::from(POINTS));
        let share = scale::part(along, until);
        let value = line
            .values
            .value_at_quantile(scale::quantile_at(share, nines));
        end = [scale::along(LEFT, RIGHT, share), axis.place(value)];
        points += &format!("{:.1},{:.1} ", end[0], end[1]);
    }
    drawing.raw(format_args!(
        "<polyline class=\"line{number}\" fill=\"none\" stroke-width=\"2\" \
         stroke-linejoin=\"round\" points=\"{}\"/>",
        points.trim_end()
    ));
    end
}

/// Puts each label beside the end of its line, as near as the others leave room, and joins the two.
fn draw_labels(drawing: &mut Drawing, lines: &[Line], mut ends: Vec<(usize, [f64; 2])>) {
    ends.sort_by(|(_, [_, one]), (_, [_, other])| one.total_cmp(other));
    let heights: Vec<f64> = ends.iter().map(|(_, [_, y])| *y).collect();
    let places = scale::spread(&heights, LABEL_PX, f64::from(TOP), f64::from(BOTTOM));
    for ((number, [x, end]), y) in ends.iter().zip(places) {
        let Some(line) = lines.get(*number) else {
            continue;
        };
        drawing.raw(format_args!(
            "<line class=\"line{number}\" stroke-opacity=\"0.5\" x1=\"{x:.1}\" y1=\"{end:.1}\" \
             x2=\"{}\" y2=\"{y:.1}\"/>",
            RIGHT + 18
        ));
        drawing.raw(format_args!(
            "<text x=\"{}\" y=\"{y:.1}\" dominant-baseline=\"central\" \
             class=\"name{number}\">{}</text>",
            RIGHT + 22,
            escape(&line.label)
        ));
    }
}

fn tick_text(ns: u64) -> String {
    let (unit, unit_ns) = match ns {
        0 => return "0".to_owned(),
        1..1_000 => ("ns", 1),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let (whole, thousandths) = (ns / unit_ns, ns % unit_ns * 1_000 / unit_ns);
    match thousandths {
        0 => format!("{whole} {unit}"),
        _ => format!(
            "{} {unit}",
            format!("{whole}.{thousandths:03}").trim_end_matches('0')
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::fixture::{report, samples, train};
    use crate::latency::plot::SURFACE;
    use crate::latency::plot::tests::contrast;
    use crate::model::time::Span;

    #[test]
    fn lines_and_their_labels_stand_out_in_both_forms() {
        for ink in LINES {
            assert!(contrast(ink.light, SURFACE.light) >= 450, "{ink:?}");
            assert!(contrast(ink.dark, SURFACE.dark) >= 450, "{ink:?}");
        }
    }

    #[test]
    fn a_line_for_each_path_with_its_name_escaped_and_its_loss() {
        let mut lossy = train(1, 3);
        lossy.to.name = "<b>&".to_owned();
        let mut rtts = vec![Some(Span::millis(40)); 1_000];
        rtts[7] = None;
        lossy.samples = samples(&rtts);
        let drawing = draw(&report(&[train(1, 2), lossy])).unwrap();
        assert_eq!(drawing.matches("<polyline").count(), 2);
        assert!(
            drawing.contains("site1 → &lt;b&gt;&amp;: p99 40.0 ms, 0.10% lost"),
            "{drawing}"
        );
        assert!(drawing.contains("prefers-color-scheme:dark"));
        assert!(!drawing.contains("<script") && !drawing.contains("url("));
    }

    #[test]
    fn of_many_paths_the_slowest_are_drawn_and_told() {
        let trains: Vec<_> = (2..14).map(|to| train(1, to)).collect();
        let drawing = draw(&report(&trains)).unwrap();
        assert_eq!(drawing.matches("<polyline").count(), LINES_MAX);
        assert!(drawing.contains("the 8 slowest of 12 paths by p99"));
    }

    #[test]
    fn nothing_answered_is_no_drawing() {
        let mut silent = train(1, 2);
        silent.samples = samples(&[None; 10]);
        assert_eq!(draw(&report(&[silent])), None);
    }

    #[test]
    fn ticks_are_short() {
        let texts = [0, 500, 20_000, 2_500_000, 50_000_000, 1_000_000_000].map(tick_text);
        assert_eq!(texts, ["0", "500 ns", "20 µs", "2.5 ms", "50 ms", "1 s"]);
    }
}
