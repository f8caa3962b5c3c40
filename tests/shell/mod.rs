//! The shell against the real world: files, sockets, processes.

mod control;
mod store;
