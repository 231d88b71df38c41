//! The output folder of a training, and the commands that a user runs next.

use std::fs;
use std::path::Path;

use florence2_dataset::Dataset;
use florence2_processor::{Prompt, TaskInput};

use super::args::{MethodArg, TrainArgs};
use crate::failure::Failure;

/// Returns an error unless the output folder is empty or does not exist. With `--resume`, it may be that
/// of an earlier run.
pub(crate) fn check_output(folder: &Path, resume: bool) -> Result<(), Failure> {
    let occupied = |found: String, expected| Failure::OutputFolder {
        path: folder.display().to_string(),
        found,
        expected,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(occupied(error.to_string(), "a folder")),
    };
    let names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let is_run = names
        .iter()
        .any(|name| name == "metrics.jsonl" || name.starts_with("checkpoint-"));
    match (is_run, resume) {
        (true, true) => Ok(()),
        (true, false) => Err(occupied(
            "an earlier run".to_owned(),
            "an empty or new folder, or --resume",
        )),
        (false, _) => Err(occupied(
            format!("other files: {}", names.join(", ")),
            "an empty or new folder",
        )),
    }
}

/// The command that continues this process's training.
pub(crate) fn resume_command() -> String {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--resume") {
        arguments.push("--resume".to_owned());
    }
    let quoted = arguments.iter().map(|argument| quoted(argument));
    format!("florence2 {}", quoted.collect::<Vec<_>>().join(" "))
}

/// The command that runs the result on an image, with the prompt of the data set's first example.
pub(crate) fn run_command(args: &TrainArgs, output: &Path, dataset: &Dataset) -> String {
    let is_adapter = args.method == MethodArg::Lora;
    let model = if is_adapter { &args.model } else { output };
    let mut options = vec![("--model", displayed(Some(model)))];
    if is_adapter {
        options.extend([
            ("--revision", args.files.revision.clone()),
            ("--weights", displayed(args.files.weights.as_deref())),
            ("--processor", displayed(args.files.processor.as_deref())),
            ("--adapter", displayed(Some(output))),
        ]);
    }
    let first = dataset.examples().first();
    match first.and_then(|example| example.prompt().ok()) {
        Some(Prompt::Task { task, input }) => {
            let name = task.token().trim_matches(['<', '>']);
            options.push(("--task", Some(name.to_owned())));
            if let Some(TaskInput::Text(input)) = input {
                options.push(("--input", Some(input)));
            }
        }
        Some(Prompt::Text(text)) => options.push(("--task", Some(text))),
        None => {}
    }
    let options = options
        .into_iter()
        .filter_map(|(flag, value)| Some(format!(" {flag} {}", quoted(&value?))));
    format!("florence2 run IMAGE{}", options.collect::<String>())
}

fn displayed(path: Option<&Path>) -> Option<String> {
    path.map(|path| path.display().to_string())
}

/// An argument as a shell reads it.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+%@\\".contains(c);
    let is_plain = |c: char| is_plain(c) && (cfg!(windows) || c != '\\');
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    if cfg!(windows) {
        return format!("\"{}\"", argument.replace('"', "\\\""));
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::quoted;

    #[test]
    fn arguments_are_quoted_for_a_shell() {
        assert_eq!(quoted("--lr=1e-4"), "--lr=1e-4");
        assert_eq!(quoted("<OD>"), "'<OD>'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
