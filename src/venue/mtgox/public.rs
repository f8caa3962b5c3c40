//! What everybody may know: tickers, books, trades, lag, currencies, channels.

use serde_json::{Map, Value};

use crate::model::instrument::Pair;
use crate::model::market::Side;
use crate::model::number::{Price, Quantity};
use crate::model::time::Time;
use crate::venue::mtgox::answer::Refusal;
use crate::venue::mtgox::front::Cached;
use crate::venue::mtgox::json::{Bare, json_of};
use crate::venue::mtgox::message::{
    Depth, Depth0, DepthChange, DepthRow, Lag, Ticker, Ticker0, Ticker0Body, TradeRow,
};
use crate::venue::mtgox::money::{self, Amount, Place};
use crate::venue::mtgox::names::Channel;
use crate::venue::mtgox::routes::Params;
use crate::venue::mtgox::server::MtgoxServer;
use crate::venue::mtgox::tape::{LevelChange, Print, Tape, rate_ppm};

/// How far the window of `depth/fetch` reaches from the middle, in parts per million.
const WINDOW_PPM: i64 = 100_000;

impl MtgoxServer {
    /// Hands out a document that the front end may have kept, or writes it. A signed request is
    /// not cached: it passes the front end by.
    pub(super) fn document(
        &mut self,
        what: Cached,
        pair: Pair,
        is_signed: bool,
        now: Time,
    ) -> Vec<u8> {
        if let Some(known) = self.front.cached(what, pair, now).filter(|_| !is_signed) {
            return known.to_vec();
        }
        let document = match what {
            Cached::Depth => json_of(&self.depth(pair, true)),
            Cached::Depth0 => json_of(&self.depth_0(pair)),
            Cached::Ticker => json_of(&self.ticker_of(pair, now)),
            Cached::Ticker0 => json_of(&self.ticker_0(pair, now)),
        };
        if !is_signed {
            self.front.keep(what, pair, &document, now);
        }
        document
    }

    pub(super) fn ticker_of(&self, pair: Pair, now: Time) -> Ticker {
        let tape = self.tapes.get(&pair);
        let day = tape.map(|tape| tape.day(now)).unwrap_or_default();
        let best = |side| tape.and_then(|tape| tape.best(side)).unwrap_or_default();
        let amount = |price| Amount::price(pair.quote, price);
        let (orig, all) = self.last_anywhere(pair, day.last);
        Ticker {
            high: amount(day.high),
            low: amount(day.low),
            avg: amount(day.avg),
            vwap: amount(day.vwap),
            vol: Amount::quantity(pair.base, day.vol),
            last_local: amount(day.last),
            last_orig: orig,
            last_all: amount(all),
            last: amount(all),
            buy: amount(best(Side::Bid)),
            sell: amount(best(Side::Ask)),
            item: None,
            now: (now.0 / 1_000).to_string(),
        }
    }

    fn ticker_0(&self, pair: Pair, now: Time) -> Ticker0 {
        let tape = self.tapes.get(&pair);
        let day = tape.map(|tape| tape.day(now)).unwrap_or_default();
        let best = |side| tape.and_then(|tape| tape.best(side)).unwrap_or_default();
        let (_, all) = self.last_anywhere(pair, day.last);
        let float = |price: Price| Bare::float(price.0);
        Ticker0 {
            ticker: Ticker0Body {
                high: float(day.high),
                low: float(day.low),
                avg: float(day.avg),
                vwap: float(day.vwap),
                vol: Bare::float(day.vol.0),
                last_all: float(all),
                last_local: float(day.last),
                last: float(day.last),
                buy: float(best(Side::Bid)),
                sell: float(best(Side::Ask)),
            },
        }
    }

    /// Returns the last trade of an item in any currency: as it was, and in this market's currency.
    fn last_anywhere(&self, pair: Pair, local: Price) -> (Amount, Price) {
        let same_item = |tape: &&Tape| tape.pair().base == pair.base;
        let tapes = self.tapes.values().filter(same_item);
        let last = tapes
            .filter_map(|tape| Some((tape.pair(), *tape.last()?)))
            .max_by_key(|(_, print)| print.tid);
        match last {
            Some((other, print)) if other != pair => {
                let middle = |pair| self.tapes.get(&pair).and_then(Tape::middle);
                let rate = middle(other).zip(middle(pair));
                let rate = rate.and_then(|(from, to)| rate_ppm(from, to));
                let seen = rate.map(|rate| Tape::seen_in(print, pair.quote, rate).price);
                let amount = Amount::price(other.quote, print.price);
                (amount, seen.unwrap_or(local))
            }
            Some(_) | None => (Amount::price(pair.quote, local), local),
        }
    }

    /// Writes the book, whole or around its middle, both sides by rising price.
    pub(super) fn depth(&self, pair: Pair, is_window: bool) -> Depth {
        let tape = self.tapes.get(&pair);
        let middle = tape.and_then(Tape::middle).unwrap_or_default();
        let (low, high) = (middle.moved_ppm(-WINDOW_PPM), middle.moved_ppm(WINDOW_PPM));
        let rows = |side| {
            let levels = tape.into_iter().flat_map(|tape| tape.rising(side));
            let seen = levels.filter(|(price, _)| !is_window || (low..=high).contains(price));
            seen.map(|(price, standing)| DepthRow::new(pair, price, standing))
                .collect()
        };
        Depth {
            asks: rows(Side::Ask),
            bids: rows(Side::Bid),
            filter_min_price: is_window.then(|| Amount::price(pair.quote, low)),
            filter_max_price: is_window.then(|| Amount::price(pair.quote, high)),
        }
    }

