//! The time of each stage at the sizes of the published checkpoints, with random weights, and the
//! memory of loading and answering.
//!
//! `cargo bench -p florence2-benches [-- base|large] [f32|bf16|int8]`
//!
//! `cargo bench -p florence2-benches -- --errors CHECKPOINT` prints the relative errors of bf16 and
//! int8 against f32 after each stage, for a checkpoint's folder, and the number of tokens that
//! equal f32's.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Distribution, Int, Tensor};
use burn_flex::{Flex, FlexDevice};
use florence2_core::generate::{
    CancelToken, GenerateOptions, GenerationConfig, GenerationContext, GenerationObserver,
    generate_with,
};
use florence2_core::language_model::{CrossAttentionCache, KvCache};
use florence2_core::weights::{self, Checkpoint};
use florence2_core::{EncoderOutput, Florence2Config, Florence2ForConditionalGeneration};
use florence2_kernels::Dtype;
use florence2_processor::{Image, ImageProcessor, PreprocessorConfig};
use half::f16;
use safetensors::tensor::{Dtype as FileDtype, TensorView};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: florence2_kernels::Allocator = florence2_kernels::Allocator;

type Model = Florence2ForConditionalGeneration<Flex>;

/// The side of the published checkpoints' input, in pixels.
const SIDE: usize = 768;
/// The approximate number of tokens of prompts such as `What does the image describe in detail?`.
const PROMPT_TOKENS: usize = 13;
/// The number of tokens of a detailed caption.
const CAPTION_TOKENS: usize = 48;
/// The number of images whose answers are compared with f32's.
const IMAGES_TO_AGREE_ON: usize = 16;
/// The duration of a measurement, which runs at least three times.
const MEASURE: Duration = Duration::from_secs(5);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, size, dtype, checkpoint] = arguments.as_slice()
        && flag == "--memory"
    {
        let dtype = Dtype::named(dtype).unwrap();
        load_and_answer(size, dtype, Path::new(checkpoint));
        return;
    }
    if let [_, flag, dtype, checkpoint] = arguments.as_slice()
        && flag == "--serve"
    {
        serve(Dtype::named(dtype).unwrap(), Path::new(checkpoint));
        return;
    }
    if let [_, flag, dtype, checkpoint] = arguments.as_slice()
        && flag == "--start"
    {
        start(Dtype::named(dtype).unwrap(), Path::new(checkpoint));
        return;
    }
    if let [_, flag, checkpoint, ..] = arguments.as_slice()
        && flag == "--errors"
    {
        report_errors(Path::new(checkpoint));
        return;
    }
    let sizes = ["base", "large"];
    let named = |size: &&str| arguments.iter().any(|argument| argument == size);
    let any = sizes.iter().any(named);
    let asked = arguments.iter().find_map(|name| Dtype::named(name));
    println!("| model | dtype | part | median ms | min ms |\n|---|---|---|---|---|");
    for size in sizes.iter().filter(|size| !any || named(size)) {
        measure_model(size, asked.unwrap_or_default());
    }
}

/// The configuration of a published size, with Hugging Face's field names.
fn config(size: &str) -> Florence2Config {
    let (embed_dim, heads, d_model, layers, attention_heads) = match size {
        "base" => ([128, 256, 512, 1024], [4, 8, 16, 32], 768, 6, 12),
        _ => ([256, 512, 1024, 2048], [8, 16, 32, 64], 1024, 12, 16),
    };
    let json = json!({
        "model_type": "florence2",
        "vision_config": {
            "embed_dim": embed_dim, "num_heads": heads, "num_groups": heads, "depths": [1, 1, 9, 1],
            "projection_dim": d_model,
        },
        "text_config": {
            "d_model": d_model, "vocab_size": 51289, "max_position_embeddings": 1024,
            "encoder_layers": layers, "decoder_layers": layers,
            "encoder_attention_heads": attention_heads, "decoder_attention_heads": attention_heads,
            "encoder_ffn_dim": 4 * d_model, "decoder_ffn_dim": 4 * d_model,
        },
    });
    Florence2Config::from_json(json.to_string().as_bytes(), size).unwrap()
}

