//! Drawings of a report as SVG: one file each, without scripts or fonts, light or dark as the reader
//! prefers.
//!
//! Colours are set by classes in one `<style>`, not by variables, so that viewers that know no custom
//! properties show the light form.

pub mod heatmap;
pub mod percentiles;
pub mod scale;

use std::fmt::{self, Write as _};

use crate::latency::figure;
use crate::latency::report::Report;

/// Letters of a name in a drawing; longer ones are cut.
pub const NAME_LETTERS_MAX: usize = 28;
/// Room for the caption below a drawing, a line.
const CAPTION_LINE_PX: i32 = 16;
const CAPTION_LETTER_PX: i32 = 6;

/// A colour in both forms, light and dark.
#[derive(Clone, Copy, Debug)]
pub struct Ink {
    pub light: u32,
    pub dark: u32,
}

/// What both drawings are made of.
const SURFACE: Ink = ink(0xFF_FFFF, 0x14_171C);
const TEXT: Ink = ink(0x1B_1F24, 0xE6_E9EE);
const MUTED: Ink = ink(0x57_606A, 0xA3_ACB8);
const GRID: Ink = ink(0xE3_E7EC, 0x2C_323B);

/// An SVG file while it is written.
#[derive(Debug)]
struct Drawing {
    text: String,
    height: i32,
}

/// Where a text is held.
#[derive(Clone, Copy, Debug)]
enum Anchor {
    Start,
    Middle,
    End,
}

const fn ink(light: u32, dark: u32) -> Ink {
    Ink { light, dark }
}

impl Drawing {
    /// Opens a drawing with its title, its styles and room for a caption below.
    fn open(title: &str, describe: &str, styles: &Styles, width: i32, height: i32) -> Self {
        let mut text = String::new();
        let opened = write!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{label}\">\n\
             <title>{label}</title>\n<desc>{describe}</desc>\n<style>\n{styles}</style>\n\
             <rect class=\"surface\" width=\"{width}\" height=\"{height}\"/>\n",
            label = escape(title),
            describe = escape(describe),
        );
        opened.unwrap_or_default();
        let mut drawing = Self { text, height };
        drawing.text(24, 34, Anchor::Start, "title", title);
        drawing.text(24, 54, Anchor::Start, "muted", describe);
        drawing
    }

    fn raw(&mut self, arguments: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        self.text.write_fmt(arguments).unwrap_or_default();
        self.text.push('\n');
    }

    fn text(
        &mut self,
        x: impl fmt::Display,
        y: impl fmt::Display,
        anchor: Anchor,
        class: &str,
        text: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.raw(format_args!(
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
            escape(text)
        ));
    }

    fn line(&mut self, class: &str, [x1, y1, x2, y2]: [i32; 4]) {
        self.raw(format_args!(
            "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"
        ));
    }

    /// Puts the caption into the room below and ends the file.
    fn close(mut self, caption: &[String]) -> String {
        let mut y = self.height - caption_px(caption) + 4;
        for line in caption {
            self.text(24, y, Anchor::Start, "caption", line);
            y += CAPTION_LINE_PX;
        }
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// The rules of a drawing's `<style>`: classes with their colours.
#[derive(Debug, Default)]
struct Styles {
    rules: Vec<(String, &'static str, Ink)>,
}

impl Styles {
    /// What every drawing has.
    fn common() -> Self {
        let mut styles = Self::default();
        styles.add("surface", "fill", SURFACE);
        styles.add("title", "fill", TEXT);
        styles.add("label", "fill", TEXT);
        styles.add("muted", "fill", MUTED);
        styles.add("caption", "fill", MUTED);
        styles.add("grid", "stroke", GRID);
        styles.add("axis", "stroke", MUTED);
        styles
    }

    /// Gives a class a colour for `fill` or `stroke`.
    fn add(&mut self, class: impl Into<String>, property: &'static str, ink: Ink) {
        self.rules.push((class.into(), property, ink));
    }
}

impl fmt::Display for Styles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "text{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;font-size:13px}\n\
             .title{font-size:18px;font-weight:600}\n.caption{font-size:11px}\n\
             .value{font-size:14px;font-weight:600}\n.small{font-size:11px}\n\
             .grid,.axis{stroke-width:1}\n",
        )?;
        for (class, property, ink) in &self.rules {
            writeln!(formatter, ".{class}{{{property}:#{:06x}}}", ink.light)?;
        }
        formatter.write_str("@media (prefers-color-scheme:dark){\n")?;
        for (class, property, ink) in &self.rules {
            writeln!(formatter, ".{class}{{{property}:#{:06x}}}", ink.dark)?;
        }
        formatter.write_str("}\n")
    }
}

