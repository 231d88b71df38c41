//! The flags of Hugging Face's `TrainingArguments`.

use std::num::NonZeroUsize;

use clap::Args;
use florence2_train::{
    IntervalStrategy, LrSchedulerKwargs, SaveStrategy, SchedulerType, TrainingArguments,
};

use super::values::scheduler_kwargs;

/// The learning rate of LoRA, whose updates begin at 0.
const LORA_LEARNING_RATE: f64 = 1e-4;
/// The learning rate of the model's weights. A larger one soon destroys what the model has learned.
const FULL_LEARNING_RATE: f64 = 1e-5;

/// One flag for each training argument, of the same name.
#[derive(Args)]
#[command(next_help_heading = "Training (Hugging Face's TrainingArguments)")]
pub(crate) struct TrainingArgs {
    /// Images per batch. Default: 1 (Hugging Face's: 8), since memory grows with the batch.
    #[arg(long, value_name = "N", default_value = "1", hide_default_value = true)]
    per_device_train_batch_size: NonZeroUsize,
    /// Batches whose gradients are accumulated into one step. Default: 8 (Hugging Face's: 1).
    #[arg(long, value_name = "N", default_value = "8", hide_default_value = true)]
    gradient_accumulation_steps: NonZeroUsize,
    /// Passes over the data set; a fraction ends within one. Default: 10 (Hugging Face's: 3).
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10.0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    num_train_epochs: f64,
    /// Steps of the training, in place of --num-train-epochs. Default: -1, which is none.
    #[arg(
        long,
        value_name = "N",
        default_value_t = -1,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    max_steps: i64,
    /// The learning rate after the warmup. Default: 1e-4 for LoRA, 1e-5 for the other methods (Hugging
    /// Face's: 5e-5).
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    /// The shape of the learning rate over the steps: linear, cosine, constant, .. Default: linear.
    #[arg(long, value_name = "TYPE", default_value_t = SchedulerType::Linear, hide_default_value = true)]
    lr_scheduler_type: SchedulerType,
    /// Arguments of the schedule as JSON, such as {"num_cycles": 2}. Default: none.
    #[arg(long, value_name = "JSON", value_parser = scheduler_kwargs)]
    lr_scheduler_kwargs: Option<LrSchedulerKwargs>,
    /// Steps of the warmup; a value below 1 is a fraction of all steps. Default: 0.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0.0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    warmup_steps: f64,
    /// The warmup as a fraction of all steps, if --warmup-steps is 0. Default: 0.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    warmup_ratio: f64,
    /// Decoupled weight decay, of neither biases nor norms. Default: 0.
    #[arg(
        long,
        value_name = "RATE",
        default_value_t = 0.0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    weight_decay: f64,
    /// The decay rate of Adam's first moment. Default: 0.9.
    #[arg(
        long,
        value_name = "RATE",
        default_value_t = 0.9,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    adam_beta1: f64,
    /// The decay rate of Adam's second moment. Default: 0.999.
    #[arg(
        long,
        value_name = "RATE",
        default_value_t = 0.999,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    adam_beta2: f64,
    /// Adam's epsilon. Default: 1e-8.
    #[arg(
        long,
        value_name = "EPSILON",
        default_value_t = 1e-8,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    adam_epsilon: f64,
    /// The largest norm of the gradients, to which they are scaled down; 0 for none. Default: 1.
    #[arg(
        long,
        value_name = "NORM",
        default_value_t = 1.0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    max_grad_norm: f64,
    /// The part of a label's probability that is spread over all tokens. Default: 0. Other values are
    /// not implemented.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    label_smoothing_factor: f64,
    /// Recompute activations in the backward pass. Default: false. True is not implemented.
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    gradient_checkpointing: Option<bool>,
    /// Steps between two records of the training loss; a value below 1 is a fraction of all steps.
    /// Default: 10 (Hugging Face's: 500).
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10.0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    logging_steps: f64,
    /// When to evaluate: no, steps or epoch. Default: epoch with --eval-dataset, else no.
    #[arg(long, value_name = "WHEN")]
    eval_strategy: Option<IntervalStrategy>,
    /// Steps between two evaluations; a value below 1 is a fraction of all steps. Default:
    /// --logging-steps.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    eval_steps: Option<f64>,
    /// Images per batch in evaluation. Default: 1 (Hugging Face's: 8).
    #[arg(long, value_name = "N", default_value = "1", hide_default_value = true)]
    per_device_eval_batch_size: NonZeroUsize,
    /// When to save a checkpoint: no, steps, epoch or best. Default: that of --eval-strategy, or epoch
    /// without evaluation (Hugging Face's: steps).
    #[arg(long, value_name = "WHEN")]
    save_strategy: Option<SaveStrategy>,
    /// Steps between two checkpoints; a value below 1 is a fraction of all steps. Default: the steps
    /// between two evaluations, or 500 without evaluation by steps.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    save_steps: Option<f64>,
    /// Checkpoints to keep; the newest and the best always remain; 0 for all. Default: 2 (Hugging
    /// Face's: all).
    #[arg(long, value_name = "N", default_value_t = 2, hide_default_value = true)]
    save_total_limit: usize,
    /// The result is the best checkpoint and not the last weights. Default: true if checkpoints are
    /// evaluated (Hugging Face's: false).
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    load_best_model_at_end: Option<bool>,
    /// The metric that decides which checkpoint is the best. Default: loss.
    #[arg(long, value_name = "NAME")]
    metric_for_best_model: Option<String>,
    /// A larger metric is better. Default: unless its name ends in loss.
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    greater_is_better: Option<bool>,
    /// The seed of initial values, dropout and augmentation. Default: 42.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 42,
        hide_default_value = true
    )]
    seed: u64,
    /// The seed of the order of the examples. Default: --seed.
    #[arg(long, value_name = "N")]
    data_seed: Option<u64>,
}

