//! BLEU and CIDEr-D of captions, as pycocoevalcap computes them, and its tokenizer.

mod bleu;
mod cider;
mod ngrams;
mod ptb_tokenizer;
mod summary;

pub use bleu::{Bleu, bleu};
pub use cider::{Cider, cider_d};
pub use ptb_tokenizer::{tokenize, tokenize_captions};
pub use summary::{CaptionSample, CaptionScores, CaptionSummary, evaluate, evaluate_tokenized};
