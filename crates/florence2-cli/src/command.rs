//! The command line: the subcommands and their arguments.

use clap::{Parser, Subcommand};

#[cfg(feature = "hub")]
use crate::args::PullArgs;
use crate::args::{InspectArgs, MergeArgs, RunArgs, ScoreArgs, VerifyArgs};
use crate::eval::EvalArgs;
use crate::train::args::TrainArgs;

/// Caption, detect, ground, segment and read text with Florence-2.
#[derive(Parser)]
#[command(name = "florence2", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a task on images.
    Run(RunArgs),
    /// Compute the log-probability of a given answer.
    Score(ScoreArgs),
    /// Evaluate a model on a data set, with the metrics of its tasks.
    Eval(Box<EvalArgs>),
    /// Print a model's configuration and tensors, and check that they match.
    Inspect(InspectArgs),
    /// Merge LoRA adapters into their base model and write one checkpoint in Hugging Face's layout.
    Merge(MergeArgs),
    /// Fine-tune a model on a data set: LoRA, or all parameters.
    Train(Box<TrainArgs>),
    /// Compare a model's answers with the published outputs of Florence-2-base and -large.
    Verify(VerifyArgs),
    /// Download a model of the Hugging Face hub into the hub's cache.
    #[cfg(feature = "hub")]
    Pull(PullArgs),
    /// List the tasks and their prompts.
    Tasks,
    /// List the devices of this machine that this build supports, best first.
    Devices,
    /// Print the library's version and features and the machine's devices as JSON, for bug reports.
    Info,
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;
    use florence2::{GENERATION_KEYS, GenerationOverrides, KeyTreatment};

    use super::*;

    fn overrides(flags: &[&str]) -> GenerationOverrides {
        let cli = Cli::try_parse_from([&["florence2", "run", "a.png"], flags].concat()).unwrap();
        match cli.command {
            Command::Run(args) => args.generation.overrides(),
            _ => unreachable!(),
        }
    }

    /// Every supported key of `generation_config.json` has a flag of its name, as in the README.
    #[test]
    fn every_supported_key_has_a_flag() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for key in GENERATION_KEYS {
            let flag = key.name.replace('_', "-");
            let found = run
                .get_arguments()
                .any(|argument| argument.get_long() == Some(&flag));
            let expected = key.treatment == KeyTreatment::Supported;
            assert_eq!(found, expected, "--{flag}");
        }
    }

    #[test]
    fn flags_are_read() {
        let found = overrides(&[
            "--sequence-bias=5,6=-2.5",
            "--sequence-bias=7=1",
            "--exponential-decay-length-penalty=5,1.5",
            "--stop-strings=a, b",
            "--top-k=-1",
            "--decoder-start-token-id=2,3",
            "--remove-invalid-values",
        ]);
        let biases = vec![(vec![5, 6], -2.5), (vec![7], 1.0)];
        assert_eq!(found.sequence_bias, Some(biases));
        assert_eq!(found.exponential_decay_length_penalty, Some((5, 1.5)));
        assert_eq!(found.stop_strings, Some(vec!["a, b".to_owned()]));
        assert_eq!(found.top_k, Some(-1));
        assert_eq!(found.decoder_start_token_id, Some(vec![2, 3]));
        assert_eq!(found.remove_invalid_values, Some(true));
        let negative = Cli::try_parse_from(["florence2", "run", "a.png", "--num-beams", "-1"]);
        let error = negative.err().unwrap().to_string();
        assert!(
            error.contains("invalid value '-1' for '--num-beams"),
            "{error}"
        );
        for wrong in ["--sequence-bias=5", "--exponential-decay-length-penalty=5"] {
            assert!(Cli::try_parse_from(["florence2", "run", "a.png", wrong]).is_err());
        }
    }
}
