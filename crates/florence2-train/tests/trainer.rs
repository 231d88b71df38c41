//! Default arguments, the order of batches and the actions of runs, compared with transformers' (`tests/fixtures/trainer.py`).

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use florence2_train::{
    Checkpoint, Checkpoints, ExampleSampler, SaveStrategy, TrainerState, TrainingArguments,
};
use serde::Deserialize;
use serde_json::Value;

/// The largest difference of a learning rate from Python's, relative to the initial one: a few roundings.
const TOLERANCE: f64 = 1e-14;

#[derive(Deserialize)]
struct Goldens {
    defaults: Vec<Value>,
    runs: Vec<Run>,
    orders: Vec<Order>,
}

#[derive(Deserialize)]
struct Run {
    examples: usize,
    arguments: TrainingArguments,
    /// The value of the metric in each evaluation.
    losses: Vec<f64>,
    total: u64,
    warmup: u64,
    num_train_epochs: u64,
    updates: Vec<Update>,
}

#[derive(Deserialize)]
struct Update {
    batches: Vec<usize>,
    learning_rate: f64,
    logs: bool,
    evaluates: bool,
    epoch: f64,
    best_global_step: Option<u64>,
    best_model_checkpoint: Option<String>,
    /// The checkpoints after the step, if one was saved.
    checkpoints: Option<Vec<u64>>,
}

#[derive(Deserialize)]
struct Order {
    examples: usize,
    seed: u64,
    epoch: u64,
    order: Vec<usize>,
}

fn goldens() -> Goldens {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trainer.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn defaults_are_those_of_transformers() {
    let arguments = TrainingArguments::default();
    let ours = serde_json::to_value(&arguments).unwrap();
    let theirs = goldens().defaults.remove(0);
    for (name, value) in theirs.as_object().unwrap() {
        let equal = match (ours[name].as_f64(), value.as_f64()) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => &ours[name] == value,
        };
        assert!(equal, "{name}: found {}, expected {value}", ours[name]);
    }
    // `lr_scheduler_kwargs` is an empty object in place of null, and `warmup_ratio` is an argument of transformers 4.
    assert_eq!(
        ours.as_object().unwrap().len(),
        theirs.as_object().unwrap().len() + 2
    );
    arguments.validate().unwrap();
    let read: TrainingArguments = serde_json::from_value(ours).unwrap();
    assert_eq!(read, arguments);
}

#[test]
fn orders_are_those_of_the_documentation() {
    for golden in goldens().orders {
        let sampler =
            ExampleSampler::new(golden.examples, golden.examples, 1, golden.seed).unwrap();
        let mut state = sampler.state();
        state.epoch = golden.epoch;
        let update = sampler.resume(state).unwrap().next_update();
        assert_eq!(update.batches, [golden.order]);
    }
}

/// Performs the steps of a run, without a model, and saves its checkpoints.
#[test]
fn runs_are_those_of_the_trainer() {
    for run in goldens().runs {
        let arguments = &run.arguments;
        arguments.validate().unwrap();
        assert_eq!(
            arguments.total_steps(run.examples),
            run.total,
            "{arguments:?}"
        );
        assert_eq!(arguments.warmup(run.total), run.warmup, "{arguments:?}");
        assert_eq!(
            arguments.num_train_epochs(run.examples),
            run.num_train_epochs
        );
        assert_eq!(run.updates.len() as u64, run.total);
        perform(&run);
    }
}

fn perform(run: &Run) {
    let Run {
        arguments, total, ..
    } = run;
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path());
    let schedule = arguments.schedule(*total).unwrap();
    let mut sampler = ExampleSampler::new(
        run.examples,
        arguments.per_device_train_batch_size,
        arguments.gradient_accumulation_steps,
        arguments.data_seed(),
    )
    .unwrap();
    let mut state = TrainerState::default();
    let mut losses = run.losses.iter();
    for golden in &run.updates {
        let learning_rate = schedule.learning_rate(state.global_step);
        let update = sampler.next_update();
        state.global_step += 1;
        state.epoch = update.epoch;
        let step = state.global_step;
        let context = format!("{arguments:?}, step {step}");
        let sizes: Vec<_> = update.batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, golden.batches, "{context}");
        assert!((update.epoch - golden.epoch).abs() < 1e-12, "{context}");
        let difference = (learning_rate - golden.learning_rate).abs();
        assert!(
            difference <= TOLERANCE * arguments.learning_rate,
            "{context}"
        );

        let actions = arguments.actions(step, *total, update.epoch_ended);
        assert_eq!(
            actions.should_log,
            golden.logs || step == *total,
            "{context}"
        );
        assert_eq!(actions.should_evaluate, golden.evaluates, "{context}");
        assert_eq!(actions.should_training_stop, step == *total, "{context}");
        let mut should_save = actions.should_save;
        if actions.should_evaluate {
            let metric = *losses.next().unwrap();
            let compares = arguments.metric_for_best_model().is_some();
            let better = compares && state.update_best(metric, arguments.greater_is_better());
            should_save |= better && arguments.save_strategy == SaveStrategy::Best;
        }
        assert_eq!(should_save, golden.checkpoints.is_some(), "{context}");
        let Some(expected) = &golden.checkpoints else {
            continue;
        };
        checkpoints
            .save(&mut state, |_| Ok::<_, Infallible>(()))
            .unwrap();
        checkpoints
            .rotate(arguments.save_total_limit, state.best_global_step)
            .unwrap();
        assert_eq!(state.best_global_step, golden.best_global_step, "{context}");
        let best = state.best_model_checkpoint.as_deref().map(Path::new);
        let best = best
            .and_then(Path::file_name)
            .and_then(|name| name.to_str());
        assert_eq!(best, golden.best_model_checkpoint.as_deref(), "{context}");
        let kept: Vec<_> = checkpoints
            .complete()
            .unwrap()
            .iter()
            .map(Checkpoint::step)
            .collect();
        assert_eq!(&kept, expected, "{context}");
    }
    assert_eq!(losses.next(), None);
}
