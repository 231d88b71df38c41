//! `florence2 inspect`: prints the contents of a model folder, and checks that the weights fit the
//! configuration.

use florence2::weights::{Checkpoint, KeyLayout};

use crate::args::InspectArgs;
use crate::failure::Failure;
use crate::model;
use crate::output::print;

pub(crate) fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    let (config, checkpoint, report) = florence2::inspect_with(
        model::folder(&args.model, args.revision.as_deref())?,
        args.weights.as_deref(),
    )?;
    print(format_args!("layout    {}", layout(&checkpoint)))?;
    let (vision, text) = (&config.vision_config, &config.text_config);
    print(format_args!(
        "vision    depths {:?}, embed_dim {:?}",
        vision.depths, vision.embed_dim
    ))?;
    print(format_args!(
        "text      d_model {}, {} encoder and {} decoder layers, vocabulary {}",
        text.d_model, text.encoder_layers, text.decoder_layers, text.vocab_size
    ))?;
    let parameters: usize = checkpoint
        .tensors
        .values()
        .map(|tensor| tensor.shape.iter().product::<usize>())
        .sum();
    print(format_args!(
        "tensors   {} with {parameters} values",
        checkpoint.tensors.len()
    ))?;
    for (key, tensor) in &checkpoint.tensors {
        print(format_args!(
            "  {:5} {:?} {key}",
            tensor.dtype, tensor.shape
        ))?;
    }
    if report.is_clean() {
        if !report.unexpected.is_empty() {
            let unexpected = report.unexpected.join(", ");
            print(format_args!("not used  {unexpected}"))?;
        }
        print(format_args!("weights fit the configuration"))?;
        return Ok(());
    }
    print(format_args!("{report}"))?;
    Err(Failure::Unfit)
}

fn layout(checkpoint: &Checkpoint) -> &'static str {
    match KeyLayout::detect(checkpoint.tensors.keys().map(String::as_str)) {
        Some(KeyLayout::HuggingFace) => "Hugging Face",
        Some(KeyLayout::Microsoft) => "Microsoft",
        None => "unknown",
    }
}
