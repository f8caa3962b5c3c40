//! Surveys: every node of one owner measures the ways to its own peers, on one command at any node.
//!
//! ```text
//! owner ─▶ node ── survey ask ─▶ each linked node of the owner ── trains ─▶ its peers
//!            │                        └── signed report, in small pieces ─▶ node ─▶ owner
//!            └── trains ─▶ its own peers ─▶ owner
//! ```
//! A report leaves in pieces that fill a packet at most, some milliseconds apart, so that a leg on
//! the same stream never waits for more than one of them.

use std::collections::VecDeque;

use crate::latency::lines::{Absent, Line, Piece};
use crate::latency::quota::Schedule;
use crate::latency::train::Shape;
use crate::model::ids::{CommandNo, NodeId};
use crate::model::time::{Span, Time};
use crate::node::Node;
use crate::node::output::{Job, Outbox, Output};
use crate::node::trains::{Whom, Work, scheduled};
use crate::wire::message::Message;
use crate::wire::talk::{PIECE_BYTES_MAX, Talk};

/// Probes of each train of a survey, as what is measured for others is kept until all is over.
const PROBES_MAX: u32 = 2_000;
/// Bytes of it that are kept for one survey. Full: that survey is told nothing of what is beyond.
pub(super) const LINES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one report. A longer one is not sent.
const REPORT_BYTES_MAX: usize = 1024 * 1024;
/// Between two pieces of a report.
const PIECE_EVERY: Span = Span::millis(5);
/// Reports on their way. Full: a further one is not sent.
const REPORTS_MAX: usize = 16;

/// A report on its way to who asked for it.
#[derive(Debug)]
pub(super) struct Leaving {
    to: NodeId,
    survey: u64,
    rest: VecDeque<u8>,
    at: Time,
}

impl Leaving {
    pub(super) const fn at(&self) -> Time {
        self.at
    }
}

impl Node {
    /// Measures the ways to all linked peers, and lets those of the same owner do so.
    pub(super) fn order_survey(
        &mut self,
        number: CommandNo,
        wanted: (Shape, u32),
        now: Time,
        out: &mut Outbox,
    ) -> Result<(), String> {
        let schedule = survey_schedule(wanted)?;
        let errand = self.begin_errand(Whom::Owner(number), &schedule, now)?;
        let ask = Message::Talk(Talk::SurveyAsk {
            survey: errand,
            interval: schedule.interval(),
            burst: schedule.burst(),
            count: schedule.count,
        });
        for peer in self.linked_peers() {
            let known = self.peers.get(&peer);
            if known.is_some_and(|known| known.peer.owner == self.me.owner) {
                self.trains.wait_for(errand, peer);
                self.send_once(peer, &ask, out);
            }
        }
        self.begin_trains(errand, schedule, now, out);
        Ok(())
    }

    /// Measures for another node of the owner.
    pub(super) fn handle_survey_ask(
        &mut self,
        from: NodeId,
        survey: u64,
        wanted: (Shape, u32),
        now: Time,
        out: &mut Outbox,
    ) {
        let peer = self.peers.get(&from);
        let is_own = peer.is_some_and(|peer| peer.peer.owner == self.me.owner);
        if !is_own {
            *self.totals.messages.entry("not_allowed").or_default() += 1;
            return;
        }
        let begun = survey_schedule(wanted).and_then(|schedule| {
            let errand = self.begin_errand(Whom::Peer(from, survey), &schedule, now)?;
            Ok((errand, schedule))
        });
        match begun {
            Ok((errand, schedule)) => self.begin_trains(errand, schedule, now, out),
            Err(_) => self.send_once(from, &Message::Talk(Talk::SurveyOver { survey }), out),
        }
    }

    fn begin_trains(&mut self, errand: u64, schedule: Schedule, now: Time, out: &mut Outbox) {
        for peer in self.linked_peers() {
            if let Err(why) = self.begin_train(errand, peer, schedule, now, out) {
                let to = self.peer_name(peer);
                self.tell_errand(errand, &Line::Absent(Absent { to, why }), out);
            }
        }
        self.end_errand_at_rest(errand, out);
    }

    fn linked_peers(&self) -> Vec<NodeId> {
        let ready = self.peers.iter().filter(|(_, peer)| peer.link.is_ready());
        ready.map(|(id, _)| *id).collect()
    }

    /// Hands on what another node reports; only one that was asked is heard.
    pub(super) fn handle_survey_piece(
        &mut self,
        from: NodeId,
        survey: u64,
        (is_whole, json): (bool, &[u8]),
        out: &mut Outbox,
    ) {
        if self.trains.waits_for(survey, from) {
            let piece = Piece {
                from: from.to_string(),
                is_whole,
                json: String::from_utf8_lossy(json).into_owned(),
            };
            self.tell_errand(survey, &Line::Piece(piece), out);
        }
    }

    pub(super) fn handle_survey_over(&mut self, from: NodeId, survey: u64, out: &mut Outbox) {
        if self.trains.wait_no_more_for(survey, from) {
            self.end_errand_at_rest(survey, out);
        }
    }

    /// All trains for another node are over: they become a report beside the core.
    pub(super) fn report_errand(
        &mut self,
        (to, survey): (NodeId, u64),
        lines: &[u8],
        out: &mut Outbox,
    ) {
        let work = Work::Report(to, survey);
        match self.trains.new_work(work).filter(|_| !lines.is_empty()) {
            Some(work) => {
                let bytes = out.bytes(lines);
                let job = Job::Report;
                out.push(Output::Work { work, job, bytes });
            }
            None => self.send_once(to, &Message::Talk(Talk::SurveyOver { survey }), out),
        }
    }

    pub(super) fn handle_reported(
        &mut self,
        (to, survey): (NodeId, u64),
        json: &[u8],
        now: Time,
        out: &mut Outbox,
    ) {
        let is_crowded = self.trains.leaving.len() >= REPORTS_MAX;
        if json.is_empty() || json.len() > REPORT_BYTES_MAX || is_crowded {
            self.send_once(to, &Message::Talk(Talk::SurveyOver { survey }), out);
            return;
        }
        self.trains.leaving.push(Leaving {
            to,
            survey,
            rest: json.iter().copied().collect(),
            at: now,
        });
        self.send_pieces(now, out);
    }

    /// Sends a piece of each report that is due.
    pub(super) fn send_pieces(&mut self, now: Time, out: &mut Outbox) {
        let mut said = Vec::new();
        for leaving in &mut self.trains.leaving {
            if leaving.at > now {
                continue;
            }
            leaving.at = now + PIECE_EVERY;
            let (to, survey) = (leaving.to, leaving.survey);
            let len = leaving.rest.len().min(PIECE_BYTES_MAX);
            let json: Vec<u8> = leaving.rest.drain(..len).collect();
            let is_whole = leaving.rest.is_empty();
            said.push((
                to,
                Talk::SurveyPiece {
                    survey,
                    is_whole,
                    json,
                },
            ));
            if is_whole {
                said.push((to, Talk::SurveyOver { survey }));
            }
        }
        self.trains
            .leaving
            .retain(|leaving| !leaving.rest.is_empty());
        for (to, talk) in said {
            self.send_once(to, &Message::Talk(talk), out);
        }
    }
}

fn survey_schedule(wanted: (Shape, u32)) -> Result<Schedule, String> {
    match wanted.1 > PROBES_MAX {
        true => Err(format!(
            "a survey sends at most {PROBES_MAX} probes to each peer"
        )),
        false => scheduled(wanted),
    }
}
