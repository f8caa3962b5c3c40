//! A change of a book at one node until the leg that it fires leaves another: both nodes whole, on
//! two cores, over the mesh. The venue and the journal behind each answer between two measurements.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use expressnet::membership::{Direction, Peer};
use expressnet::model::ids::{LinkNo, NodeId};
use expressnet::model::market::Side;
use expressnet::node::input::Input;
use expressnet::node::output::{Carrier, Outbox, Output};
use expressnet::shell::MeshSink;
use expressnet::shell::mesh::{Mesh, Profile};
use tokio::sync::Notify;
use tokio::task::{LocalSet, yield_now};

use crate::contestant::{Arrivals, Contestant, Threaded, Turns, pin};
use crate::leader::{Leader, legs_among};
use crate::ours::{Home, awaitable};
use crate::udp::runtime;

/// The node whose book changes.
struct Near {
    link: OnceCell<LinkNo>,
    linked: Notify,
}

/// The node beside the other venue.
struct Far {
    holder: RefCell<Leader<()>>,
    /// Draws for the other node to send, as its own session has no share in this one's.
    draws: Sender<Vec<u8>>,
    side: Cell<Side>,
}

/// Sends the draw that stands for the one which the node hands over, in that moment.
struct NearHand {
    mesh: Rc<Mesh>,
    link: LinkNo,
    draw: Rc<RefCell<Option<Vec<u8>>>>,
}

impl Carrier for NearHand {
    fn carry(&mut self, outbox: &Outbox) {
        if !legs_among(outbox.waiting(), outbox).0 {
            return;
        }
        if let Some(draw) = self.draw.take() {
            self.mesh.send_stream(self.link, &draw).unwrap();
            self.mesh.flush();
        }
    }
}

/// Notes when a leg's bytes are handed over for the venue.
struct FarHand(Arc<Arrivals>);

impl Carrier for FarHand {
    fn carry(&mut self, outbox: &Outbox) {
        if matches!(outbox.waiting().last(), Some(Output::VenueRequest { .. })) {
            self.0.note();
        }
    }
}

impl Far {
    /// Makes the next draw, while nobody measures.
    fn prepare(&self) {
        let mut holder = self.holder.borrow_mut();
        let side = self.side.get();
        self.side.set(side.opposite());
        holder.clear(side);
        self.draws.send(holder.draw_frame(side)).ok();
    }
}

impl MeshSink for Near {
    fn link_up(&self, _peer: NodeId, link: LinkNo, _direction: Direction) {
        self.link.set(link).unwrap();
        self.linked.notify_one();
    }

    fn link_down(&self, _link: LinkNo) {}

    fn dial_failed(&self, peer: NodeId) {
        panic!("{peer} is not reached");
    }

    fn stream_frame(&self, _link: LinkNo, _bytes: &[u8]) {}

    fn datagram(&self, _link: LinkNo, _bytes: &[u8]) {}
}

impl MeshSink for Far {
    fn link_up(&self, _peer: NodeId, _link: LinkNo, _direction: Direction) {
        self.prepare();
    }

    fn link_down(&self, _link: LinkNo) {}

    fn dial_failed(&self, peer: NodeId) {
        panic!("{peer} is not reached");
    }

    fn stream_frame(&self, _link: LinkNo, bytes: &[u8]) {
        {
            let mut holder = self.holder.borrow_mut();
            let link = holder.link;
            holder.hand(Input::LinkStream { link, bytes });
            let (_, at_venue) = holder.legs();
            assert!(at_venue, "the draw is no leg");
        }
        self.prepare();
    }

    fn datagram(&self, _link: LinkNo, _bytes: &[u8]) {}
}

/// Both nodes; every message is a window that opens.
pub(crate) fn contestant(profile: Profile) -> Box<dyn Contestant> {
    Box::new(Threaded::start(move |turns| {
        let near = Home::new("near");
        let nowhere = near.peer(([127, 0, 0, 1], 9).into());
        let (draws, drawn) = channel();
        let (listening, addresses) = channel();
        let arrivals = Arrivals::new();
        let told = Arc::clone(&arrivals);
        thread::spawn(move || {
            pin(1);
            LocalSet::new().block_on(&runtime(), async {
                let home = Home::new("far");
                let mut holder = Leader::new(());
                holder.out.carry_by(Box::new(FarHand(told)));
                let far = Far {
                    holder: RefCell::new(holder),
                    draws,
                    side: Cell::new(Side::Bid),
                };
                let listen = ([127, 0, 0, 1], 0).into();
                let sink = Rc::new(far);
                let mesh = Mesh::start(profile, &home.identity, listen, &[nowhere], sink).unwrap();
                let address = mesh.local_addr().unwrap();
                listening.send(home.peer(address)).unwrap();
                std::future::pending::<()>().await;
            });
        });
        let far: Peer = addresses.recv().unwrap();
        LocalSet::new().block_on(&runtime(), async {
            measure(profile, &near, far, &arrivals, &drawn, turns).await;
        });
    }))
}

async fn measure(
    profile: Profile,
    home: &Home,
    far: Peer,
    arrivals: &Arrivals,
    drawn: &Receiver<Vec<u8>>,
    turns: Turns,
) {
    let near = Rc::new(Near {
        link: OnceCell::new(),
        linked: Notify::new(),
    });
    let listen = ([127, 0, 0, 1], 0).into();
    let told = Rc::<Near>::clone(&near);
    let mesh = Mesh::start(
        profile,
        &home.identity,
        listen,
        std::slice::from_ref(&far),
        told,
    );
    let mesh = Rc::new(mesh.unwrap());
    mesh.dial(far.id);
    while near.link.get().is_none() {
        near.linked.notified().await;
    }
    let link = *near.link.get().unwrap();
    let mut leader = Leader::new(());
    let draw = Rc::new(RefCell::new(None));
    leader.out.carry_by(Box::new(NearHand {
        mesh: Rc::clone(&mesh),
        link,
        draw: Rc::clone(&draw),
    }));
    let mut commands = awaitable(turns.commands);
    while let Some((count, _)) = commands.recv().await {
        let mut samples = Vec::with_capacity(count);
        for round in 0..count {
            let side = [Side::Ask, Side::Bid][round % 2];
            draw.replace(Some(next(drawn).await));
            let frame = leader.crossing_frame(side);
            arrivals.expect(1);
            let begin = Instant::now();
            leader.frame(&frame);
            assert!(draw.borrow().is_none(), "the change fires nothing");
            while !arrivals.are_there() {
                yield_now().await;
            }
            samples.push(arrivals.last_after(begin));
            leader.clear(side);
        }
        turns.samples.send(samples).unwrap();
    }
}

/// Waits for a draw without standing in the mesh's way.
async fn next(drawn: &Receiver<Vec<u8>>) -> Vec<u8> {
    loop {
        if let Ok(draw) = drawn.try_recv() {
            return draw;
        }
        yield_now().await;
    }
}
