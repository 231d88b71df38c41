//! Training arguments, with the names, defaults and rules of Hugging Face's `TrainingArguments` (transformers 5.17).

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::invalid::{InvalidArgument, InvalidArguments};
use crate::schedule::{LrSchedule, LrSchedulerKwargs, SchedulerType};

/// When to evaluate: Hugging Face's `IntervalStrategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalStrategy {
    /// Never.
    #[default]
    No,
    /// Every so many optimiser steps, and after the last one.
    Steps,
    /// After each epoch.
    Epoch,
}

/// When to save a checkpoint: Hugging Face's `SaveStrategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaveStrategy {
    /// Never.
    No,
    /// Every `save_steps` optimiser steps, and after the last one.
    #[default]
    Steps,
    /// After each epoch.
    Epoch,
    /// After each evaluation whose metric is better than all before.
    Best,
}

impl IntervalStrategy {
    /// All values.
    pub const ALL: [Self; 3] = [Self::No, Self::Steps, Self::Epoch];

    /// Hugging Face's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Steps => "steps",
            Self::Epoch => "epoch",
        }
    }
}

impl SaveStrategy {
    /// All values.
    pub const ALL: [Self; 4] = [Self::No, Self::Steps, Self::Epoch, Self::Best];

    /// Hugging Face's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Steps => "steps",
            Self::Epoch => "epoch",
            Self::Best => "best",
        }
    }
}

impl Display for IntervalStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Display for SaveStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for IntervalStrategy {
    type Err = InvalidArgument;

    /// Parses Hugging Face's name. The error lists all names.
    fn from_str(name: &str) -> Result<Self, InvalidArgument> {
        let all = Self::ALL;
        all.into_iter()
            .find(|strategy| strategy.name() == name)
            .ok_or_else(|| InvalidArgument {
                argument: "eval_strategy".to_owned(),
                found: format!("{name:?}"),
                expected: format!("one of {}", all.map(Self::name).join(", ")),
            })
    }
}

impl FromStr for SaveStrategy {
    type Err = InvalidArgument;

    /// Parses Hugging Face's name. The error lists all names.
    fn from_str(name: &str) -> Result<Self, InvalidArgument> {
        let all = Self::ALL;
        all.into_iter()
            .find(|strategy| strategy.name() == name)
            .ok_or_else(|| InvalidArgument {
                argument: "save_strategy".to_owned(),
                found: format!("{name:?}"),
                expected: format!("one of {}", all.map(Self::name).join(", ")),
            })
    }
}

/// The arguments of a training run, with the names and defaults of Hugging Face's `TrainingArguments`.
///
/// One step is one update of the weights by the optimiser, which may accumulate the gradients of several batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingArguments {
    /// Images per batch in training.
    pub per_device_train_batch_size: usize,
    /// Passes over the data set. A fraction ends within an epoch.
    pub num_train_epochs: f64,
    /// Steps of the training if positive: it replaces `num_train_epochs`. Negative: `num_train_epochs` decides.
    pub max_steps: i64,
    /// The learning rate after the warmup.
    pub learning_rate: f64,
    /// The shape of the learning rate over the steps.
    pub lr_scheduler_type: SchedulerType,
    /// The arguments of the schedule.
    pub lr_scheduler_kwargs: LrSchedulerKwargs,
    /// Steps of the warmup. A value below 1 is a fraction of all steps.
    pub warmup_steps: f64,
    /// The warmup as a fraction of all steps, if `warmup_steps` is 0: an argument of transformers 4.
    pub warmup_ratio: f64,
    /// Decoupled weight decay of AdamW. It applies to neither biases nor norms.
    pub weight_decay: f64,
    /// The decay rate of Adam's first moment.
    pub adam_beta1: f64,
    /// The decay rate of Adam's second moment.
    pub adam_beta2: f64,
    /// Adam's epsilon.
    pub adam_epsilon: f64,
    /// Batches whose gradients are accumulated into one step.
    pub gradient_accumulation_steps: usize,
    /// The largest L2 norm of the gradients of a step, to which they are scaled down. 0: no clipping.
    pub max_grad_norm: f64,
    /// The part of a label's probability that is spread over all tokens. 0: none.
    pub label_smoothing_factor: f64,
    /// Whether to recompute activations in the backward pass, which requires less memory and more time.
    pub gradient_checkpointing: bool,
    /// Steps between two records of the training loss. A value below 1 is a fraction of all steps.
    pub logging_steps: f64,
    /// When to evaluate.
    pub eval_strategy: IntervalStrategy,
    /// Steps between two evaluations. A value below 1 is a fraction of all steps. None or 0: `logging_steps`.
    pub eval_steps: Option<f64>,
    /// Images per batch in evaluation.
    pub per_device_eval_batch_size: usize,
    /// When to save a checkpoint.
    pub save_strategy: SaveStrategy,
    /// Steps between two checkpoints. A value below 1 is a fraction of all steps.
    pub save_steps: f64,
    /// Checkpoints to keep. The newest and the best are always kept. None or 0: all.
    pub save_total_limit: Option<usize>,
    /// Whether the result is the best checkpoint and not the last weights.
    pub load_best_model_at_end: bool,
    /// The metric that decides which checkpoint is the best, with or without the prefix `eval_`. None: the loss if
    /// `load_best_model_at_end`.
    pub metric_for_best_model: Option<String>,
    /// Whether a larger metric is better. None: unless the metric's name ends in `loss`.
    pub greater_is_better: Option<bool>,
    /// The seed of the initialisation and of dropout.
    pub seed: u64,
    /// The seed of the order of the examples. None: `seed`.
    pub data_seed: Option<u64>,
}

