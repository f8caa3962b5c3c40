//! What the station asks for, done; and what comes of it, told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use crate::discovery::announce::Signer;
use crate::discovery::chanop::speaker::Speaker;
use crate::discovery::irc::name::CaseMapping;
use crate::discovery::irc::session::{Phase, Session};
use crate::discovery::network::{Network, NetworkNo};
use crate::discovery::shown::{NetworkShown, NodeShown, Shown};
use crate::discovery::sieve::{self, Standing};
use crate::discovery::station::{Act, AttemptNo, Sighting, Station};
use crate::membership::Peer;
use crate::membership::roster::Unverified;
use crate::membership::rosters::{Rosters, TakeError};
use crate::model::ids::{CommandNo, LinkNo, NodeId, PeernetId};
use crate::model::time::Time;
use crate::shell::clock::Clock;
use crate::shell::frames::Allowance;
use crate::shell::irc::{self, Given, NEWS_MAX, News, Ranks, View, WISHES_MAX, Wish};
use crate::shell::open::link::{self, STRANGER, WAITING_MAX};
use crate::shell::open::meeting::{self, Entrance, Host, Met};
use crate::shell::open::operator::Operator;
use crate::shell::open::voice::Voice;
use crate::shell::open::{Asked, DCC_LINK, Done, LOOK_MAX, Told};
use crate::shell::pinned_tls::ListedPins;

/// The station with its hands.
pub(super) struct Side {
    pub(super) station: Station,
    /// First and last port to listen on.
    ports: Option<(u16, u16)>,
    pub(super) clock: Clock,
    /// Signs what the node says, and sieves what others say.
    pub(super) voice: Voice,
    host: Host,
    entrance: Entrance,
    listed: ListedPins,
    /// What the owner thinks of listed nodes.
    pub(super) trusts: BTreeMap<NodeId, u8>,
    /// Proves this node to operators, and is one.
    pub(super) speaker: Speaker,
    pub(super) right: Option<(PeernetId, u64)>,
    pub(super) operator: Option<Operator>,
    pub(super) ranks: BTreeMap<NetworkNo, Ranks>,
    /// Operators that have asked this node for its key; no more than there are operators.
    pub(super) askers: BTreeSet<(NetworkNo, String)>,
    /// Who is in which peernet, as far as anybody has told.
    pub(super) rosters: Rosters,
    pub(super) networks: Vec<Joined>,
    /// Networks that this node is on, and since when it is on one of them.
    /// How each network compares names.
    pub(super) mappings: BTreeMap<NetworkNo, CaseMapping>,
    on: BTreeSet<NetworkNo>,
    on_since: Option<Time>,
    told_since: (Option<Time>, bool),
    /// The address that each network is dialled from.
    locals: BTreeMap<NetworkNo, IpAddr>,
    attempts: BTreeMap<AttemptNo, AbortHandle>,
    last_link: u64,
    told: mpsc::Sender<Told>,
    done: mpsc::Sender<Done>,
}

/// A network that has its task.
pub(super) struct Joined {
    network: Network,
    pub(super) wishes: mpsc::Sender<Wish>,
    task: tokio::task::JoinHandle<()>,
}

impl Side {
    pub(super) fn new(
        (station, voice): (Station, Voice),
        (speaker, operator): (Speaker, Option<Operator>),
        (host, ports): (Host, Option<(u16, u16)>),
        listed: ListedPins,
        clock: Clock,
        (told, done): (mpsc::Sender<Told>, mpsc::Sender<Done>),
    ) -> Self {
        Self {
            station,
            ports,
            voice,
            clock,
            host,
            entrance: Entrance {
                door: Rc::default(),
                clock,
            },
            listed,
            trusts: BTreeMap::new(),
            speaker,
            right: None,
            operator,
            ranks: BTreeMap::new(),
            askers: BTreeSet::new(),
            rosters: Rosters::default(),
            networks: Vec::new(),
            mappings: BTreeMap::new(),
            on: BTreeSet::new(),
            on_since: None,
            told_since: (None, false),
            locals: BTreeMap::new(),
            attempts: BTreeMap::new(),
            last_link: 0,
            told,
            done,
        }
    }

