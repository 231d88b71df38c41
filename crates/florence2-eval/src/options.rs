//! Options of an evaluation.

/// Options of [`evaluate`](crate::evaluate()).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EvaluationOptions {
    /// The classes of the data set, which also lists those without objects:
    /// [`Dataset::classes`](florence2_dataset::Dataset::classes). May be empty.
    pub classes: Vec<String>,
    /// Whether detections are ranked by their scores, if all have one.
    pub use_scores: bool,
}

impl Default for EvaluationOptions {
    fn default() -> Self {
        Self {
            classes: Vec::new(),
            use_scores: true,
        }
    }
}

impl EvaluationOptions {
    /// Sets the classes of the data set.
    #[must_use]
    pub fn classes(self, classes: impl Into<Vec<String>>) -> Self {
        Self {
            classes: classes.into(),
            ..self
        }
    }

    /// Sets whether detections are ranked by their scores.
    #[must_use]
    pub fn use_scores(self, use_scores: bool) -> Self {
        Self { use_scores, ..self }
    }
}
