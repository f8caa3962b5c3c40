//! Own offers: what a window leaves over, what broken legs leave over, and what can be pledged.

use crate::arbitrage::Costs;
use crate::arbitrage::walk::Opportunity;
use crate::journal::record::Record;
use crate::model::currency::Currency;
use crate::model::ids::OfferId;
use crate::model::instrument::{Instrument, Location, Pair};
use crate::model::number::{Price, Quantity, SCALE};
use crate::model::offer::{Asking, Line, Offer};
use crate::model::time::{Span, Time};
use crate::node::output::{Outbox, Severity};
use crate::node::{Node, notice};
use crate::offer::gather::CandidateState;
use crate::offer::listed;
use crate::offer::origin::Asked;
use crate::risk::Switch;
use crate::risk::gate::LimitHit;

impl Node {
    /// Returns the linked peers that can be asked, nearest first.
    pub(super) fn askable_peers(&self) -> Vec<Asked> {
        self.links
            .nearest()
            .filter_map(|(id, rtt)| {
                let peer = self.peers.get(&id).filter(|_| self.is_askable(id))?;
                Some(Asked {
                    peer: id,
                    trust: peer.peer.trust,
                    rtt: rtt.unwrap_or(Span::ZERO),
                })
            })
            .collect()
    }

    /// Makes an offer of what is pledged; returns its id, or why there is none.
    pub(super) fn open_offer(
        &mut self,
        line: Line,
        reserve: Price,
        covers: Option<Currency>,
        now: Time,
        out: &mut Outbox,
    ) -> Result<OfferId, String> {
        if !self.origins.has_room() {
            return Err("64 offers are open already; withdraw one".to_owned());
        }
        let pledgeable = self.pledgeable(line.give);
        if line.quantity > pledgeable {
            return Err(format!(
                "only {pledgeable} {} lies where a listed method can pay from; offer less, or add a rail or a transfer route",
                line.give
            ));
        }
        let part_min = listed(&self.settings.offer.part_min, line.give).unwrap_or(Quantity(1));
        let offer = Offer {
            id: OfferId::new(now, &mut self.random),
            origin: self.me.id,
            line,
            reserve,
            part_min: part_min.min(line.quantity),
            expires: now + self.settings.offer.ttl,
            covers,
        };
        self.journal(&Record::OfferOpened { offer }, out);
        self.totals.offers += 1;
        let peers = self.askable_peers();
        let sayings = self.origins.open_offer(offer, &peers, now);
        notice(out, Severity::Info, &format!("offer {}: {line}", offer.id));
        self.say_all(sayings, now, out);
        Ok(offer.id)
    }

    /// What own funds could not do of an open window becomes an offer: it gives what is in surplus
    /// and wants what ran out.
    pub(super) fn consider_residual(
        &mut self,
        whole: &Opportunity,
        costs: &Costs,
        why: &'static str,
        now: Time,
        out: &mut Outbox,
    ) {
        let is_short = matches!(why, "funds_to_buy" | "funds_to_sell");
        let is_limited = why == LimitHit::VenueDay.word();
        let is_busy = self
            .plans
            .iter()
            .any(|plan| plan.buy.pair == whole.buy.pair);
        if !(is_short || is_limited) || is_busy || self.gate.switch() != Switch::Active {
            return;
        }
        if is_limited && self.acquire(whole, now, out) {
            return;
        }
        let pair = whole.buy.pair;
        let gives_base = is_limited || why == "funds_to_buy";
        let line_and_reserve = if gives_base {
            let quantity = self.pledgeable(pair.base).min(whole.quantity);
            Some((
                self.residual_line(pair.base, pair.quote, quantity),
                costs.break_even(whole.buy_limit),
            ))
        } else {
            let quantity = self.pledgeable(pair.quote).min(whole.cost);
            let net = whole.sell_limit.moved_ppm(costs.sell_ppm - 1_000_000);
            inverse(net)
                .map(|reserve| (self.residual_line(pair.quote, pair.base, quantity), reserve))
        };
        let Some((Some(line), reserve)) = line_and_reserve else {
            return;
        };
        let key = (line.give, line.want);
        let is_open = self
            .origins
            .open()
            .any(|own| (own.offer.line.give, own.offer.line.want) == key);
        let is_cooling = self.cooldowns.get(&key).is_some_and(|until| now < *until);
        let nobody_hears =
            self.askable_peers().is_empty() && !self.is_broadcast(&line, line.quantity);
        if is_open || is_cooling || nobody_hears {
            return;
        }
        self.cooldowns.insert(
            key,
            now + self.settings.offer.ttl + self.settings.offer.cooldown,
        );
        if let Err(why) = self.open_offer(line, reserve, None, now, out) {
            notice(out, Severity::Debug, &format!("no offer: {why}"));
        }
    }

