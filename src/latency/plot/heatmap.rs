//! The heat map: a site in each row, the site it measured in each column, p99 in the cell.

use crate::latency::figure;
use crate::latency::plot::scale;
use crate::latency::plot::{Anchor, Drawing, Ink, Styles, brief, caption, caption_px, ink};
use crate::latency::report::{Carrier, Measured, Report, Site};
use crate::latency::summary::Distribution;
use crate::model::ids::NodeId;

/// Sites of one map; of more, those that come first by name are drawn, and the title says so.
pub const SITES_MAX: usize = 24;

const CELL_WIDTH: i32 = 84;
const CELL_HEIGHT: i32 = 56;
const LINE_PX: i32 = 15;
const LEFT: i32 = 190;
const TOP: i32 = 118;
const ROW_LETTERS_MAX: usize = 22;
const COLUMN_LETTERS_MAX: usize = 11;
const WIDTH_MIN: i32 = 760;
/// The legend: one swatch for each step of the ramp.
const SWATCH_WIDTH: i32 = 76;
const STEPS: u8 = 7;

/// One hue from the surface's end to its opposite, so that slow stands out in both forms; with the
/// text that is read best on it.
const RAMP: [(Ink, Ink); STEPS as usize] = [
    (ink(0xEA_F2FB, 0x17_2A40), ink(0x0B_1F33, 0xE6_EEF7)),
    (ink(0xCF_E2F6, 0x1B_3B5E), ink(0x0B_1F33, 0xE6_EEF7)),
    (ink(0xA9_CBEE, 0x20_4E80), ink(0x0B_1F33, 0xEE_F4FB)),
    (ink(0x7A_AEE2, 0x29_64A3), ink(0x0B_1F33, 0xFF_FFFF)),
    (ink(0x4C_8FD3, 0x5C_9BDD), ink(0x06_121F, 0x06_121F)),
    (ink(0x22_66B0, 0x95_C2F0), ink(0xFF_FFFF, 0x06_121F)),
    (ink(0x12_3F7A, 0xD0_E5FA), ink(0xFF_FFFF, 0x06_121F)),
];
const EMPTY: Ink = ink(0xF4_F6F8, 0x1C_2027);

/// What a map shows.
struct Grid<'r> {
    sites: Vec<&'r Site>,
    /// All sites of the report, drawn or not.
    found: usize,
    least_ns: u64,
    most_ns: u64,
}

/// Draws p99 of the idle mesh paths between all sites; `None` where nothing was answered.
pub fn draw(report: &Report) -> Option<String> {
    let grid = Grid::of(report)?;
    let side = i32::try_from(grid.sites.len()).ok()?;
    let width = (LEFT + side * CELL_WIDTH + 24).max(WIDTH_MIN);
    let bottom = TOP + side * CELL_HEIGHT;
    let caption = caption(report, width);
    let height = bottom + 76 + caption_px(&caption);
    let which = match grid.found > grid.sites.len() {
        true => format!(" (the first {SITES_MAX} of {} sites)", grid.found),
        false => String::new(),
    };
    let describe = format!("from the row's site to the column's{which}; below it p50 and loss");
    let mut styles = Styles::common();
    styles.add("empty", "fill", EMPTY);
    styles.add("gap", "stroke", crate::latency::plot::SURFACE);
    for (step, (fill, text)) in RAMP.iter().enumerate() {
        styles.add(format!("fill{step}"), "fill", *fill);
        styles.add(format!("text{step}"), "fill", *text);
    }
    let title = "p99 of the round trip between sites";
    let mut drawing = Drawing::open(title, &describe, &styles, width, height);
    draw_names(&mut drawing, &grid);
    draw_cells(&mut drawing, &grid, report);
    draw_legend(&mut drawing, &grid, bottom + 26);
    Some(drawing.close(&caption))
}

impl<'r> Grid<'r> {
    fn of(report: &'r Report) -> Option<Self> {
        let drawn = || report.paths().filter(|path| is_drawn(path));
        let mut sites: Vec<&Site> = drawn().flat_map(|path| [&path.from, &path.to]).collect();
        sites.sort_by_key(|site| (&site.name, site.node));
        sites.dedup_by_key(|site| site.node);
        let found = sites.len();
        sites.truncate(SITES_MAX);
        let p99s = || drawn().filter_map(|path| path.rtt.as_ref().map(|rtt| rtt.p99_ns));
        Some(Self {
            sites,
            found,
            least_ns: p99s().min()?,
            most_ns: p99s().max()?,
        })
    }

    fn step(&self, rtt: &Distribution) -> u8 {
        scale::step(rtt.p99_ns, self.least_ns, self.most_ns, STEPS)
    }
}

/// A map has room for one figure a pair: that of the mesh, idle.
fn is_drawn(path: &Measured) -> bool {
    path.over == Carrier::Mesh && path.spacing.burst <= 1
}

/// Returns the last train from one site to another.
fn path_between(report: &Report, from: NodeId, to: NodeId) -> Option<&Measured> {
    let paths = report.paths().filter(|path| is_drawn(path));
    paths
        .filter(|path| path.from.node == from && path.to.node == to)
        .last()
}

fn draw_names(drawing: &mut Drawing, grid: &Grid<'_>) {
    drawing.text(LEFT - 12, TOP - 14, Anchor::End, "muted", "from ↓  to →");
    let (mut x, mut y) = (LEFT, TOP);
    for site in &grid.sites {
        let column = brief(&site.name, COLUMN_LETTERS_MAX);
        drawing.text(
            x + CELL_WIDTH / 2,
            TOP - 14,
            Anchor::Middle,
            "label",
            &column,
        );
        let row = brief(&site.name, ROW_LETTERS_MAX);
        drawing.text(
            LEFT - 12,
            y + CELL_HEIGHT / 2 + 4,
            Anchor::End,
            "label",
            &row,
        );
        x += CELL_WIDTH;
        y += CELL_HEIGHT;
    }
}

