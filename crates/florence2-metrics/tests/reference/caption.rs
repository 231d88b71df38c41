//! BLEU, CIDEr-D and the tokenizer against pycocoevalcap.

use florence2_metrics::caption::{
    CaptionSample, bleu, cider_d, evaluate, evaluate_tokenized, tokenize_captions,
};
use serde::Deserialize;

use crate::{assert_close, fixture};

#[derive(Deserialize)]
struct Case {
    name: String,
    candidates: Vec<String>,
    references: Vec<Vec<String>>,
    bleu: [f64; 4],
    bleu_samples: Vec<[f64; 4]>,
    cider: f64,
    cider_samples: Vec<f64>,
}

impl Case {
    fn samples(&self) -> Vec<CaptionSample> {
        let sample = |(candidate, references): (&String, &Vec<String>)| CaptionSample {
            candidate: candidate.clone(),
            references: references.clone(),
        };
        self.candidates
            .iter()
            .zip(&self.references)
            .map(sample)
            .collect()
    }
}

#[test]
fn scores_equal_those_of_pycocoevalcap() {
    for case in fixture::<Case>("captions.json") {
        let samples = case.samples();
        let found = bleu(&samples).unwrap();
        let pairs = found
            .samples
            .iter()
            .zip(&case.bleu_samples)
            .chain([(&found.corpus, &case.bleu)]);
        for (found, expected) in pairs {
            for n in 0..4 {
                assert_close(
                    found[n],
                    expected[n],
                    &format!("{}: BLEU-{}", case.name, n + 1),
                );
            }
        }
        assert_eq!(found.samples.len(), case.bleu_samples.len());
        let found = cider_d(&samples).unwrap();
        assert_close(found.corpus, case.cider, &format!("{}: CIDEr-D", case.name));
        assert_eq!(found.samples.len(), case.cider_samples.len());
        for (found, expected) in found.samples.iter().zip(&case.cider_samples) {
            assert_close(
                *found,
                *expected,
                &format!("{}: CIDEr-D of a sample", case.name),
            );
        }
        let overall = evaluate_tokenized(&samples).unwrap().overall;
        assert_close(overall.cider_d, case.cider, &case.name);
        assert_close(overall.bleu_1, case.bleu[0], &case.name);
        assert_close(overall.bleu_4, case.bleu[3], &case.name);
    }
}

#[test]
fn captions_are_tokenized_as_by_pycocoevalcap() {
    let cases = fixture::<(String, String)>("tokenizer.json");
    let captions: Vec<&String> = cases.iter().map(|(caption, _)| caption).collect();
    let found = tokenize_captions(&captions);
    assert_eq!(found.len(), cases.len());
    let differences: Vec<String> = cases
        .iter()
        .zip(&found)
        .filter(|((_, expected), found)| expected != *found)
        .map(|((caption, expected), found)| {
            format!("{caption:?}\n  found    {found:?}\n  expected {expected:?}")
        })
        .collect();
    let (differing, all) = (differences.len(), cases.len());
    assert!(
        differences.is_empty(),
        "{differing} of {all}\n{}",
        differences.join("\n")
    );
}

#[test]
fn evaluation_tokenizes_the_captions() {
    let sample = |candidate: &str, reference: &str| CaptionSample {
        candidate: candidate.to_owned(),
        references: vec![reference.to_owned()],
    };
    let samples = [
        sample("A dog, on the table.", "a dog on the TABLE"),
        sample("Two men play baseball!", "two men play baseball"),
    ];
    let overall = evaluate(&samples).unwrap().overall;
    assert_close(overall.bleu_4, 1.0, "BLEU-4");
    assert_close(overall.cider_d, 10.0, "CIDEr-D");
}
