//! The factors of the learning rate, compared with transformers' (`tests/fixtures/training_rules.py`).

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use florence2_train::{LrSchedule, LrSchedulerKwargs, SchedulerType, TrainingArguments};
use serde::Deserialize;

/// The largest difference of a factor from Python's: a few roundings of numbers up to 1.
const TOLERANCE: f64 = 1e-14;

#[derive(Deserialize)]
struct Goldens {
    learning_rate: f64,
    schedules: Vec<Schedule>,
    warmup: Vec<Warmup>,
}

#[derive(Deserialize)]
struct Schedule {
    lr_scheduler_type: SchedulerType,
    lr_scheduler_kwargs: LrSchedulerKwargs,
    max_steps: u64,
    warmup_steps: u64,
    /// None where transformers divides by 0.
    factors: Vec<Option<f64>>,
}

#[derive(Deserialize)]
struct Warmup {
    warmup_steps: f64,
    max_steps: u64,
    steps: u64,
}

fn goldens() -> Goldens {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let goldens = fs::read(fixtures.join("training/schedules.json")).unwrap();
    serde_json::from_slice(&goldens).unwrap()
}

#[test]
fn schedules_are_those_of_transformers() {
    let Goldens {
        learning_rate,
        schedules,
        ..
    } = goldens();
    let mut divided_by_0 = 0;
    for golden in schedules {
        let Schedule {
            lr_scheduler_type: kind,
            lr_scheduler_kwargs: kwargs,
            max_steps,
            warmup_steps,
            ..
        } = golden;
        let schedule = LrSchedule::new(kind, &kwargs, learning_rate, warmup_steps, max_steps);
        let schedule = schedule.unwrap();
        for (step, expected) in golden.factors.into_iter().enumerate() {
            let step = step as u64;
            let found = schedule.factor(step);
            let expected = expected.unwrap_or_else(|| {
                divided_by_0 += 1;
                kwargs.lr_end.unwrap_or(1e-7) / learning_rate
            });
            assert!(
                (found - expected).abs() <= TOLERANCE,
                "{kind} {kwargs:?}, warmup {warmup_steps} of {max_steps}, step {step}: found {found}, expected {expected}"
            );
            assert_eq!(schedule.learning_rate(step), learning_rate * found);
        }
    }
    // `polynomial` with both of its arguments, whose warmup takes all steps.
    assert_eq!(divided_by_0, 2);
}

#[test]
fn every_schedule_is_compared() {
    let goldens = goldens().schedules;
    for kind in SchedulerType::ALL {
        assert!(
            goldens
                .iter()
                .any(|golden| golden.lr_scheduler_type == kind),
            "{kind}"
        );
        assert_eq!(kind.name().parse(), Ok(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
}

#[test]
fn warmups_are_those_of_transformers() {
    for golden in goldens().warmup {
        let arguments = TrainingArguments {
            warmup_steps: golden.warmup_steps,
            ..TrainingArguments::default()
        };
        let found = arguments.warmup(golden.max_steps);
        assert_eq!(
            found, golden.steps,
            "{} of {}",
            golden.warmup_steps, golden.max_steps
        );
    }
}
