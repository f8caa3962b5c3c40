//! The vocabulary: values that every stage shares. Nothing here decides, waits or touches the world.

pub mod codec;
pub mod currency;
pub mod depth;
pub mod grammar;
pub mod ids;
pub mod instrument;
pub mod key;
pub mod market;
pub mod number;
pub mod offer;
pub mod random;
pub mod sealed;
pub mod time;
pub mod trade;
