//! The command line program: hands over to `cli`, prints errors, maps exit codes.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use expressnet::cli::{self, Cli, CliError};

fn main() -> ExitCode {
    match cli::run(&Cli::parse()) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(CliError { exit, error }) => {
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            let text = causes.join(": ");
            drop(writeln!(std::io::stderr(), "expressnet: {text}"));
            ExitCode::from(exit.code())
        }
    }
}
