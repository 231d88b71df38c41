//! The examples of a training as the model takes them.

/// Examples that are read and processed on demand.
pub trait ExampleSource: Sync {
    /// The number of examples.
    fn len(&self) -> usize;

    /// Returns whether there are no examples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether an example differs between epochs. The features of its image are then not
    /// cached.
    fn is_augmented(&self) -> bool {
        false
    }

    /// The place of an example in messages: a file and a line, or an annotation's id.
    fn place(&self, index: usize) -> String {
        format!("example {index}")
    }

    /// Reads an example. The same index and epoch yield the same values. The pixel values are not
    /// read if `with_pixels` is false.
    ///
    /// # Errors
    /// [`ExampleError`] if the example cannot be used. The training leaves it out.
    fn example(&self, index: usize, epoch: u64, with_pixels: bool)
    -> Result<Example, ExampleError>;
}

/// An example as the model takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The image; `None` if it was not read.
    pub pixels: Option<Pixels>,
    /// The token ids of the prompt, without `<image>` placeholders.
    pub prompt: Vec<u32>,
    /// The token ids of the answer, with its first and last token.
    pub labels: Vec<u32>,
}

/// An image as the image processor returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// `[channels, height, width]`.
    pub shape: [usize; 3],
    /// Normalised values.
    pub values: Vec<f32>,
}

/// An example cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ExampleError {
    /// The place of the example: a file and a line, or an annotation's id.
    pub place: String,
    /// What was found and what was expected.
    pub reason: String,
}
