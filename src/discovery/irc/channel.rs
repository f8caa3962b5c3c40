//! Who is on a channel, with voice and operator state, as far as its server tells.

use std::collections::BTreeMap;

use crate::discovery::irc::name::{CaseMapping, Folded, is_nick};
use crate::model::time::Time;

/// Members that are kept. Whoever comes beyond them is counted and not known.
pub const MEMBERS_MAX: usize = 16_384;
/// Bytes of a realname that are kept; a UUID has 36.
pub const REALNAME_LEN_MAX: usize = 128;

/// One nick on the channel. It says nothing about who that is: nicks are lost, taken and forged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// As the server spells it.
    pub nick: String,
    pub has_voice: bool,
    pub is_operator: bool,
    /// Since when it is seen here.
    pub seen_at: Time,
    /// What `WHO` said, cut to [`REALNAME_LEN_MAX`].
    pub realname: Option<String>,
}

/// What the modes of members are on one server (`PREFIX` and `CHANMODES` of its `005`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modes {
    /// Letter and sign of each, the highest rank first.
    ranks: Vec<(char, char)>,
    /// Letters that always have a parameter, and those that have one only when set.
    with_parameter: String,
    with_parameter_when_set: String,
}

impl Default for Modes {
    /// What servers have that say nothing (RFC 2811, 4).
    fn default() -> Self {
        Self {
            ranks: vec![('o', '@'), ('v', '+')],
            with_parameter: "beIk".to_owned(),
            with_parameter_when_set: "l".to_owned(),
        }
    }
}

impl Modes {
    /// Ranks that a server may have.
    const RANKS_MAX: usize = 16;

    /// Takes `PREFIX=(ov)@+`; what is no such value changes nothing.
    pub fn set_prefix(&mut self, value: &str) {
        let parts = value
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'));
        if let Some((letters, signs)) = parts
            && letters.chars().count() == signs.chars().count()
        {
            self.ranks = letters
                .chars()
                .zip(signs.chars())
                .take(Self::RANKS_MAX)
                .collect();
        }
    }

    /// Takes `CHANMODES=A,B,C,D`: A and B always have a parameter, C has one when it is set.
    pub fn set_channel_modes(&mut self, value: &str) {
        let mut kinds = value.split(',');
        let mut kind = || -> String { kinds.next().unwrap_or_default().chars().take(64).collect() };
        let (lists, always, when_set) = (kind(), kind(), kind());
        self.with_parameter = lists + &always;
        self.with_parameter_when_set = when_set;
    }

    /// Splits the signs from a nick as `NAMES` writes it; returns the letters of its ranks.
    fn split<'n>(&self, name: &'n str) -> (Vec<char>, &'n str) {
        let sign = |letter: char| self.ranks.iter().find(|(_, sign)| *sign == letter);
        let nick = name.trim_start_matches(|letter| sign(letter).is_some());
        let signs = name.get(..name.len() - nick.len()).unwrap_or_default();
        let letters = signs.chars().filter_map(|letter| Some(sign(letter)?.0));
        (letters.collect(), nick)
    }

    /// Tells whether who has this rank may do what an operator may: every rank from `o` on.
    fn is_operator(&self, letter: char) -> bool {
        let place = |letter: char| self.ranks.iter().position(|(rank, _)| *rank == letter);
        match (place(letter), place('o')) {
            (Some(at), Some(operator)) => at <= operator,
            (_, None) | (None, _) => false,
        }
    }

    fn has_parameter(&self, letter: char, is_set: bool) -> bool {
        self.ranks.iter().any(|(rank, _)| *rank == letter)
            || self.with_parameter.contains(letter)
            || (is_set && self.with_parameter_when_set.contains(letter))
    }
}

/// The channel as this connection sees it.
#[derive(Debug, Default)]
pub struct Channel {
    members: BTreeMap<Folded, Member>,
    mapping: CaseMapping,
    modes: Modes,
    /// Who came when all places were taken.
    unknown: u64,
    /// Only who has voice may speak (`+m`).
    is_moderated: bool,
}

impl Channel {
    /// Forgets everything: the connection is another one.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets who is there: their names come anew.
    pub fn clear_members(&mut self) {
        self.members.clear();
        self.unknown = 0;
    }