    /// Offers what a plan bought and could not sell, or sold and could not buy.
    pub(super) fn offer_imbalance(
        &mut self,
        imbalance: i64,
        pair: Pair,
        reserve: Price,
        now: Time,
        out: &mut Outbox,
    ) -> bool {
        let quantity = Quantity(imbalance.abs());
        let (line, reserve) = if imbalance > 0 {
            let quantity = quantity.min(self.pledgeable(pair.base));
            (
                self.residual_line(pair.base, pair.quote, quantity),
                Some(reserve),
            )
        } else {
            let cost = reserve
                .total_ceil(quantity)
                .min(self.pledgeable(pair.quote));
            (
                self.residual_line(pair.quote, pair.base, cost),
                inverse(reserve),
            )
        };
        let (Some(line), Some(reserve)) = (line, reserve) else {
            return false;
        };
        if self.askable_peers().is_empty() {
            return false;
        }
        self.open_offer(line, reserve, Some(pair.base), now, out)
            .is_ok()
    }

    fn residual_line(&self, give: Currency, want: Currency, quantity: Quantity) -> Option<Line> {
        let least = listed(&self.settings.offer.offer_min, give)?;
        let methods = self.settings.offer.methods;
        let is_enough = quantity >= least && quantity.is_positive() && !methods.is_empty();
        is_enough.then_some(Line {
            quantity,
            give,
            want,
            asking: Asking::Best,
            methods,
        })
    }

    /// Returns what can be pledged of a currency: rail accounts, and holdings at a venue from which
    /// a transfer route leads to the wallet or a rail.
    pub(super) fn pledgeable(&self, currency: Currency) -> Quantity {
        let rails = self.rails_of(currency);
        let venues = self
            .settings
            .execution
            .transfers
            .iter()
            .filter(|route| {
                let leaves = matches!(route.from, Location::Venue(_));
                let arrives = !matches!(route.to, Location::Venue(_));
                route.currency == currency && leaves && arrives
            })
            .fold(Quantity::ZERO, |sum, route| {
                let at = Instrument {
                    currency,
                    at: route.from,
                };
                sum.saturating_add(self.available(at))
            });
        let on_rails = rails.less(self.pledged(currency));
        on_rails.saturating_add(venues)
    }

    /// Returns how much of a holding at a venue is pledged to offers.
    pub(super) fn pledged_at(&self, instrument: Instrument) -> Quantity {
        let is_route = self.settings.execution.transfers.iter().any(|route| {
            route.currency == instrument.currency
                && route.from == instrument.at
                && !matches!(route.to, Location::Venue(_))
        });
        if !is_route {
            return Quantity::ZERO;
        }
        self.pledged(instrument.currency)
            .less(self.rails_of(instrument.currency))
    }

    /// Returns what own offers have pledged, those of earlier runs included.
    fn pledged(&self, currency: Currency) -> Quantity {
        self.earlier_counted
            .values()
            .filter(|(give, _)| *give == currency)
            .fold(self.origins.pledged(currency), |sum, (_, part)| {
                sum.saturating_add(part.quantity)
            })
    }

    fn rails_of(&self, currency: Currency) -> Quantity {
        let wallet = Instrument {
            currency,
            at: Location::Wallet,
        };
        self.settings
            .offer
            .rails
            .iter()
            .filter(|rail| rail.currency == currency)
            .fold(self.funds.free(wallet), |sum, rail| {
                sum.saturating_add(self.holds.free(rail.method, currency))
            })
    }

    /// Takes back every own offer.
    pub(super) fn withdraw_offers(&mut self, now: Time, out: &mut Outbox) {
        let open: Vec<OfferId> = self.origins.open().map(|own| own.offer.id).collect();
        for id in open {
            let sayings = self.origins.withdraw(id, now);
            self.say_all(sayings, now, out);
        }
    }

    /// Returns how many accepted matches of own offers are not confirmed yet.
    pub fn accepting(&self) -> usize {
        self.origins
            .open()
            .flat_map(|own| own.gather.candidates())
            .filter(|one| one.state == CandidateState::Accepting)
            .count()
    }
}

/// Returns 1 ÷ price, rounded up.
fn inverse(price: Price) -> Option<Price> {
    if !price.is_positive() {
        return None;
    }
    let square = i128::from(SCALE) * i128::from(SCALE);
    let inverse = -(-square).div_euclid(i128::from(price.0));
    i64::try_from(inverse).ok().map(Price)
}
