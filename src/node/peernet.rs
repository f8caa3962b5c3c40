//! The peernet: the nodes of this owner that have signed one roster, and which of them speaks.
//!
//! ```text
//! listed nodes of this owner ─▶ muster: all sign one list ─▶ roster ─▶ lease: a majority lets one speak
//! ```
//! A node with `[exit]` gathers signatures and asks for the lease once it is on the channel; the
//! others sign and grant. All of it is said by messages that may be lost and are said again.

use std::collections::VecDeque;

use crate::discovery::lease;
use crate::discovery::lease::{Lease, Restored, Seats, Token};
use crate::journal::peernet::{Kept, PeernetRecord};
use crate::journal::record::Record;
use crate::membership::Peer;
use crate::membership::muster::{Muster, Taken};
use crate::membership::roster::{Draft, Roster, Unverified};
use crate::model::ids::{CommandNo, CommitNo, NodeId, PeernetId};
use crate::model::time::{Deadline, Span, Time};
use crate::node::output::{Job, Outbox, Output, Severity};
use crate::node::owner::answer;
use crate::node::report::{Done, ExitMember, ExitReport, SCHEMA};
use crate::node::trains::Work;
use crate::node::{Me, Node, notice};
use crate::wire::message::Message;
use crate::wire::peernet::Peernet as Talk;

/// How often a list that nobody has signed yet is looked at.
const MUSTER_EVERY: Span = Span::secs(2);
/// How often versions of the own roster are told to whoever asks, over all peers.
const TELL_EVERY: Span = Span::secs(1);
/// Versions told at once; whoever lacks more asks again.
const TOLD_MAX: usize = 32;
/// What waits for the store; more means the store is stuck, and what waits is given up.
const WAITING_MAX: usize = 256;

/// What this node knows of its peernet.
#[derive(Debug)]
pub(super) struct Peernet {
    muster: Muster,
    lease: Option<Lease>,
    /// Since when this node is on the channel.
    on_since: Option<Time>,
    /// What it would say is heard, on one network at least.
    may_speak: bool,
    muster_at: Time,
    tell_at: Time,
    waiting: VecDeque<(CommitNo, Waiting)>,
    restored: Restored,
    /// Why there is no roster of the present list, as it was told last.
    trouble: String,
    /// By which token this node speaks, as the open side was told last.
    spoken_by: Option<(PeernetId, u64)>,
    out: Vec<lease::Output>,
}

#[derive(Debug)]
enum Waiting {
    /// The lease waits for its record with this number.
    Lease(u64),
    /// This draft may be signed for that node.
    Sign(NodeId, Box<Draft>),
}

impl Peernet {
    /// Takes up what the journal has.
    pub(super) fn new(me: &Me, kept: &Kept, now: Time) -> Self {
        let rosters = kept.rosters.iter();
        let rosters = rosters.filter_map(|bytes| Unverified::read(bytes).ok()?.verify().ok());
        Self {
            muster: Muster::new(me.id, me.key, rosters.collect()),
            lease: None,
            on_since: None,
            may_speak: false,
            muster_at: now,
            tell_at: now,
            waiting: VecDeque::new(),
            restored: Restored {
                promised: kept.promised.map(|(token, to)| (Token(token), to)),
                signed: kept.signed,
                has_gap: false,
            },
            trouble: String::new(),
            spoken_by: None,
            out: Vec::new(),
        }
    }

    /// Returns by which peernet and token a line may leave at this moment: the channel must let it
    /// pass as well.
    pub(super) fn may_speak(&self, now: Time) -> Option<(PeernetId, Token)> {
        self.token(now).filter(|_| self.may_speak)
    }

    /// Returns by which peernet and token this node speaks at this moment.
    fn token(&self, now: Time) -> Option<(PeernetId, Token)> {
        let lease = self.lease.as_ref()?;
        let token = lease.token(now)?;
        Some((lease.seats().peernet, token))
    }