impl TrainingArgs {
    /// The training arguments. `is_lora` and `is_evaluated` (whether there is an evaluation set) decide
    /// about defaults.
    pub(crate) fn arguments(&self, is_lora: bool, is_evaluated: bool) -> TrainingArguments {
        let eval_strategy = self.eval_strategy.unwrap_or(if is_evaluated {
            IntervalStrategy::Epoch
        } else {
            IntervalStrategy::No
        });
        let save_strategy = self.save_strategy.unwrap_or(match eval_strategy {
            IntervalStrategy::Steps => SaveStrategy::Steps,
            IntervalStrategy::Epoch | IntervalStrategy::No => SaveStrategy::Epoch,
        });
        let is_saved_with_evaluation = eval_strategy != IntervalStrategy::No
            && (save_strategy == SaveStrategy::Best
                || save_strategy.name() == eval_strategy.name());
        let learning_rate = if is_lora {
            LORA_LEARNING_RATE
        } else {
            FULL_LEARNING_RATE
        };
        TrainingArguments {
            per_device_train_batch_size: self.per_device_train_batch_size.get(),
            num_train_epochs: self.num_train_epochs,
            max_steps: self.max_steps,
            learning_rate: self.learning_rate.unwrap_or(learning_rate),
            lr_scheduler_type: self.lr_scheduler_type,
            lr_scheduler_kwargs: self.lr_scheduler_kwargs.clone().unwrap_or_default(),
            warmup_steps: self.warmup_steps,
            warmup_ratio: self.warmup_ratio,
            weight_decay: self.weight_decay,
            adam_beta1: self.adam_beta1,
            adam_beta2: self.adam_beta2,
            adam_epsilon: self.adam_epsilon,
            gradient_accumulation_steps: self.gradient_accumulation_steps.get(),
            max_grad_norm: self.max_grad_norm,
            label_smoothing_factor: self.label_smoothing_factor,
            gradient_checkpointing: self.gradient_checkpointing.unwrap_or(false),
            logging_steps: self.logging_steps,
            eval_strategy,
            eval_steps: self.eval_steps,
            per_device_eval_batch_size: self.per_device_eval_batch_size.get(),
            save_strategy,
            save_steps: self.save_steps(eval_strategy),
            save_total_limit: Some(self.save_total_limit),
            load_best_model_at_end: self
                .load_best_model_at_end
                .unwrap_or(is_saved_with_evaluation),
            metric_for_best_model: self.metric_for_best_model.clone(),
            greater_is_better: self.greater_is_better,
            seed: self.seed,
            data_seed: self.data_seed,
        }
    }

