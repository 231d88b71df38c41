//! The progress of a training: a bar on a terminal, else a line per record.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use florence2_kernels::Backend;
use florence2_train::{ExampleError, MetricsRecord, StepProgress, TrainObserver};
use indicatif::{ProgressBar, ProgressStyle};

use super::interrupt::Interrupt;

/// The weight of the last step in the mean of images per second.
const LAST_STEP: f64 = 0.2;

/// Shows the progress on standard error.
pub(crate) struct Progress<'a> {
    bar: ProgressBar,
    interrupt: &'a Interrupt,
    last_step: Instant,
    images_per_second: Option<f64>,
    /// The steps of a line, which has no bar that states them.
    total: u64,
    /// The time left by the mean of the steps so far.
    timer: Timer,
    checkpoint: Option<PathBuf>,
}

/// The steps since a time.
struct Timer {
    started: Instant,
    first_step: u64,
}

impl<'a> Progress<'a> {
    /// The progress of a training that continues after `step` steps of `total`.
    pub(crate) fn new(step: u64, total: u64, interrupt: &'a Interrupt) -> Self {
        // INVARIANT: the template is a constant that parses.
        let style = ProgressStyle::with_template("{bar:25} {pos}/{len} steps, {msg}{eta} left")
            .expect("a valid template");
        let bar = ProgressBar::new(total).with_style(style);
        bar.set_position(step);
        bar.reset_eta();
        Self {
            bar,
            interrupt,
            last_step: Instant::now(),
            images_per_second: None,
            total,
            timer: Timer {
                started: Instant::now(),
                first_step: step,
            },
            checkpoint: None,
        }
    }

    /// The newest checkpoint of this run.
    pub(crate) fn into_checkpoint(self) -> Option<PathBuf> {
        self.bar.finish_and_clear();
        self.checkpoint
    }

    fn print(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// The time left at the mean speed so far; `None` before the first step.
    fn time_left(&self, step: u64) -> Option<Duration> {
        let done = step.saturating_sub(self.timer.first_step);
        let left = self.total.saturating_sub(step);
        let seconds = self.timer.started.elapsed().as_secs_f64() * left as f64 / done as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

impl<B: Backend> TrainObserver<B> for Progress<'_> {
    fn on_step(&mut self, progress: &StepProgress) {
        let seconds = self.last_step.elapsed().as_secs_f64();
        self.last_step = Instant::now();
        let last = progress.images as f64 / seconds.max(f64::EPSILON);
        let mean = self
            .images_per_second
            .map_or(last, |mean| LAST_STEP * last + (1.0 - LAST_STEP) * mean);
        self.images_per_second = Some(mean);
        self.bar.set_message(format!(
            "loss {:.4}, learning rate {:.2e}, {mean:.2} images/s, ",
            progress.report.loss, progress.learning_rate
        ));
        self.bar.set_position(progress.step);
    }

    fn on_skipped(&mut self, _index: usize, error: &ExampleError) {
        self.print(&format!("florence2: left out: {error}"));
    }

    fn on_record(&mut self, record: &MetricsRecord) {
        let is_evaluation = record.loss.is_none();
        // The bar shows what a record of the training has.
        if is_evaluation || self.bar.is_hidden() {
            let left = self.time_left(record.step).filter(|_| !is_evaluation);
            let left = left.map(|left| format!(", {} left", indicatif::HumanDuration(left)));
            let line = line(record, self.total);
            self.print(&format!("{line}{}", left.unwrap_or_default()));
        }
        if is_evaluation {
            // The time of an evaluation is no time of a step.
            self.last_step = Instant::now();
        }
    }

    fn on_checkpoint(&mut self, folder: &Path) {
        self.checkpoint = Some(folder.to_owned());
        self.last_step = Instant::now();
    }

    fn is_stopped(&self) -> bool {
        self.interrupt.is_requested()
    }
}

/// A record as a line.
fn line(record: &MetricsRecord, total: u64) -> String {
    let mut parts = vec![
        format!("step {}/{total}", record.step),
        format!("epoch {:.2}", record.epoch),
    ];
    let loss = record.loss.map(|loss| format!("loss {loss:.4}"));
    let rate = record.learning_rate;
    let rate = rate.map(|rate| format!("learning rate {rate:.2e}"));
    let speed = record.images_per_second;
    let speed = speed.map(|speed| format!("{speed:.2} images/s"));
    let eval_loss = record.eval_loss;
    let eval_loss = eval_loss.map(|loss| format!("eval_loss {loss:.4}"));
    parts.extend([loss, rate, speed, eval_loss].into_iter().flatten());
    let metrics = record.metrics.iter();
    parts.extend(metrics.map(|(name, value)| format!("{name} {value:.4}")));
    parts.join(", ")
}
