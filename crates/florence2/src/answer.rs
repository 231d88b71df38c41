//! The results of a run.

use std::time::Duration;

use florence2_core::generate::FinishReason;
use florence2_postprocess::{Coordinates, ImageSize, PostProcessingType, Region, TaskResult};
use florence2_processor::Prompt;
use serde::Serialize;
use serde_json::{Value, json};

/// The version of the structure of [`Answer::to_json`].
pub const JSON_SCHEMA: u32 = 2;

/// The answer to a request: its text, its regions and its tokens.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Answer {
    /// The answer as plain text: without `<s>`, `</s>`, `<pad>` and surrounding white space, but
    /// with location tokens.
    pub text: String,
    /// The answer with all special tokens.
    pub raw_text: String,
    /// The regions, in the order of the answer, in pixels of the image. Plain text may contain
    /// boxes too, which are not part of HF's result: they are labelled with the words right before
    /// them.
    pub regions: Vec<Region>,
    /// The confidence of the answer, 0 to 1: the geometric mean of the probabilities of its tokens
    /// without `<s>`, `</s>` and `<pad>`. A location counts with the probability that it is within the
    /// location tolerance of the generated one. `None` if there are no such tokens.
    pub score: Option<f32>,
    /// The prompt.
    pub prompt: Prompt,
    /// The prompt's input as text, if it has one.
    pub input: Option<String>,
    /// The size of the image. The regions are in its pixel coordinates.
    pub image_size: ImageSize,
    /// The convention of the regions' coordinates.
    pub coordinates: Coordinates,
    /// The format of the answer.
    pub post_processing_type: PostProcessingType,
    /// The decoder's sequence, start token first.
    pub token_ids: Vec<u32>,
    /// The log-probability of each of `token_ids`; 0 for the start token and forced tokens.
    pub token_log_probs: Vec<f32>,
    /// HF's `sequences_scores`: sum of log-probabilities over length ^ `length_penalty`.
    pub sequence_score: f32,
    /// The reason why the generation ended.
    pub finish_reason: FinishReason,
    /// The other sequences of `num_return_sequences`, best first.
    pub alternatives: Vec<Answer>,
    /// The durations of the stages of the run.
    pub timings: Timings,
}

/// The durations of the stages of a run. All answers of a batch have the durations of the batch. For
/// image features, `preprocess` and `vision` are the durations of computing the features.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Resizing and normalising the images.
    pub preprocess: Duration,
    /// Vision tower and projector.
    pub vision: Duration,
    /// Encoder and decoder.
    pub generate: Duration,
}

impl Answer {
    /// Converts the answer to the JSON of HF's `post_process_generation`, with the task's token as
    /// its key.
    pub fn to_hf_json(&self) -> Value {
        let mut result = TaskResult::new(self.post_processing_type, self.coordinates);
        result.text.clone_from(&self.text);
        result.score = self.score;
        result.regions.clone_from(&self.regions);
        result.to_hf_json(&self.prompt.key())
    }

    /// Converts the answer to JSON. `image` is the image's name in it.
    pub fn to_json(&self, image: &str) -> Value {
        let milliseconds = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
        let mut json = json!({
            "schema": JSON_SCHEMA,
            "image": image,
            "width": self.image_size.width,
            "height": self.image_size.height,
            "task": self.prompt.key(),
            "input": self.input,
            "text": self.text,
            "raw_text": self.raw_text,
            "token_ids": self.token_ids,
            "token_log_probs": self.token_log_probs,
            "sequence_score": self.sequence_score,
            "finish_reason": self.finish_reason,
            "score": self.score,
            "result": self.to_hf_json(),
            "regions": self.regions,
            "timings_ms": {
                "preprocess": milliseconds(self.timings.preprocess),
                "vision": milliseconds(self.timings.vision),
                "generate": milliseconds(self.timings.generate),
            },
        });
        if !self.alternatives.is_empty() {
            json["alternatives"] = self.alternatives.iter().map(|a| a.to_json(image)).collect();
        }
        json
    }
}

/// The likelihood of a given answer: its loss and the log-probabilities of its tokens.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TargetScore {
    /// Mean cross-entropy over the tokens: HF's `loss` with these labels.
    pub loss: f32,
    /// The target's tokens, `<s>` and `</s>` included.
    pub tokens: Vec<ScoredToken>,
}

/// One token of a [`TargetScore`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ScoredToken {
    /// The token's id.
    pub token_id: u32,
    /// The token's text.
    pub text: String,
    /// The token's log-probability, given the tokens before it.
    pub log_prob: f32,
}

impl TargetScore {
    /// Converts the score to JSON. `image` is the image's name in it.
    pub fn to_json(&self, image: &str, prompt: &Prompt, target: &str) -> Value {
        json!({
            "schema": JSON_SCHEMA,
            "image": image,
            "task": prompt.key(),
            "target": target,
            "loss": self.loss,
            "tokens": self.tokens,
        })
    }
}
