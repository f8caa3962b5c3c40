//! A network whose news nobody takes: it waits, nothing is lost, and the node still speaks.

use std::net::Ipv4Addr;

use expressnet::discovery::irc::line::Line;
use expressnet::discovery::irc::name::nick_of;
use expressnet::discovery::irc::session::{Session, Settings};
use expressnet::discovery::network::Trust;
use expressnet::shell::clock::Clock;
use expressnet::shell::irc::{Given, NEWS_MAX, News, WISHES_MAX, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::shell::irc::{CHANNEL, Member, network, on_a_runtime, pin};
use crate::shell::world::PATIENCE;

/// More than the queue and what lies on the way hold; each is the shortest line that is news.
const LINES: usize = 20 * NEWS_MAX;
const PIPE_BYTES: usize = 4_096;

/// Makes a member whose server is at the other end of a pipe.
fn member(tasks: &mut JoinSet<()>) -> (Member, DuplexStream) {
    let settings = Settings {
        pin: pin(1),
        realname: String::new(),
        channel: CHANNEL.to_owned(),
        login: None,
        answers: false,
    };
    let (server, nodes) = duplex(PIPE_BYTES);
    let given = Given::new(nodes, Ipv4Addr::LOCALHOST.into());
    let nowhere = network((Ipv4Addr::LOCALHOST, 1).into(), Trust::Plain);
    let (wishes, wished) = mpsc::channel(WISHES_MAX);
    let (told, news) = mpsc::channel(NEWS_MAX);
    let session = Session::new(settings, 1);
    tasks.spawn(run(
        nowhere,
        Some(given),
        session,
        Clock::start(),
        wished,
        told,
    ));
    let member = Member {
        wishes,
        news,
        nick: nick_of(&pin(1), 0),
        realname: String::new(),
    };
    (member, server)
}

#[test]
fn a_flood_that_nobody_takes_waits_and_own_lines_leave_meanwhile() {
    on_a_runtime(async {
        let mut tasks = JoinSet::new();
        let (mut member, mut server) = member(&mut tasks);
        let nick = member.nick.clone();
        let welcome = format!(
            ":s 001 {nick} :hi\r\n:s 376 {nick} :end\r\n:{nick}!u@h JOIN {CHANNEL}\r\n\
             :s 366 {nick} {CHANNEL} :end\r\n"
        );
        server.write_all(welcome.as_bytes()).await.unwrap();
        member.wait(|news| matches!(news, News::Joined(_))).await;
        let (mut reading, mut writing) = tokio::io::split(server);
        let flood = tokio::spawn(async move {
            writing.write_all(&b"QUIT\n".repeat(LINES)).await.unwrap();
            writing
        });
        // Nobody takes the news, so the server waits.
        while member.news.len() < NEWS_MAX {
            tokio::task::yield_now().await;
        }
        member
            .send(Line::say("PRIVMSG", CHANNEL, "still here").unwrap())
            .await;
        let heard = async {
            let mut heard = Vec::new();
            while !String::from_utf8_lossy(&heard).contains("still here") {
                assert!(reading.read_buf(&mut heard).await.unwrap() > 0);
            }
        };
        timeout(PATIENCE, heard).await.expect("own lines leave");
        assert!(!flood.is_finished(), "the server was not made to wait");
        for _ in 0..LINES {
            member.wait(|news| matches!(news, News::Gone { .. })).await;
        }
        let _server = timeout(PATIENCE, flood).await.unwrap().unwrap();
        assert_eq!(member.view().await.dropped, 0);
    });
}
