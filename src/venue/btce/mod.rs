//! BTC-e, 2011 to 2017, and the exchanges that spoke its dialect; YoBit still does.

pub mod record;
pub mod feed;
mod lookup;
pub mod shape;
pub mod order;
pub mod sign;
pub mod style;
