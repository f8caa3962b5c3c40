//! Clients of the time, unmodified, trade against the served venues.
//!
//! The packages and their drivers are in `tests/clients/`; `tests/run` installs the packages.
//! `EXPRESSNET_CLIENTS` names the folder they are in; without it, `target/clients/node_modules`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::shell::process::{KEY, SECRET, Venue};

/// A driver that takes longer hangs.
const DRIVER_LASTS_MAX: Duration = Duration::from_secs(90);

/// Node and the folder of the packages, where both are there.
struct Clients {
    packages: PathBuf,
}

#[test]
fn clients_mtgox_trades_with_both_generations() {
    let Some(clients) = Clients::find("mtgox") else {
        return;
    };
    for dialect in ["mtgox", "mtgox1"] {
        clients.drive(dialect, "mtgox.js", None);
    }
}

#[test]
fn clients_btce_trades() {
    let Some(clients) = Clients::find("btce") else {
        return;
    };
    clients.drive("btce", "btce.js", Some("btc-e.com"));
}

#[test]
fn clients_btc_e_trades() {
    let Some(clients) = Clients::find("btc-e") else {
        return;
    };
    clients.drive("btce", "btc-e.js", None);
}

#[test]
fn clients_ccxt_trades_with_yobit() {
    let Some(clients) = Clients::find("ccxt") else {
        return;
    };
    clients.drive("yobit", "yobit.js", None);
}

impl Clients {
    /// Finds a package, or says aloud that it is not there.
    fn find(package: &str) -> Option<Self> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let default = top.join("target/clients/node_modules");
        let packages = std::env::var_os("EXPRESSNET_CLIENTS").map_or(default, PathBuf::from);
        let has_node = Command::new("node").arg("--version").output().is_ok();
        if has_node && packages.join(package).is_dir() {
            return Some(Self { packages });
        }
        // Written past the capture of the test harness, so that the skip is seen.
        let missing = if has_node { package } else { "node" };
        let line = format!(
            "SKIPPED: no {missing} to trade with ({})\n",
            packages.display()
        );
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        None
    }

    /// Serves a venue and lets a driver trade with it; `host` is one that the package has in its
    /// code.
    #[track_caller]
    fn drive(&self, dialect: &'static str, driver: &str, host: Option<&str>) {
        let venue = Venue::serve_as(dialect, dialect, "100", 1, &[]);
        let drivers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        let mut command = Command::new("node");
        if let Some(host) = host {
            command.env("EXPRESSNET_HOST", host);
            command.arg("-r").arg(drivers.join("redirect.js"));
        }
        command
            .arg(drivers.join(driver))
            .env("EXPRESSNET_CLIENTS", &self.packages)
            .env("EXPRESSNET_VENUE", &venue.http)
            .env("EXPRESSNET_KEY", KEY)
            .env("EXPRESSNET_SECRET", SECRET)
            .env("NODE_NO_WARNINGS", "1");
        run(command);
        let books = venue.close();
        assert_eq!(books["duplicates"], 0, "{books}");
        assert!(books["imbalance"].is_null(), "{books}");
        let account = &books["accounts"][0];
        assert_eq!(account["held"], serde_json::json!({}), "{books}");
        assert_eq!(account["orders_filled"], 2, "{books}");
    }
}

/// Runs a driver to its end; what it said is passed on where it fails.
#[track_caller]
fn run(mut command: Command) {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.unwrap();
    let pid = Pid::from_child(&child);
    let began = Instant::now();
    let (ended, end) = sync_channel(1);
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    let output = end.recv_timeout(DRIVER_LASTS_MAX).unwrap_or_else(|_| {
        kill_process(pid, Signal::KILL).unwrap_or_default();
        end.recv().unwrap()
    });
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {} after {:?}\n{}{}",
        output.status,
        began.elapsed(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
