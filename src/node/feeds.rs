//! Venue frames to books, books to quotes.

use std::collections::BTreeMap;

use crate::book::{Applied, Book};
use crate::model::ids::RequestNo;
use crate::model::instrument::{Instrument, Location, Market, VenueId};
use crate::model::market::{Level, Side};
use crate::model::number::Price;
use crate::model::time::{Deadline, Span, Time};
use crate::model::trade::OrderReport;
use crate::node::input::Outcome;
use crate::node::output::{Outbox, Output, Severity};
use crate::node::{BookState, Node, VenueState, notice};
use crate::venue::{Asked, DecodeError, Heard, OrderClient, ReplyError, Told, registry};
use crate::wire::message::{Message, QUOTE_LEVELS_MAX, Quote};

/// Buffers that are reused, so that a frame costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    changed: Vec<Market>,
    resync: Vec<Market>,
    reports: Vec<OrderReport>,
    told: Vec<Told>,
}

/// A quiet book is quoted again, so that peers know it still stands.
const QUOTE_EVERY: Span = Span::millis(250);
/// How often a live account is read while nothing changes it.
const ACCOUNT_EVERY: Span = Span::secs(5);

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
                    silence_max: dialect.card().silence_max,
                    is_up: false,
                    heard_at: now,
                    heartbeat_at: None,
                    account_at: now,
                    account_asked: None,
                    account_is_clean: false,
                    may_trade: false,
                    frames: 0,
                    refused_frames: 0,
                },
            );
            for pair in &venue.pairs {
                let market = Market {
                    venue: venue.id,
                    pair: *pair,
                };
                self.books.insert(
                    market,
                    BookState {
                        book: Book::new(market),
                        rules: venue.rules,
                        holder: None,
                        quote_at: now,
                        quote_number: 0,
                    },
                );
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
        let mut send = |frame: &[u8]| {
            let bytes = out.bytes(frame);
            out.push(Output::VenueFrame { venue: id, bytes });
        };
        // Reports of own orders come before the books that those orders change.
        if let Some(client) = &mut venue.client {
            client.login(now, &mut send);
        }
        venue.feed.subscribe(&mut send);
        venue.heartbeat_at = venue.feed.heartbeat(now, &mut send);
    }

    pub(super) fn handle_feed_down(&mut self, id: VenueId, now: Time, out: &mut Outbox) {
        self.reset_books(id);
        if let Some(venue) = self.venues.get_mut(&id) {
            venue.is_up = false;
            venue.heartbeat_at = None;
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
        let mut scratch = std::mem::take(&mut self.scratch);
        let Some(venue) = self.venues.get_mut(&id) else {
            return;
        };
        venue.heard_at = now;
        venue.frames += 1;
        let books = &mut self.books;
        let decoded = venue.feed.decode(frame, now, &mut |heard| {
            hear(id, &heard, books, &mut scratch, now);
        });
        if let Err(why) = decoded {
            venue.refused_frames += 1;
            self.handle_refused_frame(id, why, out);
        }
        for market in scratch.resync.drain(..) {
            if let Some(venue) = self.venues.get_mut(&id) {
                venue.feed.resync(market, &mut |frame| {
                    let bytes = out.bytes(frame);
                    out.push(Output::VenueFrame { venue: id, bytes });
                });
            }
        }
        for report in scratch.reports.drain(..) {
            self.orders.handle_report(&report, now);
        }
        for index in 0..scratch.changed.len() {
            let market = scratch.changed[index];
            self.detect(market, now, out);
            self.quote(market, now, out);
        }
        scratch.changed.clear();
        self.scratch = scratch;
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

    pub(super) fn handle_venue_reply(
        &mut self,
        id: VenueId,
        request: RequestNo,
        asked: Asked,
        outcome: Outcome<'_>,
        now: Time,
        out: &mut Outbox,
    ) {
        let mut told = std::mem::take(&mut self.scratch.told);
        told.clear();
        let Some(client) = self
            .venues
            .get_mut(&id)
            .and_then(|venue| venue.client.as_mut())
        else {
            return;
        };
        let result = match outcome {
            Outcome::Reply { status, body } => {
                client.decode_reply(asked, status, body, &mut |fact| told.push(fact))
            }
            Outcome::NotSent | Outcome::Lost => Err(ReplyError::Unknown),
        };
        match asked {
            Asked::Place(order) => match (outcome, result) {
                (_, Ok(())) => self.hear_reports(&told, now),
                (Outcome::NotSent, Err(_)) | (_, Err(ReplyError::Rejected(_))) => {
                    self.orders.handle_rejected(order, now);
                }
                (Outcome::Reply { .. } | Outcome::Lost, Err(ReplyError::Unknown)) => {
                    self.orders.handle_unknown(order, now);
                }
            },
            Asked::Cancel(order) => match result {
                Ok(()) => self.hear_reports(&told, now),
                Err(_) => self.orders.handle_cancel_refused(order, now),
            },
            Asked::Orders => {
                let is_latest = self.list_requests.get(&id) == Some(&request);
                match result {
                    Ok(()) => {
                        self.hear_reports(&told, now);
                        if is_latest {
                            self.end_list(id, &told, now);
                        }
                    }
                    Err(_) if is_latest => self.orders.handle_list_failed(id),
                    Err(_) => (),
                }
            }
            Asked::Account => self.handle_account(id, request, result.is_ok(), &told, now, out),
        }
        self.scratch.told = told;
    }

    /// Takes the end of a list, or asks for what lies behind its last row.
    fn end_list(&mut self, id: VenueId, told: &[Told], now: Time) {
        if told.contains(&Told::End) {
            self.orders.handle_list_end(id, now);
            return;
        }
        let ids = told.iter().filter_map(|fact| match fact {
            Told::Order(report) => report.id,
            Told::Balance { .. } | Told::Rights { .. } | Told::End => None,
        });
        self.orders.handle_list_page(id, ids.max(), now);
    }

    fn hear_reports(&mut self, told: &[Told], now: Time) {
        for fact in told {
            if let Told::Order(report) = fact {
                self.orders.handle_report(report, now);
            }
        }
    }

    /// Sends the node's view of a market to every peer, as a datagram: the latest wins.
    pub(super) fn quote(&mut self, market: Market, now: Time, out: &mut Outbox) {
        let Some(state) = self.books.get_mut(&market) else {
            return;
        };
        if state.holder.is_some() || !self.peers.values().any(|peer| peer.link.is_ready()) {
            return;
        }
        state.quote_at = now + QUOTE_EVERY;
        state.quote_number += 1;
        let book = &state.book;
        let side = |side: Side| -> Vec<Level> {
            let levels = book.levels_best_last(side).iter().rev();
            levels.take(QUOTE_LEVELS_MAX).copied().collect()
        };
        let message = Message::Quote(Quote {
            market,
            number: state.quote_number,
            sequence: book.sequence(),
            age: now.since(book.received()),
            engine_lag: book.engine_lag(),
            is_live: book.live(now, &self.freshness).is_ok(),
            bids: side(Side::Bid),
            asks: side(Side::Ask),
        });
        let bytes = out.write(|arena| message.encode(arena));
        for peer in self.peers.values().filter(|peer| peer.link.is_ready()) {
            if let Some(link) = peer.link_no {
                out.push(Output::LinkDatagram { link, bytes });
            }
        }
    }

    pub(super) fn feeds_deadline(&self) -> Option<Deadline> {
        let mut at = Time::MAX;
        for venue in self.venues.values().filter(|venue| venue.is_up) {
            at = at.min(venue.heard_at + venue.silence_max);
            at = at.min(venue.heartbeat_at.unwrap_or(Time::MAX));
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
            if venue.is_up && now >= venue.heard_at + venue.silence_max {
                venue.heard_at = now;
                out.push(Output::VenueReconnect { venue: *id });
            }
            if venue.heartbeat_at.is_some_and(|at| at <= now) {
                venue.heartbeat_at = venue.feed.heartbeat(now, &mut |frame| {
                    let bytes = out.bytes(frame);
                    out.push(Output::VenueFrame { venue: *id, bytes });
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

    /// Asks for a live account's balances and rights, when it is time.
    pub(super) fn ask_accounts(&mut self, now: Time, out: &mut Outbox) {
        let ids: Vec<VenueId> = self.venues.keys().copied().collect();
        for id in ids {
            let is_clean = !self
                .orders
                .open()
                .any(|order| order.intent.market.venue == id);
            let Some(venue) = self.venues.get_mut(&id) else {
                continue;
            };
            let is_due = venue.account_at <= now && (is_clean || !venue.may_trade);
            let Some(client) = venue.client.as_mut().filter(|_| is_due) else {
                continue;
            };
            venue.account_at = now + ACCOUNT_EVERY;
            venue.account_is_clean = is_clean;
            let request = self.numbers.request;
            self.numbers.request = request.next();
            venue.account_asked = Some(request);
            let bytes = out.write(|arena| client.account(now, arena));
            out.push(Output::VenueRequest {
                venue: id,
                request,
                asked: Asked::Account,
                bytes,
            });
        }
    }

    fn handle_account(
        &mut self,
        id: VenueId,
        request: RequestNo,
        is_good: bool,
        told: &[Told],
        now: Time,
        out: &mut Outbox,
    ) {
        let Some(venue) = self.venues.get_mut(&id) else {
            return;
        };
        if venue.account_asked != Some(request) {
            return;
        }
        venue.account_asked = None;
        if !is_good {
            venue.account_at = now + Span::SECOND;
            return;
        }
        let mut may_trade = true;
        for fact in told {
            if let Told::Rights {
                may_trade: trades,
                may_withdraw,
            } = fact
            {
                may_trade = *trades && !*may_withdraw;
                if *may_withdraw && venue.client.is_some() {
                    let text = format!(
                        "venue {id}: this key may withdraw and is refused for trading; make one that may only trade"
                    );
                    notice(out, Severity::Error, &text);
                }
            }
        }
        let begins = !venue.may_trade && may_trade;
        venue.may_trade = may_trade;
        // What was in flight when the question left may or may not be in the answer.
        let is_still_clean = venue.account_is_clean;
        if begins || is_still_clean {
            self.adopt_balances(id, told);
        }
        self.needs_renewal = true;
    }

    fn adopt_balances(&mut self, id: VenueId, told: &[Told]) {
        let has_open = self
            .orders
            .open()
            .any(|order| order.intent.market.venue == id);
        if has_open {
            return;
        }
        for fact in told {
            if let Told::Balance { currency, free, .. } = fact {
                self.funds.set(
                    Instrument {
                        currency: *currency,
                        at: Location::Venue(id),
                    },
                    *free,
                );
            }
        }
    }

    /// Returns the middle of the fresh books of a pair: the median over venues.
    pub(super) fn reference(&self, market: Market, now: Time) -> Option<Price> {
        let mut mids: Vec<Price> = self
            .books
            .iter()
            .filter(|(other, _)| other.pair == market.pair)
            .filter_map(|(_, state)| state.book.live(now, &self.freshness).ok()?.mid())
            .collect();
        mids.sort_unstable();
        match mids.len() {
            0 => None,
            count if count.is_multiple_of(2) => {
                let (low, high) = (mids[count / 2 - 1], mids[count / 2]);
                Some(Price(low.0 + (high.0 - low.0) / 2))
            }
            count => Some(mids[count / 2]),
        }
    }

    fn own_markets(&self, venue: VenueId) -> Vec<Market> {
        self.books
            .iter()
            .filter(|(market, state)| market.venue == venue && state.holder.is_none())
            .map(|(market, _)| *market)
            .collect()
    }

    fn reset_books(&mut self, venue: VenueId) {
        for (market, state) in &mut self.books {
            if market.venue == venue && state.holder.is_none() {
                state.book.reset();
            }
        }
    }
}

fn hear(
    venue: VenueId,
    heard: &Heard<'_>,
    books: &mut BTreeMap<Market, BookState>,
    scratch: &mut Scratch,
    now: Time,
) {
    match heard {
        Heard::Book(update) => {
            let Some(state) = books.get_mut(&update.market) else {
                return;
            };
            match state.book.apply(update, now) {
                Applied::Changed => {
                    if !scratch.changed.contains(&update.market) {
                        scratch.changed.push(update.market);
                    }
                }
                Applied::Gap | Applied::Crossed => {
                    if !scratch.resync.contains(&update.market) {
                        scratch.resync.push(update.market);
                    }
                }
                Applied::Old => (),
            }
        }
        Heard::Order(report) => scratch.reports.push(*report),
        Heard::EngineLag(lag) => {
            for (market, state) in books {
                if market.venue == venue && state.holder.is_none() {
                    state.book.handle_engine_lag(*lag);
                }
            }
        }
        Heard::Alive => {
            for (market, state) in books {
                if market.venue == venue && state.holder.is_none() {
                    state.book.handle_alive(now);
                }
            }
        }
    }
}