    fn deadline(&self, is_exit: bool) -> Option<Deadline> {
        let muster = Deadline {
            at: self.muster_at,
            why: "muster",
        };
        let muster = Some(muster).filter(|muster| is_exit && muster.at < Time::MAX);
        let lease = self.lease.as_ref().and_then(Lease::deadline);
        Deadline::earlier(muster, lease)
    }

    pub(super) fn handle_rtt(&mut self, node: NodeId, rtt: Span) {
        if let Some(lease) = &mut self.lease {
            lease.handle_rtt(node, rtt);
        }
    }

    fn is_member(&self, node: NodeId) -> bool {
        let lease = self.lease.as_ref();
        let on_roster = lease.is_some_and(|lease| lease.seats().members.contains(&node));
        on_roster || self.muster.others().any(|other| other == node)
    }
}

/// Members and their links.
impl Node {
    /// Counts a listed node of this owner as one of the peernet.
    pub(super) fn seat(&mut self, peer: &Peer, now: Time) {
        if peer.owner == self.me.owner {
            self.peernet.muster.list(peer.id, peer.key);
            self.peernet.muster_at = now;
        }
    }

    pub(super) fn unseat(&mut self, id: NodeId, now: Time) {
        self.peernet.muster.strike_off(id);
        self.peernet.muster_at = now;
    }

    /// A link is understood from now on: who belongs here hears the roster, and whoever is met in
    /// public does from a node that may speak there.
    pub(super) fn greet_member(&mut self, id: NodeId, now: Time, out: &mut Outbox) {
        let is_member = self.peernet.is_member(id);
        if (is_member || self.is_exit())
            && let Some(roster) = self.peernet.muster.latest()
        {
            let message = roster_message(roster);
            self.send_once(id, &message, out);
        }
        if is_member {
            self.peernet.muster_at = now;
            self.on_lease(now, out, |lease, outputs| {
                lease.handle_link(id, true, now, outputs);
            });
        }
    }

    pub(super) fn miss_member(&mut self, id: NodeId, now: Time, out: &mut Outbox) {
        self.on_lease(now, out, |lease, outputs| {
            lease.handle_link(id, false, now, outputs);
        });
    }

    pub(super) fn peernet_deadline(&self) -> Option<Deadline> {
        self.peernet.deadline(self.is_exit())
    }

    /// The open side has heard of a roster whose earlier versions it does not know.
    pub(super) fn want_roster(
        &mut self,
        from: NodeId,
        peernet: PeernetId,
        after: u64,
        out: &mut Outbox,
    ) {
        let message = Message::Peernet(Talk::Wanted { peernet, after });
        self.send_once(from, &message, out);
    }

    /// Tells whether this node speaks to the channel when it may.
    fn is_exit(&self) -> bool {
        self.has_open_side() && !self.settings.open.broadcast_min.is_empty()
    }

    /// The channel is reached since then, or not any more.
    pub(super) fn handle_on_channel(
        &mut self,
        (since, may_speak): (Option<Time>, bool),
        now: Time,
        out: &mut Outbox,
    ) {
        (self.peernet.on_since, self.peernet.may_speak) = (since, may_speak);
        let standing = since.filter(|_| self.is_exit());
        self.on_lease(now, out, |lease, outputs| {
            lease.handle_standing(standing, now, outputs);
        });
    }

    /// A token was announced on the channel.
    pub(super) fn handle_token(
        &mut self,
        (peernet, token): (PeernetId, Token),
        now: Time,
        out: &mut Outbox,
    ) {
        self.on_lease(now, out, |lease, outputs| {
            if lease.seats().peernet == peernet {
                lease.handle_announced(token, now, outputs);
            }
        });
    }

