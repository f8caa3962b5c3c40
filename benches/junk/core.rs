//! The core thread: own trades, timed input by input by the thread's own clock, and what the open
//! side tells it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::sleep;
use std::time::{Duration, Instant};

use expressnet::discovery::announce::{Closed, Said, hand_out};
use expressnet::discovery::shown::Shown;
use expressnet::model::ids::{CommandNo, PeernetId};
use expressnet::model::market::Side;
use expressnet::model::random::Random;
use expressnet::model::time::Span;
use expressnet::node::input::Input;
use expressnet::shell::open::{Open, Told};
use hdrhistogram::Histogram;
use hdrhistogram::iterators::IterationValue;
use tokio::sync::mpsc;

use crate::PATIENCE;
use crate::clocks::thread_ns;
use crate::crowd::offered;
use crate::leader::{Leader, Probe};
use crate::quiet::quiet_frame;

/// One frame a millisecond; one in ten fires.
const TURN: Duration = Duration::from_millis(1);
const FIRE_EVERY: u64 = 10;
/// An own offer is said this often, in turns, and taken back half a second later.
const OFFER_EVERY: u64 = 6_000;
const CLOSE_AFTER: u64 = 500;

/// What the bench asks of the core.
pub(crate) enum Order {
    /// Trade until told to stop.
    Trade(Arc<AtomicBool>),
    Look,
}

/// What the core answers.
pub(crate) enum Answer {
    Traded(Box<Traded>),
    Shown(Box<Shown>),
}

/// What a run of trades came to.
pub(crate) struct Traded {
    /// Thread time of each input of own trades, and of those that fired.
    pub(crate) inputs: Histogram<u64>,
    pub(crate) fires: Histogram<u64>,
    /// What the open side told, and thread time that took.
    pub(crate) told: u64,
    pub(crate) told_ns: u64,
    pub(crate) announced: u64,
    /// Own lines that were to be said: offers, and their ends.
    pub(crate) offers: u64,
    pub(crate) closes: u64,
}

impl Traded {
    /// Counts the inputs of another run in.
    pub(crate) fn add(&mut self, other: &Self) {
        self.inputs.add(&other.inputs).unwrap();
        self.fires.add(&other.fires).unwrap();
    }
}

/// Measures every call of `Node::handle`.
pub(crate) struct Meter {
    now: Case,
    times: BTreeMap<Case, Histogram<u64>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Case {
    Input,
    Fire,
    Told,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let cases = [Case::Input, Case::Fire, Case::Told];
        Self {
            now: Case::Input,
            times: cases.map(|case| (case, empty())).into(),
        }
    }

    fn take(&mut self, case: Case) -> Histogram<u64> {
        self.times.insert(case, empty()).unwrap()
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1_000_000_000, 3).unwrap()
}

impl Probe for Meter {
    fn measure(&mut self, _input: &'static str, step: impl FnOnce()) {
        let before = thread_ns();
        step();
        let took = thread_ns() - before;
        self.times
            .get_mut(&self.now)
            .unwrap()
            .saturating_record(took);
        // What follows from a fire is not one.
        if self.now == Case::Fire {
            self.now = Case::Input;
        }
    }
}

/// The core with all that it holds.
pub(crate) struct Core {
    pub(crate) leader: Leader<Meter>,
    pub(crate) open: Open,
    pub(crate) told: mpsc::Receiver<Told>,
    pub(crate) random: Random,
    /// Own offers so far.
    pub(crate) offered: u64,
}

