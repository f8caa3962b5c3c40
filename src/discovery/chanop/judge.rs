//! The rules in their order, and what follows from a judgement.

use std::collections::BTreeMap;

use crate::discovery::chanop::decision::{Decision, Reason, Verdict};
use crate::discovery::chanop::proof::Challenge;
use crate::discovery::chanop::{Bound, Chanop, Member, Output, Place, Question};
use crate::model::ids::{NodeId, PeernetId};
use crate::model::time::{Span, Time};

impl Chanop {
    /// Tells whether a member may have voice.
    ///
    /// # Errors
    /// The first rule that it does not keep.
    pub fn judge(&self, place: &Place, now: Time) -> Result<(), Reason> {
        let member = self.members.get(place).ok_or(Reason::Departed)?;
        if member.flooded_until > now {
            return Err(Reason::Flood);
        }
        if let Some(doubt) = member.doubt.filter(|doubt| !doubt.may_pass()) {
            return Err(doubt);
        }
        let bound = member
            .bound
            .ok_or(member.doubt.unwrap_or(Reason::NotProven))?;
        let known = self.nodes.get(&bound.node).ok_or(Reason::NotProven)?;
        if known.is_troubled {
            return Err(Reason::KeyChanged);
        }
        if known.barred_until > now {
            return Err(Reason::Flood);
        }
        let (trust, min) = (known.trust, self.settings.trust_min);
        if trust < min {
            return Err(Reason::Trust { trust, min });
        }
        self.judge_lease(&bound, now)?;
        let missing = self.settings.voice_after.less(known.age(now));
        if missing.0 > 0 {
            let missing_s = missing.as_millis().div_ceil(1_000);
            return Err(Reason::Young { missing_s });
        }
        if let Some(doubt) = member.doubt {
            return Err(doubt);
        }
        self.judge_other_nicks(place, &bound)
    }

    /// Judges roster, lease and what was signed about them.
    fn judge_lease(&self, bound: &Bound, now: Time) -> Result<(), Reason> {
        // A node that only shows its key need not name its peernet; as exit it is asked again.
        let id = self
            .seated
            .get(&bound.node)
            .copied()
            .unwrap_or(bound.peernet);
        let peernet = self.peernets.get(&id).ok_or(Reason::NoRoster)?;
        let seats = peernet.seats.as_ref().ok_or(Reason::NoRoster)?;
        if seats.members.binary_search(&bound.node).is_err() {
            return Err(Reason::NotOnRoster);
        }
        if seats.is_forked {
            return Err(Reason::RosterForked);
        }
        if let Some(with) = peernet.shares_with {
            return Err(Reason::RosterShared { with });
        }
        let lease = peernet.lease.as_ref().ok_or(Reason::NoLease)?;
        if lease.holder != bound.node {
            let had_lease = bound.token.0 > 0 && bound.token < lease.token;
            return Err(match had_lease {
                true => Reason::LowerToken,
                false => Reason::NotExit,
            });
        }
        if now.since(lease.heard_at) >= Self::LEASE_SILENCE {
            return Err(Reason::LeaseExpired);
        }
        let is_current =
            bound.peernet == id && bound.token == lease.token && bound.roster_hash == seats.hash;
        is_current.then_some(()).ok_or(Reason::ProofOld)
    }

    /// One nick speaks for a peernet on a network.
    fn judge_other_nicks(&self, place: &Place, bound: &Bound) -> Result<(), Reason> {
        let is_other = |other: &&Place| other.network == place.network && *other != place;
        let has_voice = |other: &Place| {
            self.members
                .get(other)
                .is_some_and(|member| member.has_voice)
        };
        let mut others = self
            .members_of(bound.peernet)
            .into_iter()
            .filter_map(|node| self.nodes.get(&node))
            .filter_map(|known| known.places.iter().find(is_other));
        match others.any(has_voice) {
            true => Err(Reason::OtherNick),
            false => Ok(()),
        }
    }

