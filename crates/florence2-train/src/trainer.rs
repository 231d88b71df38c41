//! The training loop: transformers' `Trainer`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn_autodiff::Autodiff;
use florence2_core::Florence2ForConditionalGeneration;
use florence2_core::weights::write_atomic;
use florence2_kernels::Backend;

use crate::arguments::TrainingArguments;
use crate::checkpoints::{Checkpoint, Checkpoints};
use crate::collate::{Collator, read_all};
use crate::error::{Error, Result};
use crate::examples::{Example, ExampleError, ExampleSource};
use crate::feature_cache::{CacheLimits, FeatureCache};
use crate::metrics_log::{MetricsLog, MetricsRecord, read_metrics};
use crate::optimizer::AdamWSettings;
use crate::optimizer_state;
use crate::output::Output;
use crate::plot::write_loss_plot;
use crate::sampler::{ExampleSampler, SamplerState, UpdateBatches};
use crate::schedule::LrSchedule;
use crate::seed::mixed_seed;
use crate::step::{Batch, StepReport, TrainStep};
use crate::trained_parameters::{load_values, trained};
use crate::trainer_state::TrainerState;

/// The position in the order of the examples, in a checkpoint.
const SAMPLER_FILE: &str = "sampler.json";
/// The file of a checkpoint and of a result with the [`TrainingArguments`]: transformers' name, with the
/// ending of its format.
pub const ARGUMENTS_FILE: &str = "training_args.json";
const METRICS_FILE: &str = "metrics.jsonl";
const PLOT_FILE: &str = "loss.svg";

/// The settings of a [`Trainer`] beside the training arguments.
#[derive(Debug, Clone)]
pub struct TrainerOptions {
    /// The folder of checkpoints, metrics and the result.
    pub output_dir: PathBuf,
    /// Continue from the newest complete checkpoint of the folder, if there is one.
    pub resume: bool,
    /// The token that pads prompts.
    pub pad_token_id: u32,
    /// The kind of the result.
    pub output: Output,
    /// The sizes of the cache of image features.
    pub cache: CacheLimits,
}

/// The progress after an optimiser step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepProgress {
    /// The steps so far.
    pub step: u64,
    /// All steps of the training.
    pub total: u64,
    /// The epochs so far, with the part of the current one.
    pub epoch: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// The loss and the norm of the gradients.
    pub report: StepReport,
    /// The number of images of the step.
    pub images: usize,
}

/// Receives the progress of a training. Every method is optional.
pub trait TrainObserver<B: Backend> {
    /// Called after each optimiser step.
    fn on_step(&mut self, _progress: &StepProgress) {}

    /// Called once for each example of either data set that is left out.
    fn on_skipped(&mut self, _index: usize, _error: &ExampleError) {}

    /// Called with each line of `metrics.jsonl`.
    fn on_record(&mut self, _record: &MetricsRecord) {}

    /// Called after each checkpoint.
    fn on_checkpoint(&mut self, _folder: &Path) {}

    /// Computes metrics of the model in evaluation, by names such as `eval_map`.
    ///
    /// # Errors
    /// Any error ends the training.
    fn evaluate(
        &mut self,
        _model: &Florence2ForConditionalGeneration<B>,
    ) -> Result<BTreeMap<String, f64>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(BTreeMap::new())
    }

    /// Returns true to stop after the current step. The trainer then saves a checkpoint.
    fn is_stopped(&self) -> bool {
        false
    }
}

/// The result of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The state after the last step.
    pub state: TrainerState,
    /// False if the observer stopped the training before its last step.
    pub is_complete: bool,
    /// The examples of the training set that were left out, by index.
    pub skipped: BTreeMap<usize, ExampleError>,
    /// The examples of the evaluation set that were left out, by index.
    pub skipped_evaluation: BTreeMap<usize, ExampleError>,
}

/// A training: the model, its data and its position.
pub struct Trainer<'a, B: Backend> {
    arguments: TrainingArguments,
    options: TrainerOptions,
    device: B::Device,
    step: TrainStep<B>,
    train: &'a dyn ExampleSource,
    evaluation: Option<&'a dyn ExampleSource>,
    sampler: ExampleSampler,
    schedule: LrSchedule,
    state: TrainerState,
    checkpoints: Checkpoints,
    log: MetricsLog,
    train_features: FeatureCache,
    evaluation_features: FeatureCache,
    skipped: BTreeMap<usize, ExampleError>,
    skipped_evaluation: BTreeMap<usize, ExampleError>,
    since_log: SinceLog,
}

