//! What happens: each event becomes the input of a node, or moves a venue on.

use crate::membership::Direction;
use crate::model::ids::RequestNo;
use crate::model::time::{Span, Time};
use crate::node::input::{Input, Outcome};
use crate::sim::market::{Pushed, WAY};
use crate::sim::world::{Event, World};
use crate::venue::{Asked, Server, StreamNo};

impl World {
    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { host, life } => {
                if self.is_alive(host, life) && self.hosts[host].wake_at <= self.now {
                    self.hosts[host].wake_at = Time::MAX;
                    self.step(host, Input::Deadline);
                }
            }
            Event::Paced { .. } | Event::Worked { .. } => self.happen_to_train(event),
            Event::Written { host, life } => self.handle_written(host, life),
            Event::Dialled { from, to, life } => self.handle_dialled(from, to, life),
            Event::Up {
                host,
                life,
                link,
                peer,
                direction,
            } => {
                if self.is_alive(host, life) && self.network.get(link).is_some() {
                    let peer = self.scenario.nodes[peer].id;
                    self.step(
                        host,
                        Input::LinkUp {
                            peer,
                            link,
                            direction,
                        },
                    );
                }
            }
            Event::Down { host, link } => self.step(host, Input::LinkDown { link }),
            Event::Stream { to, link, bytes } => {
                if self.network.get(link).is_some() {
                    self.step(
                        to,
                        Input::LinkStream {
                            link,
                            bytes: &bytes,
                        },
                    );
                }
            }
            Event::Datagram { to, link, bytes } => {
                if self.network.get(link).is_some() {
                    self.step(
                        to,
                        Input::LinkDatagram {
                            link,
                            bytes: &bytes,
                        },
                    );
                }
            }
            Event::Restart { host } if self.hosts[host].node.is_none() => self.start(host),
            Event::Restart { .. } => (),
            Event::Fault(kind) => self.strike(kind),
            Event::OfferByHand => self.offer_by_hand(),
            Event::Calm => self.calm_down(),
            Event::End => self.is_over = true,
            Event::VenueDue { .. }
            | Event::FeedUp { .. }
            | Event::FeedFrame { .. }
            | Event::ToVenue { .. }
            | Event::Request { .. }
            | Event::Reply { .. }
            | Event::NotSent { .. } => self.happen_at_venue(event),
        }
    }

    fn happen_to_train(&mut self, event: Event) {
        if let Event::Paced {
            host,
            life,
            train,
            interval,
            left,
        } = event
        {
            if !self.is_alive(host, life) {
                return;
            }
            self.step(host, Input::Paced { train });
            if left > 1 {
                let paced = Event::Paced {
                    host,
                    life,
                    train,
                    interval,
                    left: left - 1,
                };
                self.schedule(interval, paced);
            }
        } else if let Event::Worked { host, life, work } = event
            && self.is_alive(host, life)
        {
            // Nobody here checks a signature.
            let (key, bytes) = ([0; 32], &[0; 64][..]);
            self.step(host, Input::Worked { work, key, bytes });
        }
    }

    fn handle_reply(
        &mut self,
        venue: usize,
        (host, life): (usize, u32),
        request: RequestNo,
        asked: Asked,
        outcome: Outcome<'_>,
    ) {
        if self.is_alive(host, life) {
            let venue = self.markets[venue].id;
            let input = Input::VenueReply {
                venue,
                request,
                asked,
                outcome,
            };
            self.step(host, input);
        }
    }

    /// What happens between nodes and the venues beside them.
    fn happen_at_venue(&mut self, event: Event) {
        match event {
            Event::VenueDue { venue } => self.handle_venue_due(venue),
            Event::FeedUp { host, life, venue } => self.handle_feed_up(host, life, venue),
            Event::FeedFrame {
                host,
                venue,
                stream,
                bytes,
            } => {
                if self.markets[venue].streams.contains_key(&stream) {
                    let venue = self.markets[venue].id;
                    self.checker.handle_frame(host, venue, self.now);
                    let bytes = &bytes;
                    self.step(host, Input::FeedFrame { venue, bytes });
                }
            }
            Event::ToVenue { venue, host, bytes } => self.handle_to_venue(venue, host, &bytes),
            Event::Request {
                venue,
                host,
                life,
                request,
                asked,
                bytes,
            } => {
                self.handle_request(venue, (host, life), request, asked, &bytes);
            }
            Event::Reply {
                venue,
                host,
                life,
                request,
                asked,
                answer,
            } => {
                let outcome = match &answer {
                    Some((status, body)) => Outcome::Reply {
                        status: *status,
                        body,
                    },
                    None => Outcome::Lost,
                };
                self.handle_reply(venue, (host, life), request, asked, outcome);
            }
            Event::NotSent {
                venue,
                host,
                life,
                request,
                asked,
            } => self.handle_reply(venue, (host, life), request, asked, Outcome::NotSent),
            Event::Wake { .. }
            | Event::Paced { .. }
            | Event::Worked { .. }
            | Event::Written { .. }
            | Event::Dialled { .. }
            | Event::Up { .. }
            | Event::Down { .. }
            | Event::Stream { .. }
            | Event::Datagram { .. }
            | Event::Restart { .. }
            | Event::Fault(_)
            | Event::OfferByHand
            | Event::Calm
            | Event::End => (),
        }
    }

    pub(super) fn handle_written(&mut self, host: usize, life: u32) {
        if !self.is_alive(host, life) {
            return;
        }
        let mut newest = None;
        while let Some((at, ..)) = self.hosts[host].writing.front() {
            if *at > self.now {
                break;
            }
            if let Some((_, commit, body)) = self.hosts[host].writing.pop_front() {
                self.checker.handle_record(host, &body);
                self.hosts[host].disk.push(body);
                newest = Some(commit);
            }
        }
        if let Some(commit) = newest.filter(|commit| *commit > self.hosts[host].written) {
            self.hosts[host].written = commit;
            self.step(host, Input::Committed { commit });
        }
    }

    pub(super) fn handle_dialled(&mut self, from: usize, to: usize, life: u32) {
        if !self.is_alive(from, life) {
            return;
        }
        let is_reachable =
            self.hosts[to].node.is_some() && !self.network.is_cut(from, to, self.now);
        let link = if is_reachable {
            self.network.connect(from, to, self.now)
        } else {
            None
        };
        let Some(link) = link else {
            let peer = self.scenario.nodes[to].id;
            self.tallies.fault("dial-failed");
            self.step(from, Input::DialFailed { peer });
            return;
        };
        let there = self.hosts[to].life;
        let wait = Span::micros(self.random.between(0, 2_000));
        self.network.hold_back(link, self.now + wait);
        self.schedule(
            Span::ZERO,
            Event::Up {
                host: to,
                life: there,
                link,
                peer: from,
                direction: Direction::Accepted,
            },
        );
        self.schedule(
            wait,
            Event::Up {
                host: from,
                life,
                link,
                peer: to,
                direction: Direction::Dialled,
            },
        );
    }

    pub(super) fn handle_venue_due(&mut self, venue: usize) {
        if self.is_calm {
            return;
        }
        let market = &self.markets[venue];
        if market.deadline.is_some_and(|at| at > self.now) {
            return;
        }
        self.advance_venue(venue);
    }

    pub(super) fn advance_venue(&mut self, venue: usize) {
        let now = self.now;
        let pushed = self.markets[venue].advance(now);
        self.deliver(venue, pushed);
        if let Some(at) = self.markets[venue].deadline {
            let at = at.max(Time(now.0 + 1_000));
            self.markets[venue].deadline = Some(at);
            self.schedule_at(at, Event::VenueDue { venue });
        }
    }

    pub(super) fn deliver(&mut self, venue: usize, pushed: Pushed) {
        for (stream, bytes) in pushed.frames {
            let market = &mut self.markets[venue];
            let Some(host) = market.streams.get(&stream).copied() else {
                continue;
            };
            let held = market.stalled.get(&host).copied().unwrap_or(self.now);
            let last = market.last_arrival.get(&host).copied().unwrap_or(self.now);
            let at = (self.now.max(held) + WAY).max(Time(last.0 + 1));
            market.last_arrival.insert(host, at);
            self.schedule_at(
                at,
                Event::FeedFrame {
                    host,
                    venue,
                    stream,
                    bytes,
                },
            );
        }
        for stream in pushed.closed {
            if let Some(host) = self.markets[venue].streams.get(&stream).copied() {
                self.drop_feed(host, venue);
            }
        }
        if !self.is_calm || self.markets[venue].server.imbalance().is_some() {
            self.checker.check_venue(&self.markets[venue], self.now);
        }
    }

    pub(super) fn drop_feed(&mut self, host: usize, venue: usize) {
        self.markets[venue].close_streams(host);
        let id = self.markets[venue].id;
        let life = self.hosts[host].life;
        if self.hosts[host].node.is_some() {
            self.step(host, Input::FeedDown { venue: id });
            self.schedule(Span::millis(200), Event::FeedUp { host, life, venue });
        }
    }

    pub(super) fn handle_feed_up(&mut self, host: usize, life: u32, venue: usize) {
        let is_listening = self.markets[venue].streams.values().any(|one| *one == host);
        if !self.is_alive(host, life) || is_listening {
            return;
        }
        let stream = StreamNo(self.next_stream);
        self.next_stream += 1;
        let market = &mut self.markets[venue];
        if market.server.handle_stream(stream, "/ws", self.now) {
            market.streams.insert(stream, host);
            market.last_arrival.remove(&host);
            let id = market.id;
            self.step(host, Input::FeedUp { venue: id });
        }
    }

    pub(super) fn handle_to_venue(&mut self, venue: usize, host: usize, bytes: &[u8]) {
        let streams = &self.markets[venue].streams;
        let Some(stream) = streams
            .iter()
            .find(|(_, one)| **one == host)
            .map(|(stream, _)| *stream)
        else {
            return;
        };
        let pushed = self.markets[venue].hear(stream, bytes, self.now);
        self.deliver(venue, pushed);
        self.touch_venue(venue);
    }

    /// A request or frame may bring the venue's next deadline nearer.
    pub(super) fn touch_venue(&mut self, venue: usize) {
        self.advance_venue(venue);
    }

    pub(super) fn handle_request(
        &mut self,
        venue: usize,
        (host, life): (usize, u32),
        request: RequestNo,
        asked: Asked,
        bytes: &[u8],
    ) {
        let (mut answer, pushed) = self.markets[venue].answer(bytes, self.now);
        self.deliver(venue, pushed);
        self.touch_venue(venue);
        if self.random.chance(self.rates.reply_lost_ppm) {
            self.tallies.fault("reply-lost");
            answer = None;
        }
        let wait = if answer.is_some() {
            WAY + Span::micros(self.random.below(2_000))
        } else {
            Span::millis(500)
        };
        self.schedule(
            wait,
            Event::Reply {
                venue,
                host,
                life,
                request,
                asked,
                answer,
            },
        );
    }
}
