//! The demo as a user runs it: the whole path over real sockets, every unit accounted for.

use std::process::Command;

use serde_json::Value;

#[test]
fn the_demo_shows_the_whole_path_and_accounts_for_every_unit() {
    let output = Command::new(env!("CARGO_BIN_EXE_expressnet"))
        .args(["demo", "--json", "--seed", "1"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(report["conserved"], true, "{report:#}\n{errors}");
    for key in ["taken", "offers", "partial_matches", "aggregates"] {
        assert!(report[key].as_u64().unwrap() > 0, "{key}: {report:#}");
    }
    assert!(report["legs"]["filled"].as_u64().unwrap() > 1, "{report:#}");
    assert!(output.status.success(), "{errors}");
}
