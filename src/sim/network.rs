//! Connections between nodes: ordered streams that break, datagrams that get lost, doubled and
//! overtaken, partitions.

use std::collections::BTreeMap;

use crate::model::ids::LinkNo;
use crate::model::random::Random;
use crate::model::time::{Span, Time};

/// One connection between two nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub dialler: usize,
    pub listener: usize,
    /// When the last stream frame in each direction arrives: order is kept.
    last_there: Time,
    last_back: Time,
    way: Span,
}

/// Every connection, and who cannot reach whom.
#[derive(Debug)]
pub(super) struct Network {
    connections: BTreeMap<LinkNo, Connection>,
    cut: BTreeMap<(usize, usize), Time>,
    ways: BTreeMap<(usize, usize), Span>,
    next: LinkNo,
}

impl Network {
    pub(super) fn new() -> Self {
        Self {
            connections: BTreeMap::new(),
            cut: BTreeMap::new(),
            ways: BTreeMap::new(),
            next: LinkNo(1),
        }
    }

    /// Sets the one-way time between two nodes.
    pub(super) fn set_way(&mut self, one: usize, other: usize, way: Span) {
        self.ways.insert(ordered(one, other), way);
    }

    pub(super) fn way(&self, one: usize, other: usize) -> Option<Span> {
        self.ways.get(&ordered(one, other)).copied()
    }

    pub(super) fn connect(&mut self, dialler: usize, listener: usize, now: Time) -> Option<LinkNo> {
        let way = self.way(dialler, listener)?;
        let link = self.next;
        self.next = link.next();
        self.connections.insert(
            link,
            Connection {
                dialler,
                listener,
                last_there: now,
                last_back: now,
                way,
            },
        );
        Some(link)
    }

    /// Lets nothing arrive at the dialler before it knows of the connection.
    pub(super) fn hold_back(&mut self, link: LinkNo, until: Time) {
        if let Some(connection) = self.connections.get_mut(&link) {
            connection.last_back = connection.last_back.max(until);
        }
    }

    pub(super) fn get(&self, link: LinkNo) -> Option<Connection> {
        self.connections.get(&link).copied()
    }

    pub(super) fn close(&mut self, link: LinkNo) -> Option<Connection> {
        self.connections.remove(&link)
    }

    pub(super) fn links_of(&self, node: usize) -> Vec<LinkNo> {
        self.connections
            .iter()
            .filter(|(_, one)| one.dialler == node || one.listener == node)
            .map(|(link, _)| *link)
            .collect()
    }

    pub(super) fn links_between(&self, one: usize, other: usize) -> Vec<LinkNo> {
        self.connections
            .iter()
            .filter(|(_, link)| ordered(link.dialler, link.listener) == ordered(one, other))
            .map(|(link, _)| *link)
            .collect()
    }

    pub(super) fn all(&self) -> Vec<LinkNo> {
        self.connections.keys().copied().collect()
    }

    /// Returns the other end and when a stream frame sent now arrives there.
    pub(super) fn stream(
        &mut self,
        link: LinkNo,
        from: usize,
        now: Time,
        random: &mut Random,
    ) -> Option<(usize, Time)> {
        let connection = self.connections.get_mut(&link)?;
        let jitter = Span(random.below(connection.way.0 / 4 + 1));
        let at = now + connection.way + jitter;
        let (to, last) = if connection.dialler == from {
            (connection.listener, &mut connection.last_there)
        } else {
            (connection.dialler, &mut connection.last_back)
        };
        *last = at.max(Time(last.0 + 1));
        Some((to, *last))
    }

    pub(super) fn cut(&mut self, one: usize, other: usize, until: Time) {
        self.cut.insert(ordered(one, other), until);
    }

    /// Says whether a pair had some time to talk since it was last cut.
    pub(super) fn may_cut(&self, one: usize, other: usize, now: Time) -> bool {
        const TALK: Span = Span::secs(15);
        let last = self.cut.get(&ordered(one, other));
        last.is_none_or(|until| *until + TALK < now)
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(super) fn is_cut(&self, one: usize, other: usize, now: Time) -> bool {
        self.cut
            .get(&ordered(one, other))
            .is_some_and(|until| now < *until)
    }
}

const fn ordered(one: usize, other: usize) -> (usize, usize) {
    if one < other {
        (one, other)
    } else {
        (other, one)
    }
}
