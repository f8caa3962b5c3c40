//! Attack 13: both ends dial at once over real QUIC, `Links` decides at both, one survives.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use expressnet::membership::links::{Known, LinkOutput, Links};
use expressnet::membership::{Direction, Reach, Settings};
use expressnet::model::ids::{LinkNo, NodeId};
use expressnet::model::time::{Span, Time};
use expressnet::shell::MeshSink;
use expressnet::shell::mesh::Mesh;

use crate::shell::world::{Home, loopback, next_profile, run, until};

/// A driver of one node: the mesh tells, `Links` decides, the mesh does.
struct Driver {
    home: Home,
    begun: Instant,
    links: RefCell<Links>,
    /// Taken at the end: it holds the driver, and with it the folder.
    mesh: RefCell<Option<Mesh>>,
    ups: Cell<usize>,
    frames: Cell<usize>,
}

impl Driver {
    fn start(seed: u64) -> Rc<Self> {
        let home = Home::new();
        let settings = Settings {
            places: 4,
            redial_min: Span::millis(50),
            redial_max: Span::secs(1),
        };
        let driver = Rc::new(Self {
            begun: Instant::now(),
            links: RefCell::new(Links::new(home.id(), settings, seed)),
            mesh: RefCell::new(None),
            ups: Cell::new(0),
            frames: Cell::new(0),
            home,
        });
        let sink = Rc::<Self>::clone(&driver);
        let mesh =
            Mesh::start(next_profile(), &driver.home.identity, loopback(), &[], sink).unwrap();
        driver.mesh.replace(Some(mesh));
        driver
    }

    fn mesh(&self) -> Mesh {
        self.mesh.borrow().clone().unwrap()
    }

    async fn stop(&self) {
        self.mesh().stop().await;
        self.mesh.take();
    }

    fn list(&self, other: &Self) {
        let address = other.mesh().local_addr().unwrap();
        assert!(self.mesh().add_peer(other.home.peer(address)));
        assert!(
            self.links
                .borrow_mut()
                .add(other.home.id(), Known::LISTED, self.now())
        );
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.begun.elapsed().as_nanos()).unwrap())
    }

    fn feed(&self, change: impl FnOnce(&mut Links, Time)) {
        change(&mut self.links.borrow_mut(), self.now());
        loop {
            let output = self.links.borrow_mut().poll_output();
            match output {
                Some(LinkOutput::Dial { peer }) => self.mesh().dial(peer),
                Some(LinkOutput::Close { link }) => self.mesh().close(link),
                Some(LinkOutput::Ready { .. } | LinkOutput::Lost { .. }) => {}
                None => return,
            }
        }
    }

    fn run_deadline(&self) {
        let due = self.links.borrow().deadline();
        if due.is_some_and(|due| due.at <= self.now()) {
            self.feed(Links::handle_deadline);
        }
    }

    /// The one link to `peer`, if the mesh has no other and none is on its way.
    fn only_link(&self, peer: &Self) -> Option<LinkNo> {
        let link = self.links.borrow().link_of(peer.home.id())?;
        let stats = self.mesh().stats();
        let dialled = stats.dialled + stats.dial_failed > 0;
        let accepted = stats.accepted + stats.refused > 0;
        (dialled && accepted && stats.links == 1).then_some(link)
    }
}

impl MeshSink for Driver {
    fn link_up(&self, peer: NodeId, link: LinkNo, direction: Direction) {
        self.ups.set(self.ups.get() + 1);
        self.feed(|links, now| links.handle_up(peer, link, (direction, Reach::Quic), now));
    }

    fn link_down(&self, link: LinkNo) {
        self.feed(|links, now| links.handle_down(link, now));
    }

    fn dial_failed(&self, peer: NodeId) {
        self.feed(|links, now| links.handle_dial_failed(peer, now));
    }

    fn stream_frame(&self, link: LinkNo, bytes: &[u8]) {
        assert_eq!(bytes, link.0.to_be_bytes().map(|_| 7));
        self.frames.set(self.frames.get() + 1);
    }

    fn datagram(&self, _link: LinkNo, _bytes: &[u8]) {}
}

#[test]
fn attack_13_of_two_simultaneous_dials_exactly_one_connection_survives() {
    run(async || {
        let mut races = 0;
        for seed in 0..20 {
            let (one, two) = (Driver::start(seed), Driver::start(seed + 100));
            one.list(&two);
            two.list(&one);
            one.mesh().dial(two.home.id());
            two.mesh().dial(one.home.id());
            until(|| {
                one.run_deadline();
                two.run_deadline();
                one.only_link(&two).is_some() && two.only_link(&one).is_some()
            })
            .await;
            let (at_one, at_two) = (one.only_link(&two).unwrap(), two.only_link(&one).unwrap());
            one.mesh().send_stream(at_one, &[7; 8]).unwrap();
            two.mesh().send_stream(at_two, &[7; 8]).unwrap();
            until(|| one.frames.get() == 1 && two.frames.get() == 1).await;
            races += usize::from(one.ups.get() + two.ups.get() > 2);
            one.stop().await;
            two.stop().await;
        }
        assert!(
            races > 0,
            "no dial was simultaneous: the test shows nothing"
        );
    });
}
