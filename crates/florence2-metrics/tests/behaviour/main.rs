//! Errors, summaries and input at the limits.

mod errors;
mod masks;
mod summaries;
mod tokenizer;
