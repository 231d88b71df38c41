//! Learning-rate schedules, with the formulas of `optimization.py` in Hugging Face's transformers 5.17.

use std::f64::consts::PI;
use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::invalid::{InvalidArgument, InvalidArguments};

/// The shape of the learning rate over the steps: `lr_scheduler_type`, with the values of Hugging Face's `SchedulerType`.
///
/// `reduce_lr_on_plateau` and `greedy` are not supported: they follow a metric and not the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerType {
    /// Warmup, then linear decay to 0.
    #[default]
    Linear,
    /// Warmup, then `num_cycles` waves of a cosine (0.5 by default, which decays to 0).
    Cosine,
    /// Warmup, then `num_cycles` half waves of a cosine from 1 to 0 (1 by default).
    CosineWithRestarts,
    /// Warmup, then polynomial decay to `lr_end` with exponent `power`.
    Polynomial,
    /// The learning rate itself. There is no warmup.
    Constant,
    /// Warmup, then the learning rate itself.
    ConstantWithWarmup,
    /// Warmup, then decay with the inverse square root of the step.
    InverseSqrt,
    /// `Cosine` between the learning rate and `min_lr`.
    CosineWithMinLr,
    /// `CosineWithMinLr` whose first step already has a learning rate above 0.
    CosineWarmupWithMinLr,
    /// Warmup, a constant learning rate, and `num_decay_steps` steps of decay.
    WarmupStableDecay,
}

impl SchedulerType {
    /// All values.
    pub const ALL: [Self; 10] = [
        Self::Linear,
        Self::Cosine,
        Self::CosineWithRestarts,
        Self::Polynomial,
        Self::Constant,
        Self::ConstantWithWarmup,
        Self::InverseSqrt,
        Self::CosineWithMinLr,
        Self::CosineWarmupWithMinLr,
        Self::WarmupStableDecay,
    ];

    /// Hugging Face's name, such as `cosine_with_restarts`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Cosine => "cosine",
            Self::CosineWithRestarts => "cosine_with_restarts",
            Self::Polynomial => "polynomial",
            Self::Constant => "constant",
            Self::ConstantWithWarmup => "constant_with_warmup",
            Self::InverseSqrt => "inverse_sqrt",
            Self::CosineWithMinLr => "cosine_with_min_lr",
            Self::CosineWarmupWithMinLr => "cosine_warmup_with_min_lr",
            Self::WarmupStableDecay => "warmup_stable_decay",
        }
    }

    /// The keys of `lr_scheduler_kwargs` that transformers' function of this schedule accepts.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Linear | Self::Constant | Self::ConstantWithWarmup => &[],
            Self::Cosine | Self::CosineWithRestarts => &["num_cycles"],
            Self::Polynomial => &["lr_end", "power"],
            Self::InverseSqrt => &["timescale"],
            Self::CosineWithMinLr => &["num_cycles", "min_lr", "min_lr_rate"],
            Self::CosineWarmupWithMinLr => {
                &["num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"]
            }
            Self::WarmupStableDecay => &[
                "num_cycles",
                "num_decay_steps",
                "num_stable_steps",
                "warmup_type",
                "decay_type",
                "min_lr_ratio",
            ],
        }
    }
}

impl Display for SchedulerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SchedulerType {
    type Err = InvalidArgument;

    /// Parses Hugging Face's name. The error lists all names.
    fn from_str(name: &str) -> Result<Self, InvalidArgument> {
        let all = Self::ALL;
        all.into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| InvalidArgument {
                argument: "lr_scheduler_type".to_owned(),
                found: format!("{name:?}"),
                expected: format!("one of {}", all.map(Self::name).join(", ")),
            })
    }
}

/// The curve of the warmup or of the decay of [`SchedulerType::WarmupStableDecay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmupDecayType {
    /// A straight line.
    Linear,
    /// A half wave of a cosine.
    Cosine,
    /// 1 less a square root.
    #[serde(rename = "1-sqrt")]
    OneMinusSqrt,
}

impl Display for WarmupDecayType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linear => "linear",
            Self::Cosine => "cosine",
            Self::OneMinusSqrt => "1-sqrt",
        })
    }
}