impl Default for TrainingArguments {
    fn default() -> Self {
        Self {
            per_device_train_batch_size: 8,
            num_train_epochs: 3.0,
            max_steps: -1,
            learning_rate: 5e-5,
            lr_scheduler_type: SchedulerType::Linear,
            lr_scheduler_kwargs: LrSchedulerKwargs::default(),
            warmup_steps: 0.0,
            warmup_ratio: 0.0,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            gradient_accumulation_steps: 1,
            max_grad_norm: 1.0,
            label_smoothing_factor: 0.0,
            gradient_checkpointing: false,
            logging_steps: 500.0,
            eval_strategy: IntervalStrategy::No,
            eval_steps: None,
            per_device_eval_batch_size: 8,
            save_strategy: SaveStrategy::Steps,
            save_steps: 500.0,
            save_total_limit: None,
            load_best_model_at_end: false,
            metric_for_best_model: None,
            greater_is_better: None,
            seed: 42,
            data_seed: None,
        }
    }
}

/// What to do after a step: Hugging Face's `TrainerControl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepActions {
    /// Write a record with the training loss.
    pub should_log: bool,
    /// Evaluate. It comes before the checkpoint.
    pub should_evaluate: bool,
    /// Save a checkpoint. `SaveStrategy::Best` saves after evaluations, and never sets it.
    pub should_save: bool,
    /// The step is the last one.
    pub should_training_stop: bool,
}

impl TrainingArguments {
    /// Checks all arguments.
    ///
    /// # Errors
    ///
    /// Returns every argument that is out of range or does not go with another one.
    pub fn validate(&self) -> Result<(), InvalidArguments> {
        let mut invalid = InvalidArguments::default();
        self.check_sizes(&mut invalid);
        self.check_optimizer(&mut invalid);
        LrSchedule::check(
            self.lr_scheduler_type,
            &self.lr_scheduler_kwargs,
            self.learning_rate,
            &mut invalid,
        );
        self.check_intervals(&mut invalid);
        self.check_best_model(&mut invalid);
        invalid.into_result()
    }

    /// Checks that the trainer supports the arguments.
    ///
    /// # Errors
    ///
    /// Returns `label_smoothing_factor` and `gradient_checkpointing` unless they have their defaults: they are not
    /// implemented.
    pub fn check_supported(&self) -> Result<(), InvalidArguments> {
        let mut invalid = InvalidArguments::default();
        let (factor, checkpointing) = (self.label_smoothing_factor, self.gradient_checkpointing);
        let expected = "0, since label smoothing is not implemented";
        invalid.require(factor == 0.0, "label_smoothing_factor", factor, expected);
        let expected = "false, since gradient checkpointing is not implemented";
        invalid.require(!checkpointing, "gradient_checkpointing", true, expected);
        invalid.into_result()
    }

