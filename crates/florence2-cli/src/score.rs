//! `florence2 score`: `forward` with labels.

use florence2::Image;
use serde_json::json;

use crate::args::{Format, ScoreArgs};
use crate::{Failure, model};

pub(crate) fn score(args: &ScoreArgs) -> Result<(), Failure> {
    let prompt = args.question.prompt()?;
    let image = Image::open(&args.image).map_err(florence2::Error::from)?;
    let score = model::load(&args.model)?.score(&image, prompt, &args.target)?;
    if args.format == Format::Text {
        println!("loss {:.6}", score.loss);
        for token in &score.tokens {
            println!(
                "{:10.6}  {:6}  {:?}",
                token.log_prob, token.token_id, token.text
            );
        }
        return Ok(());
    }
    let tokens: Vec<_> = score
        .tokens
        .iter()
        .map(|token| {
            json!({"token_id": token.token_id, "text": token.text, "log_prob": token.log_prob})
        })
        .collect();
    let json = json!({
        "schema": florence2::JSON_SCHEMA,
        "image": args.image.display().to_string(),
        "task": args.question.task,
        "target": args.target,
        "loss": score.loss,
        "tokens": tokens,
    });
    match args.format {
        Format::Jsonl => println!("{json}"),
        _ => println!("{json:#}"),
    }
    Ok(())
}
