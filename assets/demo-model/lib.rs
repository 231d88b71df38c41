//! The files of the demo model, a very small Florence-2. It is trained on images of coloured shapes
//! and short words; its answers on other images are meaningless.
//!
//! The crate `florence2` loads it with `Florence2::demo()`.

/// The names and contents of the files that the crate `florence2` reads from a model folder.
pub const FILES: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("config.json")),
    (
        "generation_config.json",
        include_bytes!("generation_config.json"),
    ),
    (
        "preprocessor_config.json",
        include_bytes!("preprocessor_config.json"),
    ),
    ("tokenizer.json", include_bytes!("tokenizer.json")),
    ("model.safetensors", include_bytes!("model.safetensors")),
];
