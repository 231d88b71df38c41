//! The embedded demo model, from `assets/demo-model`.

use crate::error::Result;
use crate::florence2::Florence2;
use crate::memory_files::MemoryFiles;
use crate::options::LoadOptions;

/// The files of the demo model, with their names.
macro_rules! files {
    ($($name:literal),*) => {
        [$((
            $name,
            include_bytes!(concat!("../../../assets/demo-model/", $name)).as_slice(),
        )),*]
    };
}

impl Florence2 {
    /// Loads the embedded demo model, a very small Florence-2. It is trained on images of coloured
    /// shapes and short words; its answers on other images are meaningless.
    ///
    /// # Errors
    /// Those of [`Self::demo_with`].
    pub fn demo() -> Result<Self> {
        Self::demo_with(&LoadOptions::default())
    }

    /// [`Self::demo`] with options.
    ///
    /// # Errors
    /// Those of [`Self::load_memory`].
    pub fn demo_with(options: &LoadOptions) -> Result<Self> {
        let files = files!(
            "config.json",
            "generation_config.json",
            "preprocessor_config.json",
            "tokenizer.json",
            "model.safetensors"
        );
        Self::load_memory(&MemoryFiles::from_iter(files), options)
    }
}
