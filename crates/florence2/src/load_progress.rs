//! The callback for the progress of loading a model.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use florence2_core::weights::LoadProgress;

type Callback = dyn Fn(LoadProgress) -> ControlFlow<()> + Send + Sync;

/// A callback for the progress of loading a model. The default calls nothing.
#[derive(Clone, Default)]
pub struct LoadCallback(Option<Arc<Callback>>);

impl LoadCallback {
    /// Creates a callback that is called before the first tensor and after each, on the thread that
    /// loads the model. `Break` ends the loading with [`Cancelled`](florence2_core::Error::Cancelled).
    pub fn new(callback: impl Fn(LoadProgress) -> ControlFlow<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(callback)))
    }

    pub(crate) fn call(&self, progress: LoadProgress) -> ControlFlow<()> {
        match &self.0 {
            Some(callback) => callback(progress),
            None => ControlFlow::Continue(()),
        }
    }
}

impl fmt::Debug for LoadCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            Some(_) => "LoadCallback(set)",
            None => "LoadCallback(none)",
        };
        f.write_str(name)
    }
}
