//! The optimiser's state in a checkpoint, `optimizer.safetensors`: for each trained parameter torch's
//! `step`, `exp_avg` and `exp_avg_sq`, as `exp_avg.KEY`. Moments are flattened.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use florence2_checkpoint::{Checkpoint, FloatType, SafetensorsWriter, TensorSpec};

use crate::error::{Error, Result};
use crate::optimizer::Moments;

/// The name of the file.
pub(crate) const OPTIMIZER_FILE: &str = "optimizer.safetensors";

/// The state of the optimiser by parameter.
pub(crate) type OptimizerState<B> = BTreeMap<String, Moments<B>>;

/// Writes the state to a folder.
///
/// # Errors
/// [`Error::Model`] with the file.
pub(crate) fn write<B: Backend>(states: &OptimizerState<B>, folder: &Path) -> Result<()> {
    let tensors = states.iter().flat_map(|(key, state)| {
        let step = Tensor::from_data([state.step as f32], &state.exp_avg.device());
        [
            (format!("step.{key}"), step),
            (format!("exp_avg.{key}"), state.exp_avg.clone()),
            (format!("exp_avg_sq.{key}"), state.exp_avg_sq.clone()),
        ]
    });
    let named: Vec<(String, Tensor<B, 1>)> = tensors.collect();
    let path = folder.join(OPTIMIZER_FILE);
    let write = || -> florence2_checkpoint::Result<()> {
        let specs = named.iter().map(|(name, tensor)| {
            let shape = tensor.dims();
            TensorSpec::new(name.as_str(), shape, FloatType::F32)
        });
        let mut writer = SafetensorsWriter::create(&path, specs)?;
        for (name, tensor) in &named {
            let data = tensor.clone().into_data().convert::<f32>();
            // INVARIANT: `convert` returned the type that is read.
            writer.write(name, data.as_slice().expect("f32"))?;
        }
        writer.finish()
    };
    write().map_err(|error| Error::Model(error.into()))
}

/// Reads the state from a folder.
///
/// # Errors
/// [`Error::Malformed`] with every parameter whose state is missing or has another size.
pub(crate) fn read<B: Backend>(
    folder: &Path,
    trained: &[(String, usize)],
    device: &B::Device,
) -> Result<OptimizerState<B>> {
    let path = folder.join(OPTIMIZER_FILE);
    let malformed = |reason: String| Error::Malformed {
        path: path.clone(),
        reason,
    };
    let checkpoint = Checkpoint::open_file(&path).map_err(|error| malformed(error.to_string()))?;
    let read = |name: &str, size: usize| -> Result<Option<Vec<f32>>, String> {
        let Some(tensor) = checkpoint.tensors.get(name) else {
            return Ok(None);
        };
        let values = tensor.to_f32().map_err(|error| error.to_string())?;
        let found = values.len();
        if found == size {
            Ok(Some(values))
        } else {
            Err(format!("`{name}`: found {found} values, expected {size}"))
        }
    };
    let state = |key: &str, size: usize| -> Result<Option<Moments<B>>, String> {
        // A parameter of a layer that was always skipped has no state.
        let Some(step) = read(&format!("step.{key}"), 1)? else {
            return Ok(None);
        };
        let moment = |kind: &str| {
            let name = format!("{kind}.{key}");
            let values = read(&name, size)?.ok_or_else(|| format!("`{name}` is missing"))?;
            Ok::<_, String>(Tensor::from_data(TensorData::new(values, [size]), device))
        };
        Ok(Some(Moments {
            step: step[0] as u64,
            exp_avg: moment("exp_avg")?,
            exp_avg_sq: moment("exp_avg_sq")?,
        }))
    };
    let mut problems = Vec::new();
    let mut states = OptimizerState::new();
    for (key, size) in trained {
        match state(key, *size) {
            Ok(Some(state)) => drop(states.insert(key.clone(), state)),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(states)
    } else {
        Err(malformed(problems.join("; ")))
    }
}
