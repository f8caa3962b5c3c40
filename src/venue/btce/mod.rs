//! BTC-e, 2011 to 2017, and the exchanges that spoke its dialect; YoBit still does.

pub mod feed;
mod lookup;
pub mod message;
pub mod order;
pub mod sign;
pub mod style;
