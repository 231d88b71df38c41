//! The same weights in every layout and file format, and with a LoRA adapter merged.

use burn_flex::Flex;
use florence2_core::weights::Adapter;

use crate::fixture::{Fixture, MODELS, assert_close};

#[test]
fn every_layout_and_format_holds_the_same_model() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        for layout in ["hf", "hf-sharded", "ms", "ms-bin"] {
            let output = fixture
                .model::<Flex>(layout, &[])
                .forward(fixture.forward_input())
                .unwrap();
            let expected = fixture.tensor("logits");
            assert_close(&format!("{name}/{layout}"), output.logits, expected);
        }
    }
}

#[test]
fn an_adapter_is_merged_as_peft_applies_it() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        for layout in ["hf", "ms"] {
            let adapter = Adapter::open(&fixture.folder.join("adapter")).unwrap();
            let output = fixture
                .model::<Flex>(layout, &[adapter])
                .forward(fixture.forward_input())
                .unwrap();
            let expected = fixture.tensor("logits_with_adapter");
            assert_close(&format!("{name}/{layout} adapter"), output.logits, expected);
        }
    }
}
