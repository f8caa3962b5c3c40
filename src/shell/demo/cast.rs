//! Who plays in the demo: venues, nodes, and what each of them is told in its configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::market::Rules;
use crate::model::number::{Price, Quantity, SCALE};
use crate::model::time::Span;
use crate::shell::demo::{DemoError, Settings};
use crate::shell::ticks::read_ticks;
use crate::venue::btce::dialect::BTCE_DIALECT;
use crate::venue::history::{ReplaySettings, Tick, pair_of_file_name};
use crate::venue::mtgox::dialect::MTGOX;
use crate::venue::serving::market::Source;
use crate::venue::{Dialect, registry};

/// What is played, where and with how much money.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) pair: Pair,
    /// Everything is scaled to this price.
    pub(super) price: Price,
    pub(super) venues: [Part; 2],
    pub(super) plays: Span,
    /// Not shorter, even where everything was shown.
    pub(super) plays_min: Span,
    is_history: bool,
}

/// One venue of the script.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) dialect: &'static dyn Dialect,
    pub(super) rules: Rules,
    pub(super) source: Source,
    what: String,
}

/// One node of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// What a node is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Beside a venue, by its index; fires legs.
    Trader(usize),
    /// Hands offers on.
    Relay,
    /// Answers offers, by its index.
    Provider(usize),
}

/// Every node, traders first.
pub(super) const ROLES: [Role; 5] = [
    Role {
        name: "A",
        kind: Kind::Trader(0),
    },
    Role {
        name: "B",
        kind: Kind::Trader(1),
    },
    Role {
        name: "C",
        kind: Kind::Relay,
    },
    Role {
        name: "P1",
        kind: Kind::Provider(0),
    },
    Role {
        name: "P2",
        kind: Kind::Provider(1),
    },
];

/// Who lists whom, by index in [`ROLES`].
pub(super) const LINKS: [(usize, usize); 5] = [(0, 1), (0, 2), (1, 2), (2, 3), (2, 4)];

/// Key and secret of a trader's account at its venue, of a shape that every dialect takes.
pub(super) const ACCOUNT: (&str, &str) = (
    "10094a1c-6ac0-4d3c-9f3d-4c0f0be0a001",
    "bG9vcGJhY2stb25seQ==",
);

impl Script {
    /// What an account holds at the start, in BTC and in BTC's worth of the other currency.
    const FUNDS: i64 = 20;
    /// The longest that a history is shown.
    const HISTORY: Span = Span::secs(38);
    /// What stood on a book is taken to stand this long, however fast a history runs: else nothing
    /// stands when an order arrives.
    const STANDS_MS: u64 = 1_500;

    /// Reads the histories, if there are any.
    pub(super) fn write(settings: &Settings) -> Result<Self, DemoError> {
        match &settings.histories[..] {
            [] => Ok(Self::seeded()),
            [alpha, beta] => Self::historic([alpha, beta], settings.speed),
            [_] | [_, _, _, ..] => Err(DemoError::Histories),
        }
    }

