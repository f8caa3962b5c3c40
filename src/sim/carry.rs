//! Carries out what nodes ask for: the ways to disks, peers and venues, with what goes wrong on them.

use crate::journal::record::Record;
use crate::model::currency::Currency;
use crate::model::ids::{CommitNo, LinkNo, NodeId, RequestNo};
use crate::model::instrument::{Location, VenueId};
use crate::model::number::Quantity;
use crate::model::time::{Span, Time};
use crate::node::output::{Bytes, Outbox, Output};
use crate::sim::market::{WAY, credentials};
use crate::sim::world::{Event, STORY_LINES_MAX, World};
use crate::venue::Asked;
use crate::wire::message::Message;

/// How long a job beside the core takes.
const WORK: Span = Span::micros(50);

impl World {
    pub(super) fn carry_out(&mut self, host: usize, outbox: &Outbox) {
        for output in outbox.outputs() {
            self.digest(host, output, outbox);
            if self.scenario.tells {
                self.tell(host, output, outbox);
            }
            match *output {
                Output::Dial { peer } => self.dial(host, peer),
                Output::CloseLink { link } => self.close_link(link),
                Output::LinkStream { link, bytes } => {
                    self.send_stream(host, link, outbox.read(bytes))
                }
                Output::LinkDatagram { link, bytes } => {
                    self.send_datagram(host, link, outbox.read(bytes));
                }
                Output::VenueFrame { venue, bytes } => {
                    if let Some(venue) = self.by_venue.get(&venue).copied() {
                        let bytes = outbox.read(bytes).to_vec();
                        self.schedule(WAY, Event::ToVenue { venue, host, bytes });
                    }
                }
                Output::VenueReconnect { venue } => {
                    if let Some(venue) = self.by_venue.get(&venue).copied() {
                        self.drop_feed(host, venue);
                    }
                }
                Output::VenueRequest {
                    venue,
                    request,
                    asked,
                    bytes,
                } => {
                    self.send_request(host, venue, request, asked, outbox.read(bytes));
                }
                Output::Journal { commit, bytes } => self.write(host, commit, outbox.read(bytes)),
                Output::Transfer {
                    currency,
                    from,
                    to,
                    amount,
                } => self.move_money(host, currency, from, to, amount),
                Output::Pace {
                    train,
                    first,
                    interval,
                    slots,
                } => self.pace(host, train, first, (interval, slots)),
                Output::Probe { link, bytes, .. } => {
                    self.send_datagram(host, link, outbox.read(bytes));
                }
                Output::Work { work, .. } => {
                    let life = self.hosts[host].life;
                    self.schedule(WORK, Event::Worked { host, life, work });
                }
                Output::PaceOver { .. }
                | Output::CountPath { .. }
                | Output::Forget { .. }
                | Output::Speaker { .. }
                | Output::Roster { .. }
                | Output::RosterHeard { .. }
                | Output::Standing { .. }
                | Output::Announce { .. }
                | Output::Answer { .. }
                | Output::Notice { .. } => (),
            }
        }
    }

    fn pace(&mut self, host: usize, train: u32, first: Time, (interval, left): (Span, u32)) {
        let life = self.hosts[host].life;
        let paced = Event::Paced {
            host,
            life,
            train,
            interval,
            left,
        };
        self.schedule_at(first, paced);
    }

    /// Adds an output to the story.
    pub(super) fn tell(&mut self, host: usize, output: &Output, outbox: &Outbox) {
        let text = match output {
            Output::LinkStream { link, bytes } => {
                let frame = outbox.read(*bytes);
                let body = match frame.first() {
                    Some(2) => frame.get(9..),
                    Some(3) => frame.get(1..),
                    _ => None,
                };
                let Some(message) = body.and_then(|body| Message::decode(body).ok()) else {
                    return;
                };
                format!("on link {link}: {message:?}")
            }
            Output::Journal { commit, bytes } => {
                format!(
                    "journals {commit}: {:?}",
                    Record::decode(outbox.read(*bytes))
                )
            }
            Output::VenueRequest { asked, .. } => format!("asks a venue: {asked:?}"),
            Output::Notice { bytes, .. } | Output::Answer { bytes, .. } => {
                String::from_utf8_lossy(outbox.read(*bytes)).into_owned()
            }
            Output::Dial { .. }
            | Output::CloseLink { .. }
            | Output::Forget { .. }
            | Output::Standing { .. }
            | Output::Announce { .. }
            | Output::Speaker { .. }
            | Output::Roster { .. }
            | Output::RosterHeard { .. }
            | Output::LinkDatagram { .. }
            | Output::VenueFrame { .. }
            | Output::VenueReconnect { .. }
            | Output::Pace { .. }
            | Output::PaceOver { .. }
            | Output::Probe { .. }
            | Output::CountPath { .. }
            | Output::Work { .. }
            | Output::Transfer { .. } => return,
        };
        self.tell_line(host, &text);
    }

