//! What a bench came to: one line of JSON a figure, and a table for a person.

use std::io::{IsTerminal, Write, stdout};

/// What a case came to.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) case: String,
    pub(crate) ours_ns: f64,
    pub(crate) peer: &'static str,
    pub(crate) peer_ns: f64,
    pub(crate) messages: usize,
}

/// Prints one figure as one line, and for a person a row of a table.
pub(crate) fn report(bench: &str, figures: &[Figure]) {
    for figure in figures {
        let ratio = figure.ours_ns / figure.peer_ns.max(f64::MIN_POSITIVE);
        say(&format!(
            r#"{{"bench":"{bench}","case":"{}","ours_ns":{:.1},"peer":"{}","peer_ns":{:.1},"ratio":{ratio:.4},"messages":{}}}"#,
            figure.case, figure.ours_ns, figure.peer, figure.peer_ns, figure.messages
        ));
    }
    if !stdout().is_terminal() {
        return;
    }
    say(&format!(
        "\n{:<34} {:>10} {:>12} {:>8}  peer",
        "case", "ours ns", "peer ns", "ratio"
    ));
    for figure in figures {
        say(&format!(
            "{:<34} {:>10.1} {:>12.1} {:>8.3}  {}",
            figure.case,
            figure.ours_ns,
            figure.peer_ns,
            figure.ours_ns / figure.peer_ns.max(f64::MIN_POSITIVE),
            figure.peer
        ));
    }
}

/// Prints a line; whoever closed the other end has seen enough.
fn say(line: &str) {
    writeln!(stdout(), "{line}").ok();
}
