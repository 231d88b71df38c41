//! `florence2 inspect`: what a model folder holds, and whether it fits together.

use florence2::weights::{Checkpoint, KeyLayout};

use crate::args::InspectArgs;
use crate::{Failure, model};

pub(crate) fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    let (config, checkpoint, report) = florence2::inspect(model::folder(&args.model)?)?;
    println!("layout    {}", layout(&checkpoint));
    let (vision, text) = (&config.vision_config, &config.text_config);
    println!(
        "vision    depths {:?}, embed_dim {:?}",
        vision.depths, vision.embed_dim
    );
    println!(
        "text      d_model {}, {} encoder and {} decoder layers, vocabulary {}",
        text.d_model, text.encoder_layers, text.decoder_layers, text.vocab_size
    );
    let parameters: usize = checkpoint
        .tensors
        .values()
        .map(|tensor| tensor.shape.iter().product::<usize>())
        .sum();
    println!(
        "tensors   {} with {parameters} values",
        checkpoint.tensors.len()
    );
    for (key, tensor) in &checkpoint.tensors {
        println!("  {:5} {:?} {key}", tensor.dtype, tensor.shape);
    }
    if report.is_clean() {
        println!("weights fit the configuration");
        return Ok(());
    }
    println!("{report}");
    Err(Failure::Unfit)
}

fn layout(checkpoint: &Checkpoint) -> &'static str {
    match KeyLayout::detect(checkpoint.tensors.keys().map(String::as_str)) {
        Some(KeyLayout::HuggingFace) => "Hugging Face",
        Some(KeyLayout::Microsoft) => "Microsoft",
        None => "unknown",
    }
}
