//! Every door through which bytes come in meets the same bad ones: cut short, of wrong types, with
//! huge numbers, not UTF-8, endless. Each time there is an error, never a panic, and little memory.

mod endless;
mod mutated;
