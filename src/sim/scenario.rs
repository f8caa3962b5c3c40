//! Who is in a simulated world, linked how, with what money and rules.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::checked::{Config, Trading, Transport, Venue};
use crate::discovery::network;
use crate::model::currency::{Currency, Method};
use crate::model::ids::{NodeId, OwnerId, Pin};
use crate::model::instrument::{Location, Pair, VenueId};
use crate::model::market::{FeeIn, Rules};
use crate::model::number::{Price, Quantity};
use crate::model::random::Random;
use crate::model::time::Span;
use crate::offer::{RailFunds, Rule, RulePrice};
use crate::venue::serving::market::Source;
use crate::{arbitrage, execution, membership, offer, risk};

/// How nodes are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Each with the next.
    Line,
    /// Each with every other.
    Mesh,
    /// The first with so many primaries, each of which has so many secondaries.
    Tree {
        primaries: usize,
        secondaries: usize,
    },
}

impl Topology {
    /// Returns true where two nodes of the world know each other; `one` is below `other`.
    pub fn links(self, one: usize, other: usize) -> bool {
        match self {
            Self::Line => other == one + 1,
            Self::Mesh => true,
            Self::Tree { primaries, .. } if one == 0 => other <= primaries,
            Self::Tree {
                primaries,
                secondaries,
            } => {
                let first = 1 + primaries + (one - 1) * secondaries;
                one <= primaries && (first..first + secondaries).contains(&other)
            }
        }
    }
}

/// One world, before it runs.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub topology: Topology,
    pub nodes: Vec<NodePlan>,
    pub venues: Vec<VenuePlan>,
    /// Time with faults and flow, before the world is left to calm down.
    pub busy: Span,
    pub calm: Span,
    pub faults: FaultRates,
    /// Own offers that owners make by hand, spread over the busy time.
    pub offers_by_hand: u32,
    /// Keep the story of the run, for a person to read.
    pub tells: bool,
}

/// One node of a world.
#[derive(Clone, Debug)]
pub struct NodePlan {
    pub id: NodeId,
    pub owner: OwnerId,
    pub config: Config,
    pub trust: u8,
}

/// One venue of a world.
#[derive(Clone, Debug)]
pub struct VenuePlan {
    pub id: VenueId,
    pub rules: Rules,
    pub source: Source,
    pub pair: Pair,
    /// What every account starts with.
    pub balances: Vec<(Currency, Quantity)>,
}

/// How often faults strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultRates {
    pub datagram_lost_ppm: u32,
    pub datagram_doubled_ppm: u32,
    /// Per request: never arrives, or its reply never does.
    pub request_lost_ppm: u32,
    pub request_not_sent_ppm: u32,
    pub reply_lost_ppm: u32,
    /// Mean time between two of them in the whole world; zero for never.
    pub disconnect_every: Span,
    pub partition_every: Span,
    pub crash_every: Span,
    pub stall_every: Span,
    /// Per confirmed or sealed match: the link is cut before the other end hears of it.
    pub cut_at_agreement_ppm: u32,
    /// Rate of each of the venue server's own faults.
    pub venue_ppm: u32,
}

impl FaultRates {
    pub const NONE: Self = Self {
        datagram_lost_ppm: 0,
        datagram_doubled_ppm: 0,
        request_lost_ppm: 0,
        request_not_sent_ppm: 0,
        reply_lost_ppm: 0,
        disconnect_every: Span::ZERO,
        partition_every: Span::ZERO,
        crash_every: Span::ZERO,
        stall_every: Span::ZERO,
        cut_at_agreement_ppm: 0,
        venue_ppm: 0,
    };

    pub const ROUGH: Self = Self {
        datagram_lost_ppm: 20_000,
        datagram_doubled_ppm: 10_000,
        request_lost_ppm: 10_000,
        request_not_sent_ppm: 10_000,
        reply_lost_ppm: 60_000,
        disconnect_every: Span::secs(3),
        partition_every: Span::secs(12),
        crash_every: Span::secs(12),
        stall_every: Span::secs(10),
        cut_at_agreement_ppm: 30_000,
        venue_ppm: 5_000,
    };
}

/// The pair every standard world trades.
pub const PAIR: Pair = Pair {
    base: Currency::BTC,
    quote: Currency::USD,
};

/// Makes the standard world of a seed: the first two nodes stand beside one venue each (or the
/// first beside both), the others provide liquidity under rules of their own.
pub fn standard(seed: u64, nodes: u16, topology: Topology, seconds: u64) -> Scenario {
    let mut random = Random::new(seed ^ 0x5EED);
    let count = usize::from(nodes.max(2));
    // With two nodes, odd seeds have two of one owner, even ones a trader and a provider.
    let is_pair_of_one = count > 2 || seed % 2 == 1;
    let venues = vec![venue("alpha", &mut random), venue("beta", &mut random)];
    let nodes = (0..count)
        .map(|index| {
            let owner = match (is_pair_of_one, index) {
                (true, 0 | 1) | (false, 0) => 1,
                (_, index) => u8::try_from(index).unwrap_or(u8::MAX).max(2),
            };
            let beside: Vec<&VenuePlan> = match (is_pair_of_one, index) {
                (true, 0) => vec![&venues[0]],
                (true, 1) => vec![&venues[1]],
                (false, 0) => venues.iter().collect(),
                (_, _) => Vec::new(),
            };
            NodePlan {
                id: node_id(index),
                owner: OwnerId([owner; 32]),
                config: config(index, &beside, &mut random),
                trust: u8::try_from(random.between(3, 9)).unwrap_or(5),
            }
        })
        .collect();
    Scenario {
        seed,
        topology,
        nodes,
        venues,
        busy: Span::secs(seconds),
        calm: Span::secs(180),
        faults: FaultRates::ROUGH,
        offers_by_hand: 140,
        tells: false,
    }
}

