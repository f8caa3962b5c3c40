//! Tests of who is known and linked.

mod links;
