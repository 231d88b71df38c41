//! The results of a run.

use std::time::Duration;

use florence2_core::generate::FinishReason;
use florence2_postprocess::{ImageSize, TaskResult};
use florence2_processor::Prompt;
use serde::Serialize;
use serde_json::{Value, json};

/// The version of the structure of [`Answer::to_json`].
pub const JSON_SCHEMA: u32 = 1;

/// An answer: its tokens, its text and the result of parsing the text.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The prompt.
    pub prompt: Prompt,
    /// The prompt's input as text, if it has one.
    pub input: Option<String>,
    /// The size of the image. The regions are in its pixel coordinates.
    pub image_size: ImageSize,
    /// The text with its special tokens.
    pub text: String,
    /// The decoder's sequence, start token first.
    pub token_ids: Vec<u32>,
    /// The log-probability of each of `token_ids`; 0 for the start token and forced tokens.
    pub token_log_probs: Vec<f32>,
    /// HF's `sequences_scores`: sum of log-probabilities over length ^ `length_penalty`.
    pub sequence_score: f32,
    /// The reason why the generation ended.
    pub finish_reason: FinishReason,
    /// The parsed answer.
    pub result: TaskResult,
    /// The other sequences of `num_return_sequences`, best first.
    pub alternatives: Vec<Answer>,
    /// The durations of the stages of the run.
    pub timings: Timings,
}

/// The durations of the stages of a run. All answers of a batch have the durations of the batch. For
/// image features, `preprocess` and `vision` are the durations of computing the features.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Resizing and normalising the images.
    pub preprocess: Duration,
    /// Vision tower and projector.
    pub vision: Duration,
    /// Encoder and decoder.
    pub generate: Duration,
}

impl Answer {
    /// Converts the answer to JSON. `image` is the image's name in it.
    pub fn to_json(&self, image: &str) -> Value {
        let key = self.prompt.key();
        let milliseconds = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
        let mut json = json!({
            "schema": JSON_SCHEMA,
            "image": image,
            "width": self.image_size.width,
            "height": self.image_size.height,
            "task": key,
            "input": self.input,
            "text": self.text,
            "plain_text": self.result.text,
            "token_ids": self.token_ids,
            "token_log_probs": self.token_log_probs,
            "sequence_score": self.sequence_score,
            "finish_reason": self.finish_reason,
            "score": self.result.score,
            "result": self.result.to_hf_json(&key),
            "regions": self.result.regions,
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
pub struct TargetScore {
    /// Mean cross-entropy over the tokens: HF's `loss` with these labels.
    pub loss: f32,
    /// The target's tokens, `<s>` and `</s>` included.
    pub tokens: Vec<ScoredToken>,
}

/// One token of a [`TargetScore`].
#[derive(Debug, Clone, PartialEq, Serialize)]
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
