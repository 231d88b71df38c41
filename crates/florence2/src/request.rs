//! Requests: an image, or its features, and a prompt.

use florence2_postprocess::ImageSize;
use florence2_processor::{Image, Prompt};

use crate::answer::Timings;
use crate::engine::Features;

/// An image and a prompt.
#[derive(Clone)]
pub struct Request<'a> {
    /// The image, or its features.
    pub image: ImageInput<'a>,
    /// The task with its input, or a free text.
    pub prompt: Prompt,
}

impl<'a> Request<'a> {
    pub(crate) fn of_image(image: &'a Image, prompt: Prompt) -> Self {
        Self {
            image: ImageInput::Image(image),
            prompt,
        }
    }
}

/// The image of a [`Request`].
#[derive(Clone, Copy)]
pub enum ImageInput<'a> {
    /// An image.
    Image(&'a Image),
    /// The features of an image, computed by the model that runs the request.
    Features(&'a ImageFeatures),
}

impl ImageInput<'_> {
    /// The size of the image in pixels.
    pub(crate) fn size(&self) -> ImageSize {
        match self {
            Self::Image(image) => image.size(),
            Self::Features(features) => features.size(),
        }
    }
}

/// The features of one image: the output of the vision tower and the projector. Any number of
/// prompts can be run on them.
pub struct ImageFeatures {
    /// The id of the model that computed the features.
    pub(crate) model: u64,
    pub(crate) encoded: Encoded,
    pub(crate) size: ImageSize,
}

impl ImageFeatures {
    /// The size of the image in pixels.
    pub fn size(&self) -> ImageSize {
        self.size
    }
}

/// The features of one or more images, and the durations of the stages that computed them.
pub(crate) struct Encoded {
    pub(crate) features: Features,
    pub(crate) timings: Timings,
}
