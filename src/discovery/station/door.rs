//! Who may come in at the listeners: a bucket for all of them, so many visitors at once, and so many
//! tries from one address at each.
//!
//! Whoever floods a listener from one place uses up that place; from many places, the bucket. Then
//! nobody is let in there, and the ladder's next rung is tried.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::discovery::irc::pace::Allowance;
use crate::model::time::{Span, Time};

/// What all listeners of a node share.
#[derive(Debug, Default)]
pub struct Door {
    allowance: Allowance,
    inside: usize,
    let_in: u64,
    turned_away: u64,
}

/// Who came to one listener.
#[derive(Debug, Default)]
pub struct Visits(BTreeMap<IpAddr, u8>);

impl Door {
    /// Visitors let in at once, then one more each span: fifty a second.
    pub const BURST: u64 = 50;
    pub const EVERY: Span = Span::millis(20);
    /// Visitors who have not shown a card yet; one more is turned away.
    pub const INSIDE_MAX: usize = 64;

    /// Lets a visitor in, who has to `leave` once; false turns it away.
    pub fn enter(&mut self, visits: &mut Visits, from: IpAddr, now: Time) -> bool {
        let is_full = self.inside >= Self::INSIDE_MAX;
        let is_due = self.allowance.due_at(Self::BURST, Self::EVERY) <= now;
        if is_full || !is_due || !visits.count(from) {
            self.turned_away += 1;
            return false;
        }
        self.allowance.pay(Self::EVERY, now);
        self.inside += 1;
        self.let_in += 1;
        true
    }

    pub const fn leave(&mut self) {
        self.inside = self.inside.saturating_sub(1);
    }

    /// Returns how many were let in and turned away, by the names that the owner sees.
    pub const fn counts(&self) -> [(&'static str, u64); 2] {
        [("visitors", self.let_in), ("turned_away", self.turned_away)]
    }
}

impl Visits {
    /// Tries of one address, and of one IPv6 network of 64 bits.
    pub const TRIES_MAX: u8 = 3;
    /// Addresses that are counted; beyond, nobody else is let in.
    pub const ADDRESSES_MAX: usize = 256;

    fn count(&mut self, from: IpAddr) -> bool {
        let place = match from.to_canonical() {
            address @ IpAddr::V4(_) => address,
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        };
        if !self.0.contains_key(&place) && self.0.len() >= Self::ADDRESSES_MAX {
            return false;
        }
        let tries = self.0.entry(place).or_default();
        let is_allowed = *tries < Self::TRIES_MAX;
        *tries += u8::from(is_allowed);
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000_000_000);

    fn address(number: u32) -> IpAddr {
        IpAddr::V4((0x0A00_0000 + number).into())
    }

    #[test]
    fn an_address_has_three_tries_at_one_listener() {
        let mut door = Door::default();
        let mut visits = Visits::default();
        for _ in 0..Visits::TRIES_MAX {
            assert!(door.enter(&mut visits, address(1), NOW));
            door.leave();
        }
        assert!(!door.enter(&mut visits, address(1), NOW));
        assert!(door.enter(&mut visits, address(2), NOW));
        assert!(door.enter(&mut Visits::default(), address(1), NOW));
        let let_in = u64::from(Visits::TRIES_MAX) + 2;
        assert_eq!(door.counts(), [("visitors", let_in), ("turned_away", 1)]);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let mut door = Door::default();
        let mut visits = Visits::default();
        let of = |last: u128| IpAddr::V6(((0x2001_0db8_u128 << 96) + last).into());
        let entered = (0..10).filter(|last| door.enter(&mut visits, of(*last), NOW));
        assert_eq!(entered.count(), usize::from(Visits::TRIES_MAX));
    }

    #[test]
    fn whoever_stays_keeps_no_more_than_so_many_out() {
        let mut door = Door::default();
        let mut now = NOW;
        let mut inside = 0;
        for number in 0..1_000 {
            let mut visits = Visits::default();
            inside += usize::from(door.enter(&mut visits, address(number), now));
            now = now + Door::EVERY;
        }
        assert_eq!(inside, Door::INSIDE_MAX);
        door.leave();
        assert!(door.enter(&mut Visits::default(), address(1), now));
    }

    #[test]
    fn two_thousand_a_second_from_everywhere_are_fifty() {
        let mut door = Door::default();
        let mut visits = Visits::default();
        let mut entered = 0;
        for number in 0..20_000 {
            let now = NOW + Span::micros(500).times(u64::from(number));
            if number % 200 == 0 {
                visits = Visits::default();
            }
            if door.enter(&mut visits, address(number), now) {
                entered += 1;
                door.leave();
            }
        }
        assert!((500..=550).contains(&entered), "{entered}");
    }
}
