//! Which call a path names, in the three versions of the HTTP API and on the stream.

use crate::model::currency::Currency;
use crate::model::instrument::Pair;

/// The versions of the HTTP API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Bare objects, `.php` names, decimal texts.
    V0,
    /// `return`; only the body is signed.
    V1,
    /// `data`; path and body are signed.
    V2,
}

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Add,
    Cancel,
    Cancelled,
    Currency,
    DepthFetch,
    DepthFull,
    History,
    IdKey,
    Info,
    Lag,
    Orders,
    Public,
    Quote,
    Result,
    Ticker,
    Trades,
    Version0(Version0),
}

/// Calls that only version 0 has in this shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version0 {
    Buy,
    Cancel,
    Depth,
    Funds,
    Info,
    Orders,
    Sell,
    Ticker,
    Trades,
}

/// A path that was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    pub(super) version: Version,
    pub(super) method: Method,
    /// What stands in the path where a pair belongs.
    pub(super) pair: Option<&'a str>,
    /// What version 2 signs: the path behind `/api/2/`.
    pub(super) signed: &'a str,
}

/// Why a path names no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouteError {
    /// Nothing of the API.
    Elsewhere,
    Unknown(Version),
}

const METHODS: [(&str, Method); 22] = [
    ("currency", Method::Currency),
    ("depth", Method::DepthFetch),
    ("depth/fetch", Method::DepthFetch),
    ("depth/full", Method::DepthFull),
    ("fulldepth", Method::DepthFull),
    ("idkey", Method::IdKey),
    ("info", Method::Info),
    ("list_public", Method::Public),
    ("order/add", Method::Add),
    ("order/cancel", Method::Cancel),
    ("order/lag", Method::Lag),
    ("order/quote", Method::Quote),
    ("order/result", Method::Result),
    ("orders", Method::Orders),
    ("quote", Method::Quote),
    ("stream/list_public", Method::Public),
    ("ticker", Method::Ticker),
    ("trades", Method::Trades),
    ("trades/cancelled", Method::Cancelled),
    ("cancelledtrades", Method::Cancelled),
    ("trades/fetch", Method::Trades),
    ("wallet/history", Method::History),
];

const METHODS_0: [(&str, Version0); 10] = [
    ("buyBTC.php", Version0::Buy),
    ("cancelOrder.php", Version0::Cancel),
    ("data/getDepth.php", Version0::Depth),
    ("data/getTrades.php", Version0::Trades),
    ("data/ticker.php", Version0::Ticker),
    ("getFunds.php", Version0::Funds),
    ("getOrders.php", Version0::Orders),
    ("info.php", Version0::Info),
    ("sellBTC.php", Version0::Sell),
    ("ticker.php", Version0::Ticker),
];

impl Method {
    /// Returns true for what needs a signature.
    pub(super) fn is_private(self) -> bool {
        match self {
            Self::Add
            | Self::Cancel
            | Self::History
            | Self::IdKey
            | Self::Info
            | Self::Orders
            | Self::Quote
            | Self::Result => true,
            Self::Cancelled
            | Self::Currency
            | Self::DepthFetch
            | Self::DepthFull
            | Self::Lag
            | Self::Public
            | Self::Ticker
            | Self::Trades => false,
            Self::Version0(method) => match method {
                Version0::Buy
                | Version0::Cancel
                | Version0::Funds
                | Version0::Info
                | Version0::Orders
                | Version0::Sell => true,
                Version0::Depth | Version0::Ticker | Version0::Trades => false,
            },
        }
    }

    /// Reads the name of a call, with or without `money/`, `private/` and `public/` before it.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let mut rest = name.trim_matches('/');
        while let Some((first, behind)) = rest.split_once('/')
            && matches!(first, "money" | "private" | "public")
        {
            rest = behind;
        }
        let known = METHODS.iter().find(|(known, _)| *known == rest);
        known.map(|(_, method)| *method)
    }
}

impl<'a> Route<'a> {
    /// Reads a path without its query.
    pub(super) fn parse(path: &'a str) -> Result<Self, RouteError> {
        let rest = path.strip_prefix("/api/").ok_or(RouteError::Elsewhere)?;
        let (version, rest) = rest.split_once('/').ok_or(RouteError::Elsewhere)?;
        let version = match version {
            "0" => return Self::parse_0(rest),
            "1" => Version::V1,
            "2" => Version::V2,
            _ => return Err(RouteError::Elsewhere),
        };
        let (pair, name) = match rest.split_once('/') {
            Some(("generic", name)) => (None, name),
            Some((first, name)) if is_pair(first) => (Some(first), name),
            Some(_) | None => (None, rest),
        };
        let method = Method::of_name(name).ok_or(RouteError::Unknown(version))?;
        Ok(Self {
            version,
            method,
            pair,
            signed: rest,
        })
    }