    pub(super) fn tend_peernet(&mut self, now: Time, out: &mut Outbox) {
        if !self.is_born() {
            return;
        }
        self.on_lease(now, out, |lease, outputs| {
            if lease.deadline().is_some_and(|due| due.at <= now) {
                lease.handle_deadline(now, outputs);
            }
        });
        if self.peernet.muster_at <= now {
            self.peernet.muster_at = now + MUSTER_EVERY;
            self.muster(now, out);
        }
    }

    /// Lets the lease act, and carries out what it asks for.
    fn on_lease(
        &mut self,
        now: Time,
        out: &mut Outbox,
        act: impl FnOnce(&mut Lease, &mut Vec<lease::Output>),
    ) {
        let mut outputs = std::mem::take(&mut self.peernet.out);
        if let Some(lease) = &mut self.peernet.lease {
            act(lease, &mut outputs);
        }
        for output in outputs.drain(..) {
            self.act_on_lease(output, out);
        }
        self.peernet.out = outputs;
        let right = self
            .peernet
            .token(now)
            .map(|(peernet, token)| (peernet, token.0));
        if right != self.peernet.spoken_by {
            self.peernet.spoken_by = right;
            out.push(Output::Speaker { right });
        }
        self.speak_durable(now, out);
    }

    fn act_on_lease(&mut self, output: lease::Output, out: &mut Outbox) {
        match output {
            lease::Output::Send { to, message } => {
                let mut bytes = Vec::with_capacity(lease::message::Message::BYTES_MAX);
                message.write(&mut bytes);
                let message = Message::Peernet(Talk::Lease { bytes });
                self.send_once(to, &message, out);
            }
            lease::Output::Journal { number, record } => {
                let record = match record {
                    lease::Record::Promised { token, to } => {
                        PeernetRecord::Promised { token: token.0, to }
                    }
                    lease::Record::Signed { version } => PeernetRecord::Signed { version },
                };
                self.journal_then(record, Waiting::Lease(number), out);
            }
            lease::Output::Holder { token, .. } => {
                let text = format!("exit of the peernet, token {token}");
                notice(out, Severity::Debug, &text);
            }
            lease::Output::Lost { token, why } => {
                let text = format!("exit no more, token {token}: {}", why.word());
                notice(out, Severity::Info, &text);
            }
        }
    }

    fn journal_then(&mut self, record: PeernetRecord, then: Waiting, out: &mut Outbox) {
        let commit = self.journal(&Record::Peernet(record), out);
        if self.peernet.waiting.len() < WAITING_MAX {
            self.peernet.waiting.push_back((commit, then));
        }
    }

    /// Goes on with what has its record on disk by now.
    pub(super) fn handle_peernet_durable(&mut self, now: Time, out: &mut Outbox) {
        while let Some((commit, _)) = self.peernet.waiting.front() {
            if *commit > self.commits.durable {
                return;
            }
            match self.peernet.waiting.pop_front() {
                Some((_, Waiting::Lease(number))) => self.on_lease(now, out, |lease, outputs| {
                    lease.handle_durable(number, now, outputs);
                }),
                Some((_, Waiting::Sign(to, draft))) => {
                    let statement = draft.statement();
                    let work = Work::SignRoster(to, draft);
                    self.work(work, Job::Sign, &statement, out);
                }
                None => (),
            }
        }
    }

    fn work(&mut self, work: Work, job: Job, bytes: &[u8], out: &mut Outbox) {
        // Without room it is asked for again.
        if let Some(work) = self.trains.new_work(work) {
            let bytes = out.bytes(bytes);
            out.push(Output::Work { work, job, bytes });
        }
    }
}

