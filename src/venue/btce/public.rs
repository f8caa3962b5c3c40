//! What the HTTP side answers first of all: the front end's pages, faults, public documents.

use crate::model::market::{Level, Side};
use crate::model::number::{Price, Quantity};
use crate::model::time::{Span, Time};
use crate::venue::btce::form::Form;
use crate::venue::btce::json::{Object, list};
use crate::venue::btce::pusher::level_row;
use crate::venue::btce::refusal::Refusal;
use crate::venue::btce::server::{BtceServer, Listed, trade_id, unix_s};
use crate::venue::btce::style::{InfoShape, decimals_of};
use crate::venue::exchange::Trade;
use crate::venue::serving::fault::Fault;
use crate::venue::{ServerReply, ServerRequest};

/// Rows of a depth or a list of trades where the client names no number.
const ROWS_DEFAULT: usize = 150;
/// Liqui's rows name an amount that no order reaches.
const AMOUNT_MAX: i64 = 1_000_000;

/// What the front end shows a client that is no browser, or too busy.
const CHALLENGE_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>DDoS protection by CloudFlare\
</title></head><body><h1>Checking your browser before accessing the site.</h1>\
<p>This process is automatic. Please allow up to 5 seconds.</p></body></html>\n";
const OVERLOAD_PAGES: [(u16, &str); 2] = [
    (
        502,
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center>\
<h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
    ),
    (
        503,
        "<html><head><title>Service unavailable</title></head><body><h1>The exchange is \
overloaded</h1><p>Please try again in a few minutes.</p></body></html>\n",
    ),
];
const OVERLOAD_LINE: &str = "Service is temporarily overloaded, please try again later";
const NOT_FOUND_PAGE: &str = "<html><head><title>404 Not Found</title></head></html>\n";

