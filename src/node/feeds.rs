//! Venue frames to books, books to quotes.

use std::collections::BTreeMap;

use crate::book::{Applied, NotLive};
use crate::model::ids::RequestNo;
use crate::model::instrument::{Market, VenueId};
use crate::model::market::{Level, Side};
use crate::model::number::Price;
use crate::model::time::{Deadline, Span, Time};
use crate::model::trade::OrderReport;
use crate::node::books::{BookState, Books};
use crate::node::clients::{OrderTimes, Turn};
use crate::node::output::{Outbox, Output, Severity};
use crate::node::{Node, PeerState, VenueState, notice};
use crate::venue::http::{USER_AGENT, write_request};
use crate::venue::{Ask, Asked, DecodeError, Heard, OrderClient, Ticket, Told, registry};
use crate::wire::message::QuoteHead;

/// Buffers that are reused, so that a frame costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    changed: Vec<Market>,
    resync: Vec<Market>,
    reports: Vec<OrderReport>,
    /// The frame concerns the account.
    is_private: bool,
    pub(super) told: Vec<Told>,
    /// Levels of a peer's quote.
    pub(super) quoted: (Vec<Level>, Vec<Level>),
}

/// Books whose middles make a reference; further ones are left out.
const MIDS_MAX: usize = 64;
/// A quiet book is quoted again, so that peers know it still stands.
const QUOTE_EVERY: Span = Span::millis(250);

impl Node {
    pub(super) fn add_venues(
        &mut self,
        mut clients: BTreeMap<VenueId, Box<dyn OrderClient>>,
        now: Time,
    ) {
        for venue in &self.settings.venues {
            let Some(dialect) = registry::find(&venue.dialect) else {
                continue;
            };
            let setup = venue.setup();
            self.venues.insert(
                venue.id,
                VenueState {
                    feed: dialect.feed(&setup),
                    client: clients.remove(&venue.id),
                    card: dialect.card(),
                    turn: Turn::default(),
                    times: OrderTimes::default(),
                    host: setup.host,
                    is_up: false,
                    heard_at: now,
                    tend_at: None,
                    account_at: now,
                    account_asked: None,
                    account_is_clean: false,
                    may_trade: false,
                    frames: 0,
                    refused_frames: 0,
                },
            );
            for (pair, rules) in &venue.rules {
                let market = Market {
                    venue: venue.id,
                    pair: *pair,
                };
                let state = BookState::new(market, *rules, None, now);
                self.books.insert(state, &self.settings.arbitrage);
            }
        }
    }

    pub(super) fn handle_feed_up(&mut self, id: VenueId, now: Time, out: &mut Outbox) {
        self.reset_books(id);
        let Some(venue) = self.venues.get_mut(&id) else {
            return;
        };
        venue.is_up = true;
        venue.heard_at = now;
        // Reports of own orders come before the books that those orders change.
        if let Some(client) = &mut venue.client {
            client.login(now, &mut |frame| {
                let bytes = out.bytes(frame);
                out.push(Output::VenueFrame { venue: id, bytes });
            });
        }
        let next = &mut self.numbers.request;
        let mut ask = |asked: Ask<'_>| send_ask(id, &venue.host, asked, next, out);
        venue.feed.subscribe(now, &mut ask);
        venue.tend_at = venue.feed.tend(now, &mut ask);
        self.advance_venue(id, now, out);
    }

    pub(super) fn handle_feed_down(&mut self, id: VenueId, now: Time, out: &mut Outbox) {
        self.reset_books(id);
        if let Some(venue) = self.venues.get_mut(&id) {
            venue.is_up = false;
            venue.tend_at = None;
        }
        let markets: Vec<Market> = self.own_markets(id);
        for market in markets {
            self.quote(market, now, out);
        }
    }

    pub(super) fn handle_feed_frame(
        &mut self,
        id: VenueId,
        frame: &[u8],
        now: Time,
        out: &mut Outbox,
    ) {
        self.hear_feed(id, None, frame, now, out);
    }

