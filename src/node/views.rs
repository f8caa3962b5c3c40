//! What the owner sees: the node's state as reports.

use std::collections::BTreeMap;

use crate::book::{BookState as OfBook, NotLive};
use crate::config::checked::Trading;
use crate::execution::plan::Plan;
use crate::model::grammar::MatchLine;
use crate::model::ids::{NodeId, OfferId, OwnerId};
use crate::model::instrument::{Location, Market, VenueId};
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::offer::{Ask, Line, Part};
use crate::model::time::{Span, Time};
use crate::node::report::{
    Balance, Balances, BookState, Candidate, Counts, Explain, FeedStatus, Leg, Legs, Limit, Limits,
    Match, Offer, Offers, PeerStatus, Peers, Quote, QuoteAnswer, SCHEMA, Status, Took, VenueStatus,
};
use crate::node::{Node, PeerState, Phase, VenueState};
use crate::offer::gather::Answered;
use crate::offer::origin::{OriginState, OwnOffer};
use crate::risk::Switch;
use crate::risk::envelope::EnvelopeState;
use crate::telemetry::latency::Latency;

impl Node {
    pub(super) fn status(&self, now: Time) -> Status {
        let armed = |state: EnvelopeState| state == EnvelopeState::Armed;
        let envelopes = self.granted.iter().filter(|one| armed(one.state)).count();
        Status {
            schema: SCHEMA,
            node: self.me.id.to_string(),
            name: self.settings.name.clone(),
            owner: self.me.owner.to_string(),
            mode: match self.settings.trading {
                Trading::Paper => "paper".to_owned(),
                Trading::Live { .. } => "live".to_owned(),
            },
            switch: self.gate.switch().word().to_owned(),
            reason: self.reason(),
            booted: self.booted.0,
            uptime_ms: now.since(self.booted).as_millis(),
            venues: self
                .books
                .keys()
                .filter_map(|market| self.venue_status(*market, now))
                .collect(),
            feeds: self.venues.iter().map(feed_status).collect(),
            peers: self
                .peers
                .values()
                .map(|peer| self.peer_status(peer, now))
                .collect(),
            running: self.is_running(),
            counts: self.counts(),
            plans_open: count(self.plans.iter().count()),
            envelopes_armed: count(envelopes),
            journal_commit: self.commits.durable.0,
            skipped: by_word(&self.totals.skipped),
            refused: by_word(&self.totals.fires_refused),
        }
    }

    fn counts(&self) -> Counts {
        let totals = &self.totals;
        Counts {
            opportunities: totals.opportunities,
            taken: totals.taken,
            legs_fired: totals.legs_fired,
            legs_filled: totals.legs_filled,
            legs_failed: totals.legs_failed,
            offers: totals.offers,
            partial_matches: totals.partial_matches,
            aggregates: totals.aggregates,
        }
    }

    /// Says why the switch is not active; nothing where it is.
    fn reason(&self) -> String {
        let unknown = self.orders.open().count();
        match (self.phase, &self.halted_because, self.gate.switch()) {
            (Phase::Reconciling, _, _) => {
                format!("reconciling: {unknown} order ids of an earlier run are looked up")
            }
            (Phase::Closing, _, _) => "stopping: legs under way come to their end".to_owned(),
            (_, Some(why), _) => why.clone(),
            (_, None, Switch::Active) => String::new(),
            (_, None, Switch::Pause | Switch::Reduce | Switch::Halt) => {
                "set by the owner; `expressnet resume` lets it trade again".to_owned()
            }
        }
    }

