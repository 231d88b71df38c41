//! The image processor and the tokenizer of a model: prompts to token ids, generated ids to results.

use std::path::Path;

use florence2_postprocess::{
    Coordinates, ImageSize, PostProcessorConfig, ScoredText, TaskResult, TokenSpan, parse_with,
};

use crate::config::{PREPROCESSOR_CONFIG, PROCESSOR_CONFIG, PreprocessorConfig};
use crate::error::{Error, Result};
use crate::post_processor;
use crate::preprocess::ImageProcessor;
use crate::prompt::Prompt;
use crate::tokenizer::Tokenizer;
use crate::tokenizer_files::{NAMES as TOKENIZER_FILES, TokenizerFiles};

/// The image processor and the tokenizer: HF `Florence2Processor`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Florence2Processor {
    /// Converts images to pixel values.
    pub image_processor: ImageProcessor,
    /// Converts text to token ids and back.
    pub tokenizer: Tokenizer,
    /// The settings for parsing answers: HF `post_processor_config`.
    pub post_processor_config: PostProcessorConfig,
}

/// Prompts as token ids, padded on the right to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenizedPrompts {
    /// `[batch, tokens]`: without HF's leading `<image>` placeholders.
    pub input_ids: Vec<Vec<u32>>,
    /// `[batch, tokens]`: 1 for the prompt, 0 for padding.
    pub attention_mask: Vec<Vec<u8>>,
}

impl Florence2Processor {
    /// Reads the files of the image processor and of the tokenizer from a model folder, and
    /// `post_processor_config` from its `processor_config.json`. The default configuration of the
    /// post-processor is used if the folder has none, as in Microsoft's layout.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Malformed`] naming the file.
    pub fn from_dir(directory: &Path) -> Result<Self> {
        Ok(Self {
            image_processor: ImageProcessor::new(PreprocessorConfig::from_dir(directory)?),
            tokenizer: Tokenizer::from_dir(directory)?,
            post_processor_config: post_processor::from_dir(directory)?,
        })
    }

    /// As [`Self::from_dir`], from files in memory: `file` returns the contents of the file of a
    /// name, one of [`Self::file_names`].
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the file, [`Error::Io`] if one is missing.
    pub fn from_files<'a>(file: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Self> {
        Ok(Self {
            image_processor: ImageProcessor::new(PreprocessorConfig::from_files(&file)?),
            tokenizer: Tokenizer::from_files(&TokenizerFiles::new(&file))?,
            post_processor_config: post_processor::from_files(&file)?,
        })
    }

    /// The names of the files in a model folder that the image processor and the tokenizer read.
    pub fn file_names() -> impl Iterator<Item = &'static str> {
        [PROCESSOR_CONFIG, PREPROCESSOR_CONFIG]
            .into_iter()
            .chain(TOKENIZER_FILES)
    }

    /// Tokenizes a batch of prompts, each with the size of its image.
    ///
    /// # Errors
    /// [`Error::MissingInput`], [`Error::UnexpectedInput`], [`Error::Region`],
    /// [`Error::MissingToken`], [`Error::Malformed`] if the tokenizer cannot represent a prompt.
    pub fn tokenize(&self, prompts: &[(&Prompt, ImageSize)]) -> Result<TokenizedPrompts> {
        let mut input_ids = prompts
            .iter()
            .map(|(prompt, size)| self.encode_prompt(prompt, *size))
            .collect::<Result<Vec<_>>>()?;
        let longest = input_ids.iter().map(Vec::len).max().unwrap_or(0);
        let mut attention_mask = Vec::with_capacity(input_ids.len());
        for ids in &mut input_ids {
            let mut mask = vec![1; ids.len()];
            mask.resize(longest, 0);
            attention_mask.push(mask);
            ids.resize(longest, self.tokenizer.pad_token_id());
        }
        Ok(TokenizedPrompts {
            input_ids,
            attention_mask,
        })
    }

    fn encode_prompt(&self, prompt: &Prompt, image_size: ImageSize) -> Result<Vec<u32>> {
        let text = prompt.expand(image_size)?;
        if let Some(task) = prompt.task().filter(|task| task.needs_region())
            && let Some(token) = self.tokenizer.missing_location(&text)
        {
            return Err(Error::MissingToken {
                task: task.token(),
                token: token.to_owned(),
            });
        }
        self.tokenizer.encode(&text)
    }

    /// Parses generated ids: HF `post_process_generation`.
    ///
    /// `log_probs` has one entry per id, and `location_log_probs` too: the log-probability that a
    /// location lies near the generated one, `log_probs`' entry for other tokens. Both are empty for an
    /// answer without scores.
    pub fn post_process_generation(
        &self,
        token_ids: &[u32],
        log_probs: &[f32],
        location_log_probs: &[f32],
        prompt: &Prompt,
        image_size: ImageSize,
        coordinates: Coordinates,
    ) -> TaskResult {
        let (text, spans) = self.tokenizer.decode_spans(token_ids);
        let log_probs = log_probs.iter().zip(location_log_probs);
        let tokens = spans.into_iter().zip(token_ids).zip(log_probs);
        let tokens = tokens.map(|((range, token_id), (log_prob, location_log_prob))| {
            TokenSpan::new(range, *token_id, *log_prob).location_log_prob(*location_log_prob)
        });
        let answer = ScoredText::new(text, tokens.collect());
        parse_with(
            &answer,
            prompt.post_processing_type(),
            image_size,
            coordinates,
            &self.post_processor_config,
        )
    }
}
