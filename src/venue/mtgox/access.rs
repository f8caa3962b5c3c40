//! Keys of the venue: signatures of requests and of call frames, nonces, rates.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use uuid::Uuid;

use crate::model::time::{Span, Time};
use crate::venue::Credentials;
use crate::venue::exchange::AccountNo;
use crate::venue::mtgox::routes::Params;

/// Bytes before the text of a signed call: the key, then the signature.
const CALL_KEY_BYTES: usize = 16;
const CALL_SIGN_BYTES: usize = 64;
/// How far a `tonce` may be from the venue's clock.
const TONCE_SPAN: Span = Span::secs(10);
/// Tonces of a key that are remembered; while so many lie within their time, more are refused.
const TONCES_MAX: usize = 10_000;
/// Orders a key may submit at once, and then in every second (modelled: only the refusal is
/// known, not its numbers).
const ORDERS_BURST: u64 = 60;
const ORDERS_PER_S: u64 = 10;

/// Every key that may call.
#[derive(Debug, Default)]
pub(super) struct Access {
    keys: BTreeMap<String, Key>,
}

struct Key {
    holder: Holder,
    secret: hmac::Key,
    /// The highest nonce so far, whichever way it came.
    nonce: Option<u64>,
    tonces: BTreeSet<u64>,
    /// When the requests so far would have been due at the allowed rate.
    spent_until: Time,
    /// The same for submitted orders.
    orders_until: Time,
}

/// Whose key it is, and what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) account: AccountNo,
    pub(super) may_withdraw: bool,
}

/// Why a signed call is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    MissingKey,
    Key,
    Sign,
    Nonce,
    /// The key had its requests of this second.
    Rate,
}

/// What makes a signed text good only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Once {
    Nonce(u64),
    Tonce(u64),
}

/// The parts of a signed call on the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignedCall {
    key: String,
    sign: Vec<u8>,
    /// JSON, as it was signed.
    pub(super) text: Vec<u8>,
}

/// Makes the signing key of a secret: what its base64 says, or its own bytes where it is none.
pub(super) fn key_of(secret: &str) -> hmac::Key {
    let bytes = BASE64.decode(secret.as_bytes());
    let bytes = bytes.unwrap_or_else(|_| secret.as_bytes().to_vec());
    hmac::Key::new(hmac::HMAC_SHA512, &bytes)
}

impl Access {
    /// Adds a key; false where there is one of that name.
    pub(super) fn insert(&mut self, credentials: &Credentials, holder: Holder) -> bool {
        let key = Key {
            holder,
            secret: key_of(&credentials.secret),
            nonce: None,
            tonces: BTreeSet::new(),
            spent_until: Time::ZERO,
            orders_until: Time::ZERO,
        };
        let name = name_of(&credentials.key);
        self.keys.insert(name, key).is_none()
    }

    pub(super) fn account(&self, key: &str) -> Option<AccountNo> {
        self.keys.get(&name_of(key)).map(|key| key.holder.account)
    }

    /// Checks the headers of a request whose signed bytes are given: signature, then rate, then
    /// nonce, so that a stranger can spend nothing of a key.
    pub(super) fn check_request(
        &mut self,
        headers: &[(&str, &str)],
        signed: &[u8],
        params: &Params,
        requests_per_s: u16,
        now: Time,
    ) -> Result<Holder, Denied> {
        let key = header(headers, "rest-key").ok_or(Denied::MissingKey)?;
        let sign = header(headers, "rest-sign").ok_or(Denied::Sign)?;
        let sign = BASE64.decode(sign.as_bytes());
        let sign = sign.map_err(|_| Denied::Sign)?;
        let once = once_of(params.get("nonce"), params.get("tonce"));
        self.check(key, &sign, signed, once, requests_per_s, now)
    }

    /// Checks a call of the stream whose text was read.
    pub(super) fn check_call(
        &mut self,
        call: &SignedCall,
        once: Option<Once>,
        requests_per_s: u16,
        now: Time,
    ) -> Result<Holder, Denied> {
        self.check(&call.key, &call.sign, &call.text, once, requests_per_s, now)
    }