    fn parse_0(rest: &'a str) -> Result<Self, RouteError> {
        let known = METHODS_0.iter().find(|(name, _)| *name == rest);
        let (_, method) = known.ok_or(RouteError::Unknown(Version::V0))?;
        Ok(Self {
            version: Version::V0,
            method: Method::Version0(*method),
            pair: None,
            signed: rest,
        })
    }
}

/// Reads a pair as it stands in a path: base and quote without a separator.
pub(super) fn pair_of(text: &str) -> Option<Pair> {
    /// Letters of every base that was traded there.
    const BASE_LEN: usize = 3;
    let (base, quote) = text.split_at_checked(BASE_LEN)?;
    let base: Currency = base.parse().ok()?;
    let quote: Currency = quote.parse().ok()?;
    (base != quote).then_some(Pair { base, quote })
}

fn is_pair(text: &str) -> bool {
    text.len() >= 6 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Fields of a request: query, form, or the parameters of a call on the stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Fields of one request; further ones are ignored, as fields that nobody knows are.
    const FIELDS_MAX: usize = 64;

    /// Adds the fields of a form or a query; the first of a name counts.
    pub(super) fn add_form(&mut self, text: &[u8]) {
        for field in text.split(|byte| *byte == b'&') {
            let mut halves = field.splitn(2, |byte| *byte == b'=');
            let name = decoded(halves.next().unwrap_or_default());
            let value = decoded(halves.next().unwrap_or_default());
            self.add(name, value);
        }
    }

    pub(super) fn add(&mut self, name: String, value: String) {
        if self.0.len() < Self::FIELDS_MAX && !name.is_empty() {
            self.0.push((name, value));
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Undoes the encoding of forms; what is no such encoding stays as it is.
fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        let digits = behind.first_chunk::<2>();
        match (byte, digits.and_then(hex_byte)) {
            (b'+', _) => bytes.push(b' '),
            (b'%', Some(encoded)) => {
                bytes.push(encoded);
                rest = &behind[2..];
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_byte(digits: &[u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Result<(Version, Method, Option<&str>), RouteError>) {
        let route = Route::parse(path);
        let seen = route.map(|route| (route.version, route.method, route.pair));
        assert_eq!(seen, expected, "{path}");
    }

    #[test]
    fn every_spelling_of_a_path_is_understood() {
        let usd = Some("BTCUSD");
        let (v1, v2) = (Version::V1, Version::V2);
        check("/api/1/BTCUSD/ticker", Ok((v1, Method::Ticker, usd)));
        check("/api/1/BTCUSD/public/ticker", Ok((v1, Method::Ticker, usd)));
        check("/api/1/BTCUSD/depth", Ok((v1, Method::DepthFetch, usd)));
        check("/api/1/generic/info", Ok((v1, Method::Info, None)));
        check("/api/1/generic/private/info", Ok((v1, Method::Info, None)));
        check("/api/1/BTCUSD/order/add", Ok((v1, Method::Add, usd)));
        check(
            "/api/1/BTCUSD/private/order/add",
            Ok((v1, Method::Add, usd)),
        );
        check("/api/2/BTCUSD/money/order/add", Ok((v2, Method::Add, usd)));
        check("/api/2/money/orders", Ok((v2, Method::Orders, None)));
        check("/api/2/BTCUSD/money/orders", Ok((v2, Method::Orders, usd)));
        check("/api/2/money/order/lag", Ok((v2, Method::Lag, None)));
        check("/api/1/generic/order/lag", Ok((v1, Method::Lag, None)));
        check("/api/2/stream/list_public", Ok((v2, Method::Public, None)));
        let funds = Method::Version0(Version0::Funds);
        check("/api/0/getFunds.php", Ok((Version::V0, funds, None)));
        check("/api/0/nothing.php", Err(RouteError::Unknown(Version::V0)));
        check("/api/2/money/nothing", Err(RouteError::Unknown(v2)));
        check("/api/3/money/info", Err(RouteError::Elsewhere));
        check("/", Err(RouteError::Elsewhere));
        let route = Route::parse("/api/2/BTCUSD/money/ticker").unwrap();
        assert_eq!(route.signed, "BTCUSD/money/ticker");
    }

    #[test]
    fn pairs_and_fields_are_read() {
        assert_eq!(
            pair_of("BTCUSD").map(|pair| pair.to_string()),
            Some("BTC/USD".to_owned())
        );
        for text in ["", "BT", "BTC", "BTCBTC", "btcusd", "\u{e9}\u{e9}\u{e9}"] {
            assert_eq!(pair_of(text), None, "{text}");
        }
        let mut params = Params::default();
        params.add_form(b"a=1&b=x%2Fy+z&a=2&c&%zz=%4");
        assert_eq!(params.get("a"), Some("1"));
        assert_eq!(params.get("b"), Some("x/y z"));
        assert_eq!(params.get("c"), Some(""));
        assert_eq!(params.get("%zz"), Some("%4"));
        assert_eq!(params.get("d"), None);
    }
}