    /// Takes what the server says about names. Members known so far are compared anew.
    pub fn set_mapping(&mut self, mapping: CaseMapping) {
        self.mapping = mapping;
        let members = std::mem::take(&mut self.members);
        let folded = |member: Member| (mapping.fold(&member.nick), member);
        self.members = members.into_values().map(folded).collect();
    }

    pub const fn mapping(&self) -> CaseMapping {
        self.mapping
    }

    pub const fn modes_mut(&mut self) -> &mut Modes {
        &mut self.modes
    }

    pub const fn is_moderated(&self) -> bool {
        self.is_moderated
    }

    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    pub fn member(&self, nick: &str) -> Option<&Member> {
        self.members.get(&self.mapping.fold(nick))
    }

    /// Returns how many there are beyond [`MEMBERS_MAX`] that are not known.
    pub const fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Takes one name of a `NAMES` reply, with the signs of its ranks.
    pub fn handle_name(&mut self, name: &str, now: Time) {
        let (letters, nick) = self.modes.split(name);
        // Some servers write whole addresses there.
        let nick = nick.split('!').next().unwrap_or_default();
        let has_voice = letters.contains(&'v');
        let is_operator = letters.iter().any(|letter| self.modes.is_operator(*letter));
        if let Some(member) = self.enter(nick, now) {
            (member.has_voice, member.is_operator) = (has_voice, is_operator);
        }
    }

    pub fn handle_join(&mut self, nick: &str, now: Time) {
        self.members.remove(&self.mapping.fold(nick));
        self.enter(nick, now);
    }

    pub fn handle_gone(&mut self, nick: &str) -> Option<Member> {
        self.members.remove(&self.mapping.fold(nick))
    }

    /// Takes a change of nick: whoever it is keeps rank and age.
    pub fn handle_nick(&mut self, from: &str, to: &str) {
        if let Some(mut member) = self.handle_gone(from)
            && is_nick(to)
        {
            to.clone_into(&mut member.nick);
            self.members.insert(self.mapping.fold(to), member);
        }
    }

    pub fn handle_realname(&mut self, nick: &str, realname: &str) {
        if let Some(member) = self.members.get_mut(&self.mapping.fold(nick)) {
            let kept = realname
                .char_indices()
                .map(|(at, letter)| at + letter.len_utf8());
            let len = kept.take_while(|end| *end <= REALNAME_LEN_MAX).last();
            member.realname = Some(realname[..len.unwrap_or(0)].to_owned());
        }
    }

