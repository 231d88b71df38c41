//! The embedded demo model, from `assets/demo-model`.

use crate::files::MemoryFiles;

/// Files of the demo model with their names.
macro_rules! files {
    ($($name:literal),*) => {
        [$((
            $name,
            include_bytes!(concat!("../../../assets/demo-model/", $name)).as_slice(),
        )),*]
    };
}

pub(crate) fn files() -> MemoryFiles {
    let files = files!(
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "model.safetensors"
    );
    files.into_iter().collect()
}