/// The sums since the last record of the training loss.
struct SinceLog {
    loss: f64,
    steps: u32,
    images: usize,
    started: Instant,
}

impl SinceLog {
    fn new() -> Self {
        Self {
            loss: 0.0,
            steps: 0,
            images: 0,
            started: Instant::now(),
        }
    }
}

impl<'a, B: Backend> Trainer<'a, B> {
    /// Prepares the output folder and, if the options say so, continues from its newest checkpoint.
    ///
    /// `model` has its trained parameters selected: see [`crate::adapt`] and [`crate::select`].
    ///
    /// # Errors
    /// - [`Error::Arguments`] with every invalid argument
    /// - [`Error::NoExamples`], [`Error::NothingToTrain`]
    /// - [`Error::Occupied`] if the folder has checkpoints and the options do not say to resume
    /// - [`Error::Checkpoint`], [`Error::Malformed`], [`Error::Sampler`] if a checkpoint does not fit
    pub fn new(
        model: Florence2ForConditionalGeneration<Autodiff<B>>,
        train: &'a dyn ExampleSource,
        evaluation: Option<&'a dyn ExampleSource>,
        arguments: TrainingArguments,
        options: TrainerOptions,
    ) -> Result<Self> {
        arguments.validate()?;
        arguments.check_supported()?;
        require_examples("training", train)?;
        if let Some(evaluation) = evaluation {
            require_examples("evaluation", evaluation)?;
        }
        let total = arguments.total_steps(train.len());
        let schedule = arguments.schedule(total)?;
        let settings = AdamWSettings {
            adam_beta1: arguments.adam_beta1,
            adam_beta2: arguments.adam_beta2,
            adam_epsilon: arguments.adam_epsilon,
            weight_decay: arguments.weight_decay,
        };
        let sampler = ExampleSampler::new(
            train.len(),
            arguments.per_device_train_batch_size,
            arguments.gradient_accumulation_steps,
            arguments.data_seed(),
        )?;
        let checkpoints = Checkpoints::new(&options.output_dir);
        checkpoints.prepare()?;
        let latest = checkpoints.latest()?;
        let metrics = options.output_dir.join(METRICS_FILE);
        if !options.resume && (latest.is_some() || metrics.exists()) {
            return Err(Error::Occupied {
                path: options.output_dir.clone(),
            });
        }
        let device = model.device();
        let state = TrainerState {
            max_steps: total,
            num_train_epochs: total.div_ceil(arguments.steps_per_epoch(train.len())),
            train_batch_size: arguments.per_device_train_batch_size,
            logging_steps: arguments.logging_interval(total),
            eval_steps: arguments.eval_interval(total),
            save_steps: arguments.save_interval(total),
            ..TrainerState::default()
        };
        let log_step = latest.as_ref().map_or(0, Checkpoint::step);
        let cache = || {
            FeatureCache::new(&options.output_dir, options.cache).map_err(|source| Error::Io {
                path: options.output_dir.clone(),
                source,
            })
        };
        let mut trainer = Self {
            device,
            step: TrainStep::new(model, &settings, arguments.max_grad_norm)?,
            train,
            evaluation,
            sampler,
            schedule,
            state,
            checkpoints,
            log: MetricsLog::resume(metrics, log_step)?,
            train_features: cache()?,
            evaluation_features: cache()?,
            skipped: BTreeMap::new(),
            skipped_evaluation: BTreeMap::new(),
            since_log: SinceLog::new(),
            arguments,
            options,
        };
        if let Some(checkpoint) = latest {
            trainer.restore(&checkpoint)?;
        }
        Ok(trainer)
    }

    /// The state of the training.
    pub fn state(&self) -> &TrainerState {
        &self.state
    }

    /// The keys of the trained parameters and their numbers of values.
    pub fn trained_parameters(&self) -> Vec<(String, usize)> {
        trained(self.step.model(), "")
    }