/// A day of one market, as the ticker tells it.
#[derive(Clone, Copy, Debug, Default)]
struct Day {
    high: Price,
    low: Price,
    last: Price,
    /// In the quote currency.
    total: Quantity,
    /// In the base currency.
    quantity: Quantity,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    V2(&'a str),
    V3(&'a str),
    Tapi(&'a str),
    Nowhere,
}

impl BtceServer {
    /// Answers one request, unless the front end or a fault does.
    pub(super) fn answer(&mut self, request: &ServerRequest<'_>, now: Time) -> ServerReply {
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((request.target, ""));
        let place = self.place_of(path);
        let is_public = matches!(place, Place::V2(_) | Place::V3(_));
        let is_busy = is_public && !self.peers.take(request.peer, now);
        let challenge_ppm = self.habits.challenge_ppm;
        if is_busy || (challenge_ppm > 0 && self.faults.random().chance(challenge_ppm)) {
            return page(503, CHALLENGE_PAGE);
        }
        if self.load.is_over(&self.habits, now) {
            let (status, body) = OVERLOAD_PAGES[1];
            return page(status, body);
        }
        let breaks = self.faults.strikes(Fault::Errors);
        let babbles = !breaks && self.faults.strikes(Fault::TextErrors);
        let is_done = !(breaks || babbles) || self.faults.random().below(2) == 0;
        let reply = is_done.then(|| self.reply(request, place, query, now));
        if breaks {
            let drawn = usize::try_from(self.faults.random().below(2)).unwrap_or(0);
            let (status, body) = OVERLOAD_PAGES[drawn];
            return page(status, body);
        }
        match reply {
            Some(_) if self.faults.strikes(Fault::LostReplies) => ServerReply::Lost,
            Some(reply) if !babbles => reply,
            Some(_) | None => page(200, OVERLOAD_LINE),
        }
    }

    fn place_of<'a>(&self, path: &'a str) -> Place<'a> {
        let v2 = self.style.api_v2.and_then(|top| below(path, top));
        if let Some(rest) = v2 {
            return Place::V2(rest);
        }
        if let Some(rest) = below(path, self.style.tapi) {
            return Place::Tapi(rest);
        }
        below(path, self.style.api_v3).map_or(Place::Nowhere, Place::V3)
    }

    fn reply(
        &mut self,
        request: &ServerRequest<'_>,
        place: Place<'_>,
        query: &str,
        now: Time,
    ) -> ServerReply {
        let form = match request.method {
            "POST" => Form::parse(&[query.as_bytes(), b"&", request.body].concat()),
            _ => Form::parse(query.as_bytes()),
        };
        let answered = match place {
            Place::V2(rest) => self.v2(rest, now),
            Place::V3(rest) => self.v3(rest, &form, now),
            Place::Tapi(rest) => self.tapi(request, rest, now),
            Place::Nowhere => return page(404, NOT_FOUND_PAGE),
        };
        let body = answered.unwrap_or_else(|refusal| refusal.document(&self.style));
        ServerReply::Answer {
            status: 200,
            content_type: "application/json; charset=utf-8",
            body: body.into_bytes(),
        }
    }

    /// Answers `<pair>/<method>[/<count>]`.
    fn v2(&mut self, rest: &str, now: Time) -> Result<String, Refusal> {
        let mut parts = rest.trim_end_matches('/').split('/');
        let (name, method) = (parts.next().unwrap_or_default(), parts.next());
        let count = self.rows(parts.next());
        if self.listed(name).is_none() {
            return Err(Refusal::InvalidPair(name.to_owned()));
        }
        let write: fn(&Self, &Listed, usize, Time) -> String = match method {
            Some("ticker") => |server, listed, _, now| {
                let ticker = server.ticker(listed, now);
                let ticker = ticker.put("server_time", unix_s(now)).end();
                Object::new().put("ticker", ticker).end()
            },
            Some("depth") => |server, listed, count, _| server.depth(listed, count),
            Some("trades") => |server, listed, count, _| {
                let row = |trade: &Trade| old_trade_row(listed, trade);
                list(server.newest_trades(listed, count).iter().map(row))
            },
            Some("fee") => |server, _, _, _| Object::new().put("trade", server.fee()).end(),
            _ => return Err(Refusal::InvalidDocument),
        };
        let asked = format!("2/{name}/{}/{count}", method.unwrap_or_default());
        Ok(self.cached(asked, now, |server| {
            let listed = server.listed(name);
            listed.map_or_else(String::new, |listed| write(server, listed, count, now))
        }))
    }

    /// Answers `<method>[/<pair>-<pair>...]`.
    fn v3(&mut self, rest: &str, form: &Form, now: Time) -> Result<String, Refusal> {
        let (method, names) = rest.split_once('/').unwrap_or((rest, ""));
        let write: fn(&Self, &Listed, usize, Time) -> String = match method {
            "info" => {
                return Ok(self.cached("3/info".to_owned(), now, |server| server.info(now)));
            }
            "ticker" => |server, listed, _, now| server.ticker(listed, now).end(),
            "depth" => |server, listed, limit, _| server.depth(listed, limit),
            "trades" => |server, listed, limit, _| {
                list(server.newest_trades(listed, limit).iter().map(trade_row))
            },
            _ => return Err(Refusal::InvalidDocument),
        };
        let limit = self.rows(form.value("limit"));
        let ignores = form.value("ignore_invalid") == Some("1");
        let names = self.named_pairs(names.trim_end_matches('/'), ignores)?;
        let asked = format!("3/{method}/{}/{limit}", names.join("-"));
        Ok(self.cached(asked, now, |server| {
            let listed = names.iter().filter_map(|name| server.listed(name));
            let put = |all: Object, listed: &Listed| {
                all.put(&listed.name, write(server, listed, limit, now))
            };
            listed.fold(Object::new(), put).end()
        }))
    }

    /// Reads a list of pairs with hyphens between them, and perhaps one behind the last.
    fn named_pairs(&self, text: &str, ignores: bool) -> Result<Vec<String>, Refusal> {
        let text = text.strip_suffix('-').unwrap_or(text);
        let mut names: Vec<String> = Vec::new();
        for name in text.split('-').filter(|_| !text.is_empty()) {
            if self.listed(name).is_none() {
                if ignores {
                    continue;
                }
                return Err(Refusal::InvalidPair(name.to_owned()));
            }
            if names.iter().any(|known| known == name) {
                return Err(Refusal::DuplicatedPair(name.to_owned()));
            }
            names.push(name.to_owned());
        }
        if names.is_empty() {
            return Err(Refusal::EmptyPairs);
        }
        Ok(names)
    }

    /// Returns how many rows are wanted: what the client says within limits, else the default.
    fn rows(&self, asked: Option<&str>) -> usize {
        let asked = asked.and_then(|text| text.parse::<usize>().ok());
        let asked = asked.filter(|rows| *rows > 0).unwrap_or(ROWS_DEFAULT);
        asked.min(self.style.rows_max)
    }

    /// Returns the document that stands, or writes it anew where it is too old.
    fn cached(&mut self, asked: String, now: Time, write: impl FnOnce(&Self) -> String) -> String {
        if let Some(body) = self.documents.find(&asked, self.style.cached, now) {
            return body.to_owned();
        }
        let body = write(self);
        self.documents.keep(asked, body.clone(), now);
        body
    }

    fn info(&self, now: Time) -> String {
        let put = |pairs: Object, listed: &Listed| pairs.put(&listed.name, self.info_row(listed));
        let pairs = self.markets.iter().fold(Object::new(), put);
        Object::new()
            .put("server_time", unix_s(now))
            .put("pairs", pairs.end())
            .end()
    }

    fn info_row(&self, listed: &Listed) -> String {
        let (low, high) = listed.prices(&self.style);
        let row = Object::new()
            .put("decimal_places", decimals_of(listed.rules.tick))
            .put("min_price", low)
            .put("max_price", high)
            .put("min_amount", listed.rules.quantity_min);
        let row = match self.style.info {
            InfoShape::Plain => row,
            InfoShape::Liqui => row
                .put("max_amount", AMOUNT_MAX)
                .put("min_total", self.style.total_min),
            InfoShape::Yobit => row.put("min_total", self.style.total_min),
        };
        let row = row.put("hidden", 0).put("fee", self.fee());
        match self.style.info {
            InfoShape::Plain | InfoShape::Liqui => row.end(),
            InfoShape::Yobit => row
                .put("fee_buyer", self.fee())
                .put("fee_seller", self.fee())
                .end(),
        }
    }

    /// Returns the fee in percent.
    fn fee(&self) -> Quantity {
        const UNITS_PER_PPM: i64 = 10_000;
        Quantity(i64::from(self.taker_fee_ppm) * UNITS_PER_PPM)
    }

    fn ticker(&self, listed: &Listed, now: Time) -> Object {
        let day = self.day(listed, now);
        let best = |side: Side| {
            let level = self.exchange.levels(listed.pair(), side).next();
            level.map_or(Price::ZERO, |level| level.price)
        };
        let buy = self.style.ticker_buy;
        Object::new()
            .put("high", day.high)
            .put("low", day.low)
            .put("avg", Price(day.low.0 + (day.high.0 - day.low.0) / 2))
            .put("vol", day.total)
            .put("vol_cur", day.quantity)
            .put("last", day.last)
            .put("buy", best(buy))
            .put("sell", best(buy.opposite()))
            .put("updated", unix_s(now))
    }

    /// Sums up the last 24 hours, as far back as the exchange remembers its trades.
    fn day(&self, listed: &Listed, now: Time) -> Day {
        let mut day = Day::default();
        for trade in self.exchange.trades(listed.pair()) {
            day.last = trade.price;
            if now.since(trade.at) >= Span::DAY {
                continue;
            }
            day.high = day.high.max(trade.price);
            day.low = match day.low {
                Price::ZERO => trade.price,
                low => low.min(trade.price),
            };
            let total = trade.price.total_floor(trade.quantity);
            day.total = day.total.saturating_add(total);
            day.quantity = day.quantity.saturating_add(trade.quantity);
        }
        day
    }

    fn depth(&self, listed: &Listed, limit: usize) -> String {
        let side = |side: Side| {
            let levels = self.exchange.levels(listed.pair(), side).take(limit);
            list(levels.map(|level: Level| level_row(&level)))
        };
        Object::new()
            .put("asks", side(Side::Ask))
            .put("bids", side(Side::Bid))
            .end()
    }

    fn newest_trades(&self, listed: &Listed, limit: usize) -> Vec<Trade> {
        let mut trades: Vec<Trade> = self.exchange.trades(listed.pair()).copied().collect();
        trades.reverse();
        trades.truncate(limit);
        trades
    }
}

/// Returns what follows a folder in a path, without the stroke between them.
fn below<'a>(path: &'a str, top: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(top)?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix('/')
}

fn trade_row(trade: &Trade) -> String {
    Object::new()
        .text("type", trade.taker.word())
        .put("price", trade.price)
        .put("amount", trade.quantity)
        .put("tid", trade_id(trade.no))
        .put("timestamp", unix_s(trade.at))
        .end()
}

fn old_trade_row(listed: &Listed, trade: &Trade) -> String {
    Object::new()
        .put("date", unix_s(trade.at))
        .put("price", trade.price)
        .put("amount", trade.quantity)
        .put("tid", trade_id(trade.no))
        .text("price_currency", listed.pair().quote.as_str())
        .text("item", listed.pair().base.as_str())
        .text("trade_type", trade.taker.word())
        .end()
}

fn page(status: u16, body: &str) -> ServerReply {
    ServerReply::Answer {
        status,
        content_type: "text/html; charset=utf-8",
        body: body.as_bytes().to_vec(),
    }
}