    /// The number of steps of the training with `examples` examples: `max_steps` of Hugging Face's `TrainerState`.
    ///
    /// It is 0 without examples.
    pub fn total_steps(&self, examples: usize) -> u64 {
        if examples == 0 {
            return 0;
        }
        match u64::try_from(self.max_steps) {
            Ok(max_steps) => max_steps,
            Err(_) => (self.num_train_epochs * self.steps_per_epoch(examples) as f64).ceil() as u64,
        }
    }

    /// The number of epochs that the training begins: `num_train_epochs` of Hugging Face's `TrainerState`.
    pub fn num_train_epochs(&self, examples: usize) -> u64 {
        let steps_per_epoch = self.steps_per_epoch(examples).max(1);
        self.total_steps(examples).div_ceil(steps_per_epoch)
    }

    /// Batches of an epoch. The last one may be smaller.
    pub fn batches_per_epoch(&self, examples: usize) -> u64 {
        examples.div_ceil(self.per_device_train_batch_size.max(1)) as u64
    }

    /// Steps of an epoch. The last one may accumulate fewer batches.
    pub fn steps_per_epoch(&self, examples: usize) -> u64 {
        self.batches_per_epoch(examples)
            .div_ceil(self.gradient_accumulation_steps.max(1) as u64)
    }

    /// The steps of the warmup, of `total` steps: Hugging Face's `get_warmup_steps`.
    pub fn warmup(&self, total: u64) -> u64 {
        if self.warmup_steps >= 1.0 {
            self.warmup_steps as u64
        } else if self.warmup_steps > 0.0 {
            (total as f64 * self.warmup_steps).ceil() as u64
        } else {
            (total as f64 * self.warmup_ratio).ceil() as u64
        }
    }

    /// The learning rates of a training with `total` steps.
    ///
    /// # Errors
    ///
    /// Returns the invalid arguments of the schedule.
    pub fn schedule(&self, total: u64) -> Result<LrSchedule, InvalidArguments> {
        LrSchedule::new(
            self.lr_scheduler_type,
            &self.lr_scheduler_kwargs,
            self.learning_rate,
            self.warmup(total),
            total,
        )
    }

    /// The seed of the order of the examples.
    pub fn data_seed(&self) -> u64 {
        self.data_seed.unwrap_or(self.seed)
    }

    /// The metric that decides which checkpoint is the best, with its prefix `eval_`. None: no checkpoint is.
    pub fn metric_for_best_model(&self) -> Option<String> {
        let name = match &self.metric_for_best_model {
            Some(name) => name,
            None if self.load_best_model_at_end => "loss",
            None => return None,
        };
        Some(if name.starts_with("eval_") {
            name.to_owned()
        } else {
            format!("eval_{name}")
        })
    }

    /// Whether a larger metric is better.
    pub fn greater_is_better(&self) -> bool {
        self.greater_is_better.unwrap_or_else(|| {
            self.metric_for_best_model()
                .is_some_and(|name| !name.ends_with("loss"))
        })
    }

    /// Steps between two records of the training loss, in a training with `total` steps.
    pub fn logging_interval(&self, total: u64) -> u64 {
        interval(self.logging_steps, total)
    }

    /// Steps between two evaluations, in a training with `total` steps.
    pub fn eval_interval(&self, total: u64) -> u64 {
        interval(self.eval_steps_or_logging_steps(), total)
    }

    /// Steps between two checkpoints, in a training with `total` steps.
    pub fn save_interval(&self, total: u64) -> u64 {
        interval(self.save_steps, total)
    }

    /// What to do after `step` steps of `total`, by the rules of Hugging Face's `DefaultFlowCallback`. In addition, the
    /// last step is always logged.
    ///
    /// `epoch_ended` says whether `step` was the last step of its epoch. An epoch that the end of the training interrupts
    /// ends with it.
    pub fn actions(&self, step: u64, total: u64, epoch_ended: bool) -> StepActions {
        let last = step >= total;
        let epoch_ended = epoch_ended || last;
        StepActions {
            should_log: last || step.is_multiple_of(self.logging_interval(total)),
            should_evaluate: match self.eval_strategy {
                IntervalStrategy::No => false,
                IntervalStrategy::Steps => last || step.is_multiple_of(self.eval_interval(total)),
                IntervalStrategy::Epoch => epoch_ended,
            },
            should_save: match self.save_strategy {
                SaveStrategy::No | SaveStrategy::Best => false,
                SaveStrategy::Steps => last || step.is_multiple_of(self.save_interval(total)),
                SaveStrategy::Epoch => epoch_ended,
            },
            should_training_stop: last,
        }
    }

