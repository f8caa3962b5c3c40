//! Networks over real sockets: servers that nobody here wrote, and servers that misbehave.

mod eggdrop;
mod lease;
mod meeting;
mod nat;
mod people;
mod peernets;
mod programs;
mod servers;
mod slow;
mod worked_example;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use expressnet::discovery::irc::line::Line;
use expressnet::discovery::irc::name::nick_of;
use expressnet::discovery::irc::pace::Urgency;
use expressnet::discovery::irc::session::{Phase, Session, Settings};
use expressnet::discovery::network::{Network, Trust};
use expressnet::model::ids::Pin;
use expressnet::shell::clock::Clock;
use expressnet::shell::irc::{NEWS_MAX, News, View, WISHES_MAX, Wish, run};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::shell::irc::servers::{Kind, Server, first_words, hostile};
use crate::shell::world::PATIENCE;

const CHANNEL: &str = "#expressnet";

/// One node on one network.
struct Member {
    wishes: mpsc::Sender<Wish>,
    news: mpsc::Receiver<News>,
    nick: String,
    realname: String,
}

fn pin(seed: u8) -> Pin {
    Pin(std::array::from_fn(|at| {
        seed.wrapping_mul(31).wrapping_add(at as u8)
    }))
}

fn network(address: SocketAddr, trust: Trust) -> Network {
    Network {
        name: "test".to_owned(),
        host: address.ip().to_string(),
        port: address.port(),
        trust,
        bind: None,
        login_file: None,
    }
}

impl Member {
    fn join(tasks: &mut JoinSet<()>, seed: u8, network: Network) -> Self {
        let settings = Settings {
            pin: pin(seed),
            realname: format!("00000000-0000-4000-8000-0000000000{seed:02}"),
            channel: CHANNEL.to_owned(),
            login: None,
            answers: true,
        };
        let realname = settings.realname.clone();
        let (wishes, wished) = mpsc::channel(WISHES_MAX);
        let (told, news) = mpsc::channel(NEWS_MAX);
        let session = Session::new(settings, u64::from(seed));
        tasks.spawn(run(network, None, session, Clock::start(), wished, told));
        Self {
            wishes,
            news,
            nick: nick_of(&pin(seed), 0),
            realname,
        }
    }

    async fn wait(&mut self, what: impl Fn(&News) -> bool) -> News {
        let awaited = async {
            loop {
                let news = self.news.recv().await.expect("the network runs");
                if what(&news) {
                    return news;
                }
            }
        };
        timeout(PATIENCE, awaited).await.expect("it comes in time")
    }

    async fn send(&self, line: Line) {
        let urgency = Urgency::Offer;
        self.wishes
            .send(Wish::Send { urgency, line })
            .await
            .unwrap();
    }

