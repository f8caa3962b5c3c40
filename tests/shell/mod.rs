<<<<<<< HEAD
//! Tests against real sockets.

mod venue;
