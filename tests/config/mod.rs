//! The configuration, through its public API.

mod checked;
mod examples;

use expressnet::config::checked::{Config, Known, KnownDialect, Loaded};
use expressnet::config::fault::ConfigFaults;
use expressnet::model::market::{FeeIn, Rules};
use expressnet::model::number::{Price, Quantity};

const DIALECTS: &[KnownDialect] = &[KnownDialect {
    name: "simulated",
    rules: Rules {
        tick: Price(1_000_000),
        lot: Quantity(1),
        quantity_min: Quantity(1_000_000),
        taker_fee_ppm: 2_000,
        fee_in: FeeIn::Received,
    },
}];

const KNOWN: Known<'_> = Known {
    dialects: DIALECTS,
    cores: 4,
};

fn parse(text: &str) -> Result<Config, ConfigFaults> {
    Config::parse(text, "test.toml", &KNOWN)
}

fn load(text: &str) -> Loaded {
    Loaded::parse(text, "test.toml", &KNOWN).unwrap_or_else(|faults| panic!("\n{faults}"))
}
