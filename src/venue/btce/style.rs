//! What makes one exchange of the dialect differ from another, as data.
//!
//! Sources, all read 2026-11-23: recorded documents of BTC-e (2012, 2013), YoBit (2016), Liqui and
//! Tidex (2017); the documentation of btc-e.com and wex.nz. What no record shows is marked.

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::market::{FeeIn, Rules, Side};
use crate::model::number::{Price, Quantity};
use crate::model::time::Span;

/// One exchange of the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub name: &'static str,
    /// Where the older public documents are.
    pub api_v2: Option<&'static str>,
    pub api_v3: &'static str,
    pub tapi: &'static str,
    /// The side of the book whose best price the ticker calls `buy`; `sell` is the other one.
    pub ticker_buy: Side,
    /// The highest nonce; the lowest is 1.
    pub nonce_max: u64,
    pub nonce_text: NonceText,
    pub wording: Wording,
    pub info: InfoShape,
    pub lists: ListShape,
    /// Whether getInfo, Trade and CancelOrder carry `funds_incl_orders`, Trade and CancelOrder
    /// `server_time`, and Trade `init_order_id`.
    pub has_extras: bool,
    /// Whether decimals beyond those of a pair are refused; elsewhere they are cut off.
    pub refuses_excess: bool,
    /// What holds in a market that `pairs` does not name.
    pub rules: Rules,
    /// The least total of an order in the quote currency; zero where there is none.
    pub total_min: Quantity,
    pub price_max: Price,
    pub pairs: &'static [PairRules],
    /// Rows of the largest depth and of the longest list of trades.
    pub rows_max: usize,
    /// How long a public document stands before it is written anew.
    pub cached: Span,
    pub pusher: Option<Pusher>,
}

/// How a nonce is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceText {
    /// `invalid nonce parameter; on key:41, you sent:40`, until about 2013.
    Bare,
    /// `invalid nonce parameter; on key:41, you sent:'40'`, which every client of the time can read.
    Quoted,
    /// `invalid nonce parameter; on key:41, you sent:'40', you should send:42`.
    Advising,
    /// `invalid nonce (has already been used)`: the number is not told.
    Used,
}

/// The words of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    Btce,
    /// Numbers in `code` beside the words; Liqui had them first.
    Coded,
}

/// What the rows of `info` carry beyond what BTC-e gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfoShape {
    Plain,
    /// `max_amount`, `min_total`.
    Liqui,
    /// `min_total`, `fee_buyer`, `fee_seller`.
    Yobit,
}

/// How the orders and trades of an account are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListShape {
    /// Numbers are bare. An empty list is refused: `no orders`, `no trades`.
    Btce,
    /// Times, and the order that a trade names, are texts. An empty list is a success without
    /// `return`. Recorded rows of 2018 and 2022, and two clients that know nothing else.
    Yobit,
}

/// What one market demands beyond the rules of its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairRules {
    pub name: &'static str,
    pub tick: Price,
    pub price_min: Price,
    pub quantity_min: Quantity,
}

/// An exchange's application at Pusher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pusher {
    pub key: &'static str,
    /// Where the real one was.
    pub host: &'static str,
}

/// BTC-e, until 2017.
pub const BTCE: Style = Style {
    name: "btce",
    api_v2: Some("/api/2"),
    api_v3: "/api/3",
    tapi: "/tapi",
    ticker_buy: Side::Ask,
    nonce_max: 4_294_967_294,
    nonce_text: NonceText::Advising,
    wording: Wording::Btce,
    info: InfoShape::Plain,
    lists: ListShape::Btce,
    has_extras: false,
    refuses_excess: true,
    rules: Rules {
        tick: Price(100_000),
        lot: Quantity(1),
        quantity_min: Quantity(1_000_000),
        taker_fee_ppm: 2_000,
        fee_in: FeeIn::Received,
    },
    total_min: Quantity(0),
    price_max: Price::whole(1_000_000),
    pairs: &BTCE_PAIRS,
    rows_max: 2_000,
    cached: Span::secs(2),
    pusher: Some(Pusher {
        key: "c354d4d129ee0faa5c92",
        host: "ws.pusherapp.com",
    }),
};

/// WEX, which BTC-e became, 2017 and 2018.
pub const WEX: Style = Style {
    name: "wex",
    rows_max: 5_000,
    pusher: Some(Pusher {
        key: "ee987526a24ba107824c",
        host: "ws-eu.pusher.com",
    }),
    ..BTCE
};

/// YoBit. The ticker's words are the other way round, nonces end at 31 bits.
pub const YOBIT: Style = Style {
    name: "yobit",
    ticker_buy: Side::Bid,
    nonce_max: 2_147_483_646,
    nonce_text: NonceText::Used,
    wording: Wording::Coded,
    info: InfoShape::Yobit,
    lists: ListShape::Yobit,
    has_extras: true,
    refuses_excess: false,
    rules: Rules {
        tick: Price(1),
        lot: Quantity(1),
        quantity_min: Quantity(10_000),
        taker_fee_ppm: 2_000,
        fee_in: FeeIn::Received,
    },
    total_min: Quantity(10_000),
    price_max: Price::whole(10_000),
    pairs: &[],
    pusher: None,
    ..BTCE
};

/// Liqui, 2016 to 2019. Only its public documents were read; its nonces are taken to be BTC-e's.
pub const LIQUI: Style = Style {
    name: "liqui",
    api_v2: None,
    nonce_text: NonceText::Quoted,
    info: InfoShape::Liqui,
    lists: ListShape::Btce,
    has_extras: false,
    nonce_max: BTCE.nonce_max,
    rules: Rules {
        quantity_min: Quantity(1),
        taker_fee_ppm: 2_500,
        ..YOBIT.rules
    },
    ..YOBIT
};

