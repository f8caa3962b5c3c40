//! The configuration, through its public API.

mod checked;
mod examples;

use expressnet::config::checked::{Config, Known, Loaded};
use expressnet::config::fault::ConfigFaults;
use expressnet::venue::registry;

const KNOWN: Known<'_> = Known {
    dialects: registry::VENUES,
    cores: 4,
};

fn parse(text: &str) -> Result<Config, ConfigFaults> {
    Config::parse(text, "test.toml", &KNOWN)
}

fn load(text: &str) -> Loaded {
    Loaded::parse(text, "test.toml", &KNOWN).unwrap_or_else(|faults| panic!("\n{faults}"))
}
