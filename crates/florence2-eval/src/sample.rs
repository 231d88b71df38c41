//! The samples of a data set.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use florence2_dataset::{Example, Truth};
use florence2_postprocess::{ImageSize, PostProcessingType};

/// An image and a prompt for which one answer is required, with the examples that the answer is
/// compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    example: &'a Example,
    /// Other examples of the same image and prompt, whose texts are further references.
    others: Vec<&'a Example>,
}

/// The samples of examples, in their order. Examples of a task that answers with text form one sample
/// if their image and their prompt are equal. Other examples are samples of their own.
pub fn samples(examples: &[Example]) -> Vec<Sample<'_>> {
    let mut samples: Vec<Sample<'_>> = Vec::new();
    let mut places: HashMap<(&Path, &str), usize> = HashMap::new();
    for example in examples {
        if example.post_processing_type() == PostProcessingType::PureText {
            match places.entry((&example.image, &example.prefix)) {
                Entry::Occupied(place) => {
                    samples[*place.get()].others.push(example);
                    continue;
                }
                Entry::Vacant(place) => {
                    place.insert(samples.len());
                }
            }
        }
        samples.push(Sample {
            example,
            others: Vec::new(),
        });
    }
    samples
}

impl<'a> Sample<'a> {
    /// The first example, which has the image and the prompt.
    pub fn example(&self) -> &'a Example {
        self.example
    }

    /// The truth in pixels of an image of the stated size. The reference texts are those of all
    /// examples of the sample.
    pub fn truth(&self, image_size: ImageSize) -> Truth {
        let mut truth = self.example.truth(image_size);
        // Each caption of a COCO image has all captions of the image as references already.
        if truth.texts.len() == 1 {
            for other in &self.others {
                let other = other.truth(image_size);
                truth.texts.extend(other.texts);
                truth.objects.extend(other.objects);
            }
        }
        truth
    }
}