    /// Trains to the last step, or until the observer stops it, and writes the result to the output
    /// folder: the last model, or the best one with `load_best_model_at_end`.
    ///
    /// # Errors
    /// - [`Error::Diverged`] if the loss is NaN or infinite
    /// - [`Error::NoExamples`] if no example can be used
    /// - errors of the model, of the observer's evaluation and of files. Earlier checkpoints remain.
    pub fn train(mut self, observer: &mut dyn TrainObserver<B>) -> Result<Outcome> {
        self.since_log = SinceLog::new();
        let mut is_complete = self.state.global_step >= self.state.max_steps;
        while !is_complete {
            if observer.is_stopped() {
                self.save(observer)?;
                break;
            }
            is_complete = self.next_step(observer)?;
        }
        if is_complete {
            self.finish()?;
        }
        self.write_plot()?;
        Ok(Outcome {
            state: self.state,
            is_complete,
            skipped: self.skipped,
            skipped_evaluation: self.skipped_evaluation,
        })
    }

    /// Runs one optimiser step, then logs, evaluates and saves if the arguments say so. Returns whether
    /// it was the last step.
    fn next_step(&mut self, observer: &mut dyn TrainObserver<B>) -> Result<bool> {
        let (update, batches) = self.next_batches(observer)?;
        let learning_rate = self.schedule.learning_rate(self.state.global_step);
        let images = batches.iter().map(|batch| batch.labels.dims()[0]).sum();
        let report = self.update(&update, batches, learning_rate)?;
        self.state.global_step += 1;
        self.state.epoch = update.epoch;
        self.since_log.loss += report.loss;
        self.since_log.steps += 1;
        self.since_log.images += images;
        let (step, total) = (self.state.global_step, self.state.max_steps);
        observer.on_step(&StepProgress {
            step,
            total,
            epoch: update.epoch,
            learning_rate,
            report,
            images,
        });
        let actions = self.arguments.actions(step, total, update.epoch_ended);
        if actions.should_log {
            self.log_training(learning_rate, &report, observer)?;
        }
        let is_best = actions.should_evaluate && self.evaluate(observer)?;
        let saves_best = self.arguments.save_strategy == crate::SaveStrategy::Best;
        if actions.should_save || saves_best && is_best {
            self.save(observer)?;
        }
        Ok(actions.should_training_stop)
    }

    /// The micro-batches of the next step that has an example that can be used.
    fn next_batches(
        &mut self,
        observer: &mut dyn TrainObserver<B>,
    ) -> Result<(UpdateBatches, Vec<Batch<B>>)> {
        let mut epoch_ended = false;
        while self.skipped.len() < self.train.len() {
            let epoch = self.sampler.state().epoch;
            let mut update = self.sampler.next_update();
            epoch_ended |= update.epoch_ended;
            let mut batches = Vec::new();
            for read in self.read(&update.batches, epoch, observer) {
                if !read.is_empty() {
                    batches.push(self.batch(read)?);
                }
            }
            if !batches.is_empty() {
                update.epoch_ended = epoch_ended;
                return Ok((update, batches));
            }
        }
        let errors = self.skipped.values().map(ToString::to_string);
        Err(Error::NoExamples {
            what: "training",
            errors: errors.collect(),
        })
    }

    /// Runs the micro-batches of a step and updates the parameters.
    fn update(
        &mut self,
        update: &UpdateBatches,
        batches: Vec<Batch<B>>,
        learning_rate: f64,
    ) -> Result<StepReport> {
        let tokens = batches.iter().map(|batch| batch.label_tokens).sum();
        for (number, batch) in batches.into_iter().enumerate() {
            let seed = mixed_seed(self.arguments.seed, self.state.global_step, number as u64);
            self.step.accumulate(batch, tokens, seed)?;
        }
        match self.step.update(learning_rate) {
            Err(Error::NotFinite { loss, grad_norm }) => {
                let examples = update.batches.iter().flatten();
                Err(Error::Diverged {
                    step: self.state.global_step + 1,
                    loss,
                    grad_norm,
                    examples: examples.map(|index| self.train.place(*index)).collect(),
                    checkpoint: self.checkpoints.latest()?.map(|checkpoint| checkpoint.path),
                })
            }
            result => result,
        }
    }

