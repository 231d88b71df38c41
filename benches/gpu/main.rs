//! The time of Florence-2-base on a GPU, with random weights. Run by `run.sh`, which documents its
//! use.
//!
//! `gpu [--device cuda:0] [--dtype bf16] [--checkpoint DIR] [--json OUT] [--quick]`

#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Debug;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use burn::tensor::{Distribution, Int, Tensor, TensorData};
use florence2_core::generate::{
    CancelToken, GenerateOptions, GenerationConfig, GenerationObserver,
};
use florence2_core::weights::{self, Checkpoint};
use florence2_core::{Florence2Config, Florence2ForConditionalGeneration};
use florence2_kernels::gpu::{self, Adapter, Unavailable};
use florence2_kernels::{Backend, Dtype, tensor_dtype};
use florence2_processor::{Image, ImageProcessor, PreprocessorConfig};
use rayon::prelude::*;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: florence2_kernels::Allocator = florence2_kernels::Allocator;

/// The configuration of the published base checkpoint.
const CONFIG: &str = include_str!("base.json");
/// The side of the published checkpoints' input, in pixels.
const SIDE: usize = 768;
/// The vocabulary of a quick measurement: Mesa's lavapipe limits buffers to 128 MiB, and the full
/// embedding matrix has 150 MiB.
const QUICK_VOCAB_SIZE: usize = 32_768;
/// The approximate number of tokens of prompts such as `What does the image describe in detail?`.
const PROMPT_TOKENS: usize = 13;
/// The number of tokens of a detailed caption.
const CAPTION_TOKENS: usize = 48;
/// The duration of a measurement, which runs at least three times.
const MEASURE: Duration = Duration::from_secs(5);
/// The number of images of the caption job.
const JOB_IMAGES: usize = 256;
const JOB_BATCH: usize = 16;

/// The options of the command line.
struct Options {
    device: String,
    dtype: Dtype,
    checkpoint: Option<String>,
    json: Option<String>,
    /// Run one small measurement of each kind, to check that all of them run.
    quick: bool,
}

fn main() {
    let options = options();
    let backend = options.device.split(':').next().unwrap_or_default();
    match backend {
        #[cfg(feature = "cuda")]
        "cuda" => run::<gpu::cuda::Cuda>(gpu::cuda::adapters(), &options),
        #[cfg(feature = "rocm")]
        "rocm" => run::<gpu::rocm::Rocm>(gpu::rocm::adapters(), &options),
        #[cfg(feature = "wgpu")]
        "wgpu" | "vulkan" | "metal" => run::<gpu::wgpu::Wgpu>(gpu::wgpu::adapters(), &options),
        other => panic!("--device: found `{other}`, expected a GPU of this build"),
    }
}

fn options() -> Options {
    let mut options = Options {
        device: "cuda:0".to_owned(),
        dtype: Dtype::Bf16,
        checkpoint: None,
        json: None,
        quick: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("an option's value");
        match argument.as_str() {
            "--device" => options.device = value(),
            "--dtype" => {
                let name = value();
                let dtype = Dtype::named(&name);
                let dtype = dtype.filter(|dtype| tensor_dtype(*dtype).is_some());
                options.dtype = dtype.unwrap_or_else(|| {
                    panic!("--dtype: found `{name}`, expected f32, f16 or bf16")
                });
            }
            "--checkpoint" => options.checkpoint = Some(value()),
            "--json" => options.json = Some(value()),
            "--quick" => options.quick = true,
            // An argument that cargo bench adds.
            "--bench" => {}
            other => panic!("found `{other}`, expected an option"),
        }
    }
    options
}

fn run<B: Backend>(adapters: Result<Vec<Adapter<B::Device>>, Unavailable>, options: &Options)
where
    B::Device: Debug,
{
    let adapters = adapters.unwrap_or_else(|missing| panic!("{}: {missing}", options.device));
    let index: usize = options
        .device
        .split(':')
        .nth(1)
        .map_or(0, |index| index.parse().unwrap());
    let adapter = &adapters[index];
    println!("{} ({}), {}\n", options.device, adapter.name, options.dtype);
    let bench = Bench::<B>::start(&adapter.device, options);
    println!("| part | batch | beams | median ms | min ms |\n|---|---|---|---|---|");
    let mut rows = vec![
        json!({"part": "first answer", "batch": 1, "beams": 3, "median_s": bench.first_answer.as_secs_f64()}),
    ];
    let batches: &[usize] = if options.quick {
        &[1]
    } else {
        &[1, 2, 4, 8, 16, 32]
    };
    for batch in batches {
        rows.push(bench.row("vision", *batch, 0, || bench.vision(*batch)));
    }
    let batches: &[usize] = if options.quick { &[1] } else { &[1, 16] };
    for batch in batches {
        for beams in [1, 3] {
            rows.push(bench.row("caption", *batch, beams, || bench.caption(*batch, beams)));
        }
    }
    let images = if options.quick { 2 } else { JOB_IMAGES };
    rows.push(bench.job(images, JOB_BATCH.min(images)));
    print_memory();
    if let Some(path) = &options.json {
        std::fs::write(path, json!(rows).to_string()).unwrap();
    }
}

struct Bench<'a, B: Backend> {
    model: Florence2ForConditionalGeneration<B>,
    device: &'a B::Device,
    side: usize,
    quick: bool,
    first_answer: Duration,
}

