//! Settings: what the file says (`raw`), what the program needs (`checked`), and every default.

pub mod checked;