/// How the roster comes about.
impl Node {
    /// Asks those who have not signed the present list. Nobody is asked before all are in touch: who
    /// has signed takes no part in the roster before any more.
    fn muster(&mut self, now: Time, out: &mut Outbox) {
        if !self.is_exit() {
            return;
        }
        let trouble = match self.peernet.muster.draft() {
            Ok(None) => {
                self.peernet.muster_at = Time::MAX;
                String::new()
            }
            Ok(Some(draft)) => {
                let absent = self.peernet.muster.others();
                let absent = absent.filter(|id| !self.is_linked(*id));
                let absent: Vec<String> = absent.map(|id| id.to_string()).collect();
                if absent.is_empty() {
                    self.peernet.muster.gather(draft);
                    self.ask_for_signatures(now, out);
                    String::new()
                } else {
                    format!("not linked: {}", absent.join(" "))
                }
            }
            Err(why) => why.to_string(),
        };
        self.tell_trouble(trouble, out);
    }

    fn tell_trouble(&mut self, trouble: String, out: &mut Outbox) {
        if !trouble.is_empty() && trouble != self.peernet.trouble {
            let text = format!("no roster of the nodes that are listed: {trouble}");
            notice(out, Severity::Info, &text);
        }
        self.peernet.trouble = trouble;
    }

    fn is_linked(&self, id: NodeId) -> bool {
        let peer = self.peers.get(&id);
        peer.is_some_and(|peer| peer.link.is_ready())
    }

    fn ask_for_signatures(&mut self, now: Time, out: &mut Outbox) {
        let Some((draft, missing)) = self.peernet.muster.missing() else {
            return;
        };
        let draft = draft.clone();
        let message = Message::Peernet(Talk::Draft {
            peernet: draft.peernet(),
            version: draft.version(),
            sum: draft.sum(),
        });
        for id in missing {
            match id == self.me.id {
                true => self.begin_signing(id, draft.clone(), now, out),
                false => self.send_once(id, &message, out),
            }
        }
    }

    /// One's part in earlier rosters ends before the signature leaves.
    fn begin_signing(&mut self, to: NodeId, draft: Draft, now: Time, out: &mut Outbox) {
        let version = u32::try_from(draft.version()).unwrap_or(u32::MAX);
        self.on_lease(now, out, |lease, outputs| {
            lease.handle_signing(version, now, outputs);
        });
        self.peernet.restored.signed = self.peernet.restored.signed.max(version);
        let record = PeernetRecord::Signed { version };
        self.journal_then(record, Waiting::Sign(to, Box::new(draft)), out);
    }

    pub(super) fn handle_roster_signed(
        &mut self,
        (to, draft): (NodeId, &Draft),
        signature: [u8; 64],
        out: &mut Outbox,
    ) {
        let named = (draft.peernet(), draft.version());
        if to == self.me.id {
            return self.handle_signature(to, named, signature, out);
        }
        let message = Message::Peernet(Talk::Signed {
            peernet: named.0,
            version: named.1,
            signature,
        });
        self.send_once(to, &message, out);
    }

    fn handle_signature(
        &mut self,
        from: NodeId,
        named: (PeernetId, u64),
        signature: [u8; 64],
        out: &mut Outbox,
    ) {
        let muster = &mut self.peernet.muster;
        if let Some(bytes) = muster.handle_signature(from, named, signature) {
            self.verify(self.me.id, &bytes, out);
        }
    }

    /// Has signatures looked at beside the core.
    fn verify(&mut self, from: NodeId, bytes: &[u8], out: &mut Outbox) {
        self.work(Work::VerifyRoster(from), Job::VerifyRoster, bytes, out);
    }

    /// Takes a roster whose signatures were looked at; nothing where one is wrong.
    pub(super) fn handle_roster_verified(
        &mut self,
        from: NodeId,
        bytes: &[u8],
        now: Time,
        out: &mut Outbox,
    ) {
        let Ok(roster) = Unverified::read(bytes).map(Unverified::seal_verified) else {
            *self.totals.messages.entry("roster_refused").or_default() += 1;
            return;
        };
        let peernet = roster.peernet();
        match self.peernet.muster.take(roster) {
            Ok(Taken::Latest { new }) => self.enter_roster(new, now, out),
            Ok(Taken::Gap { after }) => {
                let message = Message::Peernet(Talk::Wanted { peernet, after });
                self.send_once(from, &message, out);
            }
            Ok(Taken::Nothing) => (),
            Err(why) => {
                let text = format!("a roster from {from} is not taken: {why}");
                notice(out, Severity::Warn, &text);
            }
        }
    }

