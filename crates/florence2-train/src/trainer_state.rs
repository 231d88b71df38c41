//! `trainer_state.json`, with the keys of Hugging Face's `TrainerState`.

use serde::{Deserialize, Serialize};

/// The progress of a run, with the names of Hugging Face's `TrainerState`, which reads the file. The records of
/// `log_history` are in `metrics.jsonl` instead.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainerState {
    /// Epochs since the start, with the part of the current one.
    pub epoch: f64,
    /// Optimiser steps since the start.
    pub global_step: u64,
    /// All steps of the training.
    pub max_steps: u64,
    /// Epochs of the training, rounded up.
    pub num_train_epochs: u64,
    /// Images per batch.
    pub train_batch_size: usize,
    /// Steps between two records of the training loss.
    pub logging_steps: u64,
    /// Steps between two evaluations.
    pub eval_steps: u64,
    /// Steps between two checkpoints.
    pub save_steps: u64,
    /// The best value of `metric_for_best_model` so far.
    pub best_metric: Option<f64>,
    /// The step with `best_metric`.
    pub best_global_step: Option<u64>,
    /// The folder of the checkpoint of `best_global_step`, if it was saved. `Checkpoints::save` sets it.
    pub best_model_checkpoint: Option<String>,
}

impl TrainerState {
    /// Compares the metric of an evaluation at `global_step` with the best one so far: Hugging Face's
    /// `_determine_best_metric`. Returns whether it is better, and then stores it.
    ///
    /// NaN and the worst infinity are never better.
    pub fn update_best(&mut self, metric: f64, greater_is_better: bool) -> bool {
        let better = if greater_is_better {
            metric > self.best_metric.unwrap_or(f64::NEG_INFINITY)
        } else {
            metric < self.best_metric.unwrap_or(f64::INFINITY)
        };
        if better {
            self.best_metric = Some(metric);
            self.best_global_step = Some(self.global_step);
        }
        better
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_metric_is_the_first_of_equals() {
        let cases = [
            (false, [2.0, 2.0, 1.0, f64::NAN, 3.0], (1.0, 3)),
            (true, [2.0, 2.0, 1.0, f64::NAN, 3.0], (3.0, 5)),
            (true, [f64::NAN, -1.0, -1.0, -2.0, -1.0], (-1.0, 2)),
        ];
        for (greater_is_better, metrics, (best, step)) in cases {
            let mut state = TrainerState::default();
            let mut better = Vec::new();
            for metric in metrics {
                state.global_step += 1;
                if state.update_best(metric, greater_is_better) {
                    better.push(state.global_step);
                }
            }
            assert_eq!(state.best_metric, Some(best));
            assert_eq!(state.best_global_step, Some(step));
            assert_eq!(better.last(), Some(&step));
        }
    }
}