    /// Knows a listed node; where its card says it is, nobody else has this node dial.
    pub(super) fn list(&mut self, peer: &Peer) {
        self.listed.insert(peer.pin);
        self.trusts.insert(peer.id, peer.trust);
        self.station.list(&peer.pin, self.clock.now());
        for address in &peer.addresses {
            self.station.forbid(address.ip());
        }
    }

    /// Gives a network its task.
    pub(super) fn join(
        &mut self,
        number: NetworkNo,
        (network, given): (Network, Option<Given>),
        session: Session,
        news_to: &mpsc::Sender<(NetworkNo, News)>,
    ) {
        let (wishes, wished) = mpsc::channel(WISHES_MAX);
        let (told, mut news) = mpsc::channel(NEWS_MAX);
        let run = irc::run(network.clone(), given, session, self.clock, wished, told);
        let task = spawn_local(run);
        let news_to = news_to.clone();
        spawn_local(async move {
            while let Some(news) = news.recv().await {
                if news_to.send((number, news)).await.is_err() {
                    return;
                }
            }
        });
        self.networks.push(Joined {
            network,
            wishes,
            task,
        });
    }

    /// Leaves every network politely.
    pub(super) async fn leave(self) {
        let mut tasks = Vec::new();
        for Joined { wishes, task, .. } in self.networks {
            drop(wishes);
            tasks.push(task);
        }
        for task in tasks {
            // A network whose task is gone is left already.
            task.await.ok();
        }
    }

    pub(super) fn handle_asked(&mut self, asked: Asked) {
        match asked {
            Asked::List(peer) => self.list(&peer),
            Asked::StrikeOff(node) => {
                self.trusts.remove(&node);
                self.station.strike_off(node);
            }
            Asked::Standing(node, standing) => {
                let now = self.clock.now();
                self.station.handle_standing(node, standing, now);
            }
            Asked::Show(number) => self.show(number),
            Asked::Speaker(right) => self.handle_right(right),
            Asked::Know(from, bytes) => self.know(from, &bytes),
            Asked::Announce(bytes) => self.announce(&bytes),
        }
    }

    pub(super) fn handle_news(&mut self, network: NetworkNo, news: News) {
        let now = self.clock.now();
        let station = &mut self.station;
        match news {
            News::Joined(joined) => {
                self.locals.insert(network, joined.local);
                self.on.insert(network);
                self.mappings.insert(network, joined.mapping);
                self.on_since = self.on_since.or(Some(now));
                let members = joined.members.iter();
                let members = members.map(|(nick, name)| (nick.as_str(), name.as_deref()));
                if let Some(operator) = &mut self.operator {
                    operator.handle_joined(network, joined.mapping, members.clone(), now);
                }
                station.handle_joined(network, joined.mapping, joined.local, members, now);
            }
            News::Left { .. } => {
                station.handle_left(network);
                self.on.remove(&network);
                self.ranks.remove(&network);
                self.askers.retain(|(on, _)| *on != network);
                if let Some(operator) = &mut self.operator {
                    operator.handle_left(network, now);
                }
                self.on_since = self.on_since.filter(|_| !self.on.is_empty());
            }
            News::Came { nick } => {
                station.handle_came(network, &nick, now);
                if let Some(operator) = &mut self.operator {
                    operator.handle_came(network, &nick, now);
                }
            }
            News::Gone { nick } => {
                station.handle_gone(network, &nick);
                if let Some(operator) = &mut self.operator {
                    operator.handle_gone(network, &nick, now);
                }
            }
            News::Renamed { from, to } => {
                station.handle_renamed(network, &from, &to, now);
                if let Some(operator) = &mut self.operator {
                    operator.handle_renamed(network, &from, &to, now);
                }
            }
            News::Realname { nick, realname } => {
                station.handle_realname(network, &nick, &realname, now);
                if let Some(operator) = &mut self.operator {
                    operator.handle_realname(network, &nick, &realname, now);
                }
            }
            News::Dcc { nick, text } => station.handle_dcc(network, &nick, &text, now),
            News::Said { nick, text } => {
                if let Some(operator) = &mut self.operator {
                    operator.handle_line(network, &nick, now);
                }
                self.hear(network, &text, now);
            }
            News::Ranks(ranks) => self.handle_ranks(network, ranks, now),
            News::Told { nick, text } => self.handle_told(network, &nick, &text, now),
        }
    }

