//! The trading half of the simulated dialect: signed requests, replies.

use std::fmt;

use crate::model::currency::Currency;
use crate::model::ids::OrderId;
use crate::model::instrument::{Market, Pair, VenueId};
use crate::model::number::{Quantity, parse_decimal, push_whole};
use crate::model::sealed::Approved;
use crate::model::time::Time;
use crate::model::trade::OrderReport;
use crate::venue::simulated::access::{LOGIN_PATH, Signer, signed_lines};
use crate::venue::simulated::decode::report_of;
use crate::venue::simulated::message::{
    Account, Cancel, Many, One, Operation, OrderRow, OrdersFrom, Refused, json_of, refusal_of_word,
};
use crate::venue::{Asked, Credentials, OrderClient, OrdersQuery, ReplyError, Setup, Told};

/// Writes requests of one account and reads what comes back.
pub struct SimulatedOrders {
    venue: VenueId,
    pairs: Vec<Pair>,
    key: String,
    signer: Option<Signer>,
    nonce: u64,
    /// What stands between path and nonce in every request.
    head: Vec<u8>,
    /// Reused, so that an order costs no allocation.
    body: Vec<u8>,
    signed: Vec<u8>,
}

impl fmt::Debug for SimulatedOrders {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SimulatedOrders")
            .field("venue", &self.venue)
            .finish_non_exhaustive()
    }
}

/// Bytes that a request has at most besides path, head and body.
const VARYING_BYTES_MAX: usize = 160;

/// Writes what stands between path and nonce in every request.
fn head_of(host: &str, key: &str) -> Vec<u8> {
    let text = format!(
        " HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive\r\nContent-Type: application/json\r\nX-Key: {key}\r\nX-Nonce: "
    );
    text.into_bytes()
}

impl SimulatedOrders {
    pub fn new(setup: &Setup, credentials: Credentials) -> Self {
        Self {
            venue: setup.venue,
            pairs: setup.pairs.clone(),
            signer: Signer::new(&credentials.secret),
            nonce: 0,
            head: head_of(&setup.host, &credentials.key),
            key: credentials.key,
            body: Vec::new(),
            signed: Vec::new(),
        }
    }

    /// Returns a number never returned before, also over restarts while the clock runs on.
    fn next_nonce(&mut self, now: Time) -> u64 {
        self.nonce = now.0.max(self.nonce + 1);
        self.nonce
    }

    /// Writes a whole request: only the path, the nonce, the signature and the body differ.
    fn write(&mut self, path: &str, body: &[u8], now: Time, request: &mut Vec<u8>) {
        let nonce = self.next_nonce(now);
        let nonce_len = signed_lines(nonce, path, body, &mut self.signed);
        let Some(signer) = &self.signer else { return };
        let sign = signer.sign(&self.signed);
        request.reserve(path.len() + self.head.len() + body.len() + VARYING_BYTES_MAX);
        request.extend_from_slice(b"POST ");
        request.extend_from_slice(path.as_bytes());
        request.extend_from_slice(&self.head);
        request.extend_from_slice(&self.signed[..nonce_len]);
        request.extend_from_slice(b"\r\nX-Sign: ");
        request.extend_from_slice(&sign);
        request.extend_from_slice(b"\r\nContent-Length: ");
        push_whole(request, body.len() as u64);
        request.extend_from_slice(b"\r\n\r\n");
        request.extend_from_slice(body);
    }

    fn report(&self, row: &OrderRow<'_>) -> Result<OrderReport, ReplyError> {
        let pair: Pair = row.pair.parse().map_err(|_| ReplyError::Unknown)?;
        if !self.pairs.contains(&pair) {
            return Err(ReplyError::Unknown);
        }
        let market = Market {
            venue: self.venue,
            pair,
        };
        report_of(row, market).ok_or(ReplyError::Unknown)
    }