fn measure_model(size: &str, dtype: Dtype) {
    let row = |part: &str, work: &mut dyn FnMut()| {
        let mut times = Vec::new();
        let started = Instant::now();
        work();
        while times.len() < 3 || started.elapsed() < MEASURE && times.len() < 50 {
            let begun = Instant::now();
            work();
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        println!(
            "| {size} | {dtype} | {part} | {:.1} | {:.1} |",
            times[times.len() / 2],
            times[0]
        );
    };
    let device = FlexDevice;
    let model = random_model(size, dtype);
    let cancel = CancelToken::default();

    let picture = Image::from_rgb(1024, 768, vec![127; 1024 * 768 * 3]).unwrap();
    let processor = ImageProcessor::new(PreprocessorConfig::default());
    row("preprocess 1024x768", &mut || {
        black_box(processor.preprocess(&[&picture]).unwrap());
    });

    let pixels = Tensor::random([1, 3, SIDE, SIDE], Distribution::Normal(0.0, 1.0), &device);
    let tower = &model.model.vision_tower;
    let mut hidden_states = pixels.clone().permute([0, 2, 3, 1]);
    for (stage, (conv, blocks)) in tower.convs.iter().zip(&tower.blocks).enumerate() {
        row(
            &format!("vision stage {stage}: patch embedding"),
            &mut || {
                black_box(conv.forward(hidden_states.clone()));
            },
        );
        hidden_states = conv.forward(hidden_states);
        row(
            &format!("vision stage {stage}: a block of {}", blocks.len()),
            &mut || {
                black_box(blocks[0].forward(hidden_states.clone()));
            },
        );
        hidden_states = blocks[0].forward(hidden_states);
    }
    row("vision tower and projector", &mut || {
        black_box(model.encode_image(pixels.clone(), &cancel).unwrap());
    });

    let four = pixels.clone().repeat_dim(0, 4);
    row("vision tower and projector, 4 images", &mut || {
        black_box(model.encode_image(four.clone(), &cancel).unwrap());
    });

    let features = model.encode_image(pixels.clone(), &cancel).unwrap();
    let prompt: Tensor<Flex, 2, Int> = Tensor::full([1, PROMPT_TOKENS], 7, &device);
    let encode = || {
        model
            .encode(features.clone(), prompt.clone(), None)
            .unwrap()
    };
    row("encoder", &mut || {
        black_box(encode());
    });
    let encoded = encode();
    row("decoder, 48 tokens, 3 beams", &mut || {
        black_box(tokens(&model, &encoded));
    });
    row("cross-attention cache", &mut || {
        black_box(model.cross_attention_cache(&encoded));
    });
    for beams in [1, 3] {
        let cross_attention = model.cross_attention_cache(&encoded);
        let ids = |tokens| Tensor::<Flex, 2, Int>::full([beams, tokens], 7, &device);
        let mut past = KvCache::default();
        model.decode(ids(32), &cross_attention, &mut past).unwrap();
        row(
            &format!("decoder step, {beams} beam(s), 32 tokens so far"),
            &mut || {
                black_box(
                    model
                        .decode(ids(1), &cross_attention, &mut past.clone())
                        .unwrap(),
                );
            },
        );
    }
    row(
        &format!("whole caption, {CAPTION_TOKENS} tokens, 3 beams"),
        &mut || {
            black_box(caption(&model, pixels.clone()));
        },
    );
    report_memory(size, dtype);
}

/// A model of a published size, initialised at random and packed.
fn random_model(size: &str, dtype: Dtype) -> Model {
    let model = Model::new(config(size), dtype, &FlexDevice).unwrap();
    model.map(&mut Initialiser)
}

/// Initialises every parameter with its lazy value, rounded to f16, because published checkpoints
/// are stored in f16.
struct Initialiser;

impl ModuleMapper<Flex> for Initialiser {
    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<Flex, D>>,
    ) -> Param<Tensor<Flex, D>> {
        let values = param.val().into_data().convert::<f16>().convert::<f32>();
        Param::initialized(param.id, Tensor::from_data(values, &FlexDevice))
    }
}