    /// Says a line on every network that the node is on.
    fn announce(&mut self, bytes: &[u8]) {
        let now = self.clock.now();
        let Some((urgency, text)) = self.voice.word(bytes, now) else {
            tracing::warn!("an announcement that could not be made was dropped");
            return;
        };
        for joined in &self.networks {
            let wish = Wish::Say {
                urgency,
                text: text.clone(),
            };
            // A network that takes no more lines is not spoken to.
            joined.wishes.try_send(wish).ok();
        }
    }

    /// Takes a roster. Signatures of strangers are looked at within the bucket, and only where the
    /// roster would be taken.
    fn know(&mut self, from: Option<NodeId>, bytes: &[u8]) {
        let now = self.clock.now();
        let Ok(unverified) = Unverified::read(bytes) else {
            return;
        };
        let draft = unverified.draft();
        let (peernet, version, keys) = (draft.peernet(), draft.version(), draft.keys().len());
        let wanted = self.rosters.is_wanted(peernet, version, now);
        if let (Err(TakeError::Gap { known, .. }), Some(from)) = (wanted, from) {
            let wanted = Told::RosterWanted {
                from,
                peernet,
                after: known,
            };
            // Where the core has that much to do, it is asked for at the next greeting.
            self.told.try_send(wanted).ok();
            return;
        }
        let may_check = from.is_none() || self.rosters.may_check(keys, now);
        if wanted.is_err() || !may_check {
            return;
        }
        let Ok(roster) = unverified.verify() else {
            tracing::debug!("a roster that not everybody on it has signed was dropped");
            return;
        };
        if from.is_none() {
            self.rosters.own(peernet);
        }
        match self.rosters.take(roster.clone(), now) {
            Ok(_) => {
                if let Some(operator) = &mut self.operator {
                    operator.handle_roster(&roster, &self.rosters, now);
                }
                self.handle_right(self.right);
            }
            Err(why) => tracing::debug!(%why, "a roster was not taken"),
        }
    }

    fn hear(&mut self, network: NetworkNo, text: &str, now: Time) {
        let standing = |signer: Signer, peernet: PeernetId| Standing {
            trust: self.trusts.get(&signer.node_id()).copied().unwrap_or(0),
            roster: match self.rosters.roster(peernet) {
                None => sieve::Roster::Unknown,
                Some(roster) if roster.keys().contains(&signer.0) => sieve::Roster::Member,
                Some(_) => sieve::Roster::Foreign,
            },
        };
        if let Some(announced) = self.voice.hear(network, text, now, standing) {
            // Where the core has that much to do, others answer.
            self.told.try_send(Told::Announced(announced)).ok();
        }
    }

    pub(super) fn handle_done(&mut self, done: Done) {
        let now = self.clock.now();
        match done {
            Done::Listening(attempt, address) => self.station.handle_listening(attempt, address),
            Done::Failed(attempt, why) => {
                tracing::debug!(%why, "an attempt at a link came to nothing");
                self.attempts.remove(&attempt);
                self.station.handle_missed(why.failure());
                self.station.handle_failed(attempt, now);
            }
            Done::Missed(why) => {
                tracing::debug!(%why, "a visitor is no node");
                self.station.handle_missed(why.failure());
            }
            Done::Met(attempt, met) => {
                self.attempts.remove(&attempt);
                if self.station.handle_met(attempt, met.card.node_id(), now) {
                    self.link(*met);
                }
            }
            Done::Venue(address) => self.station.forbid(address),
        }
    }

