//! Whole processes on loopback: served venues and running nodes; helpers of their tests.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;

use crate::shell::world::Folder;

/// The name of a node that answers offers.
pub(super) const PROVIDER: &str = "p";
/// Whatever is awaited comes within this, or the test fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);
/// From one question for a node's status to the next.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A served venue with one account.
pub(super) struct Venue {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(super) name: &'static str,
    dialect: &'static str,
    pub(super) http: String,
    ws: Option<String>,
}

/// Key and secret of the one account, of a shape that every dialect takes.
pub(super) const KEY: &str = "6b6f6e74-6f00-4a00-8000-000000000001";
pub(super) const SECRET: &str = "bG9vcGJhY2s=";

/// A home, and the process in it while it runs.
pub(super) struct Node {
    pub(super) home: PathBuf,
    port: u16,
    running: Option<Running>,
}

/// A process, and a channel that closes when it has ended.
struct Running {
    child: Child,
    ended: Receiver<()>,
}

/// Whether orders are real.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Paper,
    Live,
}

impl Venue {
    /// Serves a seeded market around a price; the account can go on for a long time.
    pub(super) fn serve(name: &'static str, price: &str, seed: u64) -> Self {
        Self::serve_as("simulated", name, price, seed, &[])
    }

    /// Serves it as a dialect, with faults or habits in `more`.
    pub(super) fn serve_as(
        dialect: &'static str,
        name: &'static str,
        price: &str,
        seed: u64,
        more: &[&str],
    ) -> Self {
        let seed = seed.to_string();
        let words = ["venue", "serve", dialect, "--price", price, "--seed", &seed];
        let account = format!("{KEY}:{SECRET}:BTC=1000,USD=100000");
        let mut child = program(&words)
            .args(["--account", &account])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let first = line_of(&mut stdout);
        let text = |key: &str| first[key].as_str().map(str::to_owned);
        Self {
            http: text("http").unwrap(),
            ws: text("ws"),
            child,
            stdout,
            name,
            dialect,
        }
    }

