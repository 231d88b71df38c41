//! `florence2 merge`: merges LoRA adapters into a model and writes the result as a checkpoint.

use florence2::LoadOptions;

use crate::args::MergeArgs;
use crate::failure::Failure;
use crate::model;
use crate::output::print;

pub(crate) fn merge(args: &MergeArgs) -> Result<(), Failure> {
    let mut options = LoadOptions::default().dtype(args.dtype);
    options.weights.clone_from(&args.files.weights);
    options.processor.clone_from(&args.files.processor);
    options.adapters = model::adapters(&args.adapter, &args.adapter_scale)?;
    let folder = model::folder(&args.model, args.files.revision.as_deref())?;
    florence2::merge(folder, &options, &args.output)?;
    print(args.output.display())
}