    /// Brings what a member has in line with what it may have.
    pub(super) fn settle(&mut self, place: &Place, now: Time, out: &mut Vec<Output>) {
        self.expire_question(place, now);
        let judgement = self.judge(place, now);
        let Some(member) = self.members.get(place) else {
            return;
        };
        let (has_voice, wanted) = (member.has_voice, member.wanted);
        let is_wanted =
            |voice| wanted.is_some_and(|(wanted, until)| wanted == voice && until > now);
        match (judgement, has_voice) {
            (Ok(()), true) => self.decide(place, Verdict::Kept, None, now),
            (Ok(()), false) if is_wanted(true) => (),
            (Ok(()), false) => {
                if self.may_change(place, None, now) {
                    self.want(place, true, now);
                    let place = place.clone();
                    out.push(Output::Voice { place });
                }
            }
            (Err(why), true) if why.may_pass() && self.has_patience(place, why, now) => {
                self.ask(place, now, out);
            }
            (Err(_), true) if is_wanted(false) => (),
            (Err(why), true) => {
                if self.may_change(place, Some(why), now) {
                    self.want(place, false, now);
                    let place = place.clone();
                    out.push(Output::Devoice { place, why });
                }
            }
            (Err(why), false) => {
                self.decide(place, Verdict::Refused, Some(why), now);
                self.ask(place, now, out);
            }
        }
    }

    pub(super) fn settle_node(&mut self, node: NodeId, now: Time, out: &mut Vec<Output>) {
        let places = self.nodes.get(&node).map(|known| known.places.clone());
        for place in places.unwrap_or_default() {
            self.settle(&place, now, out);
        }
    }

    /// Looks at the other members of a node's peernet: one of them may speak now.
    pub(super) fn settle_fellows(
        &mut self,
        node: Option<NodeId>,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let peernet = node.and_then(|node| self.seated.get(&node).copied());
        if let Some(peernet) = peernet {
            self.settle_peernet(peernet, now, out);
        }
    }

    pub(super) fn settle_peernet(&mut self, peernet: PeernetId, now: Time, out: &mut Vec<Output>) {
        for node in self.members_of(peernet) {
            self.settle_node(node, now, out);
        }
    }

    pub(super) fn members_of(&self, peernet: PeernetId) -> Vec<NodeId> {
        let peernet = self.peernets.get(&peernet);
        let seats = peernet.and_then(|peernet| peernet.seats.as_ref());
        seats.map_or_else(Vec::new, |seats| seats.members.clone())
    }

    /// Finds out which rosters share a member, and looks again at those where that is news.
    pub(super) fn compare_rosters(&mut self, now: Time, out: &mut Vec<Output>) {
        let mut seats: Vec<(NodeId, PeernetId)> = Vec::new();
        for (id, peernet) in &self.peernets {
            let members = peernet.seats.iter().flat_map(|seats| &seats.members);
            seats.extend(members.map(|member| (*member, *id)));
        }
        seats.sort_unstable();
        self.seated = seats.iter().copied().collect();
        let mut shared = BTreeMap::new();
        for pair in seats.windows(2) {
            if let [(one, first), (other, second)] = pair
                && one == other
                && first != second
            {
                shared.insert(*first, *second);
                shared.insert(*second, *first);
            }
        }
        let mut changed = Vec::new();
        for (id, peernet) in &mut self.peernets {
            let with = shared.get(id).copied();
            if peernet.shares_with.is_some() != with.is_some() {
                changed.push(*id);
            }
            peernet.shares_with = with;
        }
        for id in changed {
            self.settle_peernet(id, now, out);
        }
    }

