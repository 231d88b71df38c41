//! The command `florence2`.

mod args;
mod command;
mod common_args;
mod draw;
mod eval;
mod failure;
mod generation_args;
mod generation_values;
mod inspect;
mod invalid_value;
mod merge;
mod model;
mod output;
#[cfg(feature = "hub")]
mod pull;
mod run;
mod score;
mod tasks;
mod train;
mod verify;
mod warnings;

use std::io::{self, Write};
use std::process::{self, ExitCode};

use clap::{CommandFactory, Parser};
use florence2::SystemInfo;

use command::{Cli, Command};
use failure::Failure;
use output::print;

#[global_allocator]
static ALLOCATOR: florence2::Allocator = florence2::Allocator;

fn main() -> ExitCode {
    warnings::print_to_standard_error();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => exit_with(&error),
    };
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Score(args) => score::score(&args),
        Command::Eval(args) => eval::eval(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Merge(args) => merge::merge(&args),
        Command::Train(args) => train::train(&args),
        Command::Verify(args) => verify::verify(&args),
        #[cfg(feature = "hub")]
        Command::Pull(args) => {
            pull::pull(&args.id, &args.revision).and_then(|folder| print(folder.display()))
        }
        Command::Tasks => tasks::tasks(),
        Command::Devices => florence2::devices().iter().try_for_each(print),
        Command::Info => print(format_args!("{:#}", SystemInfo::new().to_json())),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "florence2", &mut script);
            io::stdout().write_all(&script).map_err(Failure::Output)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader closed the pipe.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("florence2: {}", failure.message());
            ExitCode::FAILURE
        }
    }
}

/// Prints an error of the command line and ends the process.
fn exit_with(error: &clap::Error) -> ! {
    let Some(message) = invalid_value::message(error) else {
        error.exit();
    };
    eprintln!("florence2: {message}");
    process::exit(error.exit_code());
}
