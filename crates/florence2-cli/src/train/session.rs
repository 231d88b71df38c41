//! A training on a device.

use std::path::PathBuf;

use florence2::{DeviceWork, Florence2Config};
use florence2_core::weights::Checkpoint;
use florence2_kernels::{Backend, Dtype};
use florence2_train::{
    DatasetSource, ExampleSource, Method, Outcome, Trainer, TrainerOptions, TrainingArguments,
};

use super::interrupt::Interrupt;
use super::progress::Progress;
use crate::failure::Failure;

/// The parts of a training.
pub(crate) struct Session<'a> {
    pub(crate) method: Method,
    pub(crate) arguments: TrainingArguments,
    pub(crate) options: TrainerOptions,
    pub(crate) config: &'a Florence2Config,
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) dtype: Dtype,
    pub(crate) train: &'a DatasetSource<'a>,
    pub(crate) evaluation: Option<&'a DatasetSource<'a>>,
    pub(crate) interrupt: &'a Interrupt,
}

/// The result of a training.
pub(crate) struct Trained {
    pub(crate) outcome: Outcome,
    /// The newest checkpoint of this process.
    pub(crate) checkpoint: Option<PathBuf>,
}

impl DeviceWork for Session<'_> {
    type Output = Result<Trained, Failure>;

    fn run<B: Backend>(self, device: &B::Device) -> Result<Trained, Failure> {
        let seed = self.arguments.seed;
        let (model, warnings) =
            self.method
                .load::<B>(self.config, self.checkpoint, self.dtype, seed, device)?;
        for warning in &warnings {
            log::warn!("{warning}");
        }
        let evaluation = self.evaluation.map(|source| source as &dyn ExampleSource);
        let images =
            self.arguments.per_device_train_batch_size * self.arguments.gradient_accumulation_steps;
        let trainer = Trainer::new(model, self.train, evaluation, self.arguments, self.options)?;
        let trained: usize = trainer
            .trained_parameters()
            .iter()
            .map(|(_, values)| values)
            .sum();
        let state = trainer.state();
        let (step, total) = (state.global_step, state.max_steps);
        print_start(
            &self.method,
            trained,
            parameters(self.config, self.checkpoint),
        );
        eprintln!(
            "florence2: {total} steps of {images} images, epochs: {}",
            state.num_train_epochs
        );
        if step > 0 {
            eprintln!("florence2: continuing after step {step}");
        }
        let mut progress = Progress::new(step, total, self.interrupt);
        let outcome = trainer.train(&mut progress);
        let checkpoint = progress.into_checkpoint();
        Ok(Trained {
            outcome: outcome?,
            checkpoint,
        })
    }
}

fn print_start(method: &Method, trained: usize, all: usize) {
    let all = match method {
        // The updates are no part of the checkpoint.
        Method::Lora(_) => all + trained,
        Method::Full | Method::FrozenVision => all,
    };
    let share = 100.0 * trained as f64 / all as f64;
    eprintln!("florence2: trained parameters: {trained} of {all} ({share:.2} %)");
}

/// The number of values of a checkpoint, without the copies of the shared embedding.
fn parameters(config: &Florence2Config, checkpoint: &Checkpoint) -> usize {
    let is_copy = |key: &str| {
        key.ends_with("embed_tokens.weight")
            || config.tie_word_embeddings && key.ends_with("lm_head.weight")
    };
    let tensors = checkpoint.tensors.iter();
    let sizes = tensors
        .filter(|(key, _)| !is_copy(key))
        .map(|(_, tensor)| tensor.shape.iter().product::<usize>());
    sizes.sum()
}