    /// Logs a decision, unless it is what was decided last about this member.
    pub(super) fn decide(
        &mut self,
        place: &Place,
        verdict: Verdict,
        reason: Option<Reason>,
        now: Time,
    ) {
        let Some(member) = self.members.get_mut(place) else {
            return;
        };
        let is_same = member.last.is_some_and(|(last, why)| {
            let is_like = match (why, reason) {
                (Some(why), Some(reason)) => why.is_like(reason),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            let follows = matches!(
                (last, verdict),
                (Verdict::Voiced, Verdict::Kept) | (Verdict::Devoiced, Verdict::Refused)
            );
            is_like && (last == verdict || follows)
        });
        if is_same {
            return;
        }
        member.last = Some((verdict, reason));
        let proven = member.bound.map(|bound| bound.node);
        self.log.push(Decision {
            at: now,
            place: place.clone(),
            node: proven.or(member.claim),
            is_proven: proven.is_some(),
            verdict,
            reason,
        });
    }

    /// Tells whether a voice may be given (no reason) or taken now. What another operator did is
    /// reversed after a wait, three times an hour at most: then it is left as it is.
    fn may_change(&mut self, place: &Place, why: Option<Reason>, now: Time) -> bool {
        let verdict = match why {
            None => Verdict::Voiced,
            Some(_) => Verdict::Devoiced,
        };
        if self
            .members
            .get(place)
            .is_some_and(|member| member.is_others)
        {
            let has_room =
                self.quarrels.len() < Self::QUARRELS_MAX || self.quarrels.contains_key(place);
            if !has_room {
                self.decide(place, Verdict::LeftAlone, why, now);
                return false;
            }
            let reversed = &mut self.quarrels.entry(place.clone()).or_default().reversed;
            while reversed
                .front()
                .is_some_and(|at| now.since(*at) >= Self::HOUR)
            {
                reversed.pop_front();
            }
            if reversed.len() >= Self::REVERSALS_MAX {
                self.decide(place, Verdict::LeftAlone, why, now);
                return false;
            }
            let times = 1 << reversed.len().saturating_sub(1);
            if reversed
                .back()
                .is_some_and(|at| now.since(*at) < Self::REVERSAL_AFTER.times(times))
            {
                return false;
            }
            reversed.push_back(now);
        }
        self.decide(place, verdict, why, now);
        true
    }

    fn want(&mut self, place: &Place, voice: bool, now: Time) {
        if let Some(member) = self.members.get_mut(place) {
            member.wanted = Some((voice, now + Self::MODE_WITHIN));
        }
    }

    /// Asks a member for its key, where that could change something and there is time for it.
    fn ask(&mut self, place: &Place, now: Time, out: &mut Vec<Output>) {
        let Some(member) = self.members.get(place) else {
            return;
        };
        let is_due = member.question.is_none() && now >= member.ask_at;
        let credit = Self::ASK_EVERY.times(Self::ASK_BURST - 1);
        if !is_due || !self.is_of_use(place, member, now) || self.asked_until > now + credit {
            return;
        }
        self.asked_until = self.asked_until.max(now) + Self::ASK_EVERY;
        self.questions += 1;
        let challenge = Challenge::new(&self.secret, place, self.questions);
        if let Some(member) = self.members.get_mut(place) {
            let until = now + Self::ANSWER_WITHIN;
            member.question = Some(Question { challenge, until });
        }
        let place = place.clone();
        out.push(Output::Challenge { place, challenge });
    }

    /// Tells whether a proof would change anything about a member.
    fn is_of_use(&self, place: &Place, member: &Member, now: Time) -> bool {
        if member.bound.is_none() {
            let is_node = member.claim.is_some() || member.has_voice;
            let moved = member.doubt == Some(Reason::Moved);
            return is_node && (!moved || member.has_voice);
        }
        let is_curable = |why| {
            matches!(
                why,
                Reason::ProofOld | Reason::NickChanged | Reason::NoAnswer | Reason::ProofWrong
            )
        };
        self.judge(place, now).is_err_and(is_curable)
    }

    /// Tells whether a voice is let stand a while longer. A proof has its own time, which begins when it is asked
    /// for; roster and lease must be heard of within as much.
    fn has_patience(&mut self, place: &Place, why: Reason, now: Time) -> bool {
        let Some(member) = self.members.get_mut(place) else {
            return false;
        };
        if !matches!(why, Reason::NoRoster | Reason::NoLease) {
            member.unheard_until = None;
            return true;
        }
        let until = member
            .unheard_until
            .get_or_insert(now + Self::ANSWER_WITHIN);
        now < *until
    }

    /// Ends a question that was not answered in time.
    fn expire_question(&mut self, place: &Place, now: Time) {
        let Some(member) = self.members.get_mut(place) else {
            return;
        };
        if member
            .question
            .is_some_and(|question| now >= question.until)
        {
            member.question = None;
            member.doubt = match member.doubt {
                Some(Reason::NickChanged) | None if member.has_voice => Some(Reason::NoAnswer),
                doubt => doubt,
            };
            self.put_off(place, now);
        }
    }

    /// Leaves a nick in peace, longer each time.
    pub(super) fn put_off(&mut self, place: &Place, now: Time) {
        if let Some(member) = self.members.get_mut(place) {
            let wait = Self::ASK_AGAIN_AFTER.times(1 << member.unanswered.min(8));
            member.unanswered = member.unanswered.saturating_add(1);
            member.ask_at = now + wait.min(Span::DAY);
        }
    }
}