    fn read_one(
        &self,
        id: OrderId,
        body: &[u8],
        told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError> {
        let one: One<'_> = serde_json::from_slice(body).map_err(|_| ReplyError::Unknown)?;
        let report = self.report(&one.order)?;
        if report.id != Some(id) {
            return Err(ReplyError::Unknown);
        }
        told(Told::Order(report));
        Ok(())
    }

    fn read_many(&self, body: &[u8], told: &mut dyn FnMut(Told)) -> Result<(), ReplyError> {
        let many: Many<'_> = serde_json::from_slice(body).map_err(|_| ReplyError::Unknown)?;
        let known = many.orders.iter().filter(|row| {
            let pair: Option<Pair> = row.pair.parse().ok();
            pair.is_none_or(|pair| self.pairs.contains(&pair))
        });
        let reports: Result<Vec<_>, _> = known.map(|row| self.report(row)).collect();
        for report in reports? {
            told(Told::Order(report));
        }
        if many.end {
            told(Told::End);
        }
        Ok(())
    }

    fn read_account(body: &[u8], told: &mut dyn FnMut(Told)) -> Result<(), ReplyError> {
        let account: Account<'_> = serde_json::from_slice(body).map_err(|_| ReplyError::Unknown)?;
        let mut balances = Vec::with_capacity(account.balances.len());
        for row in &account.balances {
            let amount = |text: &str| {
                let units = parse_decimal(text.as_bytes());
                units.map(Quantity).map_err(|_| ReplyError::Unknown)
            };
            let currency: Currency = row.currency.parse().map_err(|_| ReplyError::Unknown)?;
            balances.push(Told::Balance {
                currency,
                free: amount(&row.free)?,
                held: amount(&row.held)?,
            });
        }
        balances.into_iter().for_each(&mut *told);
        told(Told::Rights {
            may_trade: account.rights.trade,
            may_withdraw: account.rights.withdraw,
        });
        told(Told::End);
        Ok(())
    }
}

impl OrderClient for SimulatedOrders {
    fn place(&mut self, order: &Approved, now: Time, request: &mut Vec<u8>) {
        let order = order.order();
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        body.extend_from_slice(b"{\"id\":\"");
        push_whole(&mut body, order.id.0);
        body.extend_from_slice(b"\",\"pair\":\"");
        order.market.pair.push_to(&mut body);
        body.extend_from_slice(b"\",\"side\":\"");
        body.extend_from_slice(order.side.word().as_bytes());
        body.extend_from_slice(b"\",\"quantity\":\"");
        order.quantity.push_to(&mut body);
        body.extend_from_slice(b"\",\"limit\":\"");
        order.limit.push_to(&mut body);
        body.extend_from_slice(b"\"}");
        self.write("/order", &body, now, request);
        self.body = body;
    }

    fn is_ready(&self) -> bool {
        self.signer.is_some()
    }

    fn cancel(&mut self, order: OrderId, market: Market, now: Time, request: &mut Vec<u8>) {
        let body = json_of(&Cancel {
            id: order.to_string().into(),
            pair: market.pair.to_string().into(),
        });
        self.write("/cancel", &body, now, request);
    }

    /// The venue lists at most 1,000 orders by id; without `Told::End`, ask again behind the last.
    fn orders(&mut self, query: &OrdersQuery<'_>, now: Time, request: &mut Vec<u8>) {
        let body = json_of(&OrdersFrom {
            from: query.from.to_string().into(),
        });
        self.write("/orders", &body, now, request);
    }

    fn account(&mut self, now: Time, request: &mut Vec<u8>) {
        self.write("/account", b"{}", now, request);
    }

    fn login(&mut self, now: Time, send: &mut dyn FnMut(&[u8])) {
        let nonce = self.next_nonce(now);
        signed_lines(nonce, LOGIN_PATH, b"", &mut self.signed);
        let Some(signer) = &self.signer else { return };
        let sign = signer.sign(&self.signed);
        let sign = sign.iter().map(|digit| char::from(*digit)).collect();
        send(&json_of(&Operation::Login {
            key: self.key.clone(),
            nonce,
            sign,
        }));
    }

    fn decode_reply(
        &mut self,
        asked: Asked,
        status: u16,
        body: &[u8],
        _now: Time,
        told: &mut dyn FnMut(Told),
    ) -> Result<(), ReplyError> {
        match status {
            200 => match asked {
                Asked::Place(id) | Asked::Cancel(id) => self.read_one(id, body, told),
                Asked::Orders => self.read_many(body, told),
                Asked::Account => Self::read_account(body, told),
                Asked::Fills(_) | Asked::Entry | Asked::Public(_) => Err(ReplyError::Unknown),
            },
            400..500 => {
                let refused: Refused<'_> =
                    serde_json::from_slice(body).map_err(|_| ReplyError::Unknown)?;
                let refusal = refusal_of_word(&refused.error).ok_or(ReplyError::Unknown)?;
                Err(ReplyError::Rejected(refusal))
            }
            _ => Err(ReplyError::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venue::Framing;
    use crate::venue::http::write_request;

    /// The head that is kept gives the bytes that are written for every other dialect.
    #[test]
    fn a_request_is_what_its_parts_say() {
        let setup = Setup {
            venue: "a".parse().unwrap(),
            host: "a.test:80".to_owned(),
            pairs: Vec::new(),
            rules: Vec::new(),
            framing: Framing::Plain,
        };
        let credentials = Credentials {
            key: "k".to_owned(),
            secret: "s".to_owned(),
        };
        let mut orders = SimulatedOrders::new(&setup, credentials);
        for (path, body) in [("/order", &b"{\"id\":\"1\"}"[..]), ("/account", b"{}")] {
            let mut request = Vec::new();
            orders.write(path, body, Time(17), &mut request);
            let nonce = orders.nonce.to_string();
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"s");
            let lines = [nonce.as_bytes(), b"\n", path.as_bytes(), b"\n", body].concat();
            let tag = aws_lc_rs::hmac::sign(&key, &lines);
            let sign = data_encoding::HEXLOWER.encode(tag.as_ref());
            let headers = [
                ("Content-Type", "application/json"),
                ("X-Key", "k"),
                ("X-Nonce", &nonce),
                ("X-Sign", &sign),
            ];
            let mut expected = Vec::new();
            write_request(&mut expected, ("POST", "a.test:80", path), &headers, body);
            assert_eq!(
                String::from_utf8(request).unwrap(),
                String::from_utf8(expected).unwrap()
            );
        }
    }
}
