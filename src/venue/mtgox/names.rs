//! Names the venue makes up: order ids, stamps, channels.

use aws_lc_rs::{digest, hmac};
use uuid::{Builder, Uuid};

use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::time::Time;
use crate::venue::exchange::AccountNo;

/// Makes UUIDs that look random from counters, the same ones for the same seed.
#[derive(Debug)]
pub(super) struct Names(hmac::Key);

impl Names {
    pub(super) fn new(seed: u64) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes()))
    }

    pub(super) fn uuid(&self, kind: &str, number: u64) -> Uuid {
        let named = [kind.as_bytes(), &number.to_be_bytes()].concat();
        uuid_of(hmac::sign(&self.0, &named).as_ref())
    }

    /// Makes the key into an account's private stream.
    pub(super) fn idkey(&self, number: u64) -> String {
        let tag = hmac::sign(&self.0, &[b"idkey", &number.to_be_bytes()[..]].concat());
        data_encoding::BASE64.encode(tag.as_ref())
    }
}

/// Gives out microseconds since 1970, none of them twice: trade ids, priorities, stamps of rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamps(u64);

impl Stamps {
    pub(super) fn next(&mut self, now: Time) -> u64 {
        self.0 = (now.0 / 1_000).max(self.0 + 1);
        self.0
    }
}

/// What a stream can listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Channel {
    Depth(Pair),
    Lag,
    Private(AccountNo),
    Ticker(Pair),
    /// Trades of one item in every currency.
    Trades(Currency),
}

/// The channels whose UUIDs are known.
const KNOWN: [(&str, u128); 8] = [
    ("trade.BTC", 0xdbf1_dee9_4f2e_4a08_8cb7_7489_19a7_1b21),
    ("ticker.BTCUSD", 0xd5f0_6780_30a8_4a48_a2f8_7ed1_81b4_a13f),
    ("depth.BTCUSD", 0x24e6_7e0d_1cad_4cc0_9e7a_f852_3ef4_60fe),
    ("trade.lag", 0x8517_4711_be64_4de1_b783_0628_995d_7914),
    ("depth.BTCEUR", 0x057b_dc6b_9f9c_44e4_bc1a_363e_4443_ce87),
    ("depth.BTCJPY", 0x9448_3e07_d797_4dd4_bc72_dc98_f1fd_39e3),
    ("ticker.BTCEUR", 0x0bb6_da8b_f6c6_4ecf_8f0d_a544_ad94_8c15),
    ("ticker.BTCJPY", 0xa39a_e532_6a3c_4835_af8c_dda5_4cb4_874e),
];

impl Channel {
    /// Returns the public name, which a private channel does not have.
    pub(super) fn name(self) -> Option<String> {
        match self {
            Self::Depth(pair) => Some(format!("depth.{}{}", pair.base, pair.quote)),
            Self::Lag => Some("trade.lag".to_owned()),
            Self::Private(_) => None,
            Self::Ticker(pair) => Some(format!("ticker.{}{}", pair.base, pair.quote)),
            Self::Trades(item) => Some(format!("trade.{item}")),
        }
    }

    /// Returns the channel's UUID: the venue's own where it is known, else one that follows from
    /// the name. Private channels have one of this venue's seed.
    pub(super) fn uuid(self, names: &Names) -> Uuid {
        if let Self::Private(account) = self {
            return names.uuid("channel", u64::from(account.0));
        }
        let name = self.name().unwrap_or_default();
        let known = KNOWN.iter().find(|(text, _)| *text == name);
        known.map_or_else(
            || uuid_of(digest::digest(&digest::SHA256, name.as_bytes()).as_ref()),
            |(_, number)| Uuid::from_u128(*number),
        )
    }
}

fn uuid_of(hash: &[u8]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_the_seed_and_look_random() {
        let names = Names::new(1);
        assert_eq!(names.uuid("order", 1), Names::new(1).uuid("order", 1));
        assert_ne!(names.uuid("order", 1), names.uuid("order", 2));
        assert_ne!(names.uuid("order", 1), names.uuid("queue", 1));
        assert_ne!(names.uuid("order", 1), Names::new(2).uuid("order", 1));
        assert_eq!(names.uuid("order", 1).get_version_num(), 4);
    }

    #[test]
    fn stamps_are_never_given_twice() {
        let mut stamps = Stamps::default();
        let given = [1_000, 1_000, 0, 9_000].map(|at| stamps.next(Time(at)));
        assert_eq!(given, [1, 2, 3, 9]);
    }

    #[test]
    fn channels_have_the_known_ids() {
        let names = Names::new(1);
        let pair = |text: &str| text.parse::<Pair>().unwrap();
        let id = |channel: Channel| channel.uuid(&names).to_string();
        assert_eq!(
            id(Channel::Depth(pair("BTC/USD"))),
            "24e67e0d-1cad-4cc0-9e7a-f8523ef460fe"
        );
        assert_eq!(id(Channel::Lag), "85174711-be64-4de1-b783-0628995d7914");
        assert_eq!(
            id(Channel::Trades(Currency::BTC)),
            "dbf1dee9-4f2e-4a08-8cb7-748919a71b21"
        );
        let derived = id(Channel::Depth(pair("BTC/PLN")));
        assert_eq!(derived, id(Channel::Depth(pair("BTC/PLN"))));
        assert_ne!(derived, id(Channel::Ticker(pair("BTC/PLN"))));
    }
}
