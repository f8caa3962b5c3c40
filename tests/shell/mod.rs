//! Tests against real sockets, files and clocks.
