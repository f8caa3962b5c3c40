//! Where the liquidity of a served market comes from.

use crate::model::instrument::Pair;
use crate::model::market::{Level, Rules, Side};
use crate::model::number::{Price, Quantity};
use crate::model::random::Random;
use crate::model::time::{Span, Time};
use crate::venue::exchange::{AccountNo, Exchange, OrderNo, Placement};
use crate::venue::history::{Quotes, Replay, ReplaySettings, Tick};

/// Where the house's quotes in a market come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A seeded random walk around a base price. Two walks of one base price and different seeds
    /// drift apart by more than both fees several times in ten seconds, and back.
    Flow { price: Price },
    /// Recorded ticks.
    History {
        ticks: Vec<Tick>,
        settings: ReplaySettings,
    },
    /// Levels that stand until they are taken, best first.
    Ladder { bids: Vec<Level>, asks: Vec<Level> },
}

/// A market while its venue runs.
#[derive(Debug)]
pub struct RunningMarket {
    pub pair: Pair,
    source: Running,
    /// The house's orders that may still stand.
    quoted: Vec<OrderNo>,
}

#[derive(Debug)]
enum Running {
    Flow(Flow),
    History(Replay),
    /// Waits for its first call.
    Ladder(Option<Quotes>),
}

#[derive(Debug)]
struct Flow {
    price: Price,
    /// How far the middle is away from the base price.
    away_ppm: i64,
    random: Random,
    next: Option<Time>,
}

impl RunningMarket {
    pub fn new(pair: Pair, source: Source, random: Random) -> Self {
        let source = match source {
            Source::Flow { price } => Running::Flow(Flow {
                price,
                away_ppm: 0,
                random,
                next: None,
            }),
            Source::History { ticks, settings } => Running::History(Replay::new(ticks, settings)),
            Source::Ladder { bids, asks } => Running::Ladder(Some(Quotes { bids, asks })),
        };
        Self {
            pair,
            source,
            quoted: Vec::new(),
        }
    }

    /// Does what is due and says when to come again.
    pub fn advance(
        &mut self,
        exchange: &mut Exchange,
        house: AccountNo,
        rules: &Rules,
        now: Time,
    ) -> Option<Time> {
        let pair = self.pair;
        let (quotes, next) = match &mut self.source {
            Running::Flow(flow) => {
                let quotes = flow.advance(now);
                if let Some(quotes) = &quotes {
                    flow.print_trade(exchange, pair, rules, quotes, now);
                }
                (quotes, flow.next)
            }
            Running::History(replay) => {
                let quotes = replay.advance(now, |tick| {
                    let level = Level {
                        price: tick.price,
                        quantity: tick.quantity,
                    };
                    exchange.print_trade(pair, Side::Bid, level, now);
                });
                (quotes, replay.next_at())
            }
            Running::Ladder(waiting) => (waiting.take(), None),
        };
        if let Some(quotes) = quotes {
            self.quote(exchange, house, rules, &quotes, now);
        }
        next
    }

    /// Replaces whatever the house has standing. Customers' orders that are in the way trade.
    pub fn quote(
        &mut self,
        exchange: &mut Exchange,
        house: AccountNo,
        rules: &Rules,
        quotes: &Quotes,
        now: Time,
    ) {
        for no in self.quoted.drain(..) {
            exchange.cancel_number(no);
        }
        for (side, levels) in [(Side::Bid, &quotes.bids), (Side::Ask, &quotes.asks)] {
            for level in levels {
                let placement = Placement {
                    id: None,
                    pair: self.pair,
                    side,
                    quantity: level.quantity.floor_to(rules.lot),
                    limit: rules.limit_on_tick(side, level.price),
                };
                self.quoted
                    .extend(exchange.place(house, placement, now).ok());
            }
        }
    }
}

impl Flow {
    /// Between two steps of the walk.
    const STEP: Span = Span::millis(100);
    /// The middle moves by up to this in one step, and comes back by an eighth of its distance:
    /// that makes a spread of about 0.26 % around the base price, forgotten within a second.
    const MOVE_PPM_MAX: i64 = 2_200;
    const LEVELS: usize = 10;

    fn advance(&mut self, now: Time) -> Option<Quotes> {
        let due = *self.next.get_or_insert(now);
        if now < due {
            return None;
        }
        self.next = Some(due.max(now - Self::STEP) + Self::STEP);
        let width = u64::try_from(2 * Self::MOVE_PPM_MAX).unwrap_or(0);
        let drawn = i64::try_from(self.random.between(0, width)).unwrap_or(0);
        self.away_ppm += drawn - Self::MOVE_PPM_MAX - self.away_ppm / 8;
        Some(self.quotes())
    }

    fn quotes(&mut self) -> Quotes {
        let middle = self.price.moved_ppm(self.away_ppm);
        let mut quotes = Quotes::default();
        for side in [Side::Bid, Side::Ask] {
            let mut away = self.draw(150, 400);
            for _ in 0..Self::LEVELS {
                let quantity = Quantity(self.draw(5_000_000, 200_000_000));
                match side {
                    Side::Bid => quotes.bids.push(Level {
                        price: middle.moved_ppm(-away),
                        quantity,
                    }),
                    Side::Ask => quotes.asks.push(Level {
                        price: middle.moved_ppm_ceil(away),
                        quantity,
                    }),
                }
                away += self.draw(100, 500);
            }
        }
        quotes
    }

    /// Shows a trade at the best level now and then, as a living market does.
    fn print_trade(
        &mut self,
        exchange: &mut Exchange,
        pair: Pair,
        rules: &Rules,
        quotes: &Quotes,
        now: Time,
    ) {
        if self.random.below(10) == 0
            && let Some(ask) = quotes.asks.first()
        {
            let level = Level {
                price: rules.limit_on_tick(Side::Ask, ask.price),
                quantity: ask.quantity,
            };
            exchange.print_trade(pair, Side::Bid, level, now);
        }
    }

    fn draw(&mut self, low: u64, high: u64) -> i64 {
        i64::try_from(self.random.between(low, high)).unwrap_or(0)
    }
}
