//! The command line program: hands over to `cli`, prints errors, maps exit codes.

fn main() {}