    fn venue_status(&self, market: Market, now: Time) -> Option<VenueStatus> {
        let state = self.books.get(&market)?;
        let is_up = match state.holder {
            None => self
                .venues
                .get(&market.venue)
                .is_some_and(|venue| venue.is_up),
            Some(peer) => self
                .peers
                .get(&peer)
                .is_some_and(|peer| peer.link.is_ready()),
        };
        let book = &state.book;
        let best = |side: Side| {
            let best = book.depth(side).best();
            best.map(|level| level.price.to_string())
        };
        let word = match (is_up, book.live(now, &self.freshness).err()) {
            (false, _) => BookState::Down,
            (true, None) => BookState::Live,
            (true, Some(NotLive::Gap)) => BookState::Gap,
            (true, Some(NotLive::Crossed)) => BookState::Crossed,
            (true, Some(NotLive::Halted)) => BookState::Halted,
            (true, Some(NotLive::Stale | NotLive::Lagging | NotLive::Empty)) => BookState::Stale,
        };
        let is_known = book.state() != OfBook::Gap;
        let age = if is_known {
            now.since(book.received())
        } else {
            Span::ZERO
        };
        Some(VenueStatus {
            name: market.venue.to_string(),
            pair: market.pair.to_string(),
            state: word,
            sequence: book.sequence(),
            age_ms: age.as_millis(),
            engine_lag_ms: book.engine_lag().as_millis(),
            best_bid: best(Side::Bid),
            best_ask: best(Side::Ask),
        })
    }

    fn peer_status(&self, state: &PeerState, now: Time) -> PeerStatus {
        let micros = |per_mille| state.rtt.quantile_us(per_mille);
        let clock = state.clock.offset(now);
        PeerStatus {
            id: state.peer.id.to_string(),
            name: state.peer.name.clone(),
            own: state.peer.owner == self.me.owner,
            linked: state.link.is_ready(),
            rtt_us_p50: micros(500),
            rtt_us_p99: micros(990),
            clock_ahead_us: clock.map(|clock| clock.ahead_ns / 1_000),
            // Rounded up, with what rounding the offset may have lost.
            clock_bound_us: clock.map(|clock| clock.bound.as_micros() + 2),
            trust: state.peer.trust,
        }
    }

    pub(super) fn peer_list(&self, now: Time) -> Peers {
        let peers = self.peers.values();
        let mut peers: Vec<PeerStatus> = peers.map(|peer| self.peer_status(peer, now)).collect();
        peers.sort_by_key(|peer| (!peer.linked, peer.rtt_us_p50.unwrap_or(u64::MAX)));
        Peers {
            schema: SCHEMA,
            peers,
        }
    }

    /// Lists what lies where; what envelopes, orders and offers have a claim on is held.
    pub(super) fn balances(&self) -> Balances {
        let places = self.funds.iter().map(|(at, whole)| {
            let free = self.available(at);
            Balance {
                location: at.at.to_string(),
                currency: at.currency.to_string(),
                free: free.to_string(),
                held: whole.less(free).to_string(),
            }
        });
        let rails = self.settings.offer.rails.iter().map(|rail| Balance {
            location: Location::Rail(rail.method).to_string(),
            currency: rail.currency.to_string(),
            free: self.holds.free(rail.method, rail.currency).to_string(),
            held: self.holds.committed(rail.method, rail.currency).to_string(),
        });
        Balances {
            schema: SCHEMA,
            balances: places.chain(rails).collect(),
        }
    }

