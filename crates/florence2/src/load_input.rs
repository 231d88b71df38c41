//! The input of loading a model onto a device.

use florence2_core::weights::{Adapter, Checkpoint, LoadMonitor, load_monitored};
use florence2_core::{Florence2Config, Warning};
use florence2_kernels::{Backend, Dtype};

use crate::engine::LoadedModel;
use crate::error::{Error, Result};
use crate::load_options::LoadOptions;

/// The parts of a model and the options of loading it.
pub(crate) struct LoadInput<'a> {
    pub(crate) options: &'a LoadOptions,
    pub(crate) config: &'a Florence2Config,
    pub(crate) checkpoint: &'a Checkpoint,
    /// The adapters to merge, in order.
    pub(crate) adapters: &'a [Adapter],
}

/// Returns an error if `dtype` is not one of `supported`, the data types of the weights that the device
/// with the name `device` supports.
pub(crate) fn check_dtype(device: &str, dtype: Dtype, supported: &[Dtype]) -> Result<()> {
    if supported.contains(&dtype) {
        return Ok(());
    }
    Err(Error::Dtype {
        device: device.to_owned(),
        found: dtype,
        expected: supported.to_vec(),
    })
}

impl LoadInput<'_> {
    /// Loads the weights onto a device of the backend. `monitor` is called with the progress.
    pub(crate) fn load<B: Backend>(
        &self,
        device: &B::Device,
        monitor: &mut LoadMonitor<'_>,
    ) -> florence2_core::Result<(LoadedModel<B>, Vec<Warning>)> {
        let (model, warnings) = load_monitored::<B>(
            self.config,
            self.checkpoint,
            self.adapters,
            self.options.dtype,
            device,
            monitor,
        )?;
        Ok((LoadedModel(model), warnings))
    }
}