    /// Takes a frame of the stream, or the document that a ticket was given for.
    pub(super) fn hear_feed(
        &mut self,
        id: VenueId,
        document: Option<(Ticket, u16)>,
        bytes: &[u8],
        now: Time,
        out: &mut Outbox,
    ) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let Some(venue) = self.venues.get_mut(&id) else {
            return;
        };
        let books = &mut self.books;
        let mut listen = |heard: Heard<'_>| hear(id, &heard, books, &mut scratch, now);
        let decoded = match document {
            None => venue.feed.decode(bytes, now, &mut listen),
            Some((ticket, status)) => {
                let feed = &mut venue.feed;
                feed.decode_reply(ticket, status, bytes, now, &mut listen)
            }
        };
        // A poll that failed is no sign of life.
        if document.is_none() || decoded.is_ok() {
            venue.heard_at = now;
        }
        venue.frames += 1;
        if let Err(why) = decoded {
            venue.refused_frames += 1;
            match document {
                None => self.handle_refused_frame(id, why, out),
                Some(_) => {
                    let text = format!("venue {id}: a document is of no use: {why}");
                    notice(out, Severity::Debug, &text);
                }
            }
        }
        for report in scratch.reports.drain(..) {
            self.orders.handle_report(&report, now);
        }
        // Legs first: whatever else a frame leads to leaves behind them.
        for market in &scratch.changed {
            self.detect(*market, now, out);
        }
        for market in scratch.changed.drain(..) {
            self.quote(market, now, out);
        }
        self.tend_feed(id, &mut scratch.resync, now, out);
        let is_private = std::mem::take(&mut scratch.is_private);
        self.scratch = scratch;
        if is_private {
            self.hear_private(id, bytes, now, out);
        }
    }

    /// Lets the feed ask for what it needs after a frame, and for snapshots of lost books.
    fn tend_feed(&mut self, id: VenueId, resync: &mut Vec<Market>, now: Time, out: &mut Outbox) {
        let Some(venue) = self.venues.get_mut(&id) else {
            return;
        };
        let next = &mut self.numbers.request;
        let mut ask = |asked: Ask<'_>| send_ask(id, &venue.host, asked, next, out);
        for market in resync.drain(..) {
            venue.feed.resync(market, now, &mut ask);
        }
        venue.tend_at = venue.feed.tend(now, &mut ask);
    }

    /// Hands a frame that concerns the account to the trading half.
    fn hear_private(&mut self, id: VenueId, frame: &[u8], now: Time, out: &mut Outbox) {
        let mut told = std::mem::take(&mut self.scratch.told);
        told.clear();
        let venue = self.venues.get_mut(&id);
        if let Some(client) = venue.and_then(|venue| venue.client.as_mut()) {
            client.handle_frame(frame, now, &mut |fact| told.push(fact));
            self.hear_told(id, &told, now, out);
            self.advance_venue(id, now, out);
        }
        self.scratch.told = told;
    }

    fn handle_refused_frame(&mut self, id: VenueId, why: DecodeError, out: &mut Outbox) {
        match why {
            DecodeError::Malformed { .. } => {
                self.reset_books(id);
                out.push(Output::VenueReconnect { venue: id });
                notice(
                    out,
                    Severity::Warn,
                    &format!("venue {id}: {why}; reconnecting"),
                );
            }
            DecodeError::Refused { .. } => {
                self.reset_books(id);
                out.push(Output::VenueReconnect { venue: id });
                notice(out, Severity::Warn, &format!("venue {id}: {why}"));
            }
            DecodeError::Unknown => (),
        }
    }

    /// Sends the node's view of a market to every peer, as a datagram: the latest wins.
    pub(super) fn quote(&mut self, market: Market, now: Time, out: &mut Outbox) {
        let hears = |peer: &PeerState| peer.link.is_ready() && peer.is_listed;
        if !self.peers.values().any(hears) {
            return;
        }
        let freshness = self.freshness;
        let written = self.books.change(&market, |state| {
            if state.holder.is_some() {
                return None;
            }
            state.quote_at = now + QUOTE_EVERY;
            state.quote_number += 1;
            let book = &state.book;
            let head = QuoteHead {
                market,
                number: state.quote_number,
                sequence: book.sequence(),
                age: now.since(book.received()),
                engine_lag: book.engine_lag(),
                // How far behind is too far is for whoever would trade on it to say.
                is_live: matches!(book.live(now, &freshness), Ok(_) | Err(NotLive::Lagging)),
            };
            let (bids, asks) = (book.depth(Side::Bid), book.depth(Side::Ask));
            Some(out.write(|arena| match (bids.dense(), asks.dense()) {
                (Some(bids), Some(asks)) => head.encode(bids, asks, arena),
                _ => head.encode(bids.levels(), asks.levels(), arena),
            }))
        });
        let Some(bytes) = written.flatten() else {
            return;
        };
        let hears = |peer: &&PeerState| peer.link.is_ready() && peer.is_listed;
        for peer in self.peers.values().filter(hears) {
            if let Some(link) = peer.link_no {
                out.push(Output::LinkDatagram { link, bytes });
            }
        }
    }

    pub(super) fn feeds_deadline(&self) -> Option<Deadline> {
        let mut at = Time::MAX;
        for venue in self.venues.values().filter(|venue| venue.is_up) {
            at = at.min(venue.heard_at + venue.card.silence_max);
            at = at.min(venue.tend_at.unwrap_or(Time::MAX));
        }
        let linked = self.peers.values().any(|peer| peer.link.is_ready());
        for state in self.books.values() {
            if linked && state.holder.is_none() {
                at = at.min(state.quote_at);
            }
        }
        (at < Time::MAX).then_some(Deadline { at, why: "feed" })
    }

    pub(super) fn tend_feeds(&mut self, now: Time, out: &mut Outbox) {
        for (id, venue) in &mut self.venues {
            if venue.is_up && now >= venue.heard_at + venue.card.silence_max {
                venue.heard_at = now;
                out.push(Output::VenueReconnect { venue: *id });
            }
            if venue.tend_at.is_some_and(|at| at <= now) {
                let next = &mut self.numbers.request;
                venue.tend_at = venue.feed.tend(now, &mut |asked| {
                    send_ask(*id, &venue.host, asked, next, out);
                });
            }
        }
        let due: Vec<Market> = self
            .books
            .iter()
            .filter(|(_, state)| state.holder.is_none() && state.quote_at <= now)
            .map(|(market, _)| *market)
            .collect();
        for market in due {
            self.quote(market, now, out);
        }
    }

    /// Returns the middle of the fresh books of a pair: the median over venues.
    pub(super) fn reference(&self, market: Market, now: Time) -> Option<Price> {
        let mut all = self
            .books
            .iter()
            .filter(|(other, _)| other.pair == market.pair)
            .filter_map(|(_, state)| state.book.live(now, &self.freshness).ok()?.mid());
        let middle = |low: Price, high: Price| Price(low.0 + (high.0 - low.0) / 2);
        // Two are the rule, and every leg asks: only more are put in order.
        let one = all.next()?;
        let Some(two) = all.next() else {
            return Some(one);
        };
        let Some(three) = all.next() else {
            return Some(middle(one.min(two), one.max(two)));
        };
        let mut held = [Price::ZERO; MIDS_MAX];
        let mut count = 0;
        for (place, mid) in held
            .iter_mut()
            .zip([one, two, three].into_iter().chain(all))
        {
            *place = mid;
            count += 1;
        }
        let mids = &mut held[..count];
        mids.sort_unstable();
        if count.is_multiple_of(2) {
            return Some(middle(mids[count / 2 - 1], mids[count / 2]));
        }
        Some(mids[count / 2])
    }

    fn own_markets(&self, venue: VenueId) -> Vec<Market> {
        self.books
            .iter()
            .filter(|(market, state)| market.venue == venue && state.holder.is_none())
            .map(|(market, _)| *market)
            .collect()
    }

    fn reset_books(&mut self, venue: VenueId) {
        let is_own =
            |market: &Market, state: &BookState| market.venue == venue && state.holder.is_none();
        self.books.change_all(is_own, |_, state| state.book.reset());
    }
}

