//! The other end of a network: a socketpair, and threads that speak as a server would.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::crowd::Prepared;
use crate::{CHANNEL, PATIENCE, clocks};

/// What a node says to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Joined,
    /// A line to the channel: an offer, or its end.
    Offer,
    Close,
    /// Where it listens for a link.
    Listens,
    Pong(String),
}

/// A server with one member.
pub(crate) struct Server {
    stream: UnixStream,
    said: Receiver<Said>,
    nick: String,
}

impl Server {
    /// Makes a server; the node gets the other end.
    pub(crate) fn open(nick: &str) -> (Self, UnixStream) {
        let (stream, nodes) = UnixStream::pair().unwrap();
        let (tell, said) = channel();
        let (reading, own) = (stream.try_clone().unwrap(), nick.to_owned());
        clocks::start("ear", move || hear(&reading, &own, &tell));
        let server = Self {
            stream,
            said,
            nick: nick.to_owned(),
        };
        (server, nodes)
    }

    /// Waits until the node says something, and counts what else it says meanwhile.
    pub(crate) fn wait(&self, what: &Said, heard: &mut Vec<Said>) {
        while !heard.contains(what) {
            heard.push(self.said.recv_timeout(PATIENCE).unwrap());
        }
    }

    /// Takes what the node has said by now.
    pub(crate) fn take(&self, heard: &mut Vec<Said>) {
        heard.extend(self.said.try_iter());
    }

    pub(crate) fn say(&self, line: &str) {
        (&self.stream)
            .write_all(format!("{line}\r\n").as_bytes())
            .unwrap();
    }

    /// Asks the node to listen, as anybody may.
    pub(crate) fn ask_to_listen(&self) {
        let nick = &self.nick;
        self.say(&format!(
            ":xhostiles!u@h PRIVMSG {nick} :\u{1}DCC SCHAT chat 134744072 0 1\u{1}"
        ));
    }

    /// Begins to say what was prepared, a tick each millisecond; returns how long that took. Where the
    /// node does not keep up, it waits; where it was kept waiting, it makes up for it.
    pub(crate) fn start_flood(
        &self,
        path: &Path,
        prepared: &Arc<Prepared>,
    ) -> JoinHandle<Duration> {
        let (path, prepared) = (path.to_owned(), Arc::clone(prepared));
        let stream = self.stream.try_clone().unwrap();
        clocks::start("feeder", move || flood(stream, &path, &prepared))
    }
}

fn flood(mut stream: UnixStream, path: &Path, prepared: &Prepared) -> Duration {
    let mut file = File::open(path).unwrap();
    let longest = prepared.ticks.iter().max().copied().unwrap_or(0);
    let mut bytes = vec![0; longest as usize];
    let began = Instant::now();
    for (tick, length) in (0..).zip(&prepared.ticks) {
        let bytes = &mut bytes[..*length as usize];
        file.read_exact(bytes).unwrap();
        let due = began + Duration::from_millis(tick);
        sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(bytes).unwrap();
    }
    began.elapsed()
}

fn hear(stream: &UnixStream, nick: &str, tell: &Sender<Said>) {
    let answer = |text: String| (&*stream).write_all(text.as_bytes());
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let mut words = line.split(' ');
        let answered = match (words.next(), words.next()) {
            (Some("USER"), _) => answer(format!(
                ":irc 001 {nick} :welcome\r\n:irc 376 {nick} :end\r\n"
            )),
            (Some("JOIN"), _) => answer(format!(
                ":{nick}!u@h JOIN {CHANNEL}\r\n:irc 353 {nick} = {CHANNEL} :{nick} @op\r\n\
                 :irc 366 {nick} {CHANNEL} :end\r\nPING :joined\r\n"
            )),
            (_, _) => Ok(()),
        };
        let said = match line.split_once(" :").map_or("", |(_, text)| text) {
            "joined" => Some(Said::Joined),
            text if line.starts_with("PONG") => Some(Said::Pong(text.to_owned())),
            text if text.contains(" offer1 ") => Some(Said::Offer),
            text if text.starts_with("close1 ") => Some(Said::Close),
            text if text.starts_with("\u{1}DCC SCHAT") => Some(Said::Listens),
            _ => None,
        };
        let told = said.is_none_or(|said| tell.send(said).is_ok());
        if answered.is_err() || !told {
            return;
        }
    }
}