/// Returns the id of the node at a place.
pub fn node_id(index: usize) -> NodeId {
    let byte = u8::try_from(index + 1).unwrap_or(u8::MAX);
    Pin([byte; 32]).node_id()
}

fn venue(name: &str, random: &mut Random) -> VenuePlan {
    VenuePlan {
        id: name.parse().unwrap_or_else(|_| unreachable_name()),
        rules: Rules {
            tick: Price(1_000_000),
            lot: Quantity(1_000_000),
            quantity_min: Quantity(1_000_000),
            taker_fee_ppm: u32::try_from(random.between(500, 3_000)).unwrap_or(2_000),
            fee_in: if random.chance(500_000) {
                FeeIn::Received
            } else {
                FeeIn::Quote
            },
        },
        source: Source::Flow {
            price: Price::whole(100),
        },
        pair: PAIR,
        balances: vec![
            (Currency::BTC, Quantity::whole(60)),
            (Currency::USD, Quantity::whole(6_000)),
        ],
    }
}

fn unreachable_name() -> VenueId {
    VenueId::from_bytes(b"venue").expect("a lower-case word is a venue name")
}

/// Returns the settings of a standard node.
pub fn config(index: usize, beside: &[&VenuePlan], random: &mut Random) -> Config {
    let transfers = beside
        .iter()
        .map(|venue| execution::TransferRoute {
            currency: Currency::BTC,
            from: Location::Venue(venue.id),
            to: Location::Wallet,
            takes: Span::MINUTE,
            cost: Quantity::ZERO,
        })
        .collect();
    Config {
        name: format!("node-{index}"),
        listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        advertise: Vec::new(),
        transport: Transport::Shared,
        location: None,
        store: "journal.sqlite".into(),
        trading: Trading::Live {
            capability: "live.toml".into(),
        },
        venues: beside.iter().map(|venue| venue_of(venue)).collect(),
        membership: membership::Settings {
            places: 12,
            redial_min: Span::millis(20),
            redial_max: Span::secs(2),
        },
        arbitrage: arbitrage::Settings {
            edge_min_ppm: 500,
            drift_ppm_per_s: 1_000,
            frictions: Vec::new(),
        },
        risk: risk_settings(),
        execution: execution::Settings {
            leg_deadline: Span::millis(random.between(300, 1_200)),
            unknown_after: Span::millis(1_500),
            recovery_reach_ppm: 20_000,
            recovery_deadline: Span::secs(3),
            paper_latency_min: Span::millis(5),
            transfers,
            acquire_for_offers: false,
        },
        responds_only: false,
        open: network::Settings::default(),
        offer: offer_settings(!beside.is_empty(), random),
    }
}

fn venue_of(plan: &VenuePlan) -> Venue {
    Venue {
        id: plan.id,
        dialect: "simulated".to_owned(),
        http: format!("http://{}", plan.id),
        ws: Some(format!("ws://{}/ws", plan.id)),
        ca_file: None,
        key_file: None,
        pairs: vec![plan.pair],
        rules: vec![(plan.pair, plan.rules)],
        paper: Vec::new(),
    }
}

fn risk_settings() -> risk::Settings {
    let usd = |units| vec![(Currency::USD, Quantity::whole(units))];
    risk::Settings {
        order_quantity_max: vec![(Currency::BTC, Quantity::whole(20))],
        venue_day_max: Vec::new(),
        pair_day_notional_max: Vec::new(),
        day_notional_max: usd(1_000_000),
        day_loss_max: usd(100_000),
        exposure_max: vec![(Currency::BTC, Quantity::whole(40))],
        collar_ppm: 200_000,
        envelope_ttl: Span::secs(10),
        envelope_reach_ppm: 10_000,
        orders_per_s: 50,
        book_age_max: Span::millis(1_500),
        engine_lag_max: Span::secs(1),
    }
}

fn offer_settings(is_trader: bool, random: &mut Random) -> offer::Settings {
    let methods = [Method::Sepa, Method::Okpay, Method::Paypal];
    let rails = methods
        .iter()
        .map(|method| RailFunds {
            method: *method,
            currency: Currency::USD,
            amount: Quantity::whole(i64::try_from(random.between(200, 4_000)).unwrap_or(1_000)),
        })
        .collect();
    let price = i64::try_from(random.between(90, 115)).unwrap_or(100);
    let rule = Rule {
        give: Currency::BTC,
        want: Currency::USD,
        methods: methods.into_iter().collect(),
        threshold: Quantity(10_000_000),
        size_max: Quantity::whole(i64::try_from(random.between(2, 20)).unwrap_or(5)),
        price: RulePrice::Fixed(Price::whole(price)),
        approve_above: random.chance(300_000).then_some(Quantity::whole(1)),
    };
    offer::Settings {
        methods: methods.into_iter().collect(),
        offer_min: vec![(Currency::BTC, Quantity(50_000_000))],
        part_min: vec![(Currency::BTC, Quantity(10_000_000))],
        // Some offers live no longer than their first round of answers.
        ttl: if random.chance(150_000) {
            Span::millis(500)
        } else {
            Span::secs(4)
        },
        gather: Span::millis(500),
        hold: Span::secs(3),
        cooldown: Span::SECOND,
        haircuts: vec![(Method::Paypal, 20_000)],
        method_caps: Vec::new(),
        rails: if is_trader { Vec::new() } else { rails },
        rules: if is_trader { Vec::new() } else { vec![rule] },
    }
}
