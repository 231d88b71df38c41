//! The training loop: checkpoints and resuming to the bit, the cache of features, dropout, examples that
//! cannot be used, divergence, backends.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use florence2_core::weights::{self, Checkpoint, LoraConfig};
use florence2_core::{Florence2Config, Florence2ForConditionalGeneration};
use florence2_kernels::{Backend, Dtype};
use florence2_train::{
    CacheLimits, Error, Example, ExampleError, ExampleSource, MetricsRecord, ModelFiles, Outcome,
    Output, Pixels, SaveStrategy, StepProgress, TrainObserver, Trainer, TrainerOptions,
    TrainingArguments, adapt, read_metrics, select,
};
use serde_json::json;

/// The size of the images.
const SHAPE: [usize; 3] = [3, 40, 56];

fn repository() -> PathBuf {
    std::env::var_os("FLORENCE2_REPOSITORY").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        PathBuf::from,
    )
}

fn model_folder() -> PathBuf {
    repository().join("tests/fixtures/training/tiny-a")
}

fn source_config() -> Vec<u8> {
    fs::read(model_folder().join("config.json")).unwrap()
}

fn load<B: Backend>(dropout: f64) -> Florence2ForConditionalGeneration<B> {
    let mut config = Florence2Config::from_json(&source_config(), "config.json").unwrap();
    config.text_config.dropout = dropout;
    config.text_config.attention_dropout = dropout;
    config.text_config.activation_dropout = dropout;
    config.text_config.decoder_layerdrop = dropout;
    config.vision_config.drop_path_rate = dropout;
    let checkpoint = Checkpoint::open(&model_folder()).unwrap();
    let device = B::Device::default();
    let (model, _) = weights::load::<B>(&config, &checkpoint, &[], Dtype::F32, &device).unwrap();
    model
}

fn lora_config() -> LoraConfig {
    let config = json!({
        "r": 2, "lora_alpha": 4, "lora_dropout": 0.1, "modules_to_save": ["image_proj_norm"],
        "target_modules": r"model\.language_model\..*(q_proj|v_proj|fc1)",
    });
    serde_json::from_value(config).unwrap()
}

/// Examples from formulas.
struct Examples {
    count: usize,
    /// The indices of examples that cannot be read.
    broken: Vec<usize>,
    is_augmented: bool,
    /// The number of images that were read.
    images: AtomicUsize,
}

impl Examples {
    fn new(count: usize) -> Self {
        Self {
            count,
            broken: Vec::new(),
            is_augmented: false,
            images: AtomicUsize::new(0),
        }
    }
}

impl ExampleSource for Examples {
    fn len(&self) -> usize {
        self.count
    }

    fn is_augmented(&self) -> bool {
        self.is_augmented
    }

    fn example(&self, index: usize, _: u64, with_pixels: bool) -> Result<Example, ExampleError> {
        if self.broken.contains(&index) {
            return Err(ExampleError {
                place: format!("annotations.jsonl:{}", index + 1),
                reason: "found no image, expected a file".to_owned(),
            });
        }
        let pixels = with_pixels.then(|| {
            self.images.fetch_add(1, Ordering::Relaxed);
            let values = 0..SHAPE.iter().product();
            let value = |at: usize| ((at * (index + 3)) as f32 * 0.37).sin();
            let values = values.map(value).collect();
            Pixels {
                shape: SHAPE,
                values,
            }
        });
        let ids = |from: usize, count: usize| (0..count).map(move |at| (from + at) as u32 % 90 + 4);
        Ok(Example {
            pixels,
            prompt: ids(7 * index, 3 + index % 3).collect(),
            labels: ids(11 * index, 2 + index % 4).collect(),
        })
    }
}

/// Stops after a number of steps, and collects what it is told.
#[derive(Default)]
struct Observer {
    stop_after: Option<u64>,
    losses: Vec<f64>,
    skipped: Vec<usize>,
    records: Vec<MetricsRecord>,
    checkpoints: Vec<PathBuf>,
    /// The values of a metric `eval_AP`, one per evaluation.
    metrics: Vec<f64>,
}

impl<B: Backend> TrainObserver<B> for Observer {
    fn on_step(&mut self, progress: &StepProgress) {
        self.losses.push(progress.report.loss);
    }