    /// Counts an order against its key's submission rate; false where that is too many.
    pub(super) fn take_order(&mut self, account: AccountNo, now: Time) -> bool {
        let mut keys = self.keys.values_mut();
        keys.find(|key| key.holder.account == account)
            .is_some_and(|key| {
                let each = Span(Span::SECOND.0 / ORDERS_PER_S);
                take_turn(&mut key.orders_until, each, each.times(ORDERS_BURST), now)
            })
    }

    fn check(
        &mut self,
        name: &str,
        sign: &[u8],
        signed: &[u8],
        once: Option<Once>,
        requests_per_s: u16,
        now: Time,
    ) -> Result<Holder, Denied> {
        let key = self.keys.get_mut(&name_of(name)).ok_or(Denied::Key)?;
        hmac::verify(&key.secret, signed, sign).map_err(|_| Denied::Sign)?;
        let each = Span(Span::SECOND.0 / u64::from(requests_per_s.max(1)));
        if !take_turn(&mut key.spent_until, each, Span::SECOND, now) {
            return Err(Denied::Rate);
        }
        if !key.take_once(once, now) {
            return Err(Denied::Nonce);
        }
        Ok(key.holder)
    }
}

impl Key {
    fn take_once(&mut self, once: Option<Once>, now: Time) -> bool {
        match once {
            None => false,
            Some(Once::Nonce(nonce)) => {
                let is_higher = self.nonce.is_none_or(|last| nonce > last);
                if is_higher {
                    self.nonce = Some(nonce);
                }
                is_higher
            }
            Some(Once::Tonce(tonce)) => {
                let at = now.0 / 1_000;
                let span = TONCE_SPAN.as_micros();
                self.tonces = self.tonces.split_off(&at.saturating_sub(span));
                at.abs_diff(tonce) <= span
                    && self.tonces.len() < TONCES_MAX
                    && self.tonces.insert(tonce)
            }
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Key")
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

impl SignedCall {
    /// Takes the base64 of a call apart.
    pub(super) fn parse(call: &str) -> Option<Self> {
        let bytes = BASE64.decode(call.as_bytes()).ok()?;
        let (key, rest) = bytes.split_first_chunk::<CALL_KEY_BYTES>()?;
        let (sign, text) = rest.split_at_checked(CALL_SIGN_BYTES)?;
        Some(Self {
            key: Uuid::from_bytes(*key).hyphenated().to_string(),
            sign: sign.to_vec(),
            text: text.to_vec(),
        })
    }
}

impl Denied {
    /// Returns the venue's code for it, where it has one.
    pub(super) fn token(self) -> Option<&'static str> {
        match self {
            Self::MissingKey => Some("login_error_missing_rest_key"),
            Self::Key => Some("login_error_invalid_rest_key"),
            Self::Sign => Some("login_error_invalid_rest_sign"),
            Self::Nonce => Some("login_error_invalid_nonce"),
            Self::Rate => None,
        }
    }
}

/// Reads a nonce or a tonce; both have at most 63 bits.
pub(super) fn once_of(nonce: Option<&str>, tonce: Option<&str>) -> Option<Once> {
    let number = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let number: i64 = is_plain.then(|| text.parse().ok()).flatten()?;
        u64::try_from(number).ok()
    };
    match (nonce, tonce) {
        (_, Some(tonce)) => number(tonce).map(Once::Tonce),
        (Some(nonce), None) => number(nonce).map(Once::Nonce),
        (None, None) => None,
    }
}

/// Keys are UUIDs; their spelling does not matter.
fn name_of(key: &str) -> String {
    let uuid = Uuid::try_parse(key);
    uuid.map_or_else(|_| key.to_owned(), |uuid| uuid.hyphenated().to_string())
}

fn header<'a>(headers: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    let mut found = headers.iter();
    let found = found.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

/// Lets what fits into `at_once` through, then one after each time.
fn take_turn(until: &mut Time, each: Span, at_once: Span, now: Time) -> bool {
    let after = (*until).max(now) + each;
    let is_allowed = after <= now + at_once;
    if is_allowed {
        *until = after;
    }
    is_allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    const NOW: Time = Time(1_700_000_000_000_000_000);

    fn access() -> Access {
        let mut access = Access::default();
        let holder = Holder {
            account: AccountNo(1),
            may_withdraw: false,
        };
        let credentials = Credentials {
            key: KEY.to_owned(),
            secret: "c2VjcmV0".to_owned(),
        };
        assert!(access.insert(&credentials, holder));
        assert!(!access.insert(&credentials, holder));
        access
    }

    fn ask(access: &mut Access, body: &str, secret: &[u8], now: Time) -> Result<(), Denied> {
        let key = hmac::Key::new(hmac::HMAC_SHA512, secret);
        let sign = BASE64.encode(hmac::sign(&key, body.as_bytes()).as_ref());
        let mut params = Params::default();
        params.add_form(body.as_bytes());
        let headers = [("rest-key", KEY), ("Rest-Sign", sign.as_str())];
        let checked = access.check_request(&headers, body.as_bytes(), &params, 100, now);
        checked.map(|_| ())
    }

    #[test]
    fn nonces_only_rise_and_a_stranger_spends_none() {
        let mut access = access();
        let mut ask = |body: &str, secret: &[u8]| ask(&mut access, body, secret, NOW);
        assert_eq!(ask("nonce=5", b"wrong"), Err(Denied::Sign));
        assert_eq!(ask("nonce=5", b"secret"), Ok(()));
        assert_eq!(ask("nonce=5", b"secret"), Err(Denied::Nonce));
        assert_eq!(ask("nonce=4", b"secret"), Err(Denied::Nonce));
        assert_eq!(ask("nonce=9223372036854775807", b"secret"), Ok(()));
        for body in [
            "",
            "nonce=",
            "nonce=x",
            "nonce=-1",
            "nonce=9223372036854775808",
        ] {
            assert_eq!(ask(body, b"secret"), Err(Denied::Nonce), "{body}");
        }
    }

    #[test]
    fn tonces_are_good_once_in_any_order_within_ten_seconds() {
        let mut access = access();
        let at = NOW.0 / 1_000;
        let mut ask =
            |tonce: u64, now: Time| ask(&mut access, &format!("tonce={tonce}"), b"secret", now);
        assert_eq!(ask(at, NOW), Ok(()));
        assert_eq!(ask(at, NOW), Err(Denied::Nonce));
        assert_eq!(ask(at - 10_000_000, NOW), Ok(()));
        assert_eq!(ask(at + 10_000_000, NOW), Ok(()));
        assert_eq!(ask(at - 10_000_001, NOW), Err(Denied::Nonce));
        assert_eq!(ask(at + 10_000_001, NOW), Err(Denied::Nonce));
        let later = NOW + Span::secs(19);
        assert_eq!(ask(at + 10_000_000, later), Err(Denied::Nonce));
        assert_eq!(ask(at + 10_000_001, later), Ok(()));
    }

    #[test]
    fn a_key_has_its_requests_and_its_orders_in_a_second() {
        let mut access = access();
        for nonce in 0..100 {
            let asked = ask(&mut access, &format!("nonce={nonce}"), b"secret", NOW);
            assert_eq!(asked, Ok(()));
        }
        let next = ask(&mut access, "nonce=100", b"secret", NOW);
        assert_eq!(next, Err(Denied::Rate));
        let orders = (0..100).filter(|_| access.take_order(AccountNo(1), NOW));
        assert_eq!(orders.count(), 60);
        assert!(access.take_order(AccountNo(1), NOW + Span::millis(100)));
        assert!(!access.take_order(AccountNo(1), NOW + Span::millis(100)));
    }

    #[test]
    fn secrets_are_base64_or_themselves() {
        let sign = |secret: &str| hmac::sign(&key_of(secret), b"x").as_ref().to_vec();
        let raw = hmac::Key::new(hmac::HMAC_SHA512, b"secret");
        assert_eq!(sign("c2VjcmV0"), hmac::sign(&raw, b"x").as_ref());
        assert_eq!(sign("no base64!").len(), 64);
        assert!(!format!("{:?}", access()).contains("c2VjcmV0"));
    }

    #[test]
    fn a_call_is_taken_apart_or_refused() {
        let whole = BASE64.encode(&[7; CALL_KEY_BYTES + CALL_SIGN_BYTES + 2]);
        let call = SignedCall::parse(&whole).unwrap();
        assert_eq!(call.text, [7, 7]);
        for text in ["", "AAAA", "!"] {
            assert_eq!(SignedCall::parse(text), None);
        }
    }
}