    fn depth_0(&self, pair: Pair) -> Depth0 {
        let tape = self.tapes.get(&pair);
        let rows = |side| {
            let levels = tape.into_iter().flat_map(|tape| tape.rising(side));
            let row = |price: Price, units: i64| [Bare::float(price.0), Bare::float(units)];
            levels
                .map(|(price, standing)| row(price, standing.quantity.0))
                .collect()
        };
        Depth0 {
            asks: rows(Side::Ask),
            bids: rows(Side::Bid),
        }
    }

    /// Writes trades oldest first, from the asked one on.
    pub(super) fn trades(&self, pair: Pair, params: &Params, now: Time) -> Vec<Print> {
        let since = params.get("since").and_then(|text| text.parse().ok());
        let tape = self.tapes.get(&pair);
        tape.map_or_else(Vec::new, |tape| tape.prints(since, now))
    }

    pub(super) fn trade_rows(&self, pair: Pair, params: &Params, now: Time) -> Vec<u8> {
        let prints = self.trades(pair, params, now);
        let rows: Vec<_> = prints.iter().map(TradeRow::listed).collect();
        json_of(&rows)
    }

    pub(super) fn trade_rows_0(&self, pair: Pair, params: &Params, now: Time) -> Vec<u8> {
        let prints = self.trades(pair, params, now);
        let rows: Vec<_> = prints.iter().map(TradeRow::listed_0).collect();
        json_of(&rows)
    }

    pub(super) fn lag_document(&self, now: Time) -> Vec<u8> {
        let lag = self.queue.lag(now).as_micros();
        json_of(&Lag::new(lag, self.queue.len(now)))
    }

    /// Describes the quote currency of a market and names its channels.
    pub(super) fn currency(&self, pair: Pair) -> Vec<u8> {
        let unit = money::unit(pair.quote);
        let id = |channel: Channel| channel.uuid(&self.names).to_string();
        let place = match unit.map(|unit| unit.place) {
            Some(Place::Before) => "before",
            Some(Place::After) | None => "after",
        };
        let code = pair.quote.to_string();
        let mut fields = Map::new();
        let mut put = |name: &str, value: String| {
            fields.insert(name.to_owned(), Value::String(value));
        };
        put("currency", code.clone());
        put("name", unit.map_or(&*code, |unit| unit.name).to_owned());
        put("symbol", unit.map_or(&*code, |unit| unit.symbol).to_owned());
        put("decimals", money::decimals(pair.quote).to_string());
        let short = unit.map_or(2, |unit| unit.display_decimals);
        put("display_decimals", short.to_string());
        put("symbol_position", place.to_owned());
        put("virtual", "N".to_owned());
        put("ticker_channel", id(Channel::Ticker(pair)));
        put("depth_channel", id(Channel::Depth(pair)));
        json_of(&fields)
    }

    /// Writes every public channel with its id.
    pub(super) fn public_channels(&self) -> Vec<u8> {
        let named = self.channels().into_iter().filter_map(|channel| {
            let id = channel.uuid(&self.names).to_string();
            Some((channel.name()?, Value::String(id)))
        });
        json_of(&named.collect::<Map<String, Value>>())
    }

    /// Returns every public channel.
    pub(super) fn channels(&self) -> Vec<Channel> {
        let mut channels = vec![Channel::Lag];
        for pair in self.tapes.keys() {
            channels.extend([Channel::Depth(*pair), Channel::Ticker(*pair)]);
            let trades = Channel::Trades(pair.base);
            if !channels.contains(&trades) {
                channels.push(trades);
            }
        }
        channels
    }

    /// Hands out the whole book, as often as the front end allows.
    pub(super) fn full_book(
        &mut self,
        peer: &str,
        pair: Pair,
        now: Time,
    ) -> Result<Vec<u8>, Refusal> {
        if !self.front.take_book(peer, now) {
            return Err(Refusal::BANNED);
        }
        Ok(json_of(&self.depth(pair, false)))
    }

    /// Tells the stream that all asks are gone, or what truly stands there.
    pub(super) fn tell_all_asks(&mut self, are_gone: bool, now: Time) {
        let mut frames = Vec::new();
        for (pair, tape) in &self.tapes {
            for (price, standing) in tape.rising(Side::Ask) {
                let units = standing.quantity.0;
                let change = LevelChange {
                    side: Side::Ask,
                    price,
                    change: if are_gone { -units } else { units },
                    total: if are_gone {
                        Quantity::ZERO
                    } else {
                        standing.quantity
                    },
                };
                frames.push((*pair, change));
            }
        }
        for (pair, change) in frames {
            let stamp = self.stamps.next(now);
            let body = json_of(&DepthChange::new(pair, &change, stamp));
            self.tell(Channel::Depth(pair), "depth", body, stamp);
        }
    }
}
