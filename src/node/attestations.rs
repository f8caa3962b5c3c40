//! What is attested of a train: by this node of a peer's, and by a peer of this node's.

use crate::latency::attest;
use crate::latency::train::{Attestation, Spread};
use crate::model::ids::NodeId;
use crate::model::key::pin_of;
use crate::model::time::{Span, Time};
use crate::node::Node;
use crate::node::output::{Job, Outbox, Output};
use crate::node::trains::Work;
use crate::wire::message::Message;
use crate::wire::talk::Talk;

impl Node {
    /// Says what was seen of a peer's train, once it is signed.
    pub(super) fn attest(&mut self, prober: NodeId, train: [u8; 16], out: &mut Outbox) {
        let Some(seen) = self.trains.responder.finish(prober, train) else {
            return;
        };
        let Some(peer) = self.peers.get(&prober) else {
            return;
        };
        let micros = |per_mille| {
            let rtt = peer.rtt.quantile_us(per_mille);
            Span::micros(rtt.unwrap_or_default())
        };
        let body = attest::body(&Attestation {
            train,
            prober,
            received: seen.received,
            first_received: seen.first,
            last_received: seen.last,
            rtt: Spread {
                count: peer.rtt.count(),
                p50: micros(500),
                p99: micros(990),
                max: micros(1_000),
            },
            rtt_min: peer.rtt_min.unwrap_or_default(),
            key: [0; 32],
            signature: [0; 64],
        });
        let Some(work) = self.trains.new_work(Work::Attest(prober, body)) else {
            return;
        };
        let bytes = out.bytes(&attest::statement(&body));
        out.push(Output::Work {
            work,
            job: Job::Sign,
            bytes,
        });
    }

    /// Takes what was worked out beside the core.
    pub(super) fn handle_worked(
        &mut self,
        work: u64,
        key: [u8; 32],
        bytes: &[u8],
        now: Time,
        out: &mut Outbox,
    ) {
        match self.trains.take_work(work) {
            Some(Work::Attest(prober, body)) => {
                if let Ok(signature) = bytes.try_into() {
                    let attested = Talk::Attested {
                        body,
                        key,
                        signature,
                    };
                    self.send_once(prober, &Message::Talk(attested), out);
                }
            }
            Some(Work::Report(to, survey)) => self.handle_reported((to, survey), bytes, now, out),
            Some(Work::SignRoster(to, draft)) => {
                if let Ok(signature) = bytes.try_into() {
                    self.handle_roster_signed((to, &draft), signature, out);
                }
            }
            Some(Work::VerifyRoster(from)) => self.handle_roster_verified(from, bytes, now, out),
            None => (),
        }
    }

    pub(super) fn handle_attested(
        &mut self,
        from: NodeId,
        body: &[u8; attest::BODY_BYTES],
        (key, signature): ([u8; 32], [u8; 64]),
        now: Time,
        out: &mut Outbox,
    ) {
        let Ok(attestation) = attest::read(body, key, signature) else {
            return;
        };
        if let Some(number) = self.trains.ending(from, attestation.train)
            && attestation.prober == self.me.id
            && pin_of(&key).node_id() == from
        {
            self.finish_train(number, Some(&attestation), now, out);
        }
    }
}