    fn eval_steps_or_logging_steps(&self) -> f64 {
        match self.eval_steps {
            Some(steps) if steps != 0.0 => steps,
            _ => self.logging_steps,
        }
    }

    fn check_sizes(&self, invalid: &mut InvalidArguments) {
        let sizes = [
            (
                "per_device_train_batch_size",
                self.per_device_train_batch_size,
            ),
            (
                "per_device_eval_batch_size",
                self.per_device_eval_batch_size,
            ),
            (
                "gradient_accumulation_steps",
                self.gradient_accumulation_steps,
            ),
        ];
        for (name, size) in sizes {
            invalid.require(size > 0, name, size, "at least 1");
        }
        invalid.require(
            self.max_steps > 0 || self.num_train_epochs.is_finite() && self.num_train_epochs > 0.0,
            "num_train_epochs",
            self.num_train_epochs,
            "a finite number above 0",
        );
        invalid.require(
            self.max_steps != 0,
            "max_steps",
            0,
            "a number of steps above 0, or -1 for num_train_epochs",
        );
    }

    fn check_optimizer(&self, invalid: &mut InvalidArguments) {
        let at_least_0 = [
            ("learning_rate", self.learning_rate),
            ("weight_decay", self.weight_decay),
            ("adam_epsilon", self.adam_epsilon),
            ("max_grad_norm", self.max_grad_norm),
        ];
        for (name, value) in at_least_0 {
            let valid = value.is_finite() && value >= 0.0;
            invalid.require(valid, name, value, "a finite number of at least 0");
        }
        let betas = [
            ("adam_beta1", self.adam_beta1),
            ("adam_beta2", self.adam_beta2),
        ];
        for (name, value) in betas {
            let valid = (0.0..1.0).contains(&value);
            invalid.require(valid, name, value, "a number from 0 to below 1");
        }
        let fractions = [
            ("label_smoothing_factor", self.label_smoothing_factor),
            ("warmup_ratio", self.warmup_ratio),
        ];
        for (name, value) in fractions {
            let valid = (0.0..=1.0).contains(&value);
            invalid.require(valid, name, value, "a number from 0 to 1");
        }
        invalid.require(
            self.warmup_steps == 0.0 || is_interval(self.warmup_steps),
            "warmup_steps",
            self.warmup_steps,
            "0, a fraction of all steps below 1, or a whole number of steps",
        );
    }

    fn check_intervals(&self, invalid: &mut InvalidArguments) {
        let expected = "a fraction of all steps above 0 and below 1, or a whole number of steps";
        let mut require = |name: &str, steps: f64| {
            invalid.require(is_interval(steps), name, steps, expected);
        };
        require("logging_steps", self.logging_steps);
        if self.eval_strategy == IntervalStrategy::Steps
            && let Some(steps) = self.eval_steps
            && steps != 0.0
        {
            require("eval_steps", steps);
        }
        if self.save_strategy == SaveStrategy::Steps {
            require("save_steps", self.save_steps);
        }
    }

    fn check_best_model(&self, invalid: &mut InvalidArguments) {
        if self.eval_strategy == IntervalStrategy::No {
            let needs_metric = [
                (self.load_best_model_at_end, "load_best_model_at_end"),
                (
                    self.save_strategy == SaveStrategy::Best,
                    "save_strategy best",
                ),
            ];
            for (given, name) in needs_metric {
                let expected = format!("steps or epoch, as {name} requires evaluations");
                invalid.require(!given, "eval_strategy", self.eval_strategy, expected);
            }
        }
        if self.metric_for_best_model.as_deref() == Some("") {
            invalid.require(
                false,
                "metric_for_best_model",
                "\"\"",
                "the name of a metric",
            );
        }
        if self.save_strategy == SaveStrategy::Best {
            invalid.require(
                self.metric_for_best_model().is_some(),
                "metric_for_best_model",
                "no value",
                "the name of a metric, which save_strategy best requires",
            );
        } else if self.load_best_model_at_end && self.eval_strategy != IntervalStrategy::No {
            self.check_saves_follow_evaluations(invalid);
        }
    }

