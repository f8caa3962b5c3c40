//! Settings: what the file says (`raw`), what the program needs (`checked`), and every default.
//!
//! ```text
//! bytes ── text_of ──▶ text ── raw: spanned document ── one reader per section ──▶ checked Config
//!                                            └── every fault, with place, key and remedy
//! ```
//! `KEYS` is the one table of what a file may say. Reading, suggestions, `config show` and the test
//! of `config/node.toml` all go through it.

pub mod capability;
pub mod checked;
pub mod fault;
mod legs;
mod limits;
mod node;
mod offers;
mod open;
pub mod raw;
mod scalar;
mod venues;

/// Bytes in the longest file that is read.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Faults that are listed; a file with more is likely not a configuration at all.
pub const FAULTS_MAX: usize = 100;
/// Venues beside one node.
pub const VENUES_MAX: usize = 32;
/// Pairs of one venue.
pub const PAIRS_MAX: usize = 64;
/// Entries of any other list or table of a file: rules, rails, routes, limits.
pub const ENTRIES_MAX: usize = 64;

/// One key that a section may hold.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub unset: Unset,
}

/// What holds where a file does not mention a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// This TOML value.
    Default(&'static str),
    /// Nothing; the text says what that means.
    Absent(&'static str),
    /// The file is refused; the text is an example of what to write.
    Refused(&'static str),
}

/// The keys of one section, by the section's path without array indexes.
#[derive(Clone, Copy, Debug)]
pub struct SectionKeys {
    pub section: &'static str,
    pub keys: &'static [Key],
}

/// Every section with its keys and defaults.
pub const KEYS: &[SectionKeys] = &[
    section("", TOP),
    section("node", NODE),
    section("store", STORE),
    section("trading", TRADING),
    section("venue", VENUE),
    section("channel", CHANNEL),
    section("irc", IRC),
    section("exit", EXIT),
    section("chanop", CHANOP),
    section("arbitrage", ARBITRAGE),
    section("arbitrage.friction", FRICTION),
    section("risk", RISK),
    section("risk.venue_day_max", VENUE_DAY_MAX),
    section("execution", EXECUTION),
    section("execution.transfer", TRANSFER),
    section("offer", OFFER),
    section("offer.method_caps", METHOD_CAP),
    section("offer.rail", RAIL),
    section("offer.rule", RULE),
    section("offer.rule.price", RULE_PRICE),
    section("live", LIVE),
];

const TOP: &[Key] = &[
    absent("node", "every default"),
    absent("store", "every default"),
    absent("trading", "paper"),
    absent("venue", "a node without venue"),
    absent("channel", "every default"),
    absent("irc", "no open network"),
    absent("exit", "nothing is announced"),
    absent("chanop", "this node gives nobody voice"),
    absent("arbitrage", "every default"),
    absent("risk", "every default"),
    absent("execution", "every default"),
    absent("offer", "every default"),
];

const NODE: &[Key] = &[
    default("name", "\"node\""),
    default("mode", "\"dark\""),
    default("listen", "\"0.0.0.0:7411\""),
    default("advertise", "[]"),
    absent("location", "no path of this node is compared with light"),
    default("places", "\"auto\""),
    default("dedicated", "false"),
    default("transport", "\"shared\""),
    default("park_after", "\"5ms\""),
    default("redial_min", "\"250ms\""),
    default("redial_max", "\"30s\""),
];

const STORE: &[Key] = &[default("file", "\"journal.sqlite\"")];

const TRADING: &[Key] = &[
    default("mode", "\"paper\""),
    absent("capability", "paper mode needs none"),
];

const VENUE: &[Key] = &[
    refused("name", "\"alpha\""),
    refused("dialect", "\"simulated\""),
    refused("http", "\"http://127.0.0.1:7501\""),
    absent("ws", "everything is polled, where the dialect can"),
    absent("ca_file", "https is trusted as this machine does"),
    absent("key_file", "no live orders at this venue"),
    refused("pairs", "[\"BTC/USD\"]"),
    absent("taker_fee", "the dialect's fee"),
    absent("tick", "the dialect's tick"),
    absent("lot", "the dialect's lot"),
    absent("quantity_min", "the dialect's minimum"),
    absent("fee_in", "the dialect's rule"),
    default("paper", "{}"),
];

const CHANNEL: &[Key] = &[
    default("name", "\"#expressnet\""),
    default("realname", "\"\""),
    default("trust_min", "1"),
    absent("address", "the address that the network is dialled from"),
    default("reachable", "\"auto\""),
    absent("ports", "any free port"),
    default("local_addresses", "false"),
];

const IRC: &[Key] = &[
    refused("name", "\"one\""),
    refused("server", "\"irc.example.org:6697\""),
    default("tls", "\"public\""),
    absent("bind", "the machine's own choice"),
    absent("login_file", "no password"),
];

const EXIT: &[Key] = &[
    default("broadcast_min", "{}"),
    default("voice_after", "\"24h\""),
    default("alone_after_lease", "false"),
];

const CHANOP: &[Key] = &[
    default("run", "false"),
    default("voice_after", "\"24h\""),
    default("trust_min", "0"),
];

const ARBITRAGE: &[Key] = &[
    default("edge_min", "\"0.1%\""),
    default("drift_per_s", "\"0.05%\""),
    default("friction", "[]"),
];

const FRICTION: &[Key] = &[
    refused("venue", "\"alpha\""),
    refused("currency", "\"USD\""),
    refused("cost", "\"0.5%\""),
];

const RISK: &[Key] = &[
    default("order_max", "{}"),
    default("venue_day_max", "[]"),
    default("pair_day_notional_max", "{}"),
    default("day_notional_max", "{}"),
    default("day_loss_max", "{}"),
    default("exposure_max", "{}"),
    default("collar", "\"15%\""),
    default("envelope_ttl", "\"10m\""),
    default("envelope_reach", "\"2%\""),
    default("orders_per_s", "5"),
    default("book_age_max", "\"2s\""),
    default("engine_lag_max", "\"1s\""),
];

const VENUE_DAY_MAX: &[Key] = &[
    refused("venue", "\"alpha\""),
    refused("side", "\"sell\""),
    refused("currency", "\"BTC\""),
    refused("quantity", "\"450\""),
];

const EXECUTION: &[Key] = &[
    default("leg_deadline", "\"2s\""),
    default("unknown_after", "\"3s\""),
    default("recovery_reach", "\"2%\""),
    default("recovery_deadline", "\"30s\""),
    default("paper_latency_min", "\"5ms\""),
    default("acquire_for_offers", "false"),
    default("transfer", "[]"),
];

const TRANSFER: &[Key] = &[
    refused("currency", "\"BTC\""),
    refused("from", "\"alpha\""),
    refused("to", "\"wallet\""),
    refused("takes", "\"1h\""),
    default("cost", "\"0\""),
];

const OFFER: &[Key] = &[
    default("methods", "[]"),
    default("offer_min", "{}"),
    default("part_min", "{}"),
    default("ttl", "\"60s\""),
    default("gather", "\"2s\""),
    default("hold", "\"10s\""),
    default("cooldown", "\"10s\""),
    default("haircuts", "{}"),
    default("method_caps", "[]"),
    default("rail", "[]"),
    default("rule", "[]"),
];

const METHOD_CAP: &[Key] = &[
    refused("method", "\"PAYPAL\""),
    refused("currency", "\"USD\""),
    refused("amount", "\"5000\""),
];

const RAIL: &[Key] = &[
    refused("method", "\"SEPA\""),
    refused("currency", "\"USD\""),
    refused("amount", "\"10000\""),
];

const RULE: &[Key] = &[
    refused("give", "\"BTC\""),
    refused("want", "\"USD\""),
    refused("methods", "[\"SEPA\"]"),
    refused("threshold", "\"1\""),
    refused("size_max", "\"10\""),
    refused("price", "\"105\""),
    absent("approve_above", "no part waits for the owner"),
];

const RULE_PRICE: &[Key] = &[
    refused("book", "\"alpha:BTC/USD\""),
    default("spread", "\"0.5%\""),
];

/// The keys of a capability file, which is a file of its own.
const LIVE: &[Key] = &[
    refused("node", "\"00000000-0000-8000-8000-000000000000\""),
    refused("venues", "[\"alpha\"]"),
    refused("expires", "\"2030-01-31\""),
];

const fn section(section: &'static str, keys: &'static [Key]) -> SectionKeys {
    SectionKeys { section, keys }
}

const fn default(name: &'static str, value: &'static str) -> Key {
    let unset = Unset::Default(value);
    Key { name, unset }
}

const fn absent(name: &'static str, meaning: &'static str) -> Key {
    let unset = Unset::Absent(meaning);
    Key { name, unset }
}

const fn refused(name: &'static str, example: &'static str) -> Key {
    let unset = Unset::Refused(example);
    Key { name, unset }
}