/// Prints the errors against f32: after each stage, the norm of the difference relative to f32's
/// norm; and, of f32's tokens for some images, the number that is selected after the same previous
/// tokens.
fn report_errors(checkpoint: &Path) {
    let images: Vec<Tensor<Flex, 4>> = (0..IMAGES_TO_AGREE_ON)
        .map(|_| {
            Tensor::random(
                [1, 3, SIDE, SIDE],
                Distribution::Normal(0.0, 1.0),
                &FlexDevice,
            )
        })
        .collect();
    let model = load(Dtype::F32, checkpoint);
    let expected = stage_outputs(&model, &images[0]);
    let answers: Vec<Vec<i64>> = images.iter().map(|image| answer(&model, image)).collect();
    drop(model);
    println!("| dtype | stage | relative error |\n|---|---|---|");
    for dtype in [Dtype::Bf16, Dtype::Int8] {
        let model = load(dtype, checkpoint);
        for ((stage, found), (_, expected)) in
            stage_outputs(&model, &images[0]).iter().zip(&expected)
        {
            let norm = |values: &mut dyn Iterator<Item = f32>| -> f32 {
                values.map(|value| value * value).sum::<f32>().sqrt()
            };
            let difference = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
            let error = difference / norm(&mut expected.iter().copied());
            println!("| {dtype} | {stage} | {error:.4} |");
        }
        let answers = images.iter().zip(&answers);
        let alike: usize = answers
            .map(|(image, answer)| alike(&model, image, answer))
            .sum();
        let all = images.len() * CAPTION_TOKENS;
        println!("| {dtype} | tokens as f32 chooses them | {alike} of {all} |");
    }
}

/// The number of tokens of another model's answer that this model selects after the same previous
/// tokens.
fn alike(model: &Model, image: &Tensor<Flex, 4>, answer: &[i64]) -> usize {
    let chosen = next_tokens(model, &cross_attention(model, image), answer);
    let pairs = chosen.iter().zip(&answer[1..]);
    pairs.filter(|(found, expected)| found == expected).count()
}

/// The tokens of greedy decoding for an image, after the start token.
fn answer(model: &Model, image: &Tensor<Flex, 4>) -> Vec<i64> {
    let cross_attention = cross_attention(model, image);
    let mut tokens = vec![2];
    for _ in 0..CAPTION_TOKENS {
        tokens.extend(next_tokens(model, &cross_attention, &tokens).last());
    }
    tokens
}

fn cross_attention(model: &Model, image: &Tensor<Flex, 4>) -> CrossAttentionCache<Flex> {
    let features = model.encode_image(image.clone(), &CancelToken::default());
    let prompt = Tensor::full([1, PROMPT_TOKENS], 7, &FlexDevice);
    model.cross_attention_cache(&model.encode(features.unwrap(), prompt, None).unwrap())
}

/// The most likely next token after each of `tokens`, among those that did not occur before. The
/// output's weights are the input's, so random weights would repeat the last token.
fn next_tokens(
    model: &Model,
    cross_attention: &CrossAttentionCache<Flex>,
    tokens: &[i64],
) -> Vec<i64> {
    let ids = Tensor::<Flex, 1, Int>::from_ints(tokens, &FlexDevice).unsqueeze();
    let logits = model.decode(ids, cross_attention, &mut KvCache::default());
    let logits: Vec<f32> = logits.unwrap().to_data().into_vec().unwrap();
    let rows = logits.chunks_exact(logits.len() / tokens.len());
    let likeliest = |(last, row): (usize, &[f32])| {
        let unsaid = (0_i64..)
            .zip(row)
            .filter(|(token, _)| !tokens[..=last].contains(token));
        unsaid.max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap().0
    };
    rows.enumerate().map(likeliest).collect()
}