    /// A checkpoint may be the best one only if its weights are evaluated.
    fn check_saves_follow_evaluations(&self, invalid: &mut InvalidArguments) {
        invalid.require(
            self.save_strategy.name() == self.eval_strategy.name(),
            "save_strategy",
            self.save_strategy,
            format!(
                "{} as eval_strategy, or best, which load_best_model_at_end requires",
                self.eval_strategy
            ),
        );
        if self.save_strategy != SaveStrategy::Steps
            || self.eval_strategy != IntervalStrategy::Steps
        {
            return;
        }
        let eval_steps = self.eval_steps_or_logging_steps();
        if !is_interval(eval_steps) || !is_interval(self.save_steps) {
            return;
        }
        invalid.require(
            is_multiple(self.save_steps, eval_steps),
            "save_steps",
            self.save_steps,
            format!(
                "a multiple of eval_steps ({eval_steps}), which load_best_model_at_end requires"
            ),
        );
    }
}

/// Whether a number of steps is a whole number or a fraction of all steps.
fn is_interval(steps: f64) -> bool {
    steps.is_finite() && steps > 0.0 && (steps < 1.0 || steps.fract() == 0.0)
}

/// `TrainerState.compute_steps`: a value below 1 is a fraction of all steps.
fn interval(steps: f64, total: u64) -> u64 {
    let steps = if steps < 1.0 {
        (total as f64 * steps).ceil()
    } else {
        steps
    };
    (steps as u64).max(1)
}