/// Returns the self line of a report, of several probers that of the latest timer, broken at its
/// parts to fit a width.
fn caption(report: &Report, width: i32) -> Vec<String> {
    let letters = usize::try_from((width - 48) / CAPTION_LETTER_PX).unwrap_or(0);
    let worst = report.parts.iter().max_by_key(|part| {
        let own = &part.claim.own;
        own.timer_late.p99_ns.max(own.sent_late.p99_ns)
    });
    let Some(worst) = worst else {
        return Vec::new();
    };
    let whose = match report.parts.len() {
        1 => "self: ".to_owned(),
        probers => format!(
            "self, the worst of {probers} probers ({}): ",
            worst.claim.header.name
        ),
    };
    let text = whose + &figure::own_line(worst);
    let mut lines: Vec<String> = Vec::new();
    for piece in text.split(" · ") {
        match lines.last_mut() {
            Some(line) if line.chars().count() + piece.chars().count() + 3 <= letters => {
                line.push_str(" · ");
                line.push_str(piece);
            }
            Some(_) | None => lines.push(piece.to_owned()),
        }
    }
    lines
}

fn caption_px(caption: &[String]) -> i32 {
    i32::try_from(caption.len()).unwrap_or(0) * CAPTION_LINE_PX + 12
}

/// Cuts a name to what a drawing has room for.
fn brief(name: &str, letters_max: usize) -> String {
    if name.chars().count() <= letters_max {
        return name.to_owned();
    }
    let kept: String = name.chars().take(letters_max - 1).collect();
    kept + "…"
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML 1.0 has no place for the others, escaped or not.
            letter if letter.is_control() => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contrast of two colours as WCAG 2.1 defines it, in hundredths.
    #[expect(clippy::float_arithmetic, reason = "a ratio of brightnesses")]
    pub(super) fn contrast(one: u32, other: u32) -> u32 {
        let (one, other) = (luminance(one), luminance(other));
        let ratio = (one.max(other) + 0.05) / (one.min(other) + 0.05);
        (ratio * 100.0) as u32
    }

    #[expect(clippy::float_arithmetic, reason = "a weighted sum of colours")]
    fn luminance(colour: u32) -> f64 {
        let [_, red, green, blue] = colour.to_be_bytes().map(|part| {
            let part = f64::from(part) / 255.0;
            match part <= 0.039_28 {
                true => part / 12.92,
                false => ((part + 0.055) / 1.055).powf(2.4),
            }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    #[test]
    fn texts_stand_out_from_the_surface_in_both_forms() {
        assert_eq!(contrast(0, 0xFF_FFFF), 2_100);
        for ink in [TEXT, MUTED] {
            assert!(contrast(ink.light, SURFACE.light) >= 450);
            assert!(contrast(ink.dark, SURFACE.dark) >= 450);
        }
    }

    #[test]
    fn names_cannot_leave_their_element() {
        assert_eq!(
            escape("<a b='\"&'>\u{1b}"),
            "&lt;a b=&#39;&quot;&amp;&#39;&gt;"
        );
        assert_eq!(brief("abcdef", 4), "abc…");
    }
}
