//! BLEU and CIDEr-D of captions, as pycocoevalcap computes them, and its tokenizer.

mod bleu;
mod cider;
mod ngrams;
mod ptb_tokenizer;
mod sample;
mod summary;

pub use bleu::{Bleu, bleu};
pub use cider::{Cider, cider_d};
pub use ptb_tokenizer::{tokenize, tokenize_captions};
pub use sample::CaptionSample;
pub use summary::{CaptionScores, CaptionSummary, evaluate, evaluate_tokenized};