    fn on_skipped(&mut self, index: usize, _: &ExampleError) {
        self.skipped.push(index);
    }

    fn on_record(&mut self, record: &MetricsRecord) {
        self.records.push(record.clone());
    }

    fn on_checkpoint(&mut self, folder: &Path) {
        self.checkpoints.push(folder.to_owned());
    }

    fn evaluate(
        &mut self,
        _: &Florence2ForConditionalGeneration<B>,
    ) -> Result<BTreeMap<String, f64>, Box<dyn std::error::Error + Send + Sync>> {
        if self.metrics.is_empty() {
            return Ok(BTreeMap::new());
        }
        Ok(BTreeMap::from([(
            "eval_AP".to_owned(),
            self.metrics.remove(0),
        )]))
    }

    fn is_stopped(&self) -> bool {
        self.stop_after
            .is_some_and(|steps| self.losses.len() as u64 >= steps)
    }
}

fn arguments() -> TrainingArguments {
    TrainingArguments {
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 2,
        learning_rate: 1e-2,
        max_steps: 8,
        logging_steps: 2.0,
        save_strategy: SaveStrategy::No,
        ..TrainingArguments::default()
    }
}

fn options(folder: &Path, output: Output) -> TrainerOptions {
    TrainerOptions {
        output_dir: folder.to_owned(),
        resume: false,
        pad_token_id: 1,
        output,
        cache: CacheLimits::default(),
    }
}

/// What is trained.
#[derive(Clone, Copy)]
enum Method {
    Lora,
    Full,
    FrozenVision,
}

impl Method {
    fn model<B: Backend>(self, dropout: f64) -> Florence2ForConditionalGeneration<Autodiff<B>> {
        match self {
            Self::Lora => adapt(load::<B>(dropout), &lora_config(), 3).unwrap(),
            Self::Full => select(load::<Autodiff<B>>(dropout), |_| true),
            Self::FrozenVision => select(load::<Autodiff<B>>(dropout), |key| {
                !key.starts_with("model.vision_tower.")
            }),
        }
    }

    fn output(self) -> Output {
        match self {
            Self::Lora => Output::Adapter(lora_config()),
            Self::Full | Self::FrozenVision => Output::Model(ModelFiles {
                source_config: source_config(),
                ..ModelFiles::default()
            }),
        }
    }
}

/// One training.
struct Run<'a> {
    method: Method,
    dropout: f64,
    examples: &'a Examples,
    evaluation: Option<&'a Examples>,
    arguments: TrainingArguments,
    options: TrainerOptions,
}

impl<'a> Run<'a> {
    fn new(method: Method, examples: &'a Examples, folder: &Path) -> Self {
        Self {
            method,
            dropout: 0.0,
            examples,
            evaluation: None,
            arguments: arguments(),
            options: options(folder, method.output()),
        }
    }

    fn start<B: Backend>(self, observer: &mut Observer) -> florence2_train::Result<Outcome> {
        let evaluation = self
            .evaluation
            .map(|examples| examples as &dyn ExampleSource);
        let model = self.method.model::<B>(self.dropout);
        Trainer::new(
            model,
            self.examples,
            evaluation,
            self.arguments,
            self.options,
        )?
        .train(observer)
    }
}

fn result(folder: &Path) -> Vec<u8> {
    let adapter = folder.join("adapter_model.safetensors");
    fs::read(if adapter.exists() {
        adapter
    } else {
        folder.join("model.safetensors")
    })
    .unwrap()
}

