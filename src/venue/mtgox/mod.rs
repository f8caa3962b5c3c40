//! MtGox, 2011 to 2014: HTTP v1 and v2, streaming over a plain WebSocket and over socket.io.
//!
//! Books have no numbers and orders no names of ours; the engine may be minutes behind and says so.
//! What the venue calls an order is known from the answer to placing it; where that answer is lost,
//! the order is recognised by its market, side, price, time and an amount that no other open order
//! has.

pub mod record;
pub mod feed;
mod lookup;
pub mod shape;
pub mod mirror;
pub mod money;
pub mod order;
pub mod sign;