    /// Ends the venue and returns what its books say.
    pub(super) fn close(mut self) -> Value {
        signal(&self.child, Signal::TERM);
        line_of(&mut self.stdout)
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Node {
    /// Makes a home, beside a venue or beside none; `of` is the home of the same owner.
    pub(super) fn make(
        folder: &Folder,
        name: &str,
        venue: Option<(&Venue, Mode)>,
        of: Option<&Self>,
    ) -> Self {
        fs::create_dir_all(&folder.0).unwrap();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap();
        let node = Self {
            home: folder.file(name),
            port: port.local_addr().unwrap().port(),
            running: None,
        };
        let owner = of.map(|node| node.home.join("owner.key"));
        let mut init = vec!["init".to_owned()];
        if let Some(owner) = owner {
            init.extend(["--vouched".to_owned(), owner.display().to_string()]);
        }
        let words: Vec<&str> = init.iter().map(String::as_str).collect();
        let made = node.cli(&words);
        let id = made.split("made node ").nth(1).unwrap();
        let id = id.split_whitespace().next().unwrap();
        fs::write(node.home.join("node.toml"), node.config(name, venue)).unwrap();
        if let Some((venue, Mode::Live)) = venue {
            let capability = format!(
                "node = \"{id}\"\nvenues = [\"{}\"]\nexpires = \"9999-12-31\"\n",
                venue.name
            );
            node.write_private("live.toml", &capability);
            node.write_private("venue.key", &format!("{KEY}\n{SECRET}\n"));
        }
        node
    }

    fn config(&self, name: &str, venue: Option<(&Venue, Mode)>) -> String {
        let port = self.port;
        let mut text = format!(
            "[node]\nname = \"{name}\"\nlisten = \"127.0.0.1:{port}\"\n\
             advertise = [\"127.0.0.1:{port}\"]\nredial_max = \"1s\"\n"
        );
        let Some((venue, mode)) = venue else {
            if name == PROVIDER {
                text.push_str(
                    "[[offer.rail]]\nmethod = \"SEPA\"\ncurrency = \"USD\"\namount = \"1000000\"\n\
                     [[offer.rule]]\ngive = \"BTC\"\nwant = \"USD\"\nmethods = [\"SEPA\"]\n\
                     threshold = \"1\"\nsize_max = \"5\"\nprice = \"101\"\n",
                );
            }
            return text;
        };
        let Venue {
            name,
            dialect,
            http,
            ..
        } = venue;
        let ws = venue.ws.as_ref();
        let ws = ws.map_or_else(String::new, |ws| format!("ws = \"{ws}\"\n"));
        if mode == Mode::Live {
            text.push_str("[trading]\nmode = \"live\"\ncapability = \"live.toml\"\n");
        }
        text.push_str(&format!(
            "[[venue]]\nname = \"{name}\"\ndialect = \"{dialect}\"\nhttp = \"{http}\"\n{ws}\
             key_file = \"venue.key\"\npairs = [\"BTC/USD\"]\npaper = {{ BTC = \"1000\", USD = \"100000\" }}\n\
             [risk]\norder_max = {{ BTC = \"1\" }}\nvenue_day_max = [\n\
             {{ venue = \"{name}\", side = \"buy\", currency = \"BTC\", quantity = \"100000\" }},\n\
             {{ venue = \"{name}\", side = \"sell\", currency = \"BTC\", quantity = \"100000\" }}]\n\
             pair_day_notional_max = {{ \"BTC/USD\" = \"10000000\" }}\n\
             day_notional_max = {{ USD = \"10000000\" }}\nday_loss_max = {{ USD = \"10000\" }}\n\
             exposure_max = {{ BTC = \"20\" }}\n[arbitrage]\nedge_min = \"0%\"\n\
             [execution]\nunknown_after = \"500ms\"\nleg_deadline = \"500ms\"\nrecovery_deadline = \"2s\"\n\
             [[execution.transfer]]\ncurrency = \"BTC\"\nfrom = \"{name}\"\nto = \"wallet\"\ntakes = \"1h\"\n\
             [offer]\nmethods = [\"SEPA\"]\noffer_min = {{ BTC = \"1\" }}\npart_min = {{ BTC = \"0.1\" }}\n\
             ttl = \"1500ms\"\ngather = \"300ms\"\nhold = \"2s\"\n"
        ));
        text
    }

    fn write_private(&self, name: &str, text: &str) {
        let file = self.home.join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs a verb in this home and returns whether it succeeded.
    pub(super) fn try_cli(&self, words: &[&str]) -> bool {
        let output = program(&["--home"]).arg(&self.home).args(words).output();
        output.unwrap().status.success()
    }

    /// Runs a verb in this home; it must succeed.
    pub(super) fn cli(&self, words: &[&str]) -> String {
        let output = program(&["--home"]).arg(&self.home).args(words).output();
        let output = output.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Lists another node by its card.
    pub(super) fn list(&self, other: &Self) {
        let card = other.cli(&["id"]);
        self.cli(&["peer", "add", card.trim(), "--trust", "10"]);
    }

    pub(super) fn run(&mut self, words: &[&str]) {
        let log = fs::File::options();
        let log = log.clone().create(true).append(true).open(self.log());
        let child = program(&["--home"])
            .arg(&self.home)
            .arg("run")
            .args(words)
            .stderr(log.unwrap())
            .spawn();
        self.running = Some(Running::watch(child.unwrap()));
    }

    /// Runs the node in a network namespace.
    pub(super) fn run_in(&mut self, namespace: &str) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log());
        let child = Command::new("ip")
            .args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_expressnet")])
            .arg("--home")
            .arg(&self.home)
            .arg("run")
            .stderr(log.unwrap())
            .spawn();
        self.running = Some(Running::watch(child.unwrap()));
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    /// Returns `status`, or `None` while the node does not answer.
    pub(super) fn status(&self) -> Option<Value> {
        self.ask(&["status", "--json"])
    }

    fn ask(&self, words: &[&str]) -> Option<Value> {
        let mut command = program(&["--home"]);
        let output = command.arg(&self.home).args(words).output();
        let output = output.unwrap();
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The port that no other test has.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Asks for `status` until it is as wanted.
    #[track_caller]
    pub(super) fn wait(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(&["status", "--json"], wanted)
    }

    /// Asks until the answer is as wanted. No verb follows a node's state, so between two questions
    /// it is the end of the process that is waited for: nobody dead is asked again.
    #[track_caller]
    pub(super) fn wait_for(&self, words: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.ask(words);
            if let Some(status) = status.as_ref().filter(|status| wanted(status)) {
                return status.clone();
            }
            let has_ended = self.ends_within(LOOK_EVERY);
            assert!(
                !has_ended && began.elapsed() < PATIENCE,
                "ended: {has_ended}, {status:#?}\n{}",
                self.tail()
            );
        }
    }

    /// Waits until the process has ended by itself, or returns false.
    pub(super) fn ends_within(&self, patience: Duration) -> bool {
        let ended = &self.running.as_ref().unwrap().ended;
        ended.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
    }

    /// Ends the process as a power cut would.
    pub(super) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            end(&mut running.child);
        }
    }

    /// Lets the process stand still, or go on.
    pub(super) fn stall(&self, stands: bool) {
        let word = if stands { Signal::STOP } else { Signal::CONT };
        signal(&self.running.as_ref().unwrap().child, word);
    }

    /// Begins a verb in this home; what it prints is for the caller to read.
    pub(super) fn begin(&self, words: &[&str]) -> Child {
        program(&["--home"])
            .arg(&self.home)
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Asks the process to end, and returns whether it said that all is well.
    pub(super) fn stop(&mut self) -> bool {
        let mut child = self.running.take().unwrap().child;
        signal(&child, Signal::TERM);
        child.wait().unwrap().success()
    }

    fn tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Running {
    /// Waits for the end on a thread of its own, which leaves the exit status to the test: until that
    /// is taken the id names no other process.
    fn watch(child: Child) -> Self {
        let (ends, ended) = mpsc::channel();
        let id = id_of(&child);
        std::thread::spawn(move || {
            waitid(
                WaitId::Pid(id),
                WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
            )
            .ok();
            drop(ends);
        });
        Self { child, ended }
    }
}

/// Asks until it is so, or patience ends. Each question is a process that is waited for.
pub(super) fn until(mut is_so: impl FnMut() -> bool) -> Option<()> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if is_so() {
            return Some(());
        }
    }
    None
}

fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressnet"));
    command.args(words);
    command
}

fn line_of(stdout: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(id_of(child), signal).unwrap();
}

fn id_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

fn end(child: &mut Child) {
    child.kill().unwrap_or_default();
    child.wait().unwrap();
}