/// `lr_scheduler_kwargs`: arguments of one schedule, with the names and defaults of transformers' functions.
///
/// A key that the schedule does not have is an error, as in transformers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LrSchedulerKwargs {
    /// Waves of the cosine: 0.5 by default, and 1 for `cosine_with_restarts`, which counts half waves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_cycles: Option<f64>,
    /// The exponent of `polynomial`: 1 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<f64>,
    /// The last learning rate of `polynomial`: 1e-7 by default. It must be below the learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_end: Option<f64>,
    /// The lowest learning rate of the cosines with a minimum. They require it or `min_lr_rate`, and not both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_lr: Option<f64>,
    /// `min_lr` as a fraction of the learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_lr_rate: Option<f64>,
    /// The factor of the first step of `cosine_warmup_with_min_lr`: one warmup step by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_lr_rate: Option<f64>,
    /// The time scale of `inverse_sqrt` in steps: the warmup by default, or 10,000 if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timescale: Option<u64>,
    /// The steps of decay of `warmup_stable_decay`, which requires it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_decay_steps: Option<u64>,
    /// The constant steps of `warmup_stable_decay`: by default, those that warmup and decay leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_stable_steps: Option<u64>,
    /// The curve of the warmup of `warmup_stable_decay`: linear by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_type: Option<WarmupDecayType>,
    /// The curve of the decay of `warmup_stable_decay`: cosine by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_type: Option<WarmupDecayType>,
    /// The lowest factor of `warmup_stable_decay`: 0 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_lr_ratio: Option<f64>,
}

impl LrSchedulerKwargs {
    /// The keys that have a value, with it.
    fn given(&self) -> Vec<(&'static str, String)> {
        fn text(value: Option<impl Display>) -> Option<String> {
            value.map(|value| value.to_string())
        }
        let values = [
            ("num_cycles", text(self.num_cycles)),
            ("power", text(self.power)),
            ("lr_end", text(self.lr_end)),
            ("min_lr", text(self.min_lr)),
            ("min_lr_rate", text(self.min_lr_rate)),
            ("warmup_lr_rate", text(self.warmup_lr_rate)),
            ("timescale", text(self.timescale)),
            ("num_decay_steps", text(self.num_decay_steps)),
            ("num_stable_steps", text(self.num_stable_steps)),
            ("warmup_type", text(self.warmup_type)),
            ("decay_type", text(self.decay_type)),
            ("min_lr_ratio", text(self.min_lr_ratio)),
        ];
        let given = values.into_iter();
        given
            .filter_map(|(key, value)| value.map(|value| (key, value)))
            .collect()
    }

    /// Adds the keys that `kind` does not have or that are out of range.
    fn check(&self, kind: SchedulerType, learning_rate: f64, invalid: &mut InvalidArguments) {
        self.check_keys(kind, invalid);
        let mut at_least_0 = |key: &str, value: Option<f64>| {
            let valid = value.is_none_or(|value| value.is_finite() && value >= 0.0);
            let found = value.unwrap_or_default();
            invalid.require(valid, key, found, "a finite number of at least 0");
        };
        at_least_0("lr_scheduler_kwargs.num_cycles", self.num_cycles);
        at_least_0("lr_scheduler_kwargs.power", self.power);
        at_least_0("lr_scheduler_kwargs.lr_end", self.lr_end);
        at_least_0("lr_scheduler_kwargs.min_lr", self.min_lr);
        at_least_0("lr_scheduler_kwargs.min_lr_rate", self.min_lr_rate);
        at_least_0("lr_scheduler_kwargs.warmup_lr_rate", self.warmup_lr_rate);
        at_least_0("lr_scheduler_kwargs.min_lr_ratio", self.min_lr_ratio);
        invalid.require(
            self.timescale != Some(0),
            "lr_scheduler_kwargs.timescale",
            0,
            "at least 1",
        );
        match kind {
            SchedulerType::Polynomial => {
                let lr_end = self.lr_end_or_default();
                invalid.require(
                    lr_end < learning_rate,
                    "lr_scheduler_kwargs.lr_end",
                    lr_end,
                    format!("a number below learning_rate ({learning_rate})"),
                );
            }
            SchedulerType::CosineWithMinLr | SchedulerType::CosineWarmupWithMinLr => {
                self.check_min_lr(kind, learning_rate, invalid);
            }
            SchedulerType::WarmupStableDecay => invalid.require(
                self.num_decay_steps.is_some(),
                "lr_scheduler_kwargs.num_decay_steps",
                "no value",
                format!("a number of steps, which {kind} requires"),
            ),
            _ => {}
        }
    }