/// Tidex, 2017 to 2019, the same program as Liqui's.
pub const TIDEX: Style = Style {
    name: "tidex",
    rules: Rules {
        quantity_min: Quantity(100_000),
        taker_fee_ppm: 1_000,
        ..YOBIT.rules
    },
    ..LIQUI
};

/// DSX. Only where its documents were is known; the rest is taken to be BTC-e's.
pub const DSX: Style = Style {
    name: "dsx",
    api_v2: None,
    api_v3: "/mapi",
    pusher: None,
    ..BTCE
};

/// Every exchange that can be served.
pub const STYLES: [&Style; 6] = [&BTCE, &WEX, &YOBIT, &LIQUI, &TIDEX, &DSX];

/// BTC-e's markets. Three decimals of `btc_usd` are recorded, the others are from memory of `info`.
const BTCE_PAIRS: [PairRules; 18] = [
    row("btc_usd", 3, 10_000_000, 1_000_000),
    row("btc_rur", 5, 100_000_000, 1_000_000),
    row("btc_eur", 5, 10_000_000, 1_000_000),
    row("ltc_btc", 5, 10_000, 10_000_000),
    row("ltc_usd", 6, 10_000, 10_000_000),
    row("ltc_rur", 5, 1_000_000, 10_000_000),
    row("ltc_eur", 3, 1_000_000, 10_000_000),
    row("nmc_btc", 5, 10_000, 10_000_000),
    row("nmc_usd", 3, 100_000, 10_000_000),
    row("nvc_btc", 5, 10_000, 10_000_000),
    row("nvc_usd", 3, 100_000, 10_000_000),
    row("usd_rur", 5, 100_000_000, 10_000_000),
    row("eur_usd", 5, 50_000_000, 10_000_000),
    row("trc_btc", 5, 1_000, 10_000_000),
    row("ppc_btc", 5, 10_000, 10_000_000),
    row("ppc_usd", 3, 100_000, 10_000_000),
    row("ftc_btc", 5, 1_000, 10_000_000),
    row("xpm_btc", 5, 10_000, 10_000_000),
];

const fn row(name: &'static str, decimals: u32, price_min: i64, quantity_min: i64) -> PairRules {
    PairRules {
        name,
        tick: Price(10_i64.pow(8 - decimals)),
        price_min: Price(price_min),
        quantity_min: Quantity(quantity_min),
    }
}

impl Style {
    /// Returns what the exchange demands in one market.
    pub fn rules(&self, pair: Pair) -> Rules {
        self.rules_beside(pair, &self.rules)
    }

    /// Returns what holds in a market where an operator set `rules` for the whole exchange: what
    /// differs from the exchange's own stands for every market.
    pub fn rules_beside(&self, pair: Pair, rules: &Rules) -> Rules {
        let name = pair_name(pair);
        let Some(own) = self.pairs.iter().find(|row| row.name == name) else {
            return *rules;
        };
        let mut rules = *rules;
        if rules.tick == self.rules.tick {
            rules.tick = own.tick;
        }
        if rules.quantity_min == self.rules.quantity_min {
            rules.quantity_min = own.quantity_min;
        }
        rules
    }

    /// Returns the lowest and the highest price that an order may name.
    ///
    /// YoBit's limit of 2016 was the same everywhere; it holds here where BTC is the quote, for
    /// other markets have passed it since.
    pub fn prices(&self, pair: Pair, tick: Price) -> (Price, Price) {
        let name = pair_name(pair);
        let own = self.pairs.iter().find(|row| row.name == name);
        let high = match pair.quote {
            Currency::BTC => self.price_max,
            _ => self.price_max.max(BTCE.price_max),
        };
        (own.map_or(tick, |row| row.price_min), high)
    }
}

impl ListShape {
    /// Writes a time, or the name of an order, as a row has it.
    pub fn number(self, number: u64) -> String {
        match self {
            Self::Btce => number.to_string(),
            Self::Yobit => format!("\"{number}\""),
        }
    }
}

/// Writes a pair as the dialect does: `btc_usd`.
pub fn pair_name(pair: Pair) -> String {
    format!("{}_{}", pair.base, pair.quote).to_ascii_lowercase()
}

/// Returns the decimals of a tick.
pub fn decimals_of(tick: Price) -> u32 {
    let mut decimals = 8;
    let mut left = tick.0.max(1);
    while decimals > 0 && left % 10 == 0 {
        left /= 10;
        decimals -= 1;
    }
    decimals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_market_has_its_own_tick_unless_the_operator_set_one() {
        let pair = |text: &str| text.parse::<Pair>().unwrap();
        let tick = |text: &str| BTCE.rules(pair(text)).tick;
        assert_eq!(decimals_of(tick("BTC/USD")), 3);
        assert_eq!(decimals_of(tick("LTC/BTC")), 5);
        assert_eq!(decimals_of(tick("DOGE/USD")), 3);
        assert_eq!(YOBIT.rules(pair("LTC/BTC")), YOBIT.rules);
        let mut set = BTCE.rules;
        set.tick = Price(1);
        assert_eq!(BTCE.rules_beside(pair("LTC/BTC"), &set).tick, Price(1));
        let decimals: Vec<u32> = [1, 10, 100_000_000, 1_000_000_000, 250]
            .map(|tick| decimals_of(Price(tick)))
            .to_vec();
        assert_eq!(decimals, [8, 7, 0, 0, 7]);
    }

    #[test]
    fn every_style_has_its_own_name() {
        for (index, style) in STYLES.iter().enumerate() {
            let first = STYLES.iter().position(|other| other.name == style.name);
            assert_eq!(first, Some(index));
            assert!(style.rules.quantity_min.is_positive() && style.price_max.is_positive());
        }
    }
}
