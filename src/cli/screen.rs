//! Output for people: lines and aligned tables, without colour.

use std::io::{self, ErrorKind, Write};

use crate::cli::exit::CliError;

/// How a verb that reads prints its answer.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Format {
    /// Print JSON with stable names, one object a line.
    #[arg(long)]
    pub json: bool,
}

/// Prints one line on standard output. A reader that has gone is no fault.
///
/// # Errors
/// Standard output cannot be written.
pub fn note(text: &str) -> Result<(), CliError> {
    match writeln!(io::stderr().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints one line of data on stdout.
pub fn line(text: &str) -> Result<(), CliError> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a table with its head; a table without rows is told in words.
///
/// # Errors
/// Standard output cannot be written.
pub fn table<const COLUMNS: usize>(
    head: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
    none: &str,
) -> Result<(), CliError> {
    if rows.is_empty() {
        return line(none);
    }
    layout(head, rows).iter().try_for_each(|text| line(text))
}

/// Pads columns to their widest cell; columns of numbers are aligned to the right.
pub fn layout<const COLUMNS: usize>(
    head: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
) -> Vec<String> {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([head[column].chars().count()])
            .max()
            .unwrap_or(0)
    });
    let is_number: [bool; COLUMNS] =
        std::array::from_fn(|column| rows.iter().all(|row| is_number(&row[column])));
    let cell = |column: usize, text: &str| {
        let width = widths[column];
        match is_number[column] {
            true => format!("{text:>width$}"),
            false => format!("{text:<width$}"),
        }
    };
    let row = |cells: [&str; COLUMNS]| {
        let cells: Vec<String> = (0..COLUMNS)
            .map(|column| cell(column, cells[column]))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![row(head)];
    lines.extend(
        rows.iter()
            .map(|cells| row(std::array::from_fn(|column| cells[column].as_str()))),
    );
    lines
}

/// Tells a number, with a unit of time behind it or without.
fn is_number(cell: &str) -> bool {
    let units = [" ns", " µs", " ms", " s"];
    let number = units.iter().find_map(|unit| cell.strip_suffix(unit));
    number
        .unwrap_or(cell)
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".-+%<".contains(&byte))
}

/// Writes parts per million as a percentage.
pub fn percent(ppm: i64) -> String {
    let sign = if ppm < 0 { "-" } else { "" };
    let ppm = ppm.unsigned_abs();
    format!("{sign}{}.{:04}%", ppm / 10_000, ppm % 10_000)
}

/// Writes what may be unknown.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["alpha".to_owned(), "10".to_owned()],
            ["b".to_owned(), "5000".to_owned()],
        ];
        let lines = layout(["venue", "free"], &rows);
        assert_eq!(lines, ["venue  free", "alpha    10", "b      5000"]);
    }

    #[test]
    fn parts_per_million_print_as_an_exact_percentage() {
        assert_eq!(percent(2_000), "0.2000%");
        assert_eq!(percent(-1), "-0.0001%");
    }
}