fn draw_cells(drawing: &mut Drawing, grid: &Grid<'_>, report: &Report) {
    let mut y = TOP;
    for from in &grid.sites {
        let mut x = LEFT;
        for to in &grid.sites {
            let path = path_between(report, from.node, to.node);
            draw_cell(drawing, grid, path, [x, y]);
            x += CELL_WIDTH;
        }
        y += CELL_HEIGHT;
    }
}

fn draw_cell(drawing: &mut Drawing, grid: &Grid<'_>, path: Option<&Measured>, [x, y]: [i32; 2]) {
    let rtt = path.and_then(|path| path.rtt.as_ref());
    let fill = rtt.map_or_else(
        || "empty".to_owned(),
        |rtt| format!("fill{}", grid.step(rtt)),
    );
    drawing.raw(format_args!(
        "<rect class=\"{fill} gap\" stroke-width=\"2\" x=\"{x}\" y=\"{y}\" \
         width=\"{CELL_WIDTH}\" height=\"{CELL_HEIGHT}\"/>"
    ));
    let middle = x + CELL_WIDTH / 2;
    let Some((path, rtt)) = path.zip(rtt) else {
        let text = if path.is_some() { "all lost" } else { "–" };
        drawing.text(
            middle,
            y + CELL_HEIGHT / 2 + 4,
            Anchor::Middle,
            "muted",
            text,
        );
        return;
    };
    let step = grid.step(rtt);
    let (value, small) = (format!("text{step} value"), format!("text{step} small"));
    let mut lines = vec![
        (value, figure::short(rtt.p99_ns)),
        (small.clone(), figure::short(rtt.p50_ns)),
    ];
    let mut y = y + 26;
    if path.counts.lost > 0 {
        lines.push((small, format!("{} lost", figure::loss(path.counts))));
        y -= 6;
    }
    for (class, text) in lines {
        drawing.text(middle, y, Anchor::Middle, &class, &text);
        y += LINE_PX;
    }
}

fn draw_legend(drawing: &mut Drawing, grid: &Grid<'_>, y: i32) {
    let steps = match grid.most_ns > grid.least_ns {
        true => STEPS,
        false => 1,
    };
    let mut x = LEFT;
    drawing.text(LEFT - 12, y + 13, Anchor::End, "muted", "p99 from");
    for step in 0..steps {
        drawing.raw(format_args!(
            "<rect class=\"fill{step} gap\" stroke-width=\"2\" x=\"{x}\" y=\"{y}\" \
             width=\"{SWATCH_WIDTH}\" height=\"20\"/>"
        ));
        let floor = scale::step_floor(step, grid.least_ns, grid.most_ns, STEPS);
        let class = format!("text{step} small");
        let middle = x + SWATCH_WIDTH / 2;
        drawing.text(
            middle,
            y + 14,
            Anchor::Middle,
            &class,
            &figure::short(floor),
        );
        x += SWATCH_WIDTH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::fixture::{header, report, samples, signature, train};
    use crate::latency::plot::SURFACE;
    use crate::latency::plot::tests::contrast;
    use crate::model::time::Span;

    #[test]
    fn each_text_is_legible_on_its_cell_in_both_forms() {
        for (fill, text) in RAMP {
            assert!(contrast(fill.light, text.light) >= 450, "{fill:?}");
            assert!(contrast(fill.dark, text.dark) >= 450, "{fill:?}");
        }
    }

    #[test]
    fn the_ramp_leads_away_from_the_surface_in_both_forms() {
        let away =
            |surface: u32, of: fn(Ink) -> u32| RAMP.map(|(fill, _)| contrast(of(fill), surface));
        assert!(away(SURFACE.light, |ink| ink.light).is_sorted());
        assert!(away(SURFACE.dark, |ink| ink.dark).is_sorted());
    }

    #[test]
    fn both_directions_have_a_cell_with_p99_p50_and_loss() {
        let mut back = train(2, 1);
        let mut rtts = vec![Some(Span::millis(90)); 100];
        rtts[50] = None;
        back.samples = samples(&rtts);
        let mut both = report(&[train(1, 2)]);
        let theirs = Report::new(header(2), &[back], |bytes| signature(2, bytes));
        both.join(theirs).unwrap();
        let drawing = draw(&both).unwrap();
        assert!(drawing.contains(">29.9 ms</text>"), "{drawing}");
        assert!(drawing.contains(">90.0 ms</text>"));
        assert!(drawing.contains(">1.00% lost</text>"));
        assert_eq!(drawing.matches(">–</text>").count(), 2);
        assert_eq!(drawing.matches("class=\"fill6 gap\"").count(), 2);
    }

    #[test]
    fn what_was_all_lost_says_so_and_many_sites_are_cut() {
        let mut trains: Vec<_> = (2..40).map(|to| train(1, to)).collect();
        trains[0].samples = samples(&[None; 5]);
        let drawing = draw(&report(&trains)).unwrap();
        assert!(drawing.contains("the first 24 of 39 sites"));
        trains.truncate(2);
        assert!(draw(&report(&trains)).unwrap().contains(">all lost</text>"));
        trains.truncate(1);
        assert_eq!(draw(&report(&trains)), None);
    }
}