    fn check_keys(&self, kind: SchedulerType, invalid: &mut InvalidArguments) {
        let keys = kind.keys();
        let expected = if keys.is_empty() {
            format!("no value, as {kind} has no arguments")
        } else {
            format!("no value, as {kind} has only {}", keys.join(", "))
        };
        for (key, value) in self.given() {
            let name = format!("lr_scheduler_kwargs.{key}");
            invalid.require(keys.contains(&key), &name, value, &expected);
        }
    }

    fn check_min_lr(
        &self,
        kind: SchedulerType,
        learning_rate: f64,
        invalid: &mut InvalidArguments,
    ) {
        let found = match (self.min_lr, self.min_lr_rate) {
            (Some(_), Some(_)) => "min_lr and min_lr_rate",
            (None, None) => "neither min_lr nor min_lr_rate",
            (Some(_), None) => {
                let expected = format!("above 0, as {kind} divides min_lr by it");
                invalid.require(
                    learning_rate > 0.0,
                    "learning_rate",
                    learning_rate,
                    expected,
                );
                return;
            }
            (None, Some(_)) => return,
        };
        let expected = format!("exactly one of them for {kind}");
        invalid.require(false, "lr_scheduler_kwargs", found, expected);
    }

    fn lr_end_or_default(&self) -> f64 {
        self.lr_end.unwrap_or(1e-7)
    }
}

/// The learning rate of every optimiser step.
///
/// As in transformers, the optimiser step `step` (from 0) has the factor of `step`. The first step of a warmup therefore
/// has a learning rate of 0, except for `cosine_warmup_with_min_lr`.
#[derive(Clone, Debug, PartialEq)]
pub struct LrSchedule {
    learning_rate: f64,
    num_warmup_steps: u64,
    num_training_steps: u64,
    curve: Curve,
}

/// What follows the warmup, and its arguments.
#[derive(Clone, Debug, PartialEq)]
enum Curve {
    Linear,
    Constant,
    Cosine {
        num_cycles: f64,
        min_lr_rate: f64,
    },
    CosineWithRestarts {
        num_cycles: f64,
    },
    Polynomial {
        lr_end: f64,
        power: f64,
    },
    InverseSqrt {
        timescale: f64,
    },
    CosineWarmupWithMinLr {
        num_cycles: f64,
        min_lr_rate: f64,
        warmup_lr_rate: Option<f64>,
    },
    WarmupStableDecay(WarmupStableDecay),
}

/// The arguments of [`SchedulerType::WarmupStableDecay`].
#[derive(Clone, Debug, PartialEq)]
struct WarmupStableDecay {
    /// Negative if the decay is longer than the training.
    decay_start: i128,
    num_decay_steps: u64,
    warmup_type: WarmupDecayType,
    decay_type: WarmupDecayType,
    min_lr_ratio: f64,
    num_cycles: f64,
}

impl LrSchedule {
    /// Creates the schedule that transformers' `get_scheduler` creates.
    ///
    /// # Errors
    ///
    /// Returns all `lr_scheduler_kwargs` that the schedule does not have, that it requires, or that are out of range.
    pub fn new(
        kind: SchedulerType,
        kwargs: &LrSchedulerKwargs,
        learning_rate: f64,
        num_warmup_steps: u64,
        num_training_steps: u64,
    ) -> Result<Self, InvalidArguments> {
        let mut invalid = InvalidArguments::default();
        kwargs.check(kind, learning_rate, &mut invalid);
        invalid.into_result()?;
        let num_warmup_steps = if kind == SchedulerType::Constant {
            0
        } else {
            num_warmup_steps
        };
        let steps = (num_warmup_steps, num_training_steps);
        Ok(Self {
            learning_rate,
            num_warmup_steps,
            num_training_steps,
            curve: Curve::new(kind, kwargs, learning_rate, steps),
        })
    }