    pub(super) fn tell_line(&mut self, host: usize, text: &str) {
        if self.scenario.tells && self.story.len() < STORY_LINES_MAX {
            let at = self.now.since(self.begins).as_micros();
            self.story.push(format!("{at:>12} node {host} {text}"));
        }
    }

    /// Folds an output into the trace.
    pub(super) fn digest(&mut self, host: usize, output: &Output, outbox: &Outbox) {
        let bytes: Option<Bytes> = match output {
            Output::LinkStream { bytes, .. }
            | Output::LinkDatagram { bytes, .. }
            | Output::VenueFrame { bytes, .. }
            | Output::VenueRequest { bytes, .. }
            | Output::Journal { bytes, .. }
            | Output::Announce { bytes }
            | Output::Roster { bytes }
            | Output::RosterHeard { bytes, .. }
            | Output::Answer { bytes, .. }
            | Output::Probe { bytes, .. }
            | Output::Work { bytes, .. }
            | Output::Notice { bytes, .. } => Some(*bytes),
            Output::Dial { .. }
            | Output::CloseLink { .. }
            | Output::Forget { .. }
            | Output::Speaker { .. }
            | Output::Standing { .. }
            | Output::VenueReconnect { .. }
            | Output::Pace { .. }
            | Output::PaceOver { .. }
            | Output::CountPath { .. }
            | Output::Transfer { .. } => None,
        };
        let mut fold = |byte: u8| {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        };
        for byte in self.now.0.to_le_bytes() {
            fold(byte);
        }
        fold(u8::try_from(host).unwrap_or(u8::MAX));
        for byte in bytes.map_or(&[][..], |bytes| outbox.read(bytes)) {
            fold(*byte);
        }
    }

    pub(super) fn write(&mut self, host: usize, commit: CommitNo, body: &[u8]) {
        let wait = Span::micros(self.random.between(200, 8_000));
        let last = self.hosts[host]
            .writing
            .back()
            .map_or(self.now, |(at, ..)| *at);
        let at = (self.now + wait).max(last);
        let life = self.hosts[host].life;
        self.hosts[host]
            .writing
            .push_back((at, commit, body.to_vec()));
        self.schedule_at(at, Event::Written { host, life });
    }

    /// Moves money between accounts of one node, where both are at venues of this world.
    pub(super) fn move_money(
        &mut self,
        host: usize,
        currency: Currency,
        from: Location,
        to: Location,
        amount: Quantity,
    ) {
        let (Location::Venue(from), Location::Venue(to)) = (from, to) else {
            return;
        };
        let key = credentials(self.scenario.nodes[host].id).key;
        let places = (self.by_venue.get(&from), self.by_venue.get(&to));
        let (Some(from), Some(to)) = (places.0.copied(), places.1.copied()) else {
            return;
        };
        let taken = self.markets[from].server.debit(&key, currency, amount);
        if taken.is_err()
            || self.markets[to]
                .server
                .credit(&key, currency, amount)
                .is_err()
        {
            let text = format!("node {host} moved {amount} {currency} that it does not have");
            self.checker.violate(self.now, text);
        }
    }

    pub(super) fn dial(&mut self, from: usize, peer: NodeId) {
        let life = self.hosts[from].life;
        if let Some(to) = self.by_id.get(&peer).copied() {
            let way = self.network.way(from, to).unwrap_or(Span::SECOND);
            self.schedule(way.times(3), Event::Dialled { from, to, life });
        }
    }

