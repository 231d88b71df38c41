//! The parameters that a training changes.

use burn_autodiff::Autodiff;
use florence2_core::weights::{Checkpoint, LoraConfig, load};
use florence2_core::{Florence2Config, Florence2ForConditionalGeneration, Warning};
use florence2_kernels::{Backend, Dtype};

use crate::error::Result;
use crate::invalid::InvalidArguments;
use crate::lora::adapt;
use crate::trained_parameters::select;

/// The start of the names of the vision tower's parameters.
const VISION_TOWER: &str = "model.vision_tower.";

/// The parameters that a training changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// The updates of an adapter. All other parameters are frozen.
    Lora(LoraConfig),
    /// All parameters.
    Full,
    /// All parameters but those of the vision tower.
    FrozenVision,
}

impl Method {
    /// Loads a model for training, with its trained parameters selected.
    ///
    /// `dtype` is the data type of the frozen weights of [`Method::Lora`]. The other methods require f32.
    /// `seed` is that of the initial values of the updates. The warnings list tensors and settings that
    /// are not used.
    ///
    /// # Errors
    /// - [`Error::Arguments`](crate::Error::Arguments) if the method does not support the dtype
    /// - [`Error::Model`](crate::Error::Model) if the checkpoint does not fit the configuration
    /// - those of [`adapt`]
    pub fn load<B: Backend>(
        &self,
        config: &Florence2Config,
        checkpoint: &Checkpoint,
        dtype: Dtype,
        seed: u64,
        device: &B::Device,
    ) -> Result<(Florence2ForConditionalGeneration<Autodiff<B>>, Vec<Warning>)> {
        self.check_dtype(dtype)?;
        if let Self::Lora(lora) = self {
            let (base, warnings) = load::<B>(config, checkpoint, &[], dtype, device)?;
            return Ok((adapt(base, lora, seed)?, warnings));
        }
        let (model, warnings) = load::<Autodiff<B>>(config, checkpoint, &[], dtype, device)?;
        let is_full = *self == Self::Full;
        let model = select(model, |key| is_full || !key.starts_with(VISION_TOWER));
        Ok((model, warnings))
    }

    /// Checks that the method supports a data type of the weights.
    ///
    /// # Errors
    /// The argument `dtype`, unless the method is LoRA or the type is f32.
    pub fn check_dtype(&self, dtype: Dtype) -> Result<(), InvalidArguments> {
        let mut invalid = InvalidArguments::default();
        let is_supported = matches!(self, Self::Lora(_)) || dtype == Dtype::F32;
        let expected = "f32, since the weights are trained";
        invalid.require(is_supported, "dtype", dtype, expected);
        invalid.into_result()
    }
}
