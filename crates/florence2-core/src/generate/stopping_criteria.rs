//! The conditions that end a sequence: HF `generation/stopping_criteria.py`.

use std::time::{Duration, Instant};

use super::config::GenerationConfig;
use super::sequence::FinishReason;
use crate::error::{Error, Result};

/// The bytes of a token's text.
pub type TokenBytes<'a> = &'a (dyn Fn(u32) -> Vec<u8> + Sync);

/// The criteria of one call, for all of its sequences.
pub(super) struct StoppingCriteria<'a> {
    pub(super) eos_token_id: Vec<u32>,
    pub(super) max_length: usize,
    forced_eos_token_id: &'a [u32],
    stop_strings: Vec<&'a [u8]>,
    token_bytes: Option<TokenBytes<'a>>,
    deadline: Option<Instant>,
    timed_out: bool,
}

impl<'a> StoppingCriteria<'a> {
    /// Creates the criteria of a call that begins now.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are stop strings but no `token_bytes`.
    pub(super) fn new(
        config: &'a GenerationConfig,
        eos_token_id: Vec<u32>,
        max_length: usize,
        token_bytes: Option<TokenBytes<'a>>,
    ) -> Result<Self> {
        let stop_strings: Vec<&[u8]> = config.stop_strings.iter().map(String::as_bytes).collect();
        if token_bytes.is_none() && !stop_strings.is_empty() {
            let expected = "none, or a tokenizer beside them";
            let found = format!("{:?}", config.stop_strings);
            return Err(Error::argument("stop_strings", found, expected));
        }
        let time = config.max_time.map(|seconds| seconds.max(0.0));
        let time = time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Self {
            eos_token_id,
            max_length,
            forced_eos_token_id: &config.forced_eos_token_id,
            stop_strings,
            token_bytes,
            deadline: time.and_then(|time| Instant::now().checked_add(time)),
            timed_out: false,
        })
    }

    /// Reads the clock, so that all sequences of a step end together when `max_time` has passed.
    pub(super) fn begin_step(&mut self) {
        self.timed_out = self
            .deadline
            .is_some_and(|deadline| Instant::now() > deadline);
    }

    /// The reason why `sequence`, whose last token is new, ends; `None` if it continues.
    pub(super) fn finish_reason(&self, sequence: &[u32]) -> Option<FinishReason> {
        let last = sequence.last()?;
        let is_longest = sequence.len() >= self.max_length;
        let is_forced = is_longest && self.forced_eos_token_id.contains(last);
        let has_ended = self.eos_token_id.contains(last) || self.ends_in_stop_string(sequence);
        if has_ended && !is_forced {
            return Some(FinishReason::EndOfText);
        }
        (self.timed_out || is_longest).then_some(FinishReason::Length)
    }

    /// Returns whether a stop string ends within the last token. The token may continue after it.
    fn ends_in_stop_string(&self, sequence: &[u32]) -> bool {
        let Some(token_bytes) = self.token_bytes.filter(|_| !self.stop_strings.is_empty()) else {
            return false;
        };
        let mut ids = sequence.iter().rev();
        let mut text = ids.next().map_or_else(Vec::new, |id| token_bytes(*id));
        let last = text.len();
        let longest = self.stop_strings.iter().map(|text| text.len()).max();
        // A stop string begins at most its length minus one byte before the last token.
        let needed = last + longest.unwrap_or(0).saturating_sub(1);
        for id in ids {
            if text.len() >= needed {
                break;
            }
            let mut longer = token_bytes(*id);
            longer.append(&mut text);
            text = longer;
        }
        self.stop_strings.iter().any(|stop| {
            let begin = text
                .len()
                .saturating_sub(last + stop.len().saturating_sub(1));
            !stop.is_empty()
                && text[begin..]
                    .windows(stop.len())
                    .any(|window| window == *stop)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ends(stop_strings: &[&str], tokens: &[&str]) -> bool {
        let config = GenerationConfig {
            stop_strings: stop_strings.iter().map(|text| (*text).to_owned()).collect(),
            ..GenerationConfig::default()
        };
        let bytes = |id: u32| tokens[id as usize].as_bytes().to_vec();
        let criteria = StoppingCriteria::new(&config, Vec::new(), 99, Some(&bytes)).unwrap();
        let sequence: Vec<u32> = (0..tokens.len() as u32).collect();
        criteria.finish_reason(&sequence) == Some(FinishReason::EndOfText)
    }

    #[test]
    fn a_stop_string_ends_within_the_last_token() {
        assert!(ends(&["circle"], &["</s>", "white", " circle"]));
        assert!(ends(&["e circ"], &["</s>", "whit", "e", " cir", "cle"]));
        assert!(ends(&["no", "s>wh"], &["</s>", "white"]));
        // Text before the last token was checked at an earlier step.
        assert!(!ends(&["white"], &["</s>", "white", " circle"]));
        assert!(!ends(&["circles"], &["</s>", "white", " circle"]));
        assert!(!ends(&["", "x"], &["</s>", "white"]));
        assert!(!ends(&["white"], &["</s>", "white", ""]));
        assert!(ends(&["é"], &["</s>", "caf\u{e9}!"]));
    }

    #[test]
    fn stop_strings_need_a_tokenizer() {
        let config = GenerationConfig {
            stop_strings: vec!["x".to_owned()],
            ..GenerationConfig::default()
        };
        let criteria = StoppingCriteria::new(&config, Vec::new(), 9, None);
        assert!(criteria.is_err());
    }

    /// A forced end token marks an answer that was cut off.
    #[test]
    fn a_forced_end_token_is_the_end_of_the_length() {
        for (forced, expected) in [
            (vec![], FinishReason::EndOfText),
            (vec![2], FinishReason::Length),
        ] {
            let config = GenerationConfig {
                forced_eos_token_id: forced,
                ..GenerationConfig::default()
            };
            let criteria = StoppingCriteria::new(&config, vec![2], 4, None).unwrap();
            assert_eq!(
                criteria.finish_reason(&[0, 5, 2]),
                Some(FinishReason::EndOfText)
            );
            assert_eq!(criteria.finish_reason(&[0, 5, 5, 2]), Some(expected));
        }
    }

    #[test]
    fn time_ends_all_sequences() {
        let config = GenerationConfig {
            max_time: Some(0.0),
            ..GenerationConfig::default()
        };
        let mut criteria = StoppingCriteria::new(&config, vec![2], 9, None).unwrap();
        assert_eq!(criteria.finish_reason(&[2, 5]), None);
        std::thread::sleep(Duration::from_millis(2));
        criteria.begin_step();
        assert_eq!(criteria.finish_reason(&[2, 5]), Some(FinishReason::Length));
        assert_eq!(
            criteria.finish_reason(&[2, 2]),
            Some(FinishReason::EndOfText)
        );
    }
}