    /// Reads the examples of the micro-batches of a step that can be used. The others are reported
    /// once.
    fn read(
        &mut self,
        batches: &[Vec<usize>],
        epoch: u64,
        observer: &mut dyn TrainObserver<B>,
    ) -> Vec<Vec<(usize, Example)>> {
        let is_augmented = self.train.is_augmented();
        let wanted = batches.iter().flatten().copied();
        let wanted: Vec<(usize, bool)> = wanted
            .filter(|index| !self.skipped.contains_key(index))
            .map(|index| (index, is_augmented || !self.train_features.contains(index)))
            .collect();
        let mut read = BTreeMap::new();
        for (index, example) in read_all(self.train, &wanted, epoch) {
            match example {
                Ok(example) => {
                    read.insert(index, example);
                }
                Err(error) => {
                    observer.on_skipped(index, &error);
                    self.skipped.insert(index, error);
                }
            }
        }
        let of_batch = |indices: &Vec<usize>| {
            let indices = indices.iter();
            let examples = indices.filter_map(|index| Some((*index, read.remove(index)?)));
            examples.collect()
        };
        batches.iter().map(of_batch).collect()
    }

    /// Collates a micro-batch of the training set, with cached features if there are any.
    fn batch(&mut self, read: Vec<(usize, Example)>) -> Result<Batch<B>> {
        let cache = (!self.train.is_augmented()).then_some(&mut self.train_features);
        let collator = Collator {
            step: &self.step,
            pad_token_id: self.options.pad_token_id,
            folder: &self.options.output_dir,
            device: &self.device,
        };
        collator.collate(cache, read)
    }

    fn log_training(
        &mut self,
        learning_rate: f64,
        report: &StepReport,
        observer: &mut dyn TrainObserver<B>,
    ) -> Result<()> {
        let since = std::mem::replace(&mut self.since_log, SinceLog::new());
        let seconds = since.started.elapsed().as_secs_f64();
        let record = MetricsRecord {
            step: self.state.global_step,
            epoch: self.state.epoch,
            loss: Some(since.loss / f64::from(since.steps.max(1))),
            learning_rate: Some(learning_rate),
            grad_norm: Some(report.grad_norm),
            images_per_second: Some(since.images as f64 / seconds),
            ..MetricsRecord::default()
        };
        self.log.append(&record)?;
        observer.on_record(&record);
        Ok(())
    }

    /// Computes the loss of the evaluation set and the observer's metrics. Returns whether the model is
    /// the best so far.
    fn evaluate(&mut self, observer: &mut dyn TrainObserver<B>) -> Result<bool> {
        let started = Instant::now();
        let model = self.step.inference_model();
        let eval_loss = self.evaluation_loss(&model, observer)?;
        let metrics = observer.evaluate(&model).map_err(Error::Evaluation)?;
        let record = MetricsRecord {
            step: self.state.global_step,
            epoch: self.state.epoch,
            eval_loss,
            metrics,
            ..MetricsRecord::default()
        };
        self.log.append(&record)?;
        observer.on_record(&record);
        // The time of an evaluation is no time of training.
        self.since_log.started += started.elapsed();
        let Some(name) = self.arguments.metric_for_best_model() else {
            return Ok(false);
        };
        let metric = match name.as_str() {
            "eval_loss" => record.eval_loss,
            name => record.metrics.get(name).copied(),
        };
        let metric = metric.ok_or_else(|| {
            let known = record.metrics.keys().map(String::as_str);
            let known = known.chain(record.eval_loss.map(|_| "eval_loss"));
            let known: Vec<&str> = known.collect();
            let mut invalid = crate::InvalidArguments::default();
            let expected = format!("one of {}", known.join(", "));
            invalid.require(false, "metric_for_best_model", &name, &expected);
            invalid
        })?;
        let greater_is_better = self.arguments.greater_is_better();
        Ok(self.state.update_best(metric, greater_is_better))
    }