    /// The last `new` versions are new here.
    fn enter_roster(&mut self, new: usize, now: Time, out: &mut Outbox) {
        let versions = self.peernet.muster.after(0);
        let versions: Vec<Roster> = versions[versions.len().saturating_sub(new)..].to_vec();
        // Strangers hear of it from a node that speaks in public.
        let may_hear = |id: &NodeId| self.is_exit() || self.peernet.is_member(*id);
        let linked = self.peers.keys().copied().filter(may_hear);
        let others: Vec<NodeId> = linked.collect();
        for roster in &versions {
            let mut bytes = Vec::new();
            roster.write(&mut bytes);
            let shown = out.bytes(&bytes);
            out.push(Output::Roster { bytes: shown });
            let record = Record::Peernet(PeernetRecord::Roster { bytes });
            self.journal(&record, out);
            for other in &others {
                self.send_once(*other, &roster_message(roster), out);
            }
        }
        self.take_seats(now, out);
        if let Some(roster) = versions.last() {
            let (peernet, version) = (roster.peernet(), roster.version());
            let text = format!(
                "peernet {peernet}, version {version} of its roster: {} nodes",
                roster.keys().len()
            );
            notice(out, Severity::Info, &text);
        }
        self.peernet.trouble.clear();
    }

    /// Gives the lease the seats of the latest roster.
    pub(super) fn take_seats(&mut self, now: Time, out: &mut Outbox) {
        let Some(roster) = self.peernet.muster.latest() else {
            return;
        };
        let seats = Seats {
            peernet: roster.peernet(),
            version: u32::try_from(roster.version()).unwrap_or(u32::MAX),
            members: roster.members().to_vec(),
        };
        let lease = self.peernet.lease.as_ref();
        if lease.is_some_and(|lease| lease.seats().peernet == seats.peernet) {
            self.on_lease(now, out, |lease, outputs| {
                lease.handle_roster(seats, now, outputs);
            });
        } else {
            let settings = lease::Settings {
                alone_after_lease: self.settings.open.alone_after_lease,
                aged_after: self.settings.open.voice_after,
            };
            let incarnation = u32::try_from(self.incarnation).unwrap_or(u32::MAX);
            let seed = self.random.next_u64();
            let restored = self.peernet.restored;
            self.peernet.lease = Some(Lease::new(
                self.me.id,
                settings,
                seats,
                restored,
                incarnation,
                seed,
                now,
            ));
            let standing = (self.peernet.on_since, self.peernet.may_speak);
            self.handle_on_channel(standing, now, out);
        }
        let linked = self.peernet.muster.others();
        let linked: Vec<NodeId> = linked.filter(|id| self.is_linked(*id)).collect();
        for id in linked {
            self.on_lease(now, out, |lease, outputs| {
                lease.handle_link(id, true, now, outputs);
            });
        }
    }