#[test]
fn a_stopped_training_resumes_to_the_bit() {
    let examples = Examples::new(7);
    for method in [Method::Lora, Method::Full, Method::FrozenVision] {
        let (whole, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let run = |folder: &Path, resume| {
            let mut run = Run::new(method, &examples, folder);
            run.dropout = 0.2;
            run.options.resume = resume;
            run
        };
        let mut uninterrupted = Observer::default();
        let outcome = run(whole.path(), false)
            .start::<Flex>(&mut uninterrupted)
            .unwrap();
        assert!(outcome.is_complete);
        assert_eq!(uninterrupted.losses.len(), 8);

        let mut losses = Vec::new();
        for (resume, stop_after) in [(false, Some(3)), (true, Some(2)), (true, None)] {
            let mut observer = Observer {
                stop_after,
                ..Observer::default()
            };
            let outcome = run(stopped.path(), resume)
                .start::<Flex>(&mut observer)
                .unwrap();
            assert_eq!(outcome.is_complete, stop_after.is_none());
            assert_eq!(
                observer.checkpoints.len(),
                usize::from(stop_after.is_some())
            );
            losses.extend(observer.losses);
        }
        assert_eq!(losses, uninterrupted.losses);
        assert_eq!(result(stopped.path()), result(whole.path()));
        let steps = |folder: &Path| -> Vec<u64> {
            let records = read_metrics(&folder.join("metrics.jsonl")).unwrap();
            records.iter().map(|record| record.step).collect()
        };
        assert_eq!(steps(stopped.path()), [2, 4, 6, 8]);
        assert!(stopped.path().join("loss.svg").exists());
    }
}

/// A checkpoint of a model in Microsoft's layout has a row for `<image>` that the model lacks.
#[test]
fn a_model_in_microsofts_layout_resumes_and_returns_its_best_checkpoint() {
    let examples = Examples::new(4);
    let folder = tempfile::tempdir().unwrap();
    let start = |resume: bool, observer: &mut Observer| {
        let mut run = Run::new(Method::FrozenVision, &examples, folder.path());
        run.evaluation = Some(&examples);
        let microsoft = repository().join("tests/fixtures/tiny-a/ms");
        let config = fs::read(microsoft.join("config.json")).unwrap();
        let checkpoint = Checkpoint::open(&microsoft).unwrap();
        let parsed = Florence2Config::from_json(&config, "config.json").unwrap();
        assert_eq!(parsed.image_token_id, None);
        run.options.output = Output::Model(ModelFiles {
            image_token_id: Some(parsed.text_config.vocab_size as u32),
            source_config: config,
            files: Vec::new(),
        });
        run.options.resume = resume;
        run.arguments = serde_json::from_value(json!({
            "per_device_train_batch_size": 2, "max_steps": 3, "eval_strategy": "steps",
            "eval_steps": 1.0, "save_strategy": "steps", "save_steps": 1.0,
            "load_best_model_at_end": true, "metric_for_best_model": "AP",
        }))
        .unwrap();
        let (model, _) = florence2_train::Method::FrozenVision
            .load::<Flex>(&parsed, &checkpoint, Dtype::F32, 1, &FlexDevice)
            .unwrap();
        Trainer::new(
            model,
            &examples,
            Some(&examples),
            run.arguments,
            run.options,
        )
        .unwrap()
        .train(observer)
        .unwrap()
    };
    let mut observer = Observer {
        stop_after: Some(2),
        metrics: vec![0.5, 0.4],
        ..Observer::default()
    };
    start(false, &mut observer);
    let mut observer = Observer {
        metrics: vec![0.3],
        ..Observer::default()
    };
    let outcome = start(true, &mut observer);
    assert_eq!(outcome.state.best_global_step, Some(1));
    assert_eq!(
        result(folder.path()),
        result(&folder.path().join("checkpoint-1"))
    );
}

#[test]
fn cached_features_change_nothing_and_spare_the_images() {
    let mut losses = Vec::new();
    for (is_augmented, memory, disk) in [(true, 0, 0), (false, 0, 0), (false, 3_000, 1 << 20)] {
        let mut examples = Examples::new(6);
        examples.is_augmented = is_augmented;
        let folder = tempfile::tempdir().unwrap();
        let mut run = Run::new(Method::FrozenVision, &examples, folder.path());
        run.options.cache = CacheLimits { memory, disk };
        let mut observer = Observer::default();
        run.start::<Flex>(&mut observer).unwrap();
        losses.push(observer.losses);
        // 8 steps of up to 4 images; an epoch has 6 images.
        let read = if disk == 0 { 24 } else { 6 };
        assert_eq!(examples.images.into_inner(), read);
    }
    assert_eq!(losses[0], losses[1]);
    assert_eq!(losses[0], losses[2]);
}

#[test]
fn dropout_is_random_by_seed() {
    let examples = Examples::new(6);
    let losses = |dropout: f64, seed: u64| {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Run::new(Method::Full, &examples, folder.path());
        run.dropout = dropout;
        run.arguments.seed = seed;
        run.arguments.data_seed = Some(1);
        run.arguments.max_steps = 2;
        let mut observer = Observer::default();
        run.start::<Flex>(&mut observer).unwrap();
        observer.losses
    };
    assert_eq!(losses(0.3, 1), losses(0.3, 1));
    assert_ne!(losses(0.3, 1), losses(0.3, 2));
    assert_ne!(losses(0.3, 1), losses(0.0, 1));
    assert_eq!(losses(0.0, 1), losses(0.0, 2));
}

#[test]
fn examples_that_cannot_be_used_are_left_out_and_listed_once() {
    let mut examples = Examples::new(6);
    examples.broken = vec![2, 5];
    let folder = tempfile::tempdir().unwrap();
    let mut observer = Observer::default();
    let run = Run::new(Method::Lora, &examples, folder.path());
    let outcome = run.start::<Flex>(&mut observer).unwrap();
    observer.skipped.sort_unstable();
    assert_eq!(observer.skipped, [2, 5]);
    let skipped: Vec<String> = outcome.skipped.values().map(ToString::to_string).collect();
    let expected = "annotations.jsonl:3: found no image, expected a file";
    assert_eq!(skipped[0], expected);

    // Steps that consist of such an example only are passed over.
    let mut examples = Examples::new(6);
    examples.broken = vec![2, 5];
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::new(Method::Lora, &examples, folder.path());
    run.arguments.per_device_train_batch_size = 1;
    run.arguments.gradient_accumulation_steps = 1;
    run.arguments.save_strategy = SaveStrategy::Epoch;
    let mut observer = Observer::default();
    let outcome = run.start::<Flex>(&mut observer).unwrap();
    assert!(outcome.is_complete);
    assert_eq!((observer.losses.len(), outcome.skipped.len()), (8, 2));
    assert_eq!(observer.checkpoints.len(), 2);

    let mut examples = Examples::new(3);
    examples.broken = vec![0, 1, 2];
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(Method::Lora, &examples, folder.path());
    let error = run.start::<Flex>(&mut Observer::default()).unwrap_err();
    assert!(
        matches!(&error, Error::NoExamples { errors, .. } if errors.len() == 3),
        "{error}"
    );
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_stops_with_the_step_and_the_last_checkpoint() {
    let examples = Examples::new(6);
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::new(Method::Full, &examples, folder.path());
    run.arguments.learning_rate = 1e30;
    run.arguments.max_grad_norm = 0.0;
    run.arguments.warmup_steps = 2.0;
    run.arguments.save_strategy = SaveStrategy::Steps;
    run.arguments.save_steps = 1.0;
    let error = run.start::<Flex>(&mut Observer::default()).unwrap_err();
    let Error::Diverged {
        step, checkpoint, ..
    } = &error
    else {
        panic!("found {error}, expected a divergence");
    };
    let checkpoint = checkpoint.as_ref().unwrap();
    assert!(
        checkpoint.ends_with(format!("checkpoint-{}", step - 1)),
        "{error}"
    );
    assert!(error.to_string().contains("example "), "{error}");
}

#[test]
fn the_best_checkpoint_is_kept_and_loaded_at_the_end() {
    let examples = Examples::new(4);
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::new(Method::Lora, &examples, folder.path());
    run.evaluation = Some(&examples);
    let arguments = json!({
        "per_device_train_batch_size": 2, "max_steps": 6, "learning_rate": 1e-2, "logging_steps": 1.0,
        "eval_strategy": "steps", "eval_steps": 1.0, "save_strategy": "steps", "save_steps": 1.0,
        "save_total_limit": 1, "load_best_model_at_end": true, "metric_for_best_model": "AP",
    });
    run.arguments = serde_json::from_value(arguments).unwrap();
    let mut observer = Observer {
        metrics: vec![0.1, 0.5, 0.4, 0.5, 0.2, 0.3],
        ..Observer::default()
    };
    let outcome = run.start::<Flex>(&mut observer).unwrap();
    assert_eq!(outcome.state.best_global_step, Some(2));
    let best = folder.path().join("checkpoint-2");
    assert_eq!(result(folder.path()), result(&best));
    assert!(folder.path().join("checkpoint-6").exists());
    assert!(!folder.path().join("checkpoint-5").exists());
    let evaluations = observer
        .records
        .iter()
        .filter(|record| record.eval_loss.is_some());
    assert_eq!(evaluations.count(), 6);
}

#[test]
fn the_loss_of_the_evaluation_is_that_of_the_merged_model() {
    let examples = Examples::new(5);
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::new(Method::Lora, &examples, folder.path());
    run.evaluation = Some(&examples);
    let arguments = json!({
        "per_device_train_batch_size": 5, "per_device_eval_batch_size": 5, "max_steps": 3,
        "learning_rate": 0.0, "eval_strategy": "steps", "eval_steps": 1.0, "save_strategy": "no",
    });
    run.arguments = serde_json::from_value(arguments).unwrap();
    let mut observer = Observer::default();
    run.start::<Flex>(&mut observer).unwrap();
    let evaluated = observer
        .records
        .iter()
        .find_map(|record| record.eval_loss)
        .unwrap();
    assert!((evaluated - observer.losses[0]).abs() < 1e-5, "{evaluated}");
}

#[test]
fn a_step_is_the_same_on_every_backend() {
    let examples = Examples::new(4);
    for method in [Method::Lora, Method::Full] {
        let losses = |start: &dyn Fn(Run<'_>, &mut Observer)| {
            let folder = tempfile::tempdir().unwrap();
            let mut run = Run::new(method, &examples, folder.path());
            run.arguments.max_steps = 3;
            // A high rate amplifies the rounding of gradients that are zero, such as `k_proj.bias`'s.
            run.arguments.learning_rate = 1e-4;
            let mut observer = Observer::default();
            start(run, &mut observer);
            observer.losses
        };
        let flex = losses(&|run, observer| drop(run.start::<Flex>(observer).unwrap()));
        let ndarray = losses(&|run, observer| {
            drop(run.start::<burn_ndarray::NdArray>(observer).unwrap());
        });
        for (flex, ndarray) in flex.iter().zip(&ndarray) {
            assert!(
                (flex - ndarray).abs() <= 1e-4 * flex.abs(),
                "{flex} and {ndarray}"
            );
        }
    }
}

#[test]
fn invalid_settings_are_errors() {
    let examples = Examples::new(4);
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::new(Method::Lora, &examples, folder.path());
    run.arguments.learning_rate = -1.0;
    run.arguments.per_device_train_batch_size = 0;
    let error = run
        .start::<Flex>(&mut Observer::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("learning_rate"), "{error}");
    assert!(error.contains("per_device_train_batch_size"), "{error}");

    let empty = Examples::new(0);
    let run = Run::new(Method::Lora, &empty, folder.path());
    let error = run.start::<Flex>(&mut Observer::default()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NoExamples {
                what: "training",
                ..
            }
        ),
        "{error}"
    );

    let run = Run::new(Method::Lora, &examples, folder.path());
    run.start::<Flex>(&mut Observer::default()).unwrap();
    let run = Run::new(Method::Lora, &examples, folder.path());
    let error = run.start::<Flex>(&mut Observer::default()).unwrap_err();
    assert!(matches!(error, Error::Occupied { .. }), "{error}");

    let mut config = lora_config();
    config.modules_to_save = vec!["image_proj_norm".to_owned(), "no_module".to_owned()];
    let error = adapt(load::<Flex>(0.0), &config, 1).unwrap_err();
    assert!(error.to_string().contains("no_module"), "{error}");
    assert!(!error.to_string().contains("image_proj_norm,"), "{error}");

    // On every backend: burn-ndarray does not pack the embedding.
    config.modules_to_save = vec!["shared".to_owned()];
    let errors = [
        adapt(load::<Flex>(0.0), &config, 1).map(drop),
        adapt(load::<burn_ndarray::NdArray>(0.0), &config, 1).map(drop),
    ];
    for error in errors {
        assert!(matches!(error, Err(Error::Modules { .. })), "{error:?}");
    }
}