/// Sends what a feed asks for.
fn send_ask(id: VenueId, host: &str, asked: Ask<'_>, next: &mut RequestNo, out: &mut Outbox) {
    match asked {
        Ask::Frame(frame) => {
            let bytes = out.bytes(frame);
            out.push(Output::VenueFrame { venue: id, bytes });
        }
        Ask::Get { ticket, target } => {
            let request = *next;
            *next = request.next();
            let headers = [("User-Agent", USER_AGENT)];
            let bytes =
                out.write(|arena| write_request(arena, ("GET", host, target), &headers, b""));
            out.push(Output::VenueRequest {
                venue: id,
                request,
                asked: Asked::Public(ticket),
                bytes,
            });
        }
    }
}

fn hear(venue: VenueId, heard: &Heard<'_>, books: &mut Books, scratch: &mut Scratch, now: Time) {
    let is_own =
        |market: &Market, state: &BookState| market.venue == venue && state.holder.is_none();
    match heard {
        Heard::Book(update) => {
            match books.change(&update.market, |state| state.book.apply(update, now)) {
                Some(Applied::Changed) => {
                    if !scratch.changed.contains(&update.market) {
                        scratch.changed.push(update.market);
                    }
                }
                Some(Applied::Gap | Applied::Crossed) => {
                    if !scratch.resync.contains(&update.market) {
                        scratch.resync.push(update.market);
                    }
                }
                Some(Applied::Old) | None => (),
            }
        }
        Heard::Order(report) => scratch.reports.push(*report),
        Heard::EngineLag(lag) => {
            books.change_all(is_own, |market, state| {
                let is_news = state.book.engine_lag() != *lag;
                state.book.handle_engine_lag(*lag);
                // Peers must not trade on it any longer than this node would.
                if is_news && !scratch.changed.contains(market) {
                    scratch.changed.push(*market);
                }
            });
        }
        Heard::Account => scratch.is_private = true,
        Heard::Alive => books.change_all(is_own, |_, state| state.book.handle_alive(now)),
    }
}
