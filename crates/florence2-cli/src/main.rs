//! The command `florence2`.

mod args;
mod draw;
mod inspect;
mod model;
#[cfg(feature = "hub")]
mod pull;
mod run;
mod score;
mod tasks;
mod warnings;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use florence2::SystemInfo;

use args::{Cli, Command};

#[global_allocator]
static ALLOCATOR: florence2::Allocator = florence2::Allocator;

/// An error that ends a command.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// An error of the library.
    #[error(transparent)]
    Florence2(#[from] florence2::Error),
    /// A file could not be written.
    #[error("{path}: cannot be written: {reason}")]
    Write { path: String, reason: String },
    /// Standard output could not be written.
    #[error("standard output: cannot be written: {0}")]
    Output(io::Error),
    /// No model was specified, and this build has no demo model.
    #[cfg(not(feature = "demo"))]
    #[error("--model: found none, expected a folder (this build has no demo model)")]
    NoModel,
    /// A revision was specified for a model that is not on the hub.
    #[cfg(feature = "hub")]
    #[error("--revision: found `{revision}` with `{model}`, expected a model of the hub, ORG/NAME")]
    Revision { revision: String, model: String },
    /// There are more scales than adapters.
    #[error("--adapter-scale: found {found}, expected at most {expected}, one per --adapter")]
    AdapterScales { found: usize, expected: usize },
    /// Some images failed. Their errors have been printed.
    #[error("{failed} of {total} images failed")]
    Images { failed: usize, total: usize },
    /// The checkpoint does not fit its configuration. The differences have been printed.
    #[error("the checkpoint does not fit its configuration")]
    Unfit,
}

/// Prints a line.
fn print(line: impl Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(Failure::Output)
}

fn main() -> ExitCode {
    warnings::print_to_standard_error();
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Score(args) => score::score(&args),
        Command::Inspect(args) => inspect::inspect(&args),
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
            eprintln!("florence2: {failure}");
            ExitCode::FAILURE
        }
    }
}
