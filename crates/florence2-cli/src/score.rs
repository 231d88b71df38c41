//! `florence2 score`: computes the loss of a given answer, like HF's `forward` with labels.

use florence2::Image;

use crate::args::{Format, ScoreArgs};
use crate::failure::Failure;
use crate::model;
use crate::output::print;

pub(crate) fn score(args: &ScoreArgs) -> Result<(), Failure> {
    let prompt = args.question.prompt()?;
    let image =
        Image::open_with(&args.image, &args.decoding.options()).map_err(florence2::Error::from)?;
    let model = model::load(&args.model)?;
    let score = model.request(&image, prompt.clone()).score(&args.target)?;
    if args.format == Format::Text {
        print(format_args!("loss {:.6}", score.loss))?;
        for token in &score.tokens {
            print(format_args!(
                "{:10.6}  {:6}  {:?}",
                token.log_prob, token.token_id, token.text
            ))?;
        }
        return Ok(());
    }
    let json = score.to_json(&args.image.display().to_string(), &prompt, &args.target);
    match args.format {
        Format::Jsonl => print(format_args!("{json}"))?,
        _ => print(format_args!("{json:#}"))?,
    }
    Ok(())
}