impl Core {
    /// Does what it is asked until nobody asks any more; then the networks are left.
    pub(crate) fn run(mut self, orders: &Receiver<Order>, answers: &Sender<Answer>) {
        for order in orders {
            let answer = match order {
                Order::Trade(stop) => Answer::Traded(Box::new(self.trade(&stop))),
                Order::Look => Answer::Shown(Box::new(self.look())),
            };
            answers.send(answer).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        drop(self.told);
        runtime.block_on(self.open.stop());
    }

    fn trade(&mut self, stop: &AtomicBool) -> Traded {
        self.leader.probe = Meter::new();
        let mut traded = Traded {
            inputs: empty(),
            fires: empty(),
            told: 0,
            told_ns: 0,
            announced: 0,
            offers: 0,
            closes: 0,
        };
        let began = Instant::now();
        for turn in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let due = began + TURN * turn;
            sleep(due.saturating_duration_since(Instant::now()));
            let turn = u64::from(turn);
            self.turn(turn);
            self.speak(turn, &mut traded);
            self.hear(&mut traded);
        }
        let told = self.leader.probe.take(Case::Told);
        let spent = |at: IterationValue<u64>| at.value_iterated_to() * at.count_at_value();
        traded.told_ns = told.iter_recorded().map(spent).sum();
        traded.inputs = self.leader.probe.take(Case::Input);
        traded.fires = self.leader.probe.take(Case::Fire);
        // Whatever fires is an input of own trades as well.
        traded.inputs.add(&traded.fires).unwrap();
        traded
    }

    fn turn(&mut self, turn: u64) {
        let leader = &mut self.leader;
        leader.probe.now = Case::Input;
        let frame = quiet_frame(leader, &mut self.random);
        leader.frame(&frame);
        leader.settle();
        leader.advance(Span::MILLI);
        if turn.is_multiple_of(FIRE_EVERY) {
            let side = [Side::Ask, Side::Bid][usize::from(turn / FIRE_EVERY % 2 == 1)];
            let frame = leader.crossing_frame(side);
            leader.probe.now = Case::Fire;
            leader.fire(&frame);
            leader.probe.now = Case::Input;
            leader.clear(side);
        }
    }

    fn speak(&mut self, turn: u64, traded: &mut Traded) {
        let mut bytes = Vec::new();
        let right = (PeernetId([1; 16]), 1);
        let said = offered(1 << 60 | self.offered, "20BTC@USD:BO:SEPA");
        match turn % OFFER_EVERY {
            CLOSE_AFTER => {
                let (offer, version) = (said.offer, said.version);
                let said = Said::Close(Closed { offer, version });
                hand_out(&said, right, &mut bytes);
                traded.closes += 1;
                self.offered += 1;
            }
            0 => {
                hand_out(&Said::Offer(said), right, &mut bytes);
                traded.offers += 1;
            }
            _ => return,
        }
        self.open.announce(&bytes);
    }

    /// Takes what the open side tells, as the driver does.
    fn hear(&mut self, traded: &mut Traded) {
        while let Ok(told) = self.told.try_recv() {
            traded.told += 1;
            self.leader.probe.now = Case::Told;
            match told {
                Told::Announced(announced) => {
                    traded.announced += 1;
                    self.leader.hand(Input::Announced { announced });
                }
                Told::Frame { link, bytes } => {
                    let bytes = &bytes;
                    self.leader.hand(Input::LinkStream { link, bytes });
                }
                Told::OnChannel { since, may_speak } => {
                    self.leader.hand(Input::OnChannel { since, may_speak });
                }
                Told::RosterWanted { .. } => panic!("nobody has a roster"),
                Told::Down { link } => self.leader.hand(Input::LinkDown { link }),
                Told::Met { peer, .. } => panic!("a stranger got in: {}", peer.name),
                Told::Shown { .. } => panic!("nobody asked"),
            }
            self.leader.settle();
        }
        self.leader.probe.now = Case::Input;
    }

    fn look(&mut self) -> Shown {
        self.open.look(CommandNo(1));
        let began = Instant::now();
        loop {
            match self.told.try_recv() {
                Ok(Told::Shown { shown, .. }) => return shown,
                Ok(_) => (),
                Err(_) => sleep(TURN),
            }
            assert!(began.elapsed() < PATIENCE, "the open side does not answer");
        }
    }
}