    pub(super) fn handle_peernet(
        &mut self,
        from: NodeId,
        message: Talk,
        now: Time,
        out: &mut Outbox,
    ) {
        let is_member = self.peernet.is_member(from);
        match message {
            Talk::Roster { bytes } if is_member => {
                let is_known = Unverified::read(&bytes).is_ok_and(|roster| {
                    let latest = self.peernet.muster.latest();
                    latest.is_some_and(|latest| {
                        latest.peernet() == roster.draft().peernet()
                            && latest.version() >= roster.draft().version()
                    })
                });
                if !is_known {
                    self.verify(from, &bytes, out);
                }
            }
            // What strangers say is looked at on the open side.
            Talk::Roster { bytes } => {
                let bytes = out.bytes(&bytes);
                out.push(Output::RosterHeard { from, bytes });
            }
            Talk::Wanted { peernet, after } => self.tell_versions(from, peernet, after, now, out),
            Talk::Draft { .. } | Talk::Signed { .. } | Talk::Lease { .. } if !is_member => {
                *self.totals.messages.entry("not_allowed").or_default() += 1;
            }
            Talk::Draft {
                peernet,
                version,
                sum,
            } => match self.peernet.muster.asked(peernet, version, &sum) {
                Ok(draft) => self.begin_signing(from, draft, now, out),
                Err(why) => self.tell_trouble(format!("{from} asks, but {why}"), out),
            },
            Talk::Signed {
                peernet,
                version,
                signature,
            } => self.handle_signature(from, (peernet, version), signature, out),
            Talk::Lease { bytes } => {
                let Ok(message) = lease::message::Message::read(&bytes) else {
                    *self.totals.messages.entry("malformed").or_default() += 1;
                    return;
                };
                self.on_lease(now, out, |lease, outputs| {
                    lease.handle_message(from, &message, now, outputs);
                });
            }
        }
    }

    /// Tells the versions after one, where they are public or the asker is on them.
    fn tell_versions(
        &mut self,
        to: NodeId,
        peernet: PeernetId,
        after: u64,
        now: Time,
        out: &mut Outbox,
    ) {
        let own = self.peernet.muster.latest().map(Roster::peernet);
        let may_hear = self.peernet.is_member(to) || self.is_exit();
        if own != Some(peernet) || !may_hear || now < self.peernet.tell_at {
            return;
        }
        self.peernet.tell_at = now + TELL_EVERY;
        let versions = self.peernet.muster.after(after).iter().take(TOLD_MAX);
        let messages: Vec<Message> = versions.map(roster_message).collect();
        for message in messages {
            self.send_once(to, &message, out);
        }
    }
}

/// What the owner sees and says.
impl Node {
    pub(super) fn exit_report(&self, now: Time) -> ExitReport {
        let peernet = &self.peernet;
        let lease = peernet.lease.as_ref();
        let roster = peernet.muster.latest();
        let members = roster.map(|roster| {
            let members = roster.members().iter();
            let member = members.map(|id| ExitMember {
                id: id.to_string(),
                name: match *id == self.me.id {
                    true => self.settings.name.clone(),
                    false => self
                        .peers
                        .get(id)
                        .map_or_else(String::new, |peer| peer.peer.name.clone()),
                },
                linked: *id == self.me.id || self.is_linked(*id),
            });
            member.collect()
        });
        let promised = lease.and_then(|lease| lease.promised(now));
        ExitReport {
            schema: SCHEMA,
            peernet: roster.map(|roster| roster.peernet().to_string()),
            version: roster.map(Roster::version),
            members: members.unwrap_or_default(),
            standing: lease.map(|lease| lease.standing(now).name().to_owned()),
            speaks: lease.is_some_and(|lease| lease.token(now).is_some()),
            exit: promised.map(|(to, ..)| to.to_string()),
            token: promised.map(|(_, token, _)| token.to_string()),
            trouble: Some(peernet.trouble.clone()).filter(|trouble| !trouble.is_empty()),
        }
    }

    /// Lets somebody else speak for a while.
    pub(super) fn order_release(&mut self, number: CommandNo, now: Time, out: &mut Outbox) {
        if self.peernet.token(now).is_none() {
            let why = "this node is not the exit; `expressnet exit show` tells who is";
            return answer(number, &Done::failed(why), out);
        }
        self.on_lease(now, out, |lease, outputs| {
            lease.handle_release(now, outputs);
        });
        let text = "the lease is given back; this node does not ask for it for 10 s";
        answer(number, &Done::ok(text), out);
    }
}

fn roster_message(roster: &Roster) -> Message {
    let mut bytes = Vec::new();
    roster.write(&mut bytes);
    Message::Peernet(Talk::Roster { bytes })
}