    fn save_steps(&self, eval_strategy: IntervalStrategy) -> f64 {
        let eval_steps = self.eval_steps.unwrap_or(self.logging_steps);
        self.save_steps.unwrap_or(match eval_strategy {
            IntervalStrategy::Steps => eval_steps,
            IntervalStrategy::Epoch | IntervalStrategy::No => {
                TrainingArguments::default().save_steps
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn arguments(flags: &[&str], is_evaluated: bool) -> TrainingArguments {
        let command = TrainingArgs::augment_args(Command::new("train"));
        let matches = command.try_get_matches_from([&["train"], flags].concat());
        let args = TrainingArgs::from_arg_matches(&matches.unwrap()).unwrap();
        args.arguments(true, is_evaluated)
    }

    #[test]
    fn every_training_argument_has_a_flag_of_its_name() {
        let command = TrainingArgs::augment_args(Command::new("train"));
        let flags = command
            .get_arguments()
            .filter_map(|argument| argument.get_long());
        let mut flags: Vec<String> = flags.map(|flag| flag.replace('-', "_")).collect();
        flags.sort();
        let fields = serde_json::to_value(TrainingArguments::default()).unwrap();
        let mut fields: Vec<String> = fields.as_object().unwrap().keys().cloned().collect();
        fields.sort();
        assert_eq!(flags, fields);
    }

    #[test]
    fn defaults_are_valid_and_follow_the_evaluation() {
        let plain = arguments(&[], false);
        plain.validate().unwrap();
        assert_eq!(plain.eval_strategy, IntervalStrategy::No);
        assert_eq!(plain.save_strategy, SaveStrategy::Epoch);
        assert!(!plain.load_best_model_at_end);
        assert_eq!(plain.learning_rate, 1e-4);

        let evaluated = arguments(&[], true);
        evaluated.validate().unwrap();
        assert_eq!(evaluated.eval_strategy, IntervalStrategy::Epoch);
        assert!(evaluated.load_best_model_at_end);

        let by_steps = arguments(&["--eval-strategy", "steps", "--logging-steps", "7"], true);
        by_steps.validate().unwrap();
        assert_eq!(by_steps.save_strategy, SaveStrategy::Steps);
        assert_eq!(by_steps.save_steps, 7.0);

        let best = arguments(&["--save-strategy", "best"], true);
        best.validate().unwrap();
        let apart = arguments(&["--eval-strategy=epoch", "--save-strategy=steps"], true);
        apart.validate().unwrap();
        assert!(!apart.load_best_model_at_end);
    }

    #[test]
    fn flags_are_read() {
        let read = arguments(
            &[
                "--max-steps=20",
                "--learning-rate=3e-4",
                "--lr-scheduler-type=cosine",
                "--lr-scheduler-kwargs={\"num_cycles\": 2}",
                "--save-total-limit=0",
                "--gradient-checkpointing",
                "--load-best-model-at-end=false",
            ],
            true,
        );
        assert_eq!(read.max_steps, 20);
        assert_eq!(read.learning_rate, 3e-4);
        assert_eq!(read.lr_scheduler_type, SchedulerType::Cosine);
        assert_eq!(read.lr_scheduler_kwargs.num_cycles, Some(2.0));
        assert_eq!(read.save_total_limit, Some(0));
        assert!(read.gradient_checkpointing);
        assert!(!read.load_best_model_at_end);
    }
}