    pub(super) fn legs(&self) -> Legs {
        let of_plan = |plan: &Plan| -> Vec<Leg> {
            let legs = plan.legs.iter();
            legs.map(|leg| Leg {
                plan: plan.id.0,
                order: leg.draw.order.0,
                venue: leg.market.venue.to_string(),
                pair: leg.market.pair.to_string(),
                side: leg.side.word().to_owned(),
                quantity: leg.draw.quantity.to_string(),
                limit: leg.draw.limit.to_string(),
                state: leg.state.word().to_owned(),
                filled: leg.filled.quantity.to_string(),
                total: leg.filled.total.to_string(),
                fee: leg.filled.fee.to_string(),
                peer: match leg.granter == self.me.id {
                    true => String::new(),
                    false => self.peer_name(leg.granter),
                },
            })
            .collect()
        };
        Legs {
            schema: SCHEMA,
            legs: self.plans.iter().flat_map(of_plan).collect(),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        let uses = self.gate.uses().into_iter();
        Limits {
            schema: SCHEMA,
            limits: uses
                .map(|limit| Limit {
                    name: limit.name,
                    currency: limit.currency.to_string(),
                    used: limit.used.to_string(),
                    limit: limit.limit.to_string(),
                })
                .collect(),
        }
    }

    pub(super) fn offers(&self) -> Offers {
        let all = self.origins.open().chain(self.origins.closed());
        Offers {
            schema: SCHEMA,
            offers: all.map(|own| self.offer_report(own)).collect(),
        }
    }

    fn offer_report(&self, own: &OwnOffer) -> Offer {
        let tally = own.tally();
        let line = &own.offer.line;
        let matches = own.gather.candidates().iter().map(|one| Match {
            peer: self.peer_name(one.peer),
            line: match_line(line, &one.part),
            state: one.state.word().to_owned(),
        });
        Offer {
            id: own.offer.id.to_string(),
            line: line.to_string(),
            state: match own.state {
                OriginState::Gathering { .. } => "gathering".to_owned(),
                OriginState::Settling => "settling".to_owned(),
                OriginState::Standing => "standing".to_owned(),
                OriginState::Closed(why) => why.word().to_owned(),
            },
            planned: tally.planned.to_string(),
            filled: tally.filled.to_string(),
            offered: tally.offered.to_string(),
            released: tally.released.to_string(),
            matches: matches.collect(),
        }
    }

    /// Says who was asked, what they said, and what came of it.
    pub(super) fn explain(&self, id: OfferId) -> Option<Explain> {
        let own = self.origins.get(id)?;
        let line = &own.offer.line;
        let matched = own.gather.candidates().iter().map(|one| Candidate {
            peer: self.peer_name(one.peer),
            line: match_line(line, &one.part),
            verdict: one.state.word().to_owned(),
            reason: own.verdict(one, &self.settings.offer).to_owned(),
        });
        let others = own.gather.asked().filter_map(|(peer, answered)| {
            let (verdict, reason) = match answered {
                Some(Answered::Match) => return None,
                Some(Answered::NoMatch(why)) => ("no match", why.word()),
                None => ("no answer", "nothing was heard in time"),
            };
            Some(Candidate {
                peer: self.peer_name(peer),
                line: String::new(),
                verdict: verdict.to_owned(),
                reason: reason.to_owned(),
            })
        });
        Some(Explain {
            schema: SCHEMA,
            candidates: matched.chain(others).collect(),
        })
    }

    /// Says what this node's rules would answer if another owner made such an offer, by method.
    pub(super) fn quote_offer(&self, line: &Line, now: Time) -> Quote {
        let answers = line.methods.iter().map(|method| {
            let ask = Ask {
                offer: OfferId([0; 16]),
                origin: NodeId([0; 16]),
                owner: OwnerId([0; 32]),
                line: Line {
                    methods: [method].into_iter().collect(),
                    ..*line
                },
                part_min: Quantity(1),
                hops: 0,
            };
            match self.answer(&ask, now) {
                Ok(answer) => QuoteAnswer {
                    line: match_line(line, &answer.part),
                    verdict: "match".to_owned(),
                    reason: match answer.needs_approval {
                        true => format!("by {method}, once the owner approves"),
                        false => format!("by {method}"),
                    },
                },
                Err(why) => QuoteAnswer {
                    line: String::new(),
                    verdict: "no match".to_owned(),
                    reason: format!("by {method}: {}", why.word()),
                },
            }
        });
        Quote {
            schema: SCHEMA,
            answers: answers.collect(),
        }
    }
}

fn match_line(line: &Line, part: &Part) -> String {
    let price: Price = part.price();
    let line = MatchLine {
        quantity: part.quantity,
        give: line.give,
        price,
        want: line.want,
        method: part.method,
    };
    line.to_string()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn by_word(counts: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts
        .iter()
        .map(|(word, count)| ((*word).to_owned(), *count))
        .collect()
}

fn feed_status((id, venue): (&VenueId, &VenueState)) -> FeedStatus {
    let read = venue.feed.read_counts();
    FeedStatus {
        name: id.to_string(),
        frames: venue.frames,
        refused_frames: venue.refused_frames,
        by_template: read.template,
        by_tolerant: read.tolerant,
        by_slow: read.slow,
        order_ack: took(&venue.times.ack),
        cancel_ack: took(&venue.times.cancel),
        first_fill: took(&venue.times.fill),
    }
}

fn took(times: &Latency) -> Took {
    Took {
        count: times.count(),
        p50_us: times.quantile_us(500),
        p99_us: times.quantile_us(990),
    }
}