    /// Gives a link its task, and the core the link.
    fn link(&mut self, met: Met) {
        self.last_link += 1;
        let link = LinkNo(DCC_LINK | self.last_link);
        let is_listed = self.listed.contains(met.card.pin());
        let allowance = match is_listed {
            true => Allowance::new(),
            false => Allowance::of(STRANGER.0, STRANGER.1),
        };
        let mut peer = met.card.peer(0);
        if !is_listed {
            peer.addresses
                .retain(|address| self.station.may_dial(address.ip()));
        }
        let (waiting, waits) = mpsc::channel(WAITING_MAX);
        let told = self.told.clone();
        let meeting = Told::Met {
            peer,
            address: met.address,
            link,
            direction: met.direction,
            waiting,
        };
        spawn_local(async move {
            if told.send(meeting).await.is_err() {
                return;
            }
            let carried = link::carry(link, met.socket, met.rest, allowance, waits, told.clone());
            let why = carried.await;
            tracing::debug!(link = link.0, %why, "link by DCC ended");
            // Where the core is gone, so is everything.
            told.send(Told::Down { link }).await.ok();
        });
    }

    /// Does what the station asks for.
    pub(super) fn act(&mut self) {
        self.tell_standing();
        self.act_as_operator();
        while let Some(act) = self.station.poll_act() {
            match act {
                Act::Say {
                    network,
                    urgency,
                    line,
                } => {
                    let joined = self.networks.get(usize::from(network.0));
                    let wish = Wish::Send { urgency, line };
                    // A network that takes no more lines is not spoken to.
                    joined.map(|joined| joined.wishes.try_send(wish));
                }
                Act::Listen { attempt, network } => self.listen(attempt, network),
                Act::Dial {
                    attempt,
                    network,
                    address,
                } => {
                    let from = self.local(network);
                    let (host, done) = (self.host.clone(), self.done.clone());
                    let task = spawn_local(async move {
                        let met = meeting::dial(address, from, &host).await;
                        report(attempt, met, &done).await;
                    });
                    self.attempts.insert(attempt, task.abort_handle());
                }
                Act::Forget { attempt } => {
                    if let Some(task) = self.attempts.remove(&attempt) {
                        task.abort();
                    }
                }
                Act::Report(text) => tracing::warn!("{text}"),
            }
        }
    }

    /// What does not fit now is told the next time.
    fn tell_standing(&mut self) {
        let since = self.on_since;
        let may_speak = self.ranks.values().any(|ranks| ranks.may_speak);
        let told = Told::OnChannel { since, may_speak };
        if (since, may_speak) != self.told_since && self.told.try_send(told).is_ok() {
            self.told_since = (since, may_speak);
        }
    }

    fn local(&self, network: NetworkNo) -> IpAddr {
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        self.locals.get(&network).copied().unwrap_or(unknown)
    }

    fn listen(&mut self, attempt: AttemptNo, network: NetworkNo) {
        let (address, ports) = (self.local(network), self.ports);
        let (host, done) = (self.host.clone(), self.done.clone());
        let entrance = self.entrance.clone();
        let task = spawn_local(async move {
            let met = async {
                let listener = meeting::listen(address, ports).await?;
                let at = listener.local_addr()?;
                // Whoever waits for this has its own deadline.
                done.send(Done::Listening(attempt, at)).await.ok();
                // What has no room is not counted.
                let missed = |why| drop(done.try_send(Done::Missed(why)));
                meeting::accept(listener, &host, &entrance, missed).await
            };
            let met = met.await;
            report(attempt, met, &done).await;
        });
        self.attempts.insert(attempt, task.abort_handle());
    }