    /// Looks until the connection was given up; returns why, and what is left.
    async fn await_down(&self) -> (String, View) {
        let look = async {
            loop {
                let view = self.view().await;
                if let Phase::Down { why, .. } = &view.phase
                    && why != "not tried yet"
                {
                    return (why.clone(), view);
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(3 * PATIENCE, look).await.expect("it is given up")
    }

    async fn view(&self) -> View {
        let (asker, answer) = oneshot::channel();
        self.wishes.send(Wish::Show(asker)).await.unwrap();
        timeout(PATIENCE, answer)
            .await
            .expect("it answers")
            .unwrap()
    }
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

/// Two nodes meet on each server: who they are, what they say, and that one leaves.
#[test]
fn nodes_find_each_other_on_servers_that_others_wrote() {
    for kind in [Kind::Ngircd, Kind::Inspircd] {
        let Some(server) = Server::start(kind) else {
            continue;
        };
        on_a_runtime(async {
            let mut tasks = JoinSet::new();
            let mut one = Member::join(&mut tasks, 1, network(server.plain, Trust::Plain));
            one.wait(|news| matches!(news, News::Joined(_))).await;
            let fingerprint = HEXLOWER.encode(digest(&SHA256, &server.certificate).as_ref());
            let pinned = Trust::Pinned(fingerprint.parse().unwrap());
            let mut other = Member::join(&mut tasks, 2, network(server.tls, pinned));
            other.wait(|news| matches!(news, News::Joined(_))).await;
            let came = News::Came {
                nick: other.nick.clone(),
            };
            one.wait(|news| *news == came).await;
            one.send(Line::new("WHO", &[CHANNEL], None).unwrap()).await;
            let told = News::Realname {
                nick: other.nick.clone(),
                realname: other.realname.clone(),
            };
            one.wait(|news| *news == told).await;
            other
                .send(Line::say("PRIVMSG", CHANNEL, "150BTC@USD:BO:SEPA").unwrap())
                .await;
            let said = News::Said {
                nick: other.nick.clone(),
                text: "150BTC@USD:BO:SEPA".to_owned(),
            };
            one.wait(|news| *news == said).await;
            let view = other.view().await;
            assert!(matches!(view.phase, Phase::On { .. }), "{kind:?}");
            assert_eq!(view.members.len(), 2, "{:?}", view.members);
            let gone = News::Gone {
                nick: other.nick.clone(),
            };
            drop(other);
            one.wait(|news| *news == gone).await;
        });
    }
}

#[test]
fn a_server_with_another_certificate_is_not_spoken_to() {
    let Some(server) = Server::start(Kind::Ngircd) else {
        return;
    };
    on_a_runtime(async {
        let mut tasks = JoinSet::new();
        for trust in [
            Trust::Pinned("00".repeat(32).parse().unwrap()),
            Trust::Public,
        ] {
            let member = Member::join(&mut tasks, 3, network(server.tls, trust));
            let (why, _) = member.await_down().await;
            assert!(why.contains("tls") || why.contains("certificate"), "{why}");
        }
    });
}

/// A nick that somebody has taken costs a node its name and nothing else.
#[test]
fn a_taken_nick_is_no_loss() {
    let Some(server) = Server::start(Kind::Ngircd) else {
        return;
    };
    let mut thief = TcpStream::connect(server.plain).unwrap();
    let nick = nick_of(&pin(4), 0);
    thief
        .write_all(format!("NICK {nick}\r\nUSER t 0 * :t\r\n").as_bytes())
        .unwrap();
    while !first_words(&mut thief).contains(" 001 ") {}
    on_a_runtime(async {
        let mut tasks = JoinSet::new();
        let mut member = Member::join(&mut tasks, 4, network(server.plain, Trust::Plain));
        member.wait(|news| matches!(news, News::Joined(_))).await;
        assert_eq!(member.view().await.nick, nick_of(&pin(4), 1));
    });
}

/// Attacks 34 and 37: a hostile server harms its own network only, and is dialled again later.
#[test]
fn a_hostile_server_harms_nobody_else() {
    let Some(server) = Server::start(Kind::Ngircd) else {
        return;
    };
    let long = || [b":s PRIVMSG #expressnet :".as_slice(), &[b'a'; 1 << 20]].concat();
    let names = || {
        let line = format!(":s 353 x = {CHANNEL} :{}\r\n", "n1 n2 n3 n4 ".repeat(30));
        line.repeat(20_000).into_bytes()
    };
    let welcome = |rest: Vec<u8>| [b":s 001 x :hi\r\n:s 376 x :end\r\n".as_slice(), &rest].concat();
    let bodies: Vec<Vec<u8>> = vec![
        welcome([long(), long(), b"\r\n".to_vec()].concat()),
        welcome(b":s 005 x \xFF\xFE=\xC3\x28 PREFIX=( CHANMODES=,,,, :\xFF\r\n:s MODE #expressnet +\xFFv\r\n".to_vec()),
        welcome(names()),
        ":s 433 * x :in use\r\n".repeat(10_000).into_bytes(),
        b":s 001 x :hi\r\n:s PRIVMSG #expressnet :half a li".to_vec(),
        b"\0\0\0\r\r\r\n\n:\r\n @ : :\r\n".repeat(5_000),
        "PING :a\r\n".repeat(50_000).into_bytes(),
    ];
    let count = bodies.len();
    on_a_runtime(async {
        let mut tasks = JoinSet::new();
        let mut good = Member::join(&mut tasks, 5, network(server.plain, Trust::Plain));
        good.wait(|news| matches!(news, News::Joined(_))).await;
        let victims: Vec<Member> = bodies
            .into_iter()
            .map(|body| {
                let address = hostile(move |mut stream| {
                    first_words(&mut stream);
                    stream.write_all(&body).ok();
                });
                Member::join(&mut tasks, 6, network(address, Trust::Plain))
            })
            .collect();
        assert_eq!(victims.len(), count);
        for victim in &victims {
            let (_, view) = victim.await_down().await;
            assert!(view.members.is_empty());
        }
        assert!(matches!(good.view().await.phase, Phase::On { .. }));
    });
}