    /// Adds the arguments that [`new`](Self::new) refuses.
    pub(crate) fn check(
        kind: SchedulerType,
        kwargs: &LrSchedulerKwargs,
        learning_rate: f64,
        invalid: &mut InvalidArguments,
    ) {
        kwargs.check(kind, learning_rate, invalid);
    }

    /// The learning rate of the optimiser step `step`, which counts from 0.
    pub fn learning_rate(&self, step: u64) -> f64 {
        self.learning_rate * self.factor(step)
    }

    /// The factor of the learning rate at `step`, which counts from 0: the function of transformers' `LambdaLR`.
    ///
    /// Where transformers divides by 0 (`polynomial` without a step after the warmup, at the step after the last), the
    /// factor is that of the end.
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.num_warmup_steps {
            return self.warmup_factor(step);
        }
        match &self.curve {
            Curve::Linear => {
                let remaining = difference(self.num_training_steps, step);
                (remaining / self.steps_after_warmup()).max(0.0)
            }
            Curve::Constant => 1.0,
            Curve::Cosine {
                num_cycles,
                min_lr_rate,
            } => cosine(self.progress(step), *num_cycles, *min_lr_rate),
            Curve::CosineWithRestarts { num_cycles } => {
                let progress = self.progress(step);
                if progress >= 1.0 {
                    return 0.0;
                }
                (0.5 * (1.0 + (PI * ((num_cycles * progress) % 1.0)).cos())).max(0.0)
            }
            Curve::Polynomial { lr_end, power } => self.polynomial(step, *lr_end, *power),
            Curve::InverseSqrt { timescale } => {
                let shift = timescale - self.num_warmup_steps as f64;
                1.0 / ((step as f64 + shift) / timescale).sqrt()
            }
            Curve::CosineWarmupWithMinLr {
                num_cycles,
                min_lr_rate,
                ..
            } => {
                let done = step as f64 - self.num_warmup_steps as f64 + 1.0;
                cosine(done / self.steps_after_warmup(), *num_cycles, *min_lr_rate)
            }
            Curve::WarmupStableDecay(arguments) => arguments.stable_or_decay(step),
        }
    }

    /// The factor at a step of the warmup.
    fn warmup_factor(&self, step: u64) -> f64 {
        let steps = self.num_warmup_steps as f64;
        match &self.curve {
            Curve::CosineWarmupWithMinLr { warmup_lr_rate, .. } => match warmup_lr_rate {
                None => (step as f64 + 1.0) / steps,
                Some(rate) => rate + (1.0 - rate) * step as f64 / (steps - 1.0).max(1.0),
            },
            Curve::WarmupStableDecay(arguments) => arguments.warmup(step as f64 / steps),
            _ => step as f64 / steps,
        }
    }

    fn polynomial(&self, step: u64, lr_end: f64, power: f64) -> f64 {
        if step > self.num_training_steps || self.num_training_steps == self.num_warmup_steps {
            return lr_end / self.learning_rate;
        }
        let decay_steps = difference(self.num_training_steps, self.num_warmup_steps);
        let remaining = 1.0 - difference(step, self.num_warmup_steps) / decay_steps;
        let range = self.learning_rate - lr_end;
        (range * remaining.powf(power) + lr_end) / self.learning_rate
    }

    /// The fraction of the steps after the warmup that precede `step`.
    fn progress(&self, step: u64) -> f64 {
        difference(step, self.num_warmup_steps) / self.steps_after_warmup()
    }

    /// At least 1.
    fn steps_after_warmup(&self) -> f64 {
        difference(self.num_training_steps, self.num_warmup_steps).max(1.0)
    }
}