    /// The mean over all examples of the loss of their batches, as in transformers; `None` without an
    /// evaluation set.
    fn evaluation_loss(
        &mut self,
        model: &Florence2ForConditionalGeneration<B>,
        observer: &mut dyn TrainObserver<B>,
    ) -> Result<Option<f64>> {
        let Some(evaluation) = self.evaluation else {
            return Ok(None);
        };
        let indices: Vec<usize> = (0..evaluation.len()).collect();
        let (mut sum, mut count) = (0.0, 0);
        for indices in indices.chunks(self.arguments.per_device_eval_batch_size) {
            let wanted = indices.iter().copied();
            let wanted: Vec<(usize, bool)> = wanted
                .filter(|index| !self.skipped_evaluation.contains_key(index))
                .map(|index| (index, !self.evaluation_features.contains(index)))
                .collect();
            let mut read = Vec::new();
            for (index, example) in read_all(evaluation, &wanted, 0) {
                match example {
                    Ok(example) => read.push((index, example)),
                    Err(error) => {
                        observer.on_skipped(index, &error);
                        self.skipped_evaluation.insert(index, error);
                    }
                }
            }
            if read.is_empty() {
                continue;
            }
            let examples = read.len();
            let collator = Collator {
                step: &self.step,
                pad_token_id: self.options.pad_token_id,
                folder: &self.options.output_dir,
                device: &self.device,
            };
            let batch = collator.collate(Some(&mut self.evaluation_features), read)?;
            sum += TrainStep::evaluate(model, batch)? * examples as f64;
            count += examples;
        }
        if count == 0 {
            let what = "evaluation";
            let errors = self.skipped_evaluation.values();
            let errors = errors.map(ToString::to_string).collect();
            return Err(Error::NoExamples { what, errors });
        }
        Ok(Some(sum / f64::from(count as u32)))
    }

    /// Saves a checkpoint, and deletes those beyond `save_total_limit`.
    fn save(&mut self, observer: &mut dyn TrainObserver<B>) -> Result<()> {
        let (step, options, sampler) = (&self.step, &self.options, self.sampler.state());
        let arguments = &self.arguments;
        let checkpoint = self.checkpoints.save(&mut self.state, |folder| {
            options.output.write(step.model(), folder)?;
            optimizer_state::write(&step.optimizer.states, folder)?;
            write_json(&folder.join(SAMPLER_FILE), &sampler)?;
            write_json(&folder.join(ARGUMENTS_FILE), arguments)
        })?;
        observer.on_checkpoint(&checkpoint.path);
        let (limit, best) = (arguments.save_total_limit, self.state.best_global_step);
        self.checkpoints.rotate(limit, best)?;
        Ok(())
    }

    /// Continues from a checkpoint.
    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let folder = &checkpoint.path;
        let trained = self.trained_parameters();
        let stored = self.options.output.read(folder, &trained)?;
        self.step.map_model(|model| load_values(model, stored))?;
        self.step.optimizer.states = optimizer_state::read(folder, &trained, &self.device)?;
        let state: SamplerState = read_json(&folder.join(SAMPLER_FILE))?;
        self.sampler = self.sampler.clone().resume(state)?;
        self.state = TrainerState {
            max_steps: self.state.max_steps,
            num_train_epochs: self.state.num_train_epochs,
            ..checkpoint.state.clone()
        };
        Ok(())
    }

    /// Writes the result: the best model with `load_best_model_at_end`, else the last one.
    fn finish(&mut self) -> Result<()> {
        let best = self.state.best_model_checkpoint.clone();
        if let Some(best) = best.filter(|_| self.arguments.load_best_model_at_end) {
            let trained = self.trained_parameters();
            let stored = self.options.output.read(Path::new(&best), &trained)?;
            self.step.map_model(|model| load_values(model, stored))?;
        }
        let output_dir = &self.options.output_dir;
        self.options.output.write(self.step.model(), output_dir)?;
        write_json(&output_dir.join(ARGUMENTS_FILE), &self.arguments)
    }

    fn write_plot(&self) -> Result<()> {
        let output_dir = &self.options.output_dir;
        let records = read_metrics(&output_dir.join(METRICS_FILE))?;
        let path = output_dir.join(PLOT_FILE);
        Ok(write_loss_plot(&path, &records, "Loss")?)
    }
}

fn require_examples(what: &'static str, source: &dyn ExampleSource) -> Result<()> {
    if source.is_empty() {
        let errors = Vec::new();
        return Err(Error::NoExamples { what, errors });
    }
    Ok(())
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(value).map_err(|error| Error::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    json.push(b'\n');
    write_atomic(path, &json).map_err(|error| Error::Model(error.into()))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let json = fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&json).map_err(|error| Error::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
