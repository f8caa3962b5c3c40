//! Programs of others that people and bots sit on a channel with: weechat, irssi and eggdrop.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::shell::irc::CHANNEL;
use crate::shell::irc::servers::{is_installed, skipped, write_certificate};
use crate::shell::process::until;
use crate::shell::world::Folder;

/// What a person types into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Weechat,
    Irssi,
}

/// A person's client on the channel.
pub(super) struct Person {
    child: Child,
    client: Client,
    folder: Folder,
}

impl Client {
    const fn nick(self) -> &'static str {
        match self {
            Self::Weechat => "weeone",
            Self::Irssi => "irsone",
        }
    }
}

impl Person {
    /// Joins the channel; `None`, and said aloud, where the client is not installed.
    pub(super) fn join(client: Client, server: SocketAddr) -> Option<Self> {
        let program = match client {
            Client::Weechat => "weechat-headless",
            Client::Irssi => "irssi",
        };
        let has_all = client == Client::Irssi || has_weechat_plugins();
        if !is_installed(program) || !has_all {
            skipped(&format!(
                "{program} is not installed; tests/run installs it"
            ));
            return None;
        }
        let folder = Folder::new();
        fs::create_dir_all(&folder.0).unwrap();
        let mut command = match client {
            Client::Weechat => weechat(&folder.0, server),
            Client::Irssi => irssi(&folder.0, server),
        };
        let pipe = folder.file(HANDS);
        if client == Client::Irssi {
            let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
            assert!(made.success());
            command.stdin(open_pipe(&pipe));
        }
        let screen = File::create(folder.file("screen")).unwrap();
        command
            .stderr(screen.try_clone().unwrap())
            .stdout(screen)
            .env("TERM", "xterm");
        let child = command.spawn().unwrap();
        let person = Self {
            child,
            client,
            folder,
        };
        let nick = client.nick();
        person.wait_for(|log| log.contains(nick) && log.contains("has joined #expressnet"));
        if client == Client::Irssi {
            // What a DCC is answered shows on no window that is logged.
            let raw = person.folder.file("raw.log");
            person.say(&format!("rawlog open {}", raw.display()));
            assert!(look_until(|| raw.exists()).is_some());
        }
        Some(person)
    }

    /// Types a command, whose slash is left out.
    pub(super) fn say(&self, command: &str) {
        let line = match self.client {
            Client::Weechat => format!("irc.net.{CHANNEL} */{command}\n"),
            Client::Irssi => format!("/{command}\r"),
        };
        let mut pipe = open_pipe(&self.folder.file(HANDS));
        pipe.write_all(line.as_bytes()).unwrap();
    }

    /// Asks somebody for a sign of life, as the client does it.
    pub(super) fn ping(&self, nick: &str) {
        match self.client {
            Client::Weechat => self.say(&format!("ctcp {nick} PING")),
            Client::Irssi => self.say(&format!("ping {nick}")),
        }
    }

    /// Returns everything that the client wrote into its logs.
    pub(super) fn log(&self) -> String {
        let files = fs::read_dir(&self.folder.0).unwrap();
        let logs = files.filter_map(|file| {
            let path = file.unwrap().path();
            let is_log = path.to_string_lossy().ends_with("log");
            let bytes = is_log.then(|| fs::read(path).unwrap())?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        });
        logs.collect::<Vec<_>>().join("\n")
    }

    /// Returns how many lines have all of these words in them.
    pub(super) fn lines_with(&self, words: &[&str]) -> usize {
        let log = self.log();
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        log.lines().filter(has_all).count()
    }

    #[track_caller]
    pub(super) fn wait_for(&self, is_so: impl Fn(&str) -> bool) {
        let came = look_until(|| is_so(&self.log()));
        let screen = fs::read(self.folder.file("screen")).unwrap_or_default();
        let screen = String::from_utf8_lossy(&screen);
        assert!(came.is_some(), "{}\n{screen}", self.log());
    }
}

/// Looks until it is so, or patience ends. What others log tells nobody that it grew, so the machine
/// is theirs between two looks.
pub(super) fn look_until(mut is_so: impl FnMut() -> bool) -> Option<()> {
    until(|| {
        let is_over = is_so();
        if !is_over {
            std::thread::park_timeout(LOOK_EVERY);
        }
        is_over
    })
}

const LOOK_EVERY: Duration = Duration::from_millis(25);

/// The pipe that a client is typed to through.
const HANDS: &str = "hands";

/// Opens a pipe with a name both ways, so that neither end waits for the other.
fn open_pipe(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).open(path).unwrap()
}