    /// Two walks around prices that stand 3 % apart: the window is always open, funds run out.
    fn seeded() -> Self {
        let pair = Pair {
            base: Currency::BTC,
            quote: Currency::USD,
        };
        let part = |name, dialect: &'static dyn Dialect, price| Part {
            name,
            dialect,
            rules: dialect.rules(pair),
            source: Source::Flow {
                price: Price::whole(price),
            },
            what: format!("as {} was, seeded flow around {price}", dialect.name()),
        };
        Self {
            pair,
            price: Price::whole(100),
            venues: [part("alpha", &MTGOX, 100), part("beta", &BTCE_DIALECT, 103)],
            plays: Span::secs(40),
            plays_min: Span::secs(8),
            is_history: false,
        }
    }

    fn historic(files: [&(String, PathBuf); 2], speed: Option<u32>) -> Result<Self, DemoError> {
        let [alpha, beta] = files;
        let (one, other) = (History::read(alpha)?, History::read(beta)?);
        if one.pair != other.pair {
            let names = (one.pair.to_string(), other.pair.to_string());
            return Err(DemoError::Pairs(names.0, names.1));
        }
        let origin = one.first().max(other.first());
        let end = one.last().min(other.last());
        if origin >= end {
            return Err(DemoError::Apart);
        }
        let whole = (end - origin).div_ceil(Self::HISTORY.0 / Span::SECOND.0);
        let speed = speed.unwrap_or(u32::try_from(whole.max(1)).unwrap_or(u32::MAX));
        let plays = Span::secs((end - origin).div_ceil(u64::from(speed))).min(Self::HISTORY);
        let mut prices: Vec<Price> = [&one, &other]
            .iter()
            .flat_map(|history| &history.ticks)
            .filter(|tick| (origin..=end).contains(&tick.unix_s))
            .map(|tick| tick.price)
            .collect();
        prices.sort_unstable();
        let price = prices[prices.len() / 2];
        let (pair, lowest) = (one.pair, prices[0]);
        let mut replay = ReplaySettings::new(origin, speed);
        let stands = Span::millis(Self::STANDS_MS).times(u64::from(speed));
        replay.tick_age_max = stands.max(replay.tick_age_max);
        let part = |name, history: History| Part {
            name,
            dialect: history.dialect,
            what: format!(
                "as {} was, {} ticks of {}",
                history.dialect.name(),
                history.ticks.len(),
                history.file
            ),
            rules: rules_for(history.dialect, pair, lowest),
            source: Source::History {
                ticks: history.ticks,
                settings: replay,
            },
        };
        Ok(Self {
            pair,
            price,
            venues: [part("alpha", one), part("beta", other)],
            plays,
            plays_min: plays,
            is_history: true,
        })
    }

    /// Returns what the story opens with.
    pub(super) fn intro(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "two venues trade {}, five nodes of two owners stand beside and between them",
            self.pair
        )];
        for part in &self.venues {
            lines.push(format!("venue {}: {}", part.name, part.what));
        }
        lines.push("owner 1: A beside alpha, B beside beta, C hands offers on".to_owned());
        lines.push("owner 2: P1 and P2 answer offers under their own rules".to_owned());
        lines
    }

    /// Returns what a trader's account holds at the start.
    pub(super) fn funds(&self, trader: usize) -> [(Currency, Quantity); 2] {
        let coins = if trader == 0 || self.is_history { 1 } else { 2 };
        [
            (self.pair.base, Quantity::whole(Self::FUNDS * coins)),
            // No venue counts finer than it can pay.
            (
                self.pair.quote,
                self.worth(Self::FUNDS).floor_to(Quantity(SCALE / 1_000)),
            ),
        ]
    }

    /// Writes a node's configuration.
    pub(super) fn config(&self, role: Role, venues: &[SocketAddr; 2]) -> String {
        let name = role.name;
        let node = format!("[node]\nname = \"{name}\"\nlisten = \"127.0.0.1:7411\"\n");
        let rest = match role.kind {
            Kind::Trader(index) => self.trader(index, venues),
            Kind::Relay => String::new(),
            Kind::Provider(index) => self.provider(index, venues),
        };
        format!("{node}{rest}")
    }

    fn trader(&self, index: usize, venues: &[SocketAddr; 2]) -> String {
        let venue = self.venues[index].name;
        let (base, quote) = (self.pair.base, self.pair.quote);
        let part = Quantity(SCALE / 20);
        format!(
            "[trading]\nmode = \"live\"\ncapability = \"live.toml\"\n{}key_file = \"venue.key\"\n\
             [arbitrage]\nedge_min = \"0.1%\"\n{}orders_per_s = {}\n\
             [execution]\nleg_deadline = \"400ms\"\nrecovery_deadline = \"4s\"\nrecovery_reach = \"5%\"\n\
             [[execution.transfer]]\ncurrency = \"{base}\"\nfrom = \"{venue}\"\nto = \"wallet\"\ntakes = \"1h\"\n\
             [[execution.transfer]]\ncurrency = \"{quote}\"\nfrom = \"{venue}\"\nto = \"SEPA\"\ntakes = \"1h\"\n\
             [offer]\nmethods = [\"SEPA\", \"OKPAY\"]\n\
             offer_min = {{ {base} = \"0.1\", {quote} = \"{}\" }}\n\
             part_min = {{ {base} = \"{part}\", {quote} = \"{}\" }}\n\
             ttl = \"2s\"\ngather = \"300ms\"\nhold = \"2s\"\ncooldown = \"200ms\"\n",
            self.venue(index, venues),
            self.limits(index, 1_000_000),
            self.venues[index]
                .dialect
                .card()
                .requests_per_s
                .div_ceil(2)
                .min(50),
            Quantity(self.worth(1).0 / 10),
            Quantity(self.worth(1).0 / 20),
        )
    }

    fn provider(&self, index: usize, venues: &[SocketAddr; 2]) -> String {
        let (base, quote) = (self.pair.base, self.pair.quote);
        let venue = self.venues[index].name;
        let book = format!("{{ book = \"{venue}:{}\", spread = \"0.2%\" }}", self.pair);
        let price = match (self.is_history, index) {
            (false, 0) => format!("\"{}\"", self.price.moved_ppm(20_000)),
            (false, _) | (true, _) => book.clone(),
        };
        format!(
            "{}{}\
             [[offer.rail]]\nmethod = \"SEPA\"\ncurrency = \"{quote}\"\namount = \"{}\"\n\
             [[offer.rail]]\nmethod = \"OKPAY\"\ncurrency = \"{quote}\"\namount = \"{}\"\n\
             [[offer.rail]]\nmethod = \"SEPA\"\ncurrency = \"{base}\"\namount = \"20\"\n\
             [[offer.rule]]\ngive = \"{base}\"\nwant = \"{quote}\"\nmethods = [\"SEPA\", \"OKPAY\"]\n\
             threshold = \"0.1\"\nsize_max = \"1\"\nprice = {price}\n\
             [[offer.rule]]\ngive = \"{quote}\"\nwant = \"{base}\"\nmethods = [\"SEPA\"]\n\
             threshold = \"{}\"\nsize_max = \"{}\"\nprice = {book}\n",
            self.venue(index, venues),
            self.limits(index, 0),
            self.worth(5),
            self.worth(5),
            Quantity(self.worth(1).0 / 10),
            self.worth(1),
        )
    }

    fn venue(&self, index: usize, venues: &[SocketAddr; 2]) -> String {
        let part = &self.venues[index];
        let (name, dialect, address) = (part.name, part.dialect.name(), venues[index]);
        let ws = part.dialect.card().paths.ws;
        let ws = ws.map_or_else(String::new, |path| {
            format!("ws = \"ws://{address}{path}\"\n")
        });
        format!(
            "[[venue]]\nname = \"{name}\"\ndialect = \"{dialect}\"\nhttp = \"http://{address}\"\n\
             {ws}pairs = [\"{}\"]\ntick = \"{}\"\n",
            self.pair, part.rules.tick
        )
    }

    fn limits(&self, index: usize, most: i64) -> String {
        let venue = self.venues[index].name;
        let (pair, base, quote) = (self.pair, self.pair.base, self.pair.quote);
        let day = |side: &str| {
            format!(
                "{{ venue = \"{venue}\", side = \"{side}\", currency = \"{base}\", quantity = \"{most}\" }}"
            )
        };
        let order = most.min(2);
        let (exposure, money) = (most.min(50), self.worth(most.min(100_000)));
        format!(
            "[risk]\norder_max = {{ {base} = \"{order}\" }}\nvenue_day_max = [{}, {}]\n\
             pair_day_notional_max = {{ \"{pair}\" = \"{money}\" }}\n\
             day_notional_max = {{ {quote} = \"{money}\" }}\nday_loss_max = {{ {quote} = \"{money}\" }}\n\
             exposure_max = {{ {base} = \"{exposure}\" }}\nbook_age_max = \"3s\"\n",
            day("buy"),
            day("sell"),
        )
    }

    /// Returns what so many units of the base are worth.
    pub(super) fn worth(&self, base: i64) -> Quantity {
        self.price.total_floor(Quantity::whole(base))
    }
}