    pub(super) fn close_link(&mut self, link: LinkNo) {
        let Some(connection) = self.network.close(link) else {
            return;
        };
        for host in [connection.dialler, connection.listener] {
            let wait = Span::micros(self.random.between(1, 1_000));
            self.schedule(wait, Event::Down { host, link });
        }
    }

    pub(super) fn send_stream(&mut self, host: usize, link: LinkNo, bytes: &[u8]) {
        self.cut_at_agreement(link, bytes);
        if let Some((to, at)) = self.network.stream(link, host, self.now, &mut self.random) {
            let bytes = bytes.to_vec();
            self.schedule_at(at, Event::Stream { to, link, bytes });
        }
    }

    /// Cuts a link just as a matcher confirms, or as the origin seals: the moments at which both
    /// ends know least of each other.
    fn cut_at_agreement(&mut self, link: LinkNo, bytes: &[u8]) {
        const SEQUENCED: u8 = 2;
        const CONFIRM: u8 = 15;
        const SEAL: u8 = 17;
        let (name, longest_ms) = match (bytes.first(), bytes.get(9)) {
            (Some(&SEQUENCED), Some(&CONFIRM)) => ("cut-at-confirm", 40_000),
            (Some(&SEQUENCED), Some(&SEAL)) => ("cut-at-seal", 25_000),
            _ => return,
        };
        let Some(connection) = self.network.get(link) else {
            return;
        };
        let (one, other) = (connection.dialler, connection.listener);
        let may_cut = self.network.may_cut(one, other, self.now);
        if may_cut && self.random.chance(self.rates.cut_at_agreement_ppm) {
            self.tallies.fault(name);
            let until = self.now + Span::millis(self.random.between(6_000, longest_ms));
            self.network.cut(one, other, until);
            self.close_link(link);
        }
    }

    pub(super) fn send_datagram(&mut self, host: usize, link: LinkNo, bytes: &[u8]) {
        let Some(connection) = self.network.get(link) else {
            return;
        };
        let to = if connection.dialler == host {
            connection.listener
        } else {
            connection.dialler
        };
        if self.random.chance(self.rates.datagram_lost_ppm) {
            self.tallies.fault("datagram-lost");
            return;
        }
        let way = self.network.way(host, to).unwrap_or(Span::MILLI);
        let copies = if self.random.chance(self.rates.datagram_doubled_ppm) {
            self.tallies.fault("datagram-doubled");
            2
        } else {
            1
        };
        for _ in 0..copies {
            let jitter = Span(self.random.below(way.0 + 1));
            if jitter.0 > way.0 / 2 {
                self.tallies.fault("datagram-late");
            }
            let bytes = bytes.to_vec();
            self.schedule(way + jitter, Event::Datagram { to, link, bytes });
        }
    }

    pub(super) fn send_request(
        &mut self,
        host: usize,
        venue: VenueId,
        request: RequestNo,
        asked: Asked,
        bytes: &[u8],
    ) {
        let Some(venue) = self.by_venue.get(&venue).copied() else {
            return;
        };
        if let Asked::Place(order) = asked {
            let id = self.markets[venue].id;
            self.checker.handle_place(host, id, order, bytes, self.now);
        }
        let life = self.hosts[host].life;
        if self.random.chance(self.rates.request_not_sent_ppm) {
            self.tallies.fault("request-not-sent");
            self.schedule(
                WAY,
                Event::NotSent {
                    venue,
                    host,
                    life,
                    request,
                    asked,
                },
            );
            return;
        }
        if self.random.chance(self.rates.request_lost_ppm) {
            self.tallies.fault("request-lost");
            let event = Event::Reply {
                venue,
                host,
                life,
                request,
                asked,
                answer: None,
            };
            self.schedule(Span::millis(500), event);
            return;
        }
        let wait = WAY + Span::micros(self.random.below(2_000));
        let bytes = bytes.to_vec();
        self.schedule(
            wait,
            Event::Request {
                venue,
                host,
                life,
                request,
                asked,
                bytes,
            },
        );
    }
}
