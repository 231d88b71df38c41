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

/// Weights are transferred to a GPU in the data type in which it computes, except for those that
/// stay f32. Casting an f32 model on the GPU gives the same model.
#[cfg(feature = "wgpu")]
#[test]
fn a_gpu_is_given_weights_in_their_type() {
    use burn::tensor::DType;
    use florence2_core::weights::cast;
    use florence2_kernels::Dtype;
    use florence2_kernels::gpu::wgpu::Wgpu;

    for name in MODELS {
        let fixture = Fixture::open(name);
        let loaded = fixture.model_in::<Wgpu>(Dtype::F16);
        let cast = cast(fixture.model::<Wgpu>("hf", &[]), DType::F16);
        for model in [&loaded, &cast] {
            let language_model = &model.model.language_model;
            let layer = &language_model.encoder.layers[0];
            assert_eq!(layer.fc1.weight.val().dtype(), DType::F16);
            let norm = &language_model.encoder.layernorm_embedding;
            assert_eq!(norm.gamma.val().dtype(), DType::F32);
            let norm = norm.beta.as_ref().unwrap();
            assert_eq!(norm.val().dtype(), DType::F32);
            assert_eq!(language_model.shared.weight.val().dtype(), DType::F32);
        }
        let logits = |model: &florence2_core::Florence2ForConditionalGeneration<Wgpu>| {
            let output = model.forward(fixture.forward_input()).unwrap();
            output.logits
        };
        assert_close(name, logits(&loaded), logits(&cast));
    }
}