impl<'a, B: Backend> Bench<'a, B> {
    fn start(device: &'a B::Device, options: &Options) -> Self {
        let started = Instant::now();
        let dtype = tensor_dtype(options.dtype).unwrap();
        gpu::start::<B>(device, dtype).unwrap();
        println!("- device started: {:.2} s", started.elapsed().as_secs_f64());
        let model = match &options.checkpoint {
            Some(folder) => {
                let folder = Path::new(folder);
                let json = std::fs::read(folder.join("config.json")).unwrap();
                let config = Florence2Config::from_json(&json, "config.json").unwrap();
                let stored = Checkpoint::open(folder).unwrap();
                weights::load(&config, &stored, &[], options.dtype, device)
                    .unwrap()
                    .0
            }
            None => {
                let mut config =
                    Florence2Config::from_json(CONFIG.as_bytes(), "base.json").unwrap();
                if options.quick {
                    config.text_config.vocab_size = QUICK_VOCAB_SIZE;
                }
                let model =
                    Florence2ForConditionalGeneration::new(config, Dtype::F32, device).unwrap();
                weights::cast(model, dtype)
            }
        };
        let mut bench = Self {
            model,
            device,
            // A software implementation of a GPU takes minutes for a whole image.
            side: if options.quick { SIDE / 4 } else { SIDE },
            quick: options.quick,
            first_answer: Duration::ZERO,
        };
        B::sync(device).unwrap();
        println!("- weights there: {:.2} s", started.elapsed().as_secs_f64());
        bench.caption(1, 3);
        bench.first_answer = started.elapsed();
        println!(
            "- first answer: {:.2} s\n",
            bench.first_answer.as_secs_f64()
        );
        bench
    }

    fn pixels(&self, batch: usize) -> Tensor<B, 4> {
        let shape = [batch, 3, self.side, self.side];
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), self.device)
    }

    fn vision(&self, batch: usize) {
        let features = self
            .model
            .encode_image(self.pixels(batch), &CancelToken::default());
        drop(features.unwrap());
        B::sync(self.device).unwrap();
    }

    fn caption(&self, batch: usize, beams: usize) {
        self.answer(self.pixels(batch), beams);
    }

    /// Generates a fixed number of tokens from images.
    fn answer(&self, pixels: Tensor<B, 4>, beams: usize) -> usize {
        let batch = pixels.dims()[0];
        let prompt: Tensor<B, 2, Int> = Tensor::full([batch, PROMPT_TOKENS], 7, self.device);
        let mut config = GenerationConfig::default();
        config.num_beams = beams;
        config.max_new_tokens = Some(CAPTION_TOKENS);
        config.min_new_tokens = Some(CAPTION_TOKENS);
        config.eos_token_id = Some(vec![2]);
        config.no_repeat_ngram_size = 3;
        let (options, mut observer) = (GenerateOptions::default(), GenerationObserver::default());
        let answers = self
            .model
            .generate(pixels, prompt, &config, &options, &mut observer)
            .unwrap();
        // Fails if the device ran out of memory, in which case the answers are invalid.
        B::sync(self.device).unwrap();
        assert_eq!(answers[0][0].token_ids.len(), 1 + CAPTION_TOKENS);
        answers.len()
    }

    fn row(&self, part: &str, batch: usize, beams: usize, work: impl Fn()) -> Value {
        work();
        let started = Instant::now();
        let mut times = Vec::new();
        while times.len() < 3 || !self.quick && started.elapsed() < MEASURE && times.len() < 200 {
            let begun = Instant::now();
            work();
            times.push(begun.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let (median, min) = (times[times.len() / 2], times[0]);
        println!(
            "| {part} | {batch} | {beams} | {:.2} | {:.2} |",
            median * 1e3,
            min * 1e3
        );
        json!({"part": part, "batch": batch, "beams": beams, "median_s": median, "min_s": min})
    }

    /// Generates captions of many photographs: while one batch is answered, the next is decoded and
    /// resized on the CPU's threads.
    fn job(&self, images: usize, batch: usize) -> Value {
        let photograph = photograph();
        let started = Instant::now();
        let (sender, batches) = mpsc::sync_channel(2);
        let answered: usize = std::thread::scope(|scope| {
            let side = self.side;
            scope.spawn(move || {
                let size = json!({"size": {"height": side, "width": side}});
                let config: PreprocessorConfig = serde_json::from_value(size).unwrap();
                let processor = ImageProcessor::new(config);
                for _ in 0..images.div_ceil(batch) {
                    let decoded: Vec<Image> = (0..batch)
                        .into_par_iter()
                        .map(|_| Image::from_bytes(&photograph).unwrap())
                        .collect();
                    let decoded: Vec<&Image> = decoded.iter().collect();
                    sender
                        .send(processor.preprocess(&decoded).unwrap())
                        .unwrap();
                }
            });
            let answer = |pixels: florence2_processor::PixelValues| {
                let data = TensorData::new(pixels.data, pixels.shape);
                self.answer(Tensor::from_data(data, self.device), 3)
            };
            batches.into_iter().map(answer).sum()
        });
        let per_second = answered as f64 / started.elapsed().as_secs_f64();
        println!("| caption job | {batch} | 3 | {per_second:.2} images per s | |");
        json!({"part": "job", "batch": batch, "beams": 3, "images_per_s": per_second})
    }
}

/// A JPEG image of 1024x768 pixels with some detail.
fn photograph() -> Vec<u8> {
    let pixel = |x: u32, y: u32| image::Rgb([(x * y / 97) as u8, (x + y) as u8, (x ^ y) as u8]);
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(1024, 768, pixel)
        .write_to(&mut bytes, image::ImageFormat::Jpeg)
        .unwrap();
    bytes.into_inner()
}

/// Prints the device's memory in use, if NVIDIA's tool is available.
fn print_memory() {
    let query = [
        "--query-gpu=name,memory.used,memory.total",
        "--format=csv,noheader",
    ];
    if let Ok(output) = Command::new("nvidia-smi").args(query).output() {
        print!("\nmemory: {}", String::from_utf8_lossy(&output.stdout));
    }
}
