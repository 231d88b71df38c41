//! The real tokenizer's ids: published prompts, both layouts' files, and texts both ways.
//!
//! Florence-2's vocabulary is not part of this project. The tests read it from the folder
//! `tokenizer` beside the checkout (or `FLORENCE2_TOKENIZER`), which holds `ms/` and `hf/` as in the
//! two checkpoint layouts, and say so where it is absent.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::fixture;
use florence2_postprocess::ImageSize;
use florence2_processor::{Prompt, TextStream, Tokenizer};
use proptest::prelude::*;
use serde::Deserialize;

fn real_tokenizers() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/tokenizer");
    let folder = std::env::var_os("FLORENCE2_TOKENIZER").map_or(beside, PathBuf::from);
    if folder.join("hf/tokenizer.json").exists() {
        return Some(folder);
    }
    println!("skipped: no real tokenizer data in {}", folder.display());
    None
}

/// The vocabulary of the native layout, of Microsoft's, and of Microsoft's older files.
fn all_forms(folder: &Path) -> Vec<(&'static str, Tokenizer)> {
    let older = tempfile::tempdir().unwrap();
    for file in ["vocab.json", "merges.txt"] {
        std::fs::copy(folder.join("ms").join(file), older.path().join(file)).unwrap();
    }
    [
        ("hf", folder.join("hf")),
        ("ms", folder.join("ms")),
        ("vocab.json and merges.txt", older.path().to_owned()),
    ]
    .map(|(name, folder)| (name, Tokenizer::from_dir(&folder).unwrap()))
    .into()
}

/// `tests/fixtures/tokenizer.py`.
#[derive(Deserialize)]
struct Goldens {
    texts: Vec<Text>,
    prompts: Vec<PublishedPrompt>,
    answers: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct PublishedPrompt {
    task: String,
    input: String,
    ids: Vec<u32>,
}

#[test]
fn published_prompts_have_the_published_ids() {
    let Some(folder) = real_tokenizers() else {
        return;
    };
    let goldens: Goldens = fixture("tokenizer.json");
    assert!(goldens.prompts.len() >= 10);
    for (form, tokenizer) in all_forms(&folder) {
        for PublishedPrompt { task, input, ids } in &goldens.prompts {
            let prompt = Prompt::parse(&format!("{task}{input}")).unwrap();
            let text = prompt
                .expand(ImageSize {
                    width: 1300,
                    height: 876,
                })
                .unwrap();
            assert_eq!(
                &tokenizer.encode(&text).unwrap(),
                ids,
                "{form}: {task}{input}"
            );
        }
    }
}

#[test]
fn texts_have_transformers_ids() {
    let Some(folder) = real_tokenizers() else {
        return;
    };
    let goldens: Goldens = fixture("tokenizer.json");
    for (form, tokenizer) in all_forms(&folder) {
        for Text { text, ids } in &goldens.texts {
            assert_eq!(&tokenizer.encode(text).unwrap(), ids, "{form}: {text:?}");
        }
        for Text { text, ids } in &goldens.answers {
            assert_eq!(&tokenizer.decode(ids), text, "{form}");
        }
    }
}

#[test]
fn added_tokens_have_the_same_ids_in_every_form() {
    let Some(folder) = real_tokenizers() else {
        return;
    };
    for (form, tokenizer) in all_forms(&folder) {
        for (token, id) in [
            ("<s>", 0),
            ("</s>", 2),
            ("<mask>", 50_264),
            ("<od>", 50_265),
            ("<loc_0>", 50_269),
            ("<loc_999>", 51_268),
            ("<cap>", 51_269),
            ("<region_to_desciption>", 51_282),
            ("<and>", 51_288),
        ] {
            assert_eq!(tokenizer.token_to_id(token), Some(id), "{form}: {token}");
            assert_eq!(tokenizer.id_to_token(id).as_deref(), Some(token), "{form}");
        }
        assert_eq!(tokenizer.id_to_token(u32::MAX), None);
    }
}

fn demo() -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model");
    Tokenizer::from_dir(&folder).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Spans follow each other from the text's begin to its end, and a stream says the same text.
    #[test]
    fn spans_cover_the_text(ids in proptest::collection::vec(0_u32..6000, 0..60)) {
        let tokenizer = demo();
        let (text, spans) = tokenizer.decode_spans(&ids);
        prop_assert_eq!(spans.len(), ids.len());
        let mut end = 0;
        for span in &spans {
            prop_assert_eq!(span.start, end);
            prop_assert!(text.is_char_boundary(span.end));
            end = span.end;
        }
        // A character that no further id completes stays without an owner.
        let rest = &text[end..];
        prop_assert!(rest.chars().all(|character| character == char::REPLACEMENT_CHARACTER));
    }

    #[test]
    fn texts_come_back(text in "\\PC{0,60}") {
        let tokenizer = demo();
        let ids = tokenizer.encode(&text).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids), format!("<s>{text}</s>"));
        let mut stream = TextStream::new(&tokenizer);
        let streamed: String = ids.iter().map(|id| stream.push(*id)).collect();
        prop_assert_eq!(streamed, text);
    }
}

#[test]
fn broken_tokenizers_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = || Tokenizer::from_dir(folder.path()).unwrap_err().to_string();
    let missing = error();
    assert!(
        missing.contains("no tokenizer.json, nor vocab.json with merges.txt"),
        "{missing}"
    );
    for (json, named) in [
        ("", "EOF"),
        ("{}", "Model missing"),
        (
            r#"{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}"#,
            "<s>",
        ),
    ] {
        std::fs::write(folder.path().join("tokenizer.json"), json).unwrap();
        let error = error();
        assert!(
            error.contains("tokenizer.json") && error.contains(named),
            "{json}: {error}"
        );
    }
}
