//! How the nodes of one owner come to have a roster: each asks the others to sign the list that it
//! has, and each signs just the list that it has itself.
//!
//! ```text
//! listed ─▶ draft ─ sum ─▶ the others: same list? ─ signature ─▶ all of them ─▶ verified ─▶ roster
//! ```
//! What is to be signed follows from the list, so two that gather at a time gather the same. A node
//! that was a peernet of its own joins a larger one: its own ends, and is forgotten by others after
//! a day.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::membership::roster::{Draft, DraftError, MEMBERS_MAX, Roster, SuccessionError};
use crate::model::ids::{NodeId, PeernetId};

/// Versions of one's own peernet that are kept, to tell them to others from the first on.
pub const VERSIONS_MAX: usize = 256;

/// The list of this node, and what came of it.
#[derive(Debug)]
pub struct Muster {
    own: [u8; 32],
    /// Everybody who belongs here, this node too.
    wanted: BTreeMap<NodeId, [u8; 32]>,
    /// The own peernet's rosters from the first to the latest; empty before there is one.
    versions: Vec<Roster>,
    /// Those of another peernet that others say this node is in.
    elsewhere: Vec<Roster>,
    gathering: Option<Gathering>,
}

#[derive(Debug)]
struct Gathering {
    draft: Draft,
    signatures: BTreeMap<[u8; 32], [u8; 64]>,
}

/// Why nothing is signed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("it lists other nodes than this one does")]
    List,
    #[error("this node belongs to another peernet")]
    Peernet,
    #[error("the peernet has had its last version here")]
    Full,
    #[error(transparent)]
    Draft(#[from] DraftError),
}

/// What became of a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is the own peernet's latest now; so many versions at the end of the list are new.
    Latest { new: usize },
    /// It is known, or one of another peernet that may yet become ours.
    Nothing,
    /// Those after this version are missing.
    Gap { after: u64 },
}

/// Why a roster is not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TakeError {
    #[error(transparent)]
    Succession(#[from] SuccessionError),
    #[error("the peernet has had its last version here")]
    Full,
}

impl Muster {
    /// Begins with what the journal has.
    pub fn new(id: NodeId, own: [u8; 32], versions: Vec<Roster>) -> Self {
        Self {
            own,
            wanted: BTreeMap::from([(id, own)]),
            versions,
            elsewhere: Vec::new(),
            gathering: None,
        }
    }

    /// Lists a node of this owner; false where there are as many as a roster can have.
    pub fn list(&mut self, id: NodeId, key: [u8; 32]) -> bool {
        let has_room = self.wanted.len() < MEMBERS_MAX || self.wanted.contains_key(&id);
        if has_room {
            self.wanted.insert(id, key);
        }
        has_room
    }

    pub fn strike_off(&mut self, id: NodeId) {
        self.wanted.remove(&id);
    }

    pub fn latest(&self) -> Option<&Roster> {
        self.versions.last()
    }

    /// Returns the versions after this one, of one's own peernet.
    pub fn after(&self, version: u64) -> &[Roster] {
        let known = usize::try_from(version).unwrap_or(usize::MAX);
        self.versions.get(known..).unwrap_or_default()
    }

