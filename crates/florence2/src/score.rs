//! The likelihood of a given answer.

use std::slice;

use florence2_core::generate::CancelToken;
use florence2_processor::TokenizedPrompts;

use crate::answer::{ScoredToken, TargetScore};
use crate::error::Result;
use crate::florence2::Florence2;
use crate::pipeline::Pipeline;
use crate::request::Request;
use crate::threads::check_process;

impl Florence2 {
    /// The likelihood of `target` as the answer to a request.
    pub(crate) fn score_request(
        &self,
        request: &Request<'_>,
        target: &str,
        cancel: &CancelToken,
    ) -> Result<TargetScore> {
        check_process()?;
        let prompts = self.pipeline.prompts(slice::from_ref(request))?;
        let labels = self.pipeline.processor.tokenizer.encode(target)?;
        self.pipeline.check_vocabulary(&labels)?;
        let text_config = &self.config().text_config;
        text_config.check_decoder_positions(labels.len())?;
        let log_probs = self
            .threads
            .install(|| log_probs(&self.pipeline, request, &prompts, &labels, cancel))?;
        let loss = -log_probs.iter().sum::<f32>() / labels.len() as f32;
        let tokens = labels.iter().zip(log_probs).map(|(id, log_prob)| {
            let text = self.pipeline.processor.tokenizer.decode(&[*id]);
            ScoredToken {
                token_id: *id,
                text,
                log_prob,
            }
        });
        Ok(TargetScore {
            loss,
            tokens: tokens.collect(),
        })
    }
}

/// The log-probability of each of `labels`, given the request and the labels before it.
fn log_probs(
    pipeline: &Pipeline,
    request: &Request<'_>,
    prompts: &TokenizedPrompts,
    labels: &[u32],
    cancel: &CancelToken,
) -> Result<Vec<f32>> {
    let request = slice::from_ref(request);
    let images = pipeline.encode_images(request, cancel)?;
    cancel.check()?;
    let image = images.rows(request)[0];
    pipeline.engine.log_probs(image, prompts, labels)
}