fn stage_outputs(model: &Model, pixels: &Tensor<Flex, 4>) -> Vec<(String, Vec<f32>)> {
    fn values<const D: usize>(tensor: &Tensor<Flex, D>) -> Vec<f32> {
        tensor.to_data().into_vec().unwrap()
    }
    let tower = &model.model.vision_tower;
    let mut outputs = Vec::new();
    let mut hidden_states = pixels.clone().permute([0, 2, 3, 1]);
    for (stage, (conv, blocks)) in tower.convs.iter().zip(&tower.blocks).enumerate() {
        hidden_states = conv.forward(hidden_states);
        for block in blocks {
            hidden_states = block.forward(hidden_states);
        }
        outputs.push((format!("vision stage {stage}"), values(&hidden_states)));
    }
    let features = model.model.multi_modal_projector.forward(hidden_states);
    outputs.push(("projector".to_owned(), values(&features)));
    let prompt = Tensor::full([1, PROMPT_TOKENS], 7, &FlexDevice);
    let encoded = model.encode(features, prompt, None).unwrap();
    outputs.push(("encoder".to_owned(), values(&encoded.last_hidden_state)));
    let cross_attention = model.cross_attention_cache(&encoded);
    let ids = Tensor::full([1, PROMPT_TOKENS], 7, &FlexDevice);
    let mut past = KvCache::default();
    let logits = model.decode(ids, &cross_attention, &mut past).unwrap();
    outputs.push(("logits".to_owned(), values(&logits)));
    outputs
}

fn load(dtype: Dtype, checkpoint: &Path) -> Model {
    let json = std::fs::read(checkpoint.join("config.json")).unwrap();
    let config = Florence2Config::from_json(&json, "config.json").unwrap();
    let stored = Checkpoint::open(checkpoint).unwrap();
    weights::load(&config, &stored, &[], dtype, &FlexDevice)
        .unwrap()
        .0
}

/// Runs one part for each line of standard input and prints its seconds, so that `peers/` can run
/// engines in turn.
fn serve(dtype: Dtype, checkpoint: &Path) {
    let model = load(dtype, checkpoint);
    let cancel = CancelToken::default();
    let pixels: Tensor<Flex, 4> = Tensor::random(
        [1, 3, SIDE, SIDE],
        Distribution::Normal(0.0, 1.0),
        &FlexDevice,
    );
    let features = model.encode_image(pixels.clone(), &cancel).unwrap();
    let prompt: Tensor<Flex, 2, Int> = Tensor::full([1, PROMPT_TOKENS], 7, &FlexDevice);
    let encode = || {
        model
            .encode(features.clone(), prompt.clone(), None)
            .unwrap()
    };
    let encoded = encode();
    let cross_attention = model.cross_attention_cache(&encoded);
    let past = |beams| {
        let mut past = KvCache::default();
        let ids = Tensor::full([beams, 32], 7, &FlexDevice);
        model.decode(ids, &cross_attention, &mut past).unwrap();
        past
    };
    let pasts = [past(1), past(3)];
    for part in std::io::stdin().lines() {
        let part = part.unwrap();
        let [mut one, mut three] = pasts.clone();
        let mut step = |beams: usize| {
            let ids = Tensor::full([beams, 1], 7, &FlexDevice);
            let past = if beams > 1 { &mut three } else { &mut one };
            black_box(model.decode(ids, &cross_attention, past).unwrap());
        };
        // A copy has no spare capacity, and caches grow in large steps: the first step allocates
        // capacity for many.
        match part.as_str() {
            "step 1" => step(1),
            "step 3" => step(3),
            _ => {}
        }
        let started = Instant::now();
        match part.as_str() {
            "vision" => drop(black_box(
                model.encode_image(pixels.clone(), &cancel).unwrap(),
            )),
            "encoder" => drop(black_box(encode())),
            "step 1" => step(1),
            "step 3" => step(3),
            "tokens" => drop(black_box(tokens(&model, &encoded))),
            "caption" => drop(black_box(caption(&model, pixels.clone()))),
            part => panic!(
                "found `{part}`, expected vision, encoder, step 1, step 3, tokens or caption"
            ),
        }
        println!("{}", started.elapsed().as_secs_f64());
    }
}