/// A tick file with what its name says.
#[derive(Debug)]
struct History {
    file: String,
    dialect: &'static dyn Dialect,
    pair: Pair,
    ticks: Vec<Tick>,
}

impl History {
    fn read((dialect, file): &(String, PathBuf)) -> Result<Self, DemoError> {
        let known = registry::find(dialect);
        let dialect = known.ok_or_else(|| DemoError::Dialect(dialect.clone()))?;
        let name = name_of(file);
        let pair = pair_of_file_name(&name).ok_or_else(|| DemoError::Name(file.clone()))?;
        let ticks = read_ticks(file).map_err(|source| DemoError::Ticks {
            file: file.clone(),
            source,
        })?;
        Ok(Self {
            file: name,
            dialect,
            pair,
            ticks,
        })
    }

    fn first(&self) -> u64 {
        self.ticks.first().map_or(0, |tick| tick.unix_s)
    }

    fn last(&self) -> u64 {
        self.ticks.last().map_or(0, |tick| tick.unix_s)
    }
}

fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Returns a dialect's rules, with a finer tick where its own is coarse beside the prices shown.
fn rules_for(dialect: &dyn Dialect, pair: Pair, lowest: Price) -> Rules {
    let mut rules = dialect.rules(pair);
    if rules.tick.0 > lowest.0 / 1_000 {
        rules.tick = fine_tick(lowest);
    }
    rules
}

/// Returns a power of ten that is about a hundred-thousandth of a price.
fn fine_tick(price: Price) -> Price {
    let mut tick = 1_i64;
    while tick < price.0 / 1_000_000 {
        tick *= 10;
    }
    Price(tick)
}
