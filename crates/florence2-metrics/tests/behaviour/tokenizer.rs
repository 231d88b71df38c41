//! The tokenizer on any input.

use florence2_metrics::caption::{tokenize, tokenize_captions};
use proptest::prelude::*;

#[test]
fn a_caption_may_contain_line_breaks() {
    assert_eq!(tokenize("A dog\nand\r\na cat\u{2028}."), "a dog and a cat");
    assert_eq!(tokenize(""), "");
    assert!(tokenize_captions::<&str>(&[]).is_empty());
}

#[test]
fn the_next_caption_decides_about_the_period_of_a_letter() {
    assert_eq!(tokenize("Vitamin C."), "vitamin c.");
    assert_eq!(
        tokenize_captions(&["Vitamin C.", "A dog"]),
        ["vitamin c", "a dog"]
    );
}

proptest! {
    #[test]
    fn tokens_are_separated_by_single_spaces(
        captions in proptest::collection::vec("[a-zA-Z0-9 .,'’\"“&/#$@<>:;!?\\-_()\u{0}-\u{ffff}]{0,40}", 1..4)
    ) {
        let tokenized = tokenize_captions(&captions);
        prop_assert_eq!(tokenized.len(), captions.len());
        for caption in tokenized {
            prop_assert!(!caption.contains("  ") && !caption.contains('\n'));
            prop_assert_eq!(caption.trim_matches(' '), caption.as_str());
        }
    }
}
