//! `florence2 verify`: runs the requests whose outputs for the real weights are published, and
//! compares the answers.

mod cases;
mod compare;
mod images;

use std::collections::BTreeMap;
use std::path::Path;

use florence2::{Florence2, Image, Prompt, Task, TaskInput};

use crate::args::VerifyArgs;
use crate::failure::Failure;
use crate::model;
use crate::output::print;
use cases::{Case, CaseFile};

/// The result of a case. The reasons are one line.
enum Outcome {
    Passed,
    Failed(String),
    /// The image is not available.
    Skipped(String),
}

pub(crate) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    if let Some(folder) = &args.images
        && !folder.is_dir()
    {
        return Err(Failure::ImageFolder(folder.display().to_string()));
    }
    let file = case_file(args.cases.as_deref())?;
    let model = model::load(&args.model_args())?;
    let d_model = model.config().text_config.d_model;
    let cases: Vec<&Case> = file
        .cases
        .iter()
        .filter(|case| case.d_model == d_model)
        .collect();
    if cases.is_empty() {
        return Err(Failure::NoCases {
            found: d_model,
            expected: widths(&file),
        });
    }
    let mut images = BTreeMap::new();
    let mut counts = [0; 3];
    for case in cases {
        let image = images
            .entry(&case.image)
            .or_insert_with(|| open(&file, &case.image, args.images.as_deref()));
        let outcome = match image {
            Ok(image) => run(&model, image, case),
            Err(reason) if has_file(args.images.as_deref(), &case.image) => {
                Outcome::Failed(reason.clone())
            }
            Err(reason) => Outcome::Skipped(reason.clone()),
        };
        counts[outcome.index()] += 1;
        print(outcome.line(case))?;
    }
    let [passed, failed, skipped] = counts;
    print(format_args!(
        "{passed} passed, {failed} failed, {skipped} skipped"
    ))?;
    if failed > 0 || passed == 0 {
        return Err(Failure::Verification {
            passed,
            failed,
            skipped,
        });
    }
    Ok(())
}

/// Returns whether the folder of `--images` has the image.
fn has_file(folder: Option<&Path>, name: &str) -> bool {
    folder.is_some_and(|folder| folder.join(name).exists())
}

/// Reads the file of `--cases`; by default, the published cases.
fn case_file(path: Option<&Path>) -> Result<CaseFile, Failure> {
    let Some(path) = path else {
        return Ok(CaseFile::published());
    };
    let invalid = |reason: String| Failure::Cases {
        path: path.display().to_string(),
        reason,
    };
    let json = std::fs::read(path).map_err(|error| invalid(error.to_string()))?;
    serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))
}

/// The widths of the models that have cases, in words.
fn widths(file: &CaseFile) -> String {
    let mut widths: Vec<usize> = file.cases.iter().map(|case| case.d_model).collect();
    widths.sort_unstable();
    widths.dedup();
    let widths: Vec<String> = widths.iter().map(usize::to_string).collect();
    widths.join(" or ")
}

fn open(file: &CaseFile, name: &str, folder: Option<&Path>) -> Result<Image, String> {
    let source = file.images.get(name);
    let source = source.ok_or_else(|| format!("{name}: not listed in `images`"))?;
    images::open(name, source, folder)
}

/// Runs a case and compares the answer.
fn run(model: &Florence2, image: &Image, case: &Case) -> Outcome {
    let answer = prompt(case).and_then(|prompt| {
        model
            .request(image, prompt)
            .max_new_tokens(case.max_new_tokens)
            .coordinates(case.expected.coordinates())
            .run()
    });
    match answer {
        Err(error) => Outcome::Failed(florence2::error_chain(&error)),
        Ok(answer) => {
            let tokenizer = &model.processor().tokenizer;
            match case.expected.difference(&answer, tokenizer) {
                Some(difference) => Outcome::Failed(difference),
                None => Outcome::Passed,
            }
        }
    }
}

fn prompt(case: &Case) -> Result<Prompt, florence2::Error> {
    let task: Task = case.task.parse()?;
    let input = case.input.clone().map(TaskInput::Text);
    Ok(Prompt::Task { task, input })
}

impl Outcome {
    fn index(&self) -> usize {
        match self {
            Self::Passed => 0,
            Self::Failed(_) => 1,
            Self::Skipped(_) => 2,
        }
    }

    fn line(&self, case: &Case) -> String {
        let (name, reason) = match self {
            Self::Passed => ("passed", None),
            Self::Failed(reason) => ("failed", Some(reason)),
            Self::Skipped(reason) => ("skipped", Some(reason)),
        };
        let prompt = format!("{}{}", case.task, case.input.as_deref().unwrap_or_default());
        let line = format!("{name:8}{} {prompt} ({})", case.image, case.source);
        match reason {
            Some(reason) => format!("{line}: {reason}"),
            None => line,
        }
    }
}
