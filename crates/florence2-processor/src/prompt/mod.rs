//! Prompts of the model: tasks with their inputs, and free text.

mod region;
mod task;

use florence2_postprocess::{ImageSize, PostProcessingType};

use crate::error::{Error, Result};

pub use region::region_text;
pub use task::Task;

/// The input of a task.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TaskInput {
    /// Text, or a region as `<loc_..>` tokens.
    Text(String),
    /// A box (x1, y1, x2, y2) in pixels of the image.
    Region([f64; 4]),
    /// A box (x1, y1, x2, y2) as fractions of the image's size, 0 to 1.
    NormalizedRegion([f64; 4]),
}

/// A prompt of the model.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// One of the known tasks.
    Task {
        /// The task.
        task: Task,
        /// The input, if the task needs one.
        input: Option<TaskInput>,
    },
    /// Free text, passed to the model unchanged, such as the prompts of a fine-tuned model. The
    /// answer is text.
    Text(String),
}

impl Prompt {
    /// Creates the prompt of a task with an input.
    pub fn with_input(task: Task, input: TaskInput) -> Self {
        Self::Task {
            task,
            input: Some(input),
        }
    }

    /// Parses a prompt as HF's processor does: a known task token with its input, otherwise free
    /// text.
    ///
    /// # Errors
    /// [`Error::UnexpectedInput`] if text accompanies the token of a task that takes no input.
    pub fn parse(text: &str) -> Result<Self> {
        let contained = Task::ALL
            .into_iter()
            .find(|task| text.contains(task.token()));
        let Some(task) = contained else {
            return Ok(Self::Text(text.to_owned()));
        };
        let rest = text.replace(task.token(), "");
        let input = match (task.needs_input(), rest.trim()) {
            (false, _) if text == task.token() => None,
            (false, _) => {
                return Err(Error::UnexpectedInput {
                    task: task.token(),
                    input: rest,
                });
            }
            (true, "") => None,
            (true, input) => Some(TaskInput::Text(input.to_owned())),
        };
        Ok(Self::Task { task, input })
    }

    /// The task; `None` for free text.
    pub fn task(&self) -> Option<Task> {
        match self {
            Self::Task { task, .. } => Some(*task),
            Self::Text(_) => None,
        }
    }

    /// The format of the answer.
    pub fn post_processing_type(&self) -> PostProcessingType {
        self.task()
            .map_or(PostProcessingType::PureText, Task::post_processing_type)
    }

    /// The key of the answer in HF's JSON: the task's token. For free text, the key is a token at
    /// its start, otherwise the text itself.
    pub fn key(&self) -> String {
        match self {
            Self::Task { task, .. } => task.token().to_owned(),
            Self::Text(text) => match (text.starts_with('<'), text.find('>')) {
                (true, Some(end)) => text[..=end].to_owned(),
                _ => text.clone(),
            },
        }
    }

    /// The input as text, with a region as `<loc_..>` tokens; `None` if there is no input.
    ///
    /// # Errors
    /// [`Error::Region`] if the region is not a box within the image.
    pub fn input_text(&self, image_size: ImageSize) -> Result<Option<String>> {
        let Self::Task {
            input: Some(input), ..
        } = self
        else {
            return Ok(None);
        };
        Ok(Some(match input {
            TaskInput::Text(text) => text.trim().to_owned(),
            TaskInput::Region(region) => region_text(*region, image_size)?,
            TaskInput::NormalizedRegion([x1, y1, x2, y2]) => {
                let (width, height) = (f64::from(image_size.width), f64::from(image_size.height));
                region_text(
                    [x1 * width, y1 * height, x2 * width, y2 * height],
                    image_size,
                )?
            }
        }))
    }

    /// The prompt's text as the tokenizer encodes it.
    ///
    /// # Errors
    /// [`Error::MissingInput`], [`Error::UnexpectedInput`], [`Error::InputKind`], [`Error::Region`].
    pub fn expand(&self, image_size: ImageSize) -> Result<String> {
        let (task, input) = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::Task { task, input } => (*task, input.as_ref()),
        };
        let (before, after) = task.prompt();
        match (after, self.input_text(image_size)?) {
            (None, None) => Ok(before.to_owned()),
            (None, Some(input)) => Err(Error::UnexpectedInput {
                task: task.token(),
                input,
            }),
            (Some(_), None) => Err(missing_input(task)),
            (Some(_), Some(input)) if input.is_empty() => Err(missing_input(task)),
            (Some(_), Some(text)) if !is_of_kind(task, input, &text) => Err(Error::InputKind {
                task: task.token(),
                found: text,
                expected: expected_input(task),
            }),
            (Some(after), Some(input)) => Ok(format!("{before}{input}{after}")),
        }
    }
}

/// Returns whether an input is a region, or contains its location tokens, if the task requires one,
/// and a text if it does not. `text` is the input as text.
fn is_of_kind(task: Task, input: Option<&TaskInput>, text: &str) -> bool {
    if task.needs_region() {
        text.contains("<loc_")
    } else {
        matches!(input, Some(TaskInput::Text(_)))
    }
}

fn expected_input(task: Task) -> &'static str {
    if task.needs_region() {
        "a region: a box, or its <loc_..> text"
    } else {
        "a text"
    }
}

fn missing_input(task: Task) -> Error {
    Error::MissingInput {
        task: task.token(),
        expected: expected_input(task),
    }
}

impl From<Task> for Prompt {
    fn from(task: Task) -> Self {
        Self::Task { task, input: None }
    }
}
