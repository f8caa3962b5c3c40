//! The offer pipeline by itself.

mod origin;