/// Measures the start of a program: prints the seconds to load, of the first image and of the next,
/// and its peak memory in MiB.
fn start(dtype: Dtype, checkpoint: &Path) {
    let started = Instant::now();
    let model = load(dtype, checkpoint);
    println!("{}", started.elapsed().as_secs_f64());
    let pixels: Tensor<Flex, 4> = Tensor::zeros([1, 3, SIDE, SIDE], &FlexDevice);
    for _ in 0..2 {
        let started = Instant::now();
        let features = model.encode_image(pixels.clone(), &CancelToken::default());
        black_box(features.unwrap());
        println!("{}", started.elapsed().as_secs_f64());
    }
    println!("{}", peak_mebibytes());
}

/// Generates a fixed number of tokens from an image.
fn caption(model: &Model, pixels: Tensor<Flex, 4>) -> usize {
    let prompt = Tensor::full([1, PROMPT_TOKENS], 7, &model.device());
    let (options, mut observer) = (GenerateOptions::default(), GenerationObserver::default());
    let answers = model.generate(pixels, prompt, &caption_config(), &options, &mut observer);
    answers.unwrap()[0][0].token_ids.len()
}

/// Generates a fixed number of tokens from an encoded image.
fn tokens(model: &Model, encoded: &EncoderOutput<Flex>) -> usize {
    let (config, cancel) = (caption_config(), CancelToken::default());
    let context = GenerationContext::new(model.config().text_config.vocab_size);
    let mut observer = GenerationObserver::default();
    let answers = generate_with(model, encoded, &config, &context, &cancel, &mut observer);
    answers.unwrap()[0][0].token_ids.len()
}

fn caption_config() -> GenerationConfig {
    let mut config = GenerationConfig::default();
    config.num_beams = 3;
    config.max_new_tokens = Some(CAPTION_TOKENS);
    config.min_new_tokens = Some(CAPTION_TOKENS);
    config.eos_token_id = Some(vec![2]);
    config
}

/// Prints the peak memory of a separate process that loads an f16 checkpoint and answers once.
fn report_memory(size: &str, dtype: Dtype) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("model.safetensors");
    write_f16(
        &Model::new(config(size), Dtype::F32, &FlexDevice).unwrap(),
        &checkpoint,
    );
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--memory", size, dtype.name(), checkpoint.to_str().unwrap()])
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{output:?}");
}

fn load_and_answer(size: &str, dtype: Dtype, checkpoint: &Path) {
    let config = config(size);
    let started = Instant::now();
    let stored = Checkpoint::open(checkpoint.parent().unwrap()).unwrap();
    let (model, _): (Model, _) = weights::load(&config, &stored, &[], dtype, &FlexDevice).unwrap();
    drop(stored);
    let loaded = started.elapsed().as_secs_f64() * 1e3;
    println!("| {size} | {dtype} | load an f16 checkpoint | {loaded:.1} | |");
    println!(
        "| {size} | {dtype} | peak memory after loading, MiB | {} | |",
        peak_mebibytes()
    );
    caption(&model, Tensor::zeros([1, 3, SIDE, SIDE], &FlexDevice));
    println!(
        "| {size} | {dtype} | peak memory after a caption, MiB | {} | |",
        peak_mebibytes()
    );
}

/// The peak resident memory of the process so far (`VmHWM`).
fn peak_mebibytes() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.map_or("unknown".to_owned(), |peak| (peak >> 10).to_string())
}

/// Writes the model's parameters under Hugging Face's names, as f16.
fn write_f16(model: &Model, path: &Path) {
    let mut writer = Writer::default();
    model.visit(&mut writer);
    let views = writer.tensors.iter().map(|(key, shape, bytes)| {
        (
            key,
            TensorView::new(FileDtype::F16, shape.clone(), bytes).unwrap(),
        )
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

#[derive(Default)]
struct Writer {
    path: Vec<String>,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
}

impl ModuleVisitor<Flex> for Writer {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Flex, D>>) {
        let key = self.path.join(".");
        let key = key.replace(".gamma", ".weight").replace(".beta", ".bias");
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        let values = tensor.into_data().into_vec::<f32>().unwrap();
        let bytes = values
            .iter()
            .flat_map(|value| f16::from_f32(*value).to_le_bytes());
        self.tensors.push((key, shape, bytes.collect()));
    }
}
