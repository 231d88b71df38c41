//! The images of a batch. Requests with the same image share its features.

use florence2_processor::Image;

use crate::answer::Timings;
use crate::engine::FeatureRow;
use crate::request::{Encoded, ImageInput, Request};

/// The images of requests, without those of requests that have features already. An image that
/// several requests share occurs once.
pub(crate) fn distinct_images<'a>(requests: &[Request<'a>]) -> Vec<&'a Image> {
    let mut images: Vec<&Image> = Vec::new();
    for request in requests {
        if let ImageInput::Image(image) = request.image
            && position(&images, image).is_none()
        {
            images.push(image);
        }
    }
    images
}

/// The index of an image. Images are compared by address, not by content.
fn position(images: &[&Image], image: &Image) -> Option<usize> {
    images.iter().position(|known| std::ptr::eq(*known, image))
}

/// The distinct images of a batch and their features.
pub(crate) struct EncodedImages<'a> {
    /// The images in the order of the rows of `encoded`.
    pub(crate) images: Vec<&'a Image>,
    /// `None` if there are no images, because all requests have features already.
    pub(crate) encoded: Option<Encoded>,
}

impl EncodedImages<'_> {
    /// The features of each request's image. The requests are those whose images are encoded.
    pub(crate) fn rows<'b>(&'b self, requests: &'b [Request<'_>]) -> Vec<FeatureRow<'b>> {
        requests.iter().map(|request| self.row(request)).collect()
    }

    fn row<'b>(&'b self, request: &'b Request<'_>) -> FeatureRow<'b> {
        let row = match (request.image, &self.encoded) {
            (ImageInput::Features(image), _) => Some((&image.encoded.features, 0)),
            (ImageInput::Image(image), Some(encoded)) => {
                position(&self.images, image).map(|row| (&encoded.features, row))
            }
            (ImageInput::Image(_), None) => None,
        };
        // INVARIANT: the images of the requests are encoded.
        let (features, row) = row.expect("an encoded image per request");
        FeatureRow { features, row }
    }

    /// The durations of preprocessing and encoding a request's image.
    pub(crate) fn timings(&self, request: &Request<'_>) -> Timings {
        match (request.image, &self.encoded) {
            (ImageInput::Features(image), _) => image.encoded.timings,
            (ImageInput::Image(_), Some(encoded)) => encoded.timings,
            (ImageInput::Image(_), None) => Timings::default(),
        }
    }
}