impl Curve {
    /// `kwargs` have been checked. `steps` are those of the warmup and of the training.
    fn new(
        kind: SchedulerType,
        kwargs: &LrSchedulerKwargs,
        learning_rate: f64,
        steps: (u64, u64),
    ) -> Self {
        let num_cycles = kwargs.num_cycles.unwrap_or(0.5);
        let min_lr_rate = match kwargs.min_lr {
            Some(min_lr) => min_lr / learning_rate,
            None => kwargs.min_lr_rate.unwrap_or(0.0),
        };
        match kind {
            SchedulerType::Linear => Self::Linear,
            SchedulerType::Constant | SchedulerType::ConstantWithWarmup => Self::Constant,
            SchedulerType::Cosine | SchedulerType::CosineWithMinLr => Self::Cosine {
                num_cycles,
                min_lr_rate,
            },
            SchedulerType::CosineWithRestarts => Self::CosineWithRestarts {
                num_cycles: kwargs.num_cycles.unwrap_or(1.0),
            },
            SchedulerType::Polynomial => Self::Polynomial {
                lr_end: kwargs.lr_end_or_default(),
                power: kwargs.power.unwrap_or(1.0),
            },
            SchedulerType::InverseSqrt => {
                let default = if steps.0 == 0 { 10_000 } else { steps.0 };
                Self::InverseSqrt {
                    timescale: kwargs.timescale.unwrap_or(default) as f64,
                }
            }
            SchedulerType::CosineWarmupWithMinLr => Self::CosineWarmupWithMinLr {
                num_cycles,
                min_lr_rate,
                warmup_lr_rate: kwargs.warmup_lr_rate,
            },
            SchedulerType::WarmupStableDecay => {
                Self::WarmupStableDecay(WarmupStableDecay::new(kwargs, steps))
            }
        }
    }
}

impl WarmupStableDecay {
    fn new(kwargs: &LrSchedulerKwargs, (warmup, training): (u64, u64)) -> Self {
        let num_decay_steps = kwargs.num_decay_steps.unwrap_or(0);
        let decay_start = match kwargs.num_stable_steps {
            Some(stable) => i128::from(warmup) + i128::from(stable),
            // The decay ends with the training.
            None => i128::from(training) - i128::from(num_decay_steps),
        };
        Self {
            decay_start,
            num_decay_steps,
            warmup_type: kwargs.warmup_type.unwrap_or(WarmupDecayType::Linear),
            decay_type: kwargs.decay_type.unwrap_or(WarmupDecayType::Cosine),
            min_lr_ratio: kwargs.min_lr_ratio.unwrap_or(0.0),
            num_cycles: kwargs.num_cycles.unwrap_or(0.5),
        }
    }

    /// The factor after a fraction of the warmup.
    fn warmup(&self, progress: f64) -> f64 {
        self.scale(match self.warmup_type {
            WarmupDecayType::Linear => progress,
            WarmupDecayType::Cosine => 0.5 * (1.0 - (PI * progress).cos()),
            WarmupDecayType::OneMinusSqrt => 1.0 - (1.0 - progress).sqrt(),
        })
    }

    /// The factor at a step after the warmup.
    fn stable_or_decay(&self, step: u64) -> f64 {
        let decayed = i128::from(step) - self.decay_start;
        if decayed < 0 {
            return 1.0;
        }
        if decayed >= i128::from(self.num_decay_steps) {
            return self.min_lr_ratio;
        }
        let progress = decayed as f64 / self.num_decay_steps as f64;
        self.scale(match self.decay_type {
            WarmupDecayType::Linear => 1.0 - progress,
            WarmupDecayType::Cosine => 0.5 * (1.0 + (PI * self.num_cycles * 2.0 * progress).cos()),
            WarmupDecayType::OneMinusSqrt => 1.0 - progress.sqrt(),
        })
    }

    /// Maps 0 to 1 to the range of the factors.
    fn scale(&self, factor: f64) -> f64 {
        (factor * (1.0 - self.min_lr_ratio) + self.min_lr_ratio).max(0.0)
    }
}

/// `left - right` as an exact difference of integers.
fn difference(left: u64, right: u64) -> f64 {
    (i128::from(left) - i128::from(right)) as f64
}

/// `num_cycles` waves from 1 to `min_lr_rate`.
fn cosine(progress: f64, num_cycles: f64, min_lr_rate: f64) -> f64 {
    let factor = 0.5 * (1.0 + (PI * num_cycles * 2.0 * progress).cos());
    (factor * (1.0 - min_lr_rate) + min_lr_rate).max(0.0)
}