impl Drop for Person {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Tells whether weechat can be typed to through a pipe; that is a package of its own.
fn has_weechat_plugins() -> bool {
    let mut folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    folders.any(|folder| folder.path().join("weechat/plugins/fifo.so").is_file())
}

fn weechat(folder: &Path, server: SocketAddr) -> Command {
    let top = folder.display();
    let (ip, port, nick) = (server.ip(), server.port(), Client::Weechat.nick());
    let mut command = Command::new("weechat-headless");
    command
        .arg("-d")
        .arg(folder.join("home"))
        .stdin(Stdio::null());
    for said in [
        format!("/set fifo.file.path {top}/{HANDS}"),
        "/fifo disable".to_owned(),
        "/fifo enable".to_owned(),
        "/set xfer.network.own_ip 127.0.0.1".to_owned(),
        "/set logger.file.flush_delay 0".to_owned(),
        format!("/set logger.file.path {top}"),
        "/set irc.server_default.anti_flood_prio_high 0".to_owned(),
        format!(
            "/server add net {ip}/{port} -nossl -nicks={nick} -username=wee -autojoin={CHANNEL}"
        ),
        "/connect net".to_owned(),
    ] {
        command.arg("-r").arg(said);
    }
    command
}

/// irssi has no mode without a screen, so `script` gives it one.
fn irssi(folder: &Path, server: SocketAddr) -> Command {
    let top = folder.display();
    let (ip, port, nick) = (server.ip(), server.port(), Client::Irssi.nick());
    let config = format!(
        r#"servers = ( {{ address = "{ip}"; chatnet = "net"; port = "{port}"; autoconnect = "yes"; }} );
chatnets = {{ net = {{ type = "IRC"; }}; }};
channels = ( {{ name = "{CHANNEL}"; chatnet = "net"; autojoin = "yes"; }} );
settings = {{
  core = {{ real_name = "test"; user_name = "test"; nick = "{nick}"; }};
  "fe-common/core" = {{ autolog = "yes"; autolog_path = "{top}/$tag.$0.log"; autolog_level = "ALL"; }};
  "fe-text" = {{ paste_verify_line_count = "0"; }};
  "irc/dcc" = {{ dcc_own_ip = "127.0.0.1"; }};
  "irc/core" = {{ cmd_queue_speed = "0"; cmds_max_at_once = "1000"; }};
}};
"#
    );
    fs::write(folder.join("config"), config).unwrap();
    let mut command = Command::new("script");
    let within = format!("irssi --home={top}");
    command.args(["-qfc", &within, "/dev/null"]);
    command
}

/// A bot on the channel, with a TLS stack of its own.
pub(super) struct Eggdrop {
    child: Child,
    folder: Folder,
}

/// What `nobody` and its group are called by the kernel; eggdrop does not run as root.
const NOBODY: u32 = 65_534;

impl Eggdrop {
    /// Joins the channel as `nick`, listening for TLS on a port; `script` is what it does besides,
    /// in Tcl. `None`, and said aloud, where it is not installed.
    pub(super) fn join(
        server: SocketAddr,
        (nick, realname): (&str, &str),
        port: u16,
        script: &str,
    ) -> Option<Self> {
        if !is_installed("eggdrop") {
            skipped("eggdrop is not installed; tests/run installs it");
            return None;
        }
        let folder = Folder::new();
        fs::create_dir_all(&folder.0).unwrap();
        write_certificate(&folder.0);
        let config = eggdrop_config(&folder.0, server, (nick, realname), port);
        fs::write(folder.file("egg.conf"), config + script).unwrap();
        let mut command = Command::new("eggdrop");
        if rustix::process::geteuid().is_root() {
            chown(&folder.0, Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        let screen = File::create(folder.file("screen")).unwrap();
        let child = command
            .args(["-n", "-m"])
            .arg(folder.file("egg.conf"))
            .current_dir(&folder.0)
            .env("HOME", &folder.0)
            .stdin(Stdio::null())
            .stderr(screen.try_clone().unwrap())
            .stdout(screen)
            .spawn()
            .unwrap();
        let bot = Self { child, folder };
        bot.wait_for(&[&format!("{nick} joined {CHANNEL}")]);
        Some(bot)
    }

    pub(super) fn log(&self) -> String {
        let bytes = fs::read(self.folder.file("screen")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until all of these were logged, one behind the other.
    #[track_caller]
    pub(super) fn wait_for(&self, texts: &[&str]) {
        let came = look_until(|| {
            let log = self.log();
            let mut rest = log.as_str();
            texts.iter().all(|text| match rest.split_once(text) {
                Some((_, behind)) => {
                    rest = behind;
                    true
                }
                None => false,
            })
        });
        assert!(came.is_some(), "{texts:?}\n{}", self.log());
    }
}

impl Drop for Eggdrop {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Anybody may talk to it by DCC, once the password is said: so it takes the offers of strangers.
fn eggdrop_config(
    folder: &Path,
    server: SocketAddr,
    (nick, realname): (&str, &str),
    port: u16,
) -> String {
    let top = folder.display();
    format!(
        r#"set username "egg"
set nick "{nick}"
set altnick "{nick}"
set realname "{realname}"
set userfile "{top}/users"
set chanfile "{top}/channels"
set pidfile "{top}/pid"
set temp-path "{top}"
set help-path "/usr/share/eggdrop/help/"
set text-path "/usr/share/eggdrop/text/"
set mod-path "/usr/lib/eggdrop/modules/"
set ssl-privatekey "{top}/k.pem"
set ssl-certificate "{top}/c.pem"
set ident-timeout 1
set console "mkcobdxs"
set quick-logs 1
logfile * * "{top}/log"
loadmodule blowfish
loadmodule dns
loadmodule channels
loadmodule server
loadmodule ctcp
loadmodule irc
set net-type 5
set servers {{ {server} }}
listen +{port} all
channel add {CHANNEL} {{ flood-join 0:0 }}
bind evnt - init-server befriend
proc befriend {{event}} {{
  adduser friend *!*@*
  chattr friend +p
  setuser friend PASS secret
}}
"#
    )
}
