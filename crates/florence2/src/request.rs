//! Requests: an image, or its features, and a prompt.

use std::fmt;

use florence2_postprocess::ImageSize;
use florence2_processor::{Image, Prompt};

use crate::answer::Timings;
use crate::engine::Features;

/// An image and a prompt.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The image, or its features.
    pub image: ImageInput<'a>,
    /// The task with its input, or a free text.
    pub prompt: Prompt,
}

impl<'a> Request<'a> {
    /// Creates a request.
    pub fn new(image: impl Into<ImageInput<'a>>, prompt: impl Into<Prompt>) -> Self {
        Self {
            image: image.into(),
            prompt: prompt.into(),
        }
    }
}

impl<'a, I: Into<ImageInput<'a>>, P: Into<Prompt>> From<(I, P)> for Request<'a> {
    fn from((image, prompt): (I, P)) -> Self {
        Self::new(image, prompt)
    }
}

/// The image of a [`Request`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ImageInput<'a> {
    /// An image.
    Image(&'a Image),
    /// The features of an image, computed by the model that runs the request.
    Features(&'a ImageFeatures),
}

impl ImageInput<'_> {
    /// The size of the image in pixels.
    pub fn size(&self) -> ImageSize {
        match self {
            Self::Image(image) => image.size(),
            Self::Features(features) => features.size(),
        }
    }
}

// The image may outlive the request, so that requests for several models can share a list of images.
impl<'a, 'image: 'a> From<&'image Image> for ImageInput<'a> {
    fn from(image: &'image Image) -> Self {
        Self::Image(image)
    }
}

impl<'a, 'image: 'a> From<&'image ImageFeatures> for ImageInput<'a> {
    fn from(features: &'image ImageFeatures) -> Self {
        Self::Features(features)
    }
}

/// The features of one image: the output of the vision tower and the projector. Any number of
/// prompts can be run on them. [`Florence2::encode_image`](crate::Florence2::encode_image) computes them.
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

/// Shows the size of the image.
impl fmt::Debug for ImageFeatures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ImageFeatures")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// The features of one or more images, and the durations of the stages that computed them.
pub(crate) struct Encoded {
    pub(crate) features: Features,
    pub(crate) timings: Timings,
}