    /// Returns the others who are listed.
    pub fn others(&self) -> impl Iterator<Item = NodeId> + '_ {
        let others = self.wanted.iter().filter(|(_, key)| **key != self.own);
        others.map(|(id, _)| *id)
    }

    /// Returns what is to be signed; nothing where the latest roster is that of the list.
    ///
    /// # Errors
    /// Why there cannot be such a roster.
    pub fn draft(&self) -> Result<Option<Draft>, Refusal> {
        let keys = self.keys();
        match self.latest() {
            None => Ok(Some(Draft::found(&keys)?)),
            Some(latest) if latest.keys() == keys => Ok(None),
            Some(_) if self.versions.len() >= VERSIONS_MAX => Err(Refusal::Full),
            Some(latest) => Ok(Some(Draft::succeed(latest, &keys)?)),
        }
    }

    /// Returns the draft that another node asks to have signed.
    ///
    /// # Errors
    /// It is not what this node would have drafted.
    pub fn asked(
        &self,
        peernet: PeernetId,
        version: u64,
        sum: &[u8; 32],
    ) -> Result<Draft, Refusal> {
        let draft = match self.latest() {
            Some(latest) if latest.peernet() == peernet => {
                let follows = version == latest.version() + 1;
                let same = self.draft()?.filter(|_| follows);
                same.ok_or(Refusal::List)?
            }
            Some(_) if !self.may_join(peernet, version) => return Err(Refusal::Peernet),
            Some(_) | None => Draft::join(peernet, version, &self.keys())?,
        };
        match draft.sum() == *sum {
            true => Ok(draft),
            false => Err(Refusal::List),
        }
    }

    /// Begins to gather signatures under a draft, or goes on.
    pub fn gather(&mut self, draft: Draft) {
        let is_same = self.gathering.as_ref().is_some_and(|it| it.draft == draft);
        if !is_same {
            let signatures = BTreeMap::new();
            self.gathering = Some(Gathering { draft, signatures });
        }
    }

    /// Returns what is being gathered, and who has not signed it.
    pub fn missing(&self) -> Option<(&Draft, Vec<NodeId>)> {
        let gathering = self.gathering.as_ref()?;
        let missing = self.wanted.iter();
        let missing = missing.filter(|(_, key)| !gathering.signatures.contains_key(*key));
        Some((&gathering.draft, missing.map(|(id, _)| *id).collect()))
    }

    /// Takes a signature under what is being gathered. With the last one returns the roster's bytes,
    /// whose signatures nobody has looked at, and begins anew: where one is wrong all are asked again.
    pub fn handle_signature(
        &mut self,
        from: NodeId,
        (peernet, version): (PeernetId, u64),
        signature: [u8; 64],
    ) -> Option<Vec<u8>> {
        let key = *self.wanted.get(&from)?;
        let gathering = self.gathering.as_mut()?;
        let draft = &gathering.draft;
        if draft.peernet() != peernet || draft.version() != version {
            return None;
        }
        gathering.signatures.insert(key, signature);
        let all = draft.keys().iter().map(|key| gathering.signatures.get(key));
        let all: Vec<[u8; 64]> = all.map(Option::<&_>::copied).collect::<Option<_>>()?;
        let mut bytes = Vec::new();
        draft.write_unverified(&all, &mut bytes);
        self.gathering = None;
        Some(bytes)
    }

    /// Takes a roster that everybody on it has signed.
    ///
    /// # Errors
    /// It does not follow from the one before, or there have been too many.
    pub fn take(&mut self, roster: Roster) -> Result<Taken, TakeError> {
        let is_own = self.latest().map(Roster::peernet) == Some(roster.peernet());
        let versions = match is_own {
            true => &mut self.versions,
            false => &mut self.elsewhere,
        };
        if !is_own && roster.version() == 1 {
            versions.clear();
        }
        match versions.last() {
            Some(latest) if latest.peernet() == roster.peernet() => {
                if roster.version() <= latest.version() {
                    return Ok(Taken::Nothing);
                }
                if roster.version() > latest.version() + 1 {
                    let after = latest.version();
                    return Ok(Taken::Gap { after });
                }
                roster.succeeds(latest)?;
            }
            Some(_) | None if roster.version() == 1 => (),
            Some(_) | None => return Ok(Taken::Gap { after: 0 }),
        }
        if versions.len() >= VERSIONS_MAX {
            return Err(TakeError::Full);
        }
        versions.push(roster);
        Ok(match is_own {
            true => Taken::Latest { new: 1 },
            false => self.join(),
        })
    }

    /// Moves to the other peernet, if this node is in it with everybody whom it lists.
    fn join(&mut self) -> Taken {
        let Some(roster) = self.elsewhere.last() else {
            return Taken::Nothing;
        };
        let is_ours = roster.keys() == self.keys();
        let (peernet, version) = (roster.peernet(), roster.version());
        if !is_ours || !(self.versions.is_empty() || self.may_join(peernet, version)) {
            return Taken::Nothing;
        }
        self.versions = std::mem::take(&mut self.elsewhere);
        self.gathering = None;
        let new = self.versions.len();
        Taken::Latest { new }
    }

    /// Tells whether a node that has a peernet of its own leaves it for this one: of two such nodes
    /// only one may, and who founds one together with others founds none while it has its own.
    fn may_join(&self, peernet: PeernetId, version: u64) -> bool {
        let is_alone = |latest: &Roster| latest.keys() == [self.own] && peernet < latest.peernet();
        version > 1 && self.latest().is_some_and(is_alone)
    }

    fn keys(&self) -> Vec<[u8; 32]> {
        let mut keys: Vec<[u8; 32]> = self.wanted.values().copied().collect();
        keys.sort_unstable();
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::roster::Unverified;
    use crate::model::key::pin_of;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    struct Member {
        pair: Ed25519KeyPair,
        key: [u8; 32],
        muster: Muster,
    }

    fn id(key: &[u8; 32]) -> NodeId {
        pin_of(key).node_id()
    }

    fn members(count: u8) -> Vec<Member> {
        let member = |seed: u8| {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
            let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
            let muster = Muster::new(id(&key), key, Vec::new());
            Member { pair, key, muster }
        };
        (1..=count).map(member).collect()
    }

    fn list(members: &mut [Member], who: std::ops::Range<usize>) {
        let keys: Vec<[u8; 32]> = members[who.clone()].iter().map(|one| one.key).collect();
        for member in &mut members[who] {
            for key in &keys {
                assert!(member.muster.list(id(key), *key));
            }
        }
    }

    /// Lets `by` gather from everybody in `who`; returns who refused.
    fn gather(members: &mut [Member], by: usize, who: std::ops::Range<usize>) -> Vec<Refusal> {
        let draft = members[by].muster.draft().unwrap().unwrap();
        members[by].muster.gather(draft.clone());
        let named = (draft.peernet(), draft.version());
        let mut refused = Vec::new();
        let mut whole = None;
        for at in who.clone() {
            let asked = members[at].muster.asked(named.0, named.1, &draft.sum());
            match asked {
                Ok(same) => {
                    let signature = members[at].pair.sign(&same.statement());
                    let signature = signature.as_ref().try_into().unwrap();
                    let from = id(&members[at].key);
                    let muster = &mut members[by].muster;
                    whole = muster.handle_signature(from, named, signature);
                }
                Err(why) => refused.push(why),
            }
        }
        if let Some(bytes) = whole {
            let roster = Unverified::read(&bytes).unwrap().verify().unwrap();
            let mut told = members[by].muster.after(0).to_vec();
            told.push(roster);
            for member in &mut members[who] {
                for roster in &told {
                    member.muster.take(roster.clone()).unwrap();
                }
            }
        }
        refused
    }

    fn version(member: &Member) -> (u64, usize) {
        let latest = member.muster.latest().unwrap();
        (latest.version(), latest.keys().len())
    }

    #[test]
    fn those_who_list_each_other_found_a_peernet_and_change_it() {
        let mut members = members(4);
        list(&mut members, 0..3);
        assert_eq!(gather(&mut members, 1, 0..3), []);
        for member in &members[..3] {
            assert_eq!(version(member), (1, 3));
            assert_eq!(member.muster.draft(), Ok(None));
        }
        list(&mut members, 0..4);
        assert_eq!(gather(&mut members, 2, 0..4), []);
        for member in &members {
            assert_eq!(version(member), (2, 4));
            assert_eq!(member.muster.after(0).len(), 2);
        }
    }

    #[test]
    fn who_lists_others_signs_nothing() {
        let mut members = members(3);
        list(&mut members, 0..3);
        let gone = id(&members[2].key);
        members[1].muster.strike_off(gone);
        assert_eq!(gather(&mut members, 0, 0..3), [Refusal::List]);
        assert!(
            members
                .iter()
                .all(|member| member.muster.latest().is_none())
        );
        let (draft, missing) = members[0].muster.missing().unwrap();
        assert_eq!(missing, [id(&members[1].key)]);
        assert_eq!(draft.keys().len(), 3);
    }

    #[test]
    fn of_two_that_were_alone_one_joins_the_other() {
        let mut members = members(2);
        for at in 0..2 {
            assert_eq!(gather(&mut members, at, at..at + 1), []);
            assert_eq!(version(&members[at]), (1, 1));
        }
        list(&mut members, 0..2);
        let peernet = |member: &Member| member.muster.latest().unwrap().peernet();
        let lower = usize::from(peernet(&members[1]) < peernet(&members[0]));
        assert_eq!(gather(&mut members, 1 - lower, 0..2), [Refusal::Peernet]);
        assert_eq!(gather(&mut members, lower, 0..2), []);
        assert_eq!(peernet(&members[0]), peernet(&members[1]));
        assert_eq!(version(&members[0]), (2, 2));
    }

    #[test]
    fn a_newcomer_joins_and_nobody_founds_beside_it() {
        let mut members = members(2);
        gather(&mut members, 0, 0..1);
        list(&mut members, 0..2);
        assert_eq!(gather(&mut members, 1, 0..2), [Refusal::Peernet]);
        assert_eq!(gather(&mut members, 0, 0..2), []);
        assert_eq!(version(&members[1]), (2, 2));
    }

    #[test]
    fn a_gap_is_named() {
        let mut members = members(3);
        list(&mut members, 0..2);
        gather(&mut members, 0, 0..2);
        list(&mut members, 0..3);
        gather(&mut members, 0, 0..3);
        let second = members[0].muster.after(1)[0].clone();
        let key = members[2].key;
        let mut late = Muster::new(id(&key), key, Vec::new());
        assert_eq!(late.take(second), Ok(Taken::Gap { after: 0 }));
        assert!(late.latest().is_none());
    }
}
