//! The embedded demo model, from the crate `florence2-demo-model`.

use crate::error::Result;
use crate::florence2::Florence2;
use crate::load_options::LoadOptions;

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
        let files = florence2_demo_model::FILES.iter().copied();
        Self::load_memory(&files.collect(), options)
    }
}