/// Whether each checkpoint is at the step of an evaluation. As in transformers, fractions of all steps are also compared
/// in millionths, since they are inexact. A fraction and a number of steps cannot be compared.
fn is_multiple(save_steps: f64, eval_steps: f64) -> bool {
    let fractions = save_steps < 1.0;
    fractions == (eval_steps < 1.0)
        && (save_steps % eval_steps == 0.0
            || fractions && (save_steps * 1e6) % (eval_steps * 1e6) == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> TrainingArguments {
        serde_json::from_str(json).unwrap()
    }

    /// Arguments as JSON, and the error.
    #[test]
    fn every_argument_out_of_range_is_named() {
        let interval = "a fraction of all steps above 0 and below 1, or a whole number of steps";
        let warmup = "0, a fraction of all steps below 1, or a whole number of steps";
        let finite = "a finite number of at least 0";
        let cases = [
            (
                r#"{"per_device_train_batch_size": 0, "per_device_eval_batch_size": 0, "gradient_accumulation_steps": 0}"#,
                "per_device_train_batch_size: found 0, expected at least 1; per_device_eval_batch_size: found 0, expected at \
                 least 1; gradient_accumulation_steps: found 0, expected at least 1"
                    .to_owned(),
            ),
            (
                r#"{"num_train_epochs": 0, "max_steps": 0}"#,
                "num_train_epochs: found 0, expected a finite number above 0; max_steps: found 0, expected a number of steps \
                 above 0, or -1 for num_train_epochs"
                    .to_owned(),
            ),
            (
                r#"{"learning_rate": -1, "weight_decay": -0.5, "adam_epsilon": -1e-8, "max_grad_norm": -1}"#,
                format!(
                    "learning_rate: found -1, expected {finite}; weight_decay: found -0.5, expected {finite}; adam_epsilon: \
                     found -0.00000001, expected {finite}; max_grad_norm: found -1, expected {finite}"
                ),
            ),
            (
                r#"{"adam_beta1": 1, "adam_beta2": -0.1, "label_smoothing_factor": 1.5, "warmup_ratio": 2, "warmup_steps": 1.5}"#,
                format!(
                    "adam_beta1: found 1, expected a number from 0 to below 1; adam_beta2: found -0.1, expected a number from \
                     0 to below 1; label_smoothing_factor: found 1.5, expected a number from 0 to 1; warmup_ratio: found 2, \
                     expected a number from 0 to 1; warmup_steps: found 1.5, expected {warmup}"
                ),
            ),
            (
                r#"{"logging_steps": 0, "eval_strategy": "steps", "eval_steps": 2.5, "save_steps": -3}"#,
                format!(
                    "logging_steps: found 0, expected {interval}; eval_steps: found 2.5, expected {interval}; save_steps: found \
                     -3, expected {interval}"
                ),
            ),
        ];
        check_errors(&cases);
    }

    #[test]
    fn arguments_that_do_not_go_together_are_named() {
        let finite = "a finite number of at least 0";
        let cases = [
            (
                r#"{"load_best_model_at_end": true, "metric_for_best_model": ""}"#,
                "eval_strategy: found no, expected steps or epoch, as load_best_model_at_end requires evaluations; \
                 metric_for_best_model: found \"\", expected the name of a metric"
                    .to_owned(),
            ),
            (
                r#"{"load_best_model_at_end": true, "eval_strategy": "epoch"}"#,
                "save_strategy: found steps, expected epoch as eval_strategy, or best, which load_best_model_at_end requires"
                    .to_owned(),
            ),
            (
                r#"{"load_best_model_at_end": true, "eval_strategy": "steps", "eval_steps": 3, "save_steps": 10}"#,
                "save_steps: found 10, expected a multiple of eval_steps (3), which load_best_model_at_end requires".to_owned(),
            ),
            (
                r#"{"load_best_model_at_end": true, "eval_strategy": "steps", "eval_steps": 0.5, "save_steps": 10}"#,
                "save_steps: found 10, expected a multiple of eval_steps (0.5), which load_best_model_at_end requires"
                    .to_owned(),
            ),
            (
                r#"{"save_strategy": "best"}"#,
                "eval_strategy: found no, expected steps or epoch, as save_strategy best requires evaluations; \
                 metric_for_best_model: found no value, expected the name of a metric, which save_strategy best requires"
                    .to_owned(),
            ),
            (
                r#"{"lr_scheduler_kwargs": {"power": 2, "num_decay_steps": 3}}"#,
                "lr_scheduler_kwargs.power: found 2, expected no value, as linear has no arguments; \
                 lr_scheduler_kwargs.num_decay_steps: found 3, expected no value, as linear has no arguments"
                    .to_owned(),
            ),
            (
                r#"{"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"lr_end": 0.1, "min_lr": 0}}"#,
                "lr_scheduler_kwargs.min_lr: found 0, expected no value, as polynomial has only lr_end, power; \
                 lr_scheduler_kwargs.lr_end: found 0.1, expected a number below learning_rate (0.00005)"
                    .to_owned(),
            ),
            (
                r#"{"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"num_cycles": -1}}"#,
                format!(
                    "lr_scheduler_kwargs.num_cycles: found -1, expected {finite}; lr_scheduler_kwargs: found neither min_lr \
                     nor min_lr_rate, expected exactly one of them for cosine_with_min_lr"
                ),
            ),
            (
                r#"{"lr_scheduler_type": "warmup_stable_decay"}"#,
                "lr_scheduler_kwargs.num_decay_steps: found no value, expected a number of steps, which warmup_stable_decay \
                 requires"
                    .to_owned(),
            ),
            (
                r#"{"lr_scheduler_type": "inverse_sqrt", "lr_scheduler_kwargs": {"timescale": 0}}"#,
                "lr_scheduler_kwargs.timescale: found 0, expected at least 1".to_owned(),
            ),
            (
                r#"{"learning_rate": 0, "lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 0}}"#,
                "learning_rate: found 0, expected above 0, as cosine_with_min_lr divides min_lr by it".to_owned(),
            ),
        ];
        check_errors(&cases);
    }

    fn check_errors(cases: &[(&str, String)]) {
        for (json, expected) in cases {
            let error = read(json).validate().unwrap_err().to_string();
            assert_eq!(&error, expected, "{json}");
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_invalid() {
        let not_finite = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        type Set = fn(&mut TrainingArguments, f64);
        let set: [(&str, Set); 12] = [
            ("num_train_epochs", |a, x| a.num_train_epochs = x),
            ("learning_rate", |a, x| a.learning_rate = x),
            ("weight_decay", |a, x| a.weight_decay = x),
            ("adam_epsilon", |a, x| a.adam_epsilon = x),
            ("max_grad_norm", |a, x| a.max_grad_norm = x),
            ("adam_beta1", |a, x| a.adam_beta1 = x),
            ("adam_beta2", |a, x| a.adam_beta2 = x),
            ("label_smoothing_factor", |a, x| {
                a.label_smoothing_factor = x;
            }),
            ("warmup_ratio", |a, x| a.warmup_ratio = x),
            ("warmup_steps", |a, x| a.warmup_steps = x),
            ("logging_steps", |a, x| a.logging_steps = x),
            ("save_steps", |a, x| a.save_steps = x),
        ];
        for (name, set) in set {
            for number in not_finite {
                let mut arguments = TrainingArguments::default();
                set(&mut arguments, number);
                let error = arguments.validate().unwrap_err();
                assert_eq!(error.arguments[0].argument, name);
            }
        }
    }

    #[test]
    fn valid_arguments_pass() {
        for json in [
            r#"{"num_train_epochs": 0, "max_steps": 10, "learning_rate": 0, "max_grad_norm": 0, "save_total_limit": 0}"#,
            r#"{"load_best_model_at_end": true, "eval_strategy": "steps", "eval_steps": 0.1, "save_steps": 0.3}"#,
            r#"{"load_best_model_at_end": true, "eval_strategy": "steps", "eval_steps": 0, "save_steps": 1000}"#,
            r#"{"load_best_model_at_end": true, "eval_strategy": "steps", "save_strategy": "best"}"#,
            r#"{"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": 2}}"#,
            r#"{"save_strategy": "no", "save_steps": 0}"#,
        ] {
            read(json).validate().unwrap();
        }
    }

    #[test]
    fn an_unknown_key_or_name_is_an_error() {
        for json in [
            r#"{"lerning_rate": 1}"#,
            r#"{"lr_scheduler_type": "greedy"}"#,
            r#"{"lr_scheduler_kwargs": {"cycles": 1}}"#,
            r#"{"per_device_train_batch_size": -1}"#,
        ] {
            assert!(
                serde_json::from_str::<TrainingArguments>(json).is_err(),
                "{json}"
            );
        }
        let error = "greedy".parse::<SchedulerType>().unwrap_err().to_string();
        assert!(
            error.starts_with(
                "lr_scheduler_type: found \"greedy\", expected one of linear, cosine, "
            ),
            "{error}"
        );
        let error = "always"
            .parse::<IntervalStrategy>()
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "eval_strategy: found \"always\", expected one of no, steps, epoch"
        );
        let error = "always".parse::<SaveStrategy>().unwrap_err().to_string();
        assert_eq!(
            error,
            "save_strategy: found \"always\", expected one of no, steps, epoch, best"
        );
    }

    #[test]
    fn the_warmup_has_an_exact_number_or_a_fraction() {
        let warmup = |json: &str| read(json).warmup(15);
        assert_eq!(warmup("{}"), 0);
        assert_eq!(warmup(r#"{"warmup_steps": 7}"#), 7);
        assert_eq!(warmup(r#"{"warmup_steps": 20}"#), 20);
        assert_eq!(warmup(r#"{"warmup_steps": 0.1}"#), 2);
        assert_eq!(warmup(r#"{"warmup_ratio": 0.1}"#), 2);
        assert_eq!(warmup(r#"{"warmup_ratio": 1}"#), 15);
        assert_eq!(warmup(r#"{"warmup_steps": 3, "warmup_ratio": 1}"#), 3);
    }

    #[test]
    fn a_data_set_without_examples_has_no_steps() {
        assert_eq!(read(r#"{"max_steps": 5}"#).total_steps(0), 0);
        assert_eq!(read("{}").total_steps(0), 0);
        assert_eq!(read("{}").num_train_epochs(0), 0);
        assert_eq!(read(r#"{"max_steps": 5}"#).total_steps(1), 5);
    }

    #[test]
    fn the_metric_has_a_prefix_and_a_direction() {
        let metric = |json: &str| {
            let arguments = read(json);
            (
                arguments.metric_for_best_model(),
                arguments.greater_is_better(),
            )
        };
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(metric("{}"), (None, false));
        assert_eq!(
            metric(r#"{"load_best_model_at_end": true}"#),
            (named("eval_loss"), false)
        );
        assert_eq!(
            metric(r#"{"metric_for_best_model": "eval_map"}"#),
            (named("eval_map"), true)
        );
        assert_eq!(
            metric(r#"{"metric_for_best_model": "cer", "greater_is_better": false}"#),
            (named("eval_cer"), false)
        );
    }
}
