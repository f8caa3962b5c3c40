//! The matrix of a mesh as text: from each site to each site, p50 and p99 of the round trip.

use std::collections::BTreeMap;

use crate::latency::figure::short;
use crate::latency::report::{Carrier, Measured, Report};

/// Writes the matrix, one row for each site that measured.
pub fn write(report: &Report) -> Vec<String> {
    let mut ways: BTreeMap<(&str, &str), &Measured> = BTreeMap::new();
    let mut sites: Vec<&str> = Vec::new();
    for path in report.paths().filter(|path| path.over == Carrier::Mesh) {
        let (from, to) = (path.from.name.as_str(), path.to.name.as_str());
        ways.insert((from, to), path);
        sites.extend([from, to]);
    }
    sites.sort_unstable();
    sites.dedup();
    let cell = |from: &str, to: &str| {
        let rtt = ways.get(&(from, to)).map(|path| path.rtt.as_ref());
        match rtt {
            _ if from == to => "·".to_owned(),
            None => "absent".to_owned(),
            Some(None) => "no answer".to_owned(),
            Some(Some(rtt)) => format!("{} / {}", short(rtt.p50_ns), short(rtt.p99_ns)),
        }
    };
    let mut table: Vec<Vec<String>> = vec![vec!["p50 / p99".to_owned()]];
    table[0].extend(sites.iter().map(|site| format!("to {site}")));
    for from in &sites {
        let mut row = vec![format!("from {from}")];
        row.extend(sites.iter().map(|to| cell(from, to)));
        table.push(row);
    }
    aligned(&table)
}

fn aligned(table: &[Vec<String>]) -> Vec<String> {
    let columns = table.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = table.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    table.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let lines = aligned(&[row(["p50 / p99", "to b"]), row(["from a", "1 ms / 2 ms"])]);
        assert_eq!(lines, ["p50 / p99  to b", "from a     1 ms / 2 ms"]);
    }
}
