//! The check of a whole data set: images, and lengths of texts.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use florence2_postprocess::ImageSize;
use florence2_processor::DecodeOptions;
use rayon::prelude::*;

use crate::dataset::Dataset;
use crate::example::Example;
use crate::report::{Finding, FindingKind, Report, TokenCount};

/// The number of images that are decoded between two calls of the progress callback.
const IMAGES_PER_STEP: usize = 32;

/// Limits of [`check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CheckOptions {
    /// The maximum number of tokens of a suffix, with `<s>` and `</s>`: the decoder's
    /// `max_position_embeddings`. `None` for no limit.
    pub max_suffix_tokens: Option<usize>,
    /// The maximum number of tokens of a prompt: the encoder's `max_position_embeddings` minus the
    /// number of image tokens. `None` for no limit.
    pub max_prompt_tokens: Option<usize>,
    /// Options for decoding images.
    pub decode: DecodeOptions,
}

impl CheckOptions {
    /// Sets the maximum number of tokens of a suffix.
    #[must_use]
    pub fn max_suffix_tokens(self, tokens: usize) -> Self {
        Self {
            max_suffix_tokens: Some(tokens),
            ..self
        }
    }

    /// Sets the maximum number of tokens of a prompt.
    #[must_use]
    pub fn max_prompt_tokens(self, tokens: usize) -> Self {
        Self {
            max_prompt_tokens: Some(tokens),
            ..self
        }
    }

    /// Sets the options for decoding images.
    #[must_use]
    pub fn decode(self, decode: DecodeOptions) -> Self {
        Self { decode, ..self }
    }
}

/// Decodes every image and counts the tokens of every text.
///
/// The result has the findings and counts of [`Dataset::report`], and these: images that cannot be
/// decoded, images whose size differs from the annotated size, and prompts and suffixes that have too
/// many tokens or cannot be tokenized. [`Dataset::retain_valid`] removes the examples with errors.
///
/// `count_tokens` returns the number of tokens of a text with `<s>` and `</s>`, or the tokenizer's
/// message. It is called on rayon's threads. `progress` receives the number of checked images and the
/// number of all images, and stops the check by `ControlFlow::Break`: then
/// [`Report::checked_examples`] is less than [`Report::examples`].
pub fn check(
    dataset: &Dataset,
    options: &CheckOptions,
    count_tokens: &(dyn Fn(&str) -> Result<usize, String> + Sync),
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Report {
    let checker = Checker {
        examples: dataset.examples(),
        options,
        count_tokens,
    };
    let images = checker.by_image();
    let mut report = dataset.report().clone();
    let mut results = Vec::new();
    let mut checked_images = 0;
    for images_of_step in images.chunks(IMAGES_PER_STEP) {
        let of_step = images_of_step.par_iter().flat_map_iter(|(image, indices)| {
            let size = checker.decode(image);
            let check = |index: &usize| (*index, checker.check(*index, &size));
            indices.iter().map(check).collect::<Vec<_>>()
        });
        results.par_extend(of_step);
        checked_images += images_of_step.len();
        if progress(checked_images, images.len()).is_break() {
            break;
        }
    }
    results.sort_unstable_by_key(|(index, _)| *index);
    report.checked_examples = results.len();
    for (index, (findings, tokens)) in results {
        report.findings.extend(findings);
        let longest = report.longest_suffix.as_ref().map(|longest| longest.tokens);
        if tokens > longest {
            report.longest_suffix = tokens.map(|tokens| TokenCount {
                tokens,
                source: checker.examples[index].source.clone(),
            });
        }
    }
    report
}

struct Checker<'a> {
    examples: &'a [Example],
    options: &'a CheckOptions,
    count_tokens: &'a (dyn Fn(&str) -> Result<usize, String> + Sync),
}

impl<'a> Checker<'a> {
    /// The images in the order of their first examples, with the indices of their examples.
    fn by_image(&self) -> Vec<(&'a Path, Vec<usize>)> {
        let mut places = HashMap::new();
        let mut images: Vec<(&Path, Vec<usize>)> = Vec::new();
        for (index, example) in self.examples.iter().enumerate() {
            let image = example.image.as_path();
            let place = *places.entry(image).or_insert(images.len());
            if place == images.len() {
                images.push((image, Vec::new()));
            }
            images[place].1.push(index);
        }
        images
    }

    /// The size of an image, or the decoder's message.
    fn decode(&self, image: &Path) -> Result<ImageSize, String> {
        let image = florence2_processor::Image::open_with(image, &self.options.decode);
        image
            .map(|image| image.size())
            .map_err(|error| match &error {
                florence2_processor::Error::Io { source, .. } => format!("{error}: {source}"),
                other => other.to_string(),
            })
    }

    /// The findings of an example and the number of tokens of its suffix.
    fn check(
        &self,
        index: usize,
        size: &Result<ImageSize, String>,
    ) -> (Vec<Finding>, Option<usize>) {
        let example = &self.examples[index];
        let mut findings = Vec::new();
        match size {
            Ok(size) => findings.extend(size_finding(example, *size)),
            Err(message) => findings.push(Finding::error(
                example.source.clone(),
                FindingKind::UnreadableImage,
                format!("an image that cannot be decoded ({message})"),
                "a readable image",
            )),
        }
        let limits = self.options;
        let suffix = ("suffix", example.suffix.as_str(), limits.max_suffix_tokens);
        let tokens = self.length(example, suffix, &mut findings);
        // Prefixes have no boxes in pixels, so the prompt does not depend on the size.
        let size = size.clone().unwrap_or(ImageSize {
            width: 1,
            height: 1,
        });
        if let Ok(prompt) = example.prompt().and_then(|prompt| prompt.expand(size)) {
            let prompt = ("prompt", prompt.as_str(), limits.max_prompt_tokens);
            self.length(example, prompt, &mut findings);
        }
        (findings, tokens)
    }

    /// The number of tokens of a text, given its name and limit. It is a finding if it exceeds the
    /// limit, or if the text cannot be tokenized.
    fn length(
        &self,
        example: &Example,
        (name, text, limit): (&str, &str, Option<usize>),
        findings: &mut Vec<Finding>,
    ) -> Option<usize> {
        let mut add = |found: String, expected: String| {
            let (source, kind) = (example.source.clone(), FindingKind::Length);
            findings.push(Finding::error(source, kind, found, expected));
        };
        match ((self.count_tokens)(text), limit) {
            (Ok(tokens), Some(limit)) if tokens > limit => {
                let expected = format!("at most {limit}, the model's positions");
                add(format!("a {name} of {tokens} tokens"), expected);
                Some(tokens)
            }
            (Ok(tokens), _) => Some(tokens),
            (Err(message), _) => {
                let expected = "a text that the tokenizer accepts".to_owned();
                add(
                    format!("a {name} that cannot be tokenized ({message})"),
                    expected,
                );
                None
            }
        }
    }
}

/// The finding for an image of another size than the annotated one, in which its coordinates are wrong.
fn size_finding(example: &Example, size: ImageSize) -> Option<Finding> {
    let image_size = example.annotated_size()?;
    (image_size != size).then(|| {
        Finding::error(
            example.source.clone(),
            FindingKind::ImageSize,
            format!(
                "an image of {}x{} pixels in its upright orientation",
                size.width, size.height
            ),
            format!(
                "{}x{}, the annotated size",
                image_size.width, image_size.height
            ),
        )
    })
}
