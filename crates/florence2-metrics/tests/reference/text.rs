//! ANLS against the `anls` package, error rates against jiwer.

use florence2_metrics::text::{
    AnswerSample, TranscriptionSample, anls, evaluate_answers, evaluate_transcriptions, exact_match,
};
use serde::Deserialize;

use crate::{assert_close, fixture};

#[derive(Deserialize)]
struct AnswerCase {
    prediction: String,
    answers: Vec<String>,
    anls: f64,
    exact: bool,
}

#[test]
fn anls_equals_that_of_docvqa() {
    let cases = fixture::<AnswerCase>("answers.json");
    for AnswerCase {
        prediction,
        answers,
        anls: expected,
        exact,
    } in &cases
    {
        let what = format!("{prediction:?} of {answers:?}");
        assert_close(anls(prediction, answers), *expected, &what);
        assert_eq!(exact_match(prediction, answers), *exact, "{what}");
    }
    let sample = |case: &AnswerCase| AnswerSample {
        class: None,
        prediction: case.prediction.clone(),
        answers: case.answers.clone(),
    };
    let samples: Vec<AnswerSample> = cases.iter().map(sample).collect();
    let overall = evaluate_answers(&samples).unwrap().overall;
    let count = cases.len() as f64;
    let mean = cases.iter().map(|case| case.anls).sum::<f64>() / count;
    assert_close(overall.anls, mean, "ANLS");
    let exact = cases.iter().filter(|case| case.exact).count();
    assert_close(overall.exact_match, exact as f64 / count, "exact match");
}

#[derive(Deserialize)]
struct TranscriptionCase {
    predictions: Vec<String>,
    references: Vec<String>,
    cer: f64,
    wer: f64,
}

#[test]
fn error_rates_equal_those_of_jiwer() {
    for case in fixture::<TranscriptionCase>("transcriptions.json") {
        let pairs = case.predictions.iter().zip(&case.references);
        let sample = |(prediction, reference): (&String, &String)| TranscriptionSample {
            class: None,
            prediction: prediction.clone(),
            reference: reference.clone(),
        };
        let samples: Vec<TranscriptionSample> = pairs.map(sample).collect();
        let overall = evaluate_transcriptions(&samples).unwrap().overall;
        assert_close(
            overall.character_error_rate,
            case.cer,
            &format!("CER of {samples:?}"),
        );
        assert_close(
            overall.word_error_rate,
            case.wer,
            &format!("WER of {samples:?}"),
        );
    }
}
