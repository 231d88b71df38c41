//! The setters of generation options.

/// Declares one setter per option of [`GenerationOverrides`](crate::GenerationOverrides).
/// `generation_setters!(options.generation)` within an `impl` block sets the fields of
/// `self.options.generation`.
macro_rules! generation_setters {
    ($($field:ident).+) => {
        /// The number of beams.
        pub fn num_beams(mut self, num_beams: usize) -> Self {
            self.$($field).+.num_beams = Some(num_beams);
            self
        }

        /// The maximum number of generated tokens.
        pub fn max_new_tokens(mut self, max_new_tokens: usize) -> Self {
            self.$($field).+.max_new_tokens = Some(max_new_tokens);
            self
        }

        /// The maximum length of the decoder's sequence, including the start token.
        pub fn max_length(mut self, max_length: usize) -> Self {
            self.$($field).+.max_length = Some(max_length);
            self
        }

        /// The minimum number of generated tokens.
        pub fn min_new_tokens(mut self, min_new_tokens: usize) -> Self {
            self.$($field).+.min_new_tokens = Some(min_new_tokens);
            self
        }

        /// The minimum length of the decoder's sequence, including the start token.
        pub fn min_length(mut self, min_length: usize) -> Self {
            self.$($field).+.min_length = Some(min_length);
            self
        }

        /// The time in seconds after which all sequences end.
        pub fn max_time(mut self, max_time: f64) -> Self {
            self.$($field).+.max_time = Some(max_time);
            self
        }

        /// The texts that end a sequence when it contains one of them.
        pub fn stop_strings(mut self, stop_strings: Vec<String>) -> Self {
            self.$($field).+.stop_strings = Some(stop_strings);
            self
        }

        /// True to sample tokens instead of choosing the most likely ones.
        pub fn do_sample(mut self, do_sample: bool) -> Self {
            self.$($field).+.do_sample = Some(do_sample);
            self
        }

        /// The divisor of the scores before sampling.
        pub fn temperature(mut self, temperature: f32) -> Self {
            self.$($field).+.temperature = Some(temperature);
            self
        }

        /// Sample from this many most likely tokens; 0 disables the limit.
        pub fn top_k(mut self, top_k: i64) -> Self {
            self.$($field).+.top_k = Some(top_k);
            self
        }

        /// Sample from the most likely tokens that together reach this probability.
        pub fn top_p(mut self, top_p: f32) -> Self {
            self.$($field).+.top_p = Some(top_p);
            self
        }

        /// Sample from the tokens at least this likely, relative to the most likely.
        pub fn min_p(mut self, min_p: f32) -> Self {
            self.$($field).+.min_p = Some(min_p);
            self
        }

        /// Sample from the most likely tokens whose entropy is at most this fraction of the whole entropy.
        pub fn top_h(mut self, top_h: f32) -> Self {
            self.$($field).+.top_h = Some(top_h);
            self
        }

        /// Sample from the tokens closest to the expected information that together reach this probability.
        pub fn typical_p(mut self, typical_p: f32) -> Self {
            self.$($field).+.typical_p = Some(typical_p);
            self
        }

        /// Sample from tokens of at least this probability; 0 disables the limit.
        pub fn epsilon_cutoff(mut self, epsilon_cutoff: f32) -> Self {
            self.$($field).+.epsilon_cutoff = Some(epsilon_cutoff);
            self
        }

        /// Sample from tokens above a threshold that falls with the entropy; 0 disables it.
        pub fn eta_cutoff(mut self, eta_cutoff: f32) -> Self {
            self.$($field).+.eta_cutoff = Some(eta_cutoff);
            self
        }

        /// The seed of the random number generator.
        pub fn seed(mut self, seed: u64) -> Self {
            self.$($field).+.seed = Some(seed);
            self
        }

        /// The length of the token sequences that may occur only once; 0 disables the limit.
        pub fn no_repeat_ngram_size(mut self, no_repeat_ngram_size: usize) -> Self {
            self.$($field).+.no_repeat_ngram_size = Some(no_repeat_ngram_size);
            self
        }

        /// The length of the token sequences of the prompt that are not generated; 0 disables the limit.
        pub fn encoder_no_repeat_ngram_size(mut self, encoder_no_repeat_ngram_size: usize) -> Self {
            self.$($field).+.encoder_no_repeat_ngram_size = Some(encoder_no_repeat_ngram_size);
            self
        }

        /// The penalty on the scores of tokens that are already in the sequence; 1 disables it.
        pub fn repetition_penalty(mut self, repetition_penalty: f32) -> Self {
            self.$($field).+.repetition_penalty = Some(repetition_penalty);
            self
        }

        /// Values above 1 raise the scores of the prompt's tokens.
        pub fn encoder_repetition_penalty(mut self, encoder_repetition_penalty: f32) -> Self {
            self.$($field).+.encoder_repetition_penalty = Some(encoder_repetition_penalty);
            self
        }

        /// The exponent of the length by which a beam's score is divided.
        pub fn length_penalty(mut self, length_penalty: f32) -> Self {
            self.$($field).+.length_penalty = Some(length_penalty);
            self
        }

        /// The number of generated tokens after which the end tokens' scores grow, and the base of the exponential growth.
        pub fn exponential_decay_length_penalty(mut self, exponential_decay_length_penalty: (usize, f64)) -> Self {
            self.$($field).+.exponential_decay_length_penalty = Some(exponential_decay_length_penalty);
            self
        }

        /// The condition under which the beam search stops.
        pub fn early_stopping(mut self, early_stopping: florence2_core::generate::EarlyStopping) -> Self {
            self.$($field).+.early_stopping = Some(early_stopping);
            self
        }

        /// The number of sequences per request: the answer and its alternatives.
        pub fn num_return_sequences(mut self, num_return_sequences: usize) -> Self {
            self.$($field).+.num_return_sequences = Some(num_return_sequences);
            self
        }

        /// The first generated token is one of these; an empty list forces none.
        pub fn forced_bos_token_id(mut self, forced_bos_token_id: Vec<u32>) -> Self {
            self.$($field).+.forced_bos_token_id = Some(forced_bos_token_id);
            self
        }

        /// The token at the maximum length is one of these; an empty list forces none.
        pub fn forced_eos_token_id(mut self, forced_eos_token_id: Vec<u32>) -> Self {
            self.$($field).+.forced_eos_token_id = Some(forced_eos_token_id);
            self
        }

        /// Tokens that are never generated.
        pub fn suppress_tokens(mut self, suppress_tokens: Vec<u32>) -> Self {
            self.$($field).+.suppress_tokens = Some(suppress_tokens);
            self
        }

        /// Tokens that are not generated first, or not after the forced first token.
        pub fn begin_suppress_tokens(mut self, begin_suppress_tokens: Vec<u32>) -> Self {
            self.$($field).+.begin_suppress_tokens = Some(begin_suppress_tokens);
            self
        }

        /// Token sequences that are never generated.
        pub fn bad_words_ids(mut self, bad_words_ids: Vec<Vec<u32>>) -> Self {
            self.$($field).+.bad_words_ids = Some(bad_words_ids);
            self
        }

        /// Token sequences, each with the number that is added to the score of its last token if the tokens before it are generated.
        pub fn sequence_bias(mut self, sequence_bias: Vec<(Vec<u32>, f32)>) -> Self {
            self.$($field).+.sequence_bias = Some(sequence_bias);
            self
        }

        /// True to replace scores that are not finite by finite ones.
        pub fn remove_invalid_values(mut self, remove_invalid_values: bool) -> Self {
            self.$($field).+.remove_invalid_values = Some(remove_invalid_values);
            self
        }

        /// True to normalise processed scores again.
        pub fn renormalize_logits(mut self, renormalize_logits: bool) -> Self {
            self.$($field).+.renormalize_logits = Some(renormalize_logits);
            self
        }

        /// Tokens that end an answer.
        pub fn eos_token_id(mut self, eos_token_id: Vec<u32>) -> Self {
            self.$($field).+.eos_token_id = Some(eos_token_id);
            self
        }

        /// The decoder's first token: one for all requests of a batch, or one per request.
        pub fn decoder_start_token_id(mut self, decoder_start_token_id: Vec<u32>) -> Self {
            self.$($field).+.decoder_start_token_id = Some(decoder_start_token_id);
            self
        }
    };
}

pub(crate) use generation_setters;