    /// Takes the modes and parameters of a `MODE` line behind the channel's name.
    pub fn handle_modes<'w>(&mut self, mut words: impl Iterator<Item = &'w str>) {
        let Some(letters) = words.next() else {
            return;
        };
        let mut is_set = true;
        for letter in letters.chars() {
            match letter {
                '+' | '-' => is_set = letter == '+',
                _ => {
                    let parameter = match self.modes.has_parameter(letter, is_set) {
                        true => words.next(),
                        false => None,
                    };
                    self.handle_mode(letter, is_set, parameter);
                }
            }
        }
    }

    fn handle_mode(&mut self, letter: char, is_set: bool, parameter: Option<&str>) {
        if letter == 'm' {
            self.is_moderated = is_set;
        }
        let is_operator = self.modes.is_operator(letter);
        let nick = parameter.map(|nick| self.mapping.fold(nick));
        let Some(member) = nick.and_then(|nick| self.members.get_mut(&nick)) else {
            return;
        };
        if letter == 'v' {
            member.has_voice = is_set;
        } else if is_operator {
            member.is_operator = is_set;
        }
    }

    fn enter(&mut self, nick: &str, now: Time) -> Option<&mut Member> {
        let name = self.mapping.fold(nick);
        if !is_nick(nick) {
            return None;
        }
        if self.members.len() >= MEMBERS_MAX && !self.members.contains_key(&name) {
            self.unknown += 1;
            return None;
        }
        let member = || Member {
            nick: nick.to_owned(),
            has_voice: false,
            is_operator: false,
            seen_at: now,
            realname: None,
        };
        Some(self.members.entry(name).or_insert_with(member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(names: &str) -> Channel {
        let mut channel = Channel::default();
        for name in names.split(' ') {
            channel.handle_name(name, Time(1));
        }
        channel
    }

    fn modes(channel: &mut Channel, line: &str) {
        channel.handle_modes(line.split(' '));
    }

    fn ranks(channel: &Channel, nick: &str) -> (bool, bool) {
        let member = channel.member(nick).unwrap();
        (member.is_operator, member.has_voice)
    }

    #[test]
    fn names_and_modes_say_who_has_voice() {
        let mut channel = channel("@op +talks @+both none");
        assert_eq!(ranks(&channel, "op"), (true, false));
        assert_eq!(ranks(&channel, "talks"), (false, true));
        assert_eq!(ranks(&channel, "BOTH"), (true, true));
        modes(&mut channel, "+v-o+bl none op *!*@host 30");
        assert_eq!(ranks(&channel, "none"), (false, true));
        assert_eq!(ranks(&channel, "op"), (false, false));
        modes(&mut channel, "-lv+mk none key");
        assert_eq!(ranks(&channel, "none"), (false, false));
        assert!(channel.is_moderated());
        modes(&mut channel, "+o-m+v nobody talks");
        assert!(!channel.is_moderated());
        assert_eq!(channel.members().len(), 4);
    }

    #[test]
    fn parameters_are_counted_as_the_server_says() {
        let mut channel = channel("one two");
        channel.modes_mut().set_prefix("(qaohv)~&@%+");
        channel
            .modes_mut()
            .set_channel_modes("IXbegw,k,FHJLWdfjlx,ADKMNOP");
        modes(&mut channel, "+Xjv param 5:3 one");
        assert_eq!(ranks(&channel, "one"), (false, true));
        modes(&mut channel, "+q-j+h two one");
        assert_eq!(ranks(&channel, "two"), (true, false));
        assert_eq!(
            ranks(&channel, "one"),
            (false, true),
            "half an operator is none"
        );
        channel.handle_name("~%three", Time(2));
        assert_eq!(ranks(&channel, "three"), (true, false));
        for broken in ["(ov)@", "ov", ""] {
            channel.modes_mut().set_prefix(broken);
        }
        modes(&mut channel, "+v three");
        assert_eq!(ranks(&channel, "three"), (true, true));
    }

    #[test]
    fn a_nick_takes_its_rank_along_and_leaves_none_behind() {
        let mut channel = channel("@op Other[1]");
        channel.handle_realname("op", "a".repeat(500).as_str());
        assert_eq!(
            channel
                .member("op")
                .unwrap()
                .realname
                .as_ref()
                .unwrap()
                .len(),
            REALNAME_LEN_MAX
        );
        channel.handle_nick("op", "Chief");
        assert_eq!(ranks(&channel, "chief"), (true, false));
        assert!(channel.member("op").is_none());
        channel.handle_join("chief", Time(9));
        assert_eq!(
            ranks(&channel, "chief"),
            (false, false),
            "somebody else by that nick"
        );
        assert_eq!(channel.member("chief").unwrap().seen_at, Time(9));
        assert!(channel.member("other{1}").is_some());
        channel.set_mapping(CaseMapping::Ascii);
        assert!(channel.member("other{1}").is_none());
        assert!(channel.handle_gone("OTHER[1]").is_some());
        channel.handle_join("not a nick", Time(9));
        assert_eq!(channel.members().len(), 1);
    }

    #[test]
    fn whoever_comes_beyond_the_limit_is_counted_and_not_known() {
        let mut channel = Channel::default();
        for count in 0..MEMBERS_MAX + 5 {
            channel.handle_name(&format!("n{count}"), Time(1));
        }
        assert_eq!(
            (channel.members().len(), channel.unknown()),
            (MEMBERS_MAX, 5)
        );
        channel.handle_name("+n3", Time(2));
        assert_eq!(ranks(&channel, "n3"), (false, true));
    }

    #[test]
    fn a_realname_is_cut_between_letters() {
        let mut channel = channel("a");
        channel.handle_realname("a", &"\u{e9}".repeat(100));
        let realname = channel.member("a").unwrap().realname.clone().unwrap();
        assert_eq!(realname, "\u{e9}".repeat(64));
    }
}
