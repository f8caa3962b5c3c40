//! Verbs on report files: what they print, write and end with.

mod hlog_python;
mod verbs;
mod world;