    /// Asks every network what it shows, and puts that beside what the station knows.
    fn show(&self, number: CommandNo) {
        let sightings = self.station.sightings();
        let counts = self.station.counts().iter();
        let counts = counts.map(|(what, times)| ((*what).to_owned(), *times));
        let mut counts: BTreeMap<String, u64> = counts.collect();
        let at_door = self.entrance.door.borrow().counts();
        for (what, times) in at_door.into_iter().chain(self.voice.counts()) {
            if times > 0 {
                counts.insert(what.to_owned(), times);
            }
        }
        let networks: Vec<(Network, mpsc::Sender<Wish>)> = self
            .networks
            .iter()
            .map(|joined| (joined.network.clone(), joined.wishes.clone()))
            .collect();
        let now = self.clock.now();
        let chanop = self.operator.as_ref().map(|operator| {
            let name = |network: NetworkNo| {
                let joined = self.networks.get(usize::from(network.0));
                joined.map_or_else(String::new, |joined| joined.network.name.clone())
            };
            operator.show(name, now)
        });
        let told = self.told.clone();
        spawn_local(async move {
            let mut looks = Vec::new();
            for (network, wishes) in &networks {
                let (asker, view) = oneshot::channel();
                // One that is too busy to answer is shown as such.
                wishes.try_send(Wish::Show(asker)).ok();
                looks.push((network, timeout(LOOK_MAX, view)));
            }
            let mut views = Vec::new();
            for (network, look) in looks {
                views.push((network, look.await.ok().and_then(Result::ok)));
            }
            let shown = Shown {
                nodes: sightings
                    .into_iter()
                    .map(|seen| node_shown(seen, &views))
                    .collect(),
                networks: views
                    .into_iter()
                    .map(|(network, view)| network_shown(network, view, now))
                    .collect(),
                counts,
                chanop,
            };
            // Without a core nobody asks any more.
            told.send(Told::Shown { number, shown }).await.ok();
        });
    }
}

async fn report(
    attempt: AttemptNo,
    met: Result<Met, meeting::MeetError>,
    done: &mpsc::Sender<Done>,
) {
    let what = match met {
        Ok(met) => Done::Met(attempt, Box::new(met)),
        Err(why) => Done::Failed(attempt, why),
    };
    // Without a station there is nobody to tell.
    done.send(what).await.ok();
}

type Views<'n> = [(&'n Network, Option<View>)];

fn node_shown(seen: Sighting, views: &Views<'_>) -> NodeShown {
    let name = |network: NetworkNo| {
        let view = views.get(usize::from(network.0));
        view.map_or("?", |(network, _)| network.name.as_str())
    };
    let nicks = seen.places.iter();
    let nicks = nicks.map(|(network, nick)| format!("{}:{nick}", name(*network)));
    let is_voiced = |(network, nick): &&(NetworkNo, String)| {
        let view = views
            .get(usize::from(network.0))
            .and_then(|(_, view)| view.as_ref());
        view.is_some_and(|view| {
            let mut members = view.members.iter();
            members.any(|member| member.nick == *nick && member.has_voice)
        })
    };
    let voiced = seen.places.iter().filter(is_voiced);
    NodeShown {
        id: seen.node,
        is_listed: seen.is_listed,
        nicks: nicks.collect(),
        voiced_on: voiced
            .map(|(network, _)| name(*network).to_owned())
            .collect(),
        by: seen.by.map(|rung| rung.name().to_owned()),
        why_not: seen.why_not,
    }
}

fn network_shown(network: &Network, view: Option<View>, now: Time) -> NetworkShown {
    let (name, server) = (
        network.name.clone(),
        format!("{}:{}", network.host, network.port),
    );
    let Some(view) = view else {
        return NetworkShown {
            name,
            server,
            state: "it does not answer".to_owned(),
            ..NetworkShown::default()
        };
    };
    let in_s = |at: Time| at.since(now).as_millis().div_ceil(1_000);
    let state = match &view.phase {
        Phase::Down { again_at, why } => format!("down: {why}; again in {} s", in_s(*again_at)),
        Phase::Dialling { .. } => "dialling".to_owned(),
        Phase::Registering { .. } => "waiting for its welcome".to_owned(),
        Phase::Greeted { .. } => "waiting for the end of its greeting".to_owned(),
        Phase::Joining { .. } => "joining".to_owned(),
        Phase::Outside { again_at, why } => {
            format!("not on the channel: {why}; again in {} s", in_s(*again_at))
        }
        Phase::On { .. } => "on".to_owned(),
    };
    let mut members = view.members.iter();
    let own = members.find(|member| member.nick == view.nick);
    NetworkShown {
        name,
        server,
        state,
        voiced: own.is_some_and(|own| own.has_voice),
        nick: view.nick,
        members: view.members.len() as u64,
        unknown: view.unknown,
        moderated: view.is_moderated,
        dropped: view.dropped,
        long_lines: view.long_lines,
    }
}
