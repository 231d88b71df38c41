//! Encoding and decoding equal transformers': with small tokenizers in every file layout
//! (`tests/fixtures/tokenizer_layouts.py`), and with Florence-2's tokenizer.
//!
//! Florence-2's vocabulary is not part of this project. The ignored tests read it from the folder
//! in the environment variable `FLORENCE2_TOKENIZER`, which contains `ms/` and `hf/` for the two
//! checkpoint layouts.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::fixture;
use florence2_postprocess::ImageSize;
use florence2_processor::{
    Error, Florence2Processor, HuggingFaceFiles, Prompt, Task, TaskInput, TextStream, Tokenizer,
    TokenizerFiles,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

/// The output of `tests/fixtures/tokenizer_layouts.py`.
#[derive(Deserialize)]
struct Layouts {
    texts: Vec<String>,
    cases: Vec<Layout>,
}

#[derive(Deserialize)]
struct Layout {
    name: String,
    files: BTreeMap<String, Value>,
    ids: Vec<Vec<u32>>,
    decoded: Vec<String>,
    size: usize,
}

impl Layout {
    /// The contents of the files.
    fn contents(&self) -> BTreeMap<&str, Vec<u8>> {
        let content = |value: &Value| match value {
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        let files = self.files.iter();
        files
            .map(|(name, value)| (name.as_str(), content(value)))
            .collect()
    }

    fn read_from_folder(&self) -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in self.contents() {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        Tokenizer::from_dir(folder.path()).unwrap()
    }

    fn read_from_memory(&self) -> Tokenizer {
        let contents = self.contents();
        let content = |name: &str| contents.get(name).map(Vec::as_slice);
        Tokenizer::from_files(&TokenizerFiles::new(content)).unwrap()
    }
}

#[test]
fn every_layout_of_files_is_read_as_transformers_reads_it() {
    let layouts: Layouts = fixture("tokenizer_layouts.json");
    assert!(layouts.cases.len() >= 30 && layouts.texts.len() >= 60);
    let mut different = Vec::new();
    for layout in &layouts.cases {
        let name = &layout.name;
        for tokenizer in [layout.read_from_folder(), layout.read_from_memory()] {
            assert_eq!(tokenizer.vocab_size(), layout.size, "{name}");
            let expected = layout.ids.iter().zip(&layout.decoded);
            for (text, (ids, decoded)) in layouts.texts.iter().zip(expected) {
                let found = tokenizer.encode(text).unwrap();
                if found != *ids {
                    different.push(format!("{name}: {text:?}: {found:?}, expected {ids:?}"));
                }
                let found = tokenizer.decode(ids);
                if found != *decoded {
                    different.push(format!("{name}: {found:?}, expected {decoded:?}"));
                }
            }
        }
    }
    assert!(
        different.is_empty(),
        "{} differ:\n{}",
        different.len(),
        different.join("\n")
    );
}

/// A tokenizer that covers every byte, with some added tokens.
fn small_tokenizer(added: &[&str]) -> Tokenizer {
    let layouts: Layouts = fixture("tokenizer_layouts.json");
    let slow = layouts.cases.into_iter().find(|case| case.name == "slow");
    let mut slow = slow.unwrap();
    let first = slow.files["vocab.json"].as_object().unwrap().len();
    let added = added.iter().enumerate();
    let added = added.map(|(index, token)| ((*token).to_owned(), Value::from(first + index)));
    slow.files.insert(
        "added_tokens.json".to_owned(),
        Value::Object(added.collect()),
    );
    slow.read_from_memory()
}

fn processor(tokenizer: Tokenizer) -> Florence2Processor {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model");
    let mut processor = Florence2Processor::from_dir(&folder).unwrap();
    processor.tokenizer = tokenizer;
    processor
}

const THOUSAND: ImageSize = ImageSize {
    width: 1000,
    height: 1000,
};

/// Only prompts with a region require location tokens.
#[test]
fn a_vocabulary_may_lack_location_tokens() {
    let processor = processor(small_tokenizer(&[
        "<mask>", "<loc_1>", "<loc_2>", "<loc_3>",
    ]));
    let region = |corner: f64| TaskInput::Region([1.0, 2.0, 3.0, corner]);
    let tokenize = |prompt: &Prompt| processor.tokenize(&[(prompt, THOUSAND)]);
    for task in Task::ALL {
        let prompt = |corner| match (task.needs_region(), task.needs_input()) {
            (true, _) => Prompt::with_input(task, region(corner)),
            (_, true) => Prompt::with_input(task, TaskInput::Text("a <loc_5> cat".to_owned())),
            _ => Prompt::from(task),
        };
        assert!(tokenize(&prompt(3.0)).is_ok(), "{task}");
        let found = tokenize(&prompt(4.0));
        if task.needs_region() {
            let error = found.unwrap_err();
            assert!(matches!(error, Error::MissingToken { .. }), "{error}");
            let message = error.to_string();
            assert!(message.contains("<loc_4>"), "{message}");
            let text = TaskInput::Text("<loc_1><loc_2><loc_3><loc_999>".to_owned());
            let error = tokenize(&Prompt::with_input(task, text)).unwrap_err();
            assert!(error.to_string().contains("<loc_999>"), "{error}");
        } else {
            assert!(found.is_ok(), "{task}");
        }
    }
}

/// The ids of location tokens are those of the vocabulary, in any order.
#[test]
fn location_tokens_may_have_any_ids() {
    let names: Vec<String> = (0..1000).rev().map(|bin| format!("<loc_{bin}>")).collect();
    let mut added = vec!["<mask>", "<and>", "thing"];
    added.extend(names.iter().map(String::as_str));
    added.extend(["<od>", "</od>"]);
    let tokenizer = small_tokenizer(&added);
    let id = |token: &str| tokenizer.token_to_id(token).unwrap();
    assert_eq!(id("<loc_0>"), id("<loc_999>") + 999);
    assert_eq!(id("<od>"), id("<loc_0>") + 1);
    let prompt = Prompt::with_input(
        Task::RegionToCategory,
        TaskInput::Region([7.0, 0.0, 999.0, 500.0]),
    );
    let processor = processor(tokenizer.clone());
    let ids = processor.tokenize(&[(&prompt, THOUSAND)]).unwrap();
    let expected = ["<loc_7>", "<loc_0>", "<loc_999>", "<loc_500>"].map(id);
    assert!(ids.input_ids[0].windows(4).any(|ids| ids == expected));
    assert_eq!(
        tokenizer.decode(&expected),
        "<loc_7><loc_0><loc_999><loc_500>"
    );
}

/// The ids of a vocabulary with gaps can exceed its size. They are decoded.
#[test]
fn a_vocabulary_may_have_gaps() {
    let tokenizer = small_tokenizer(&["<mask>", "<loc_1>"]);
    assert_eq!(tokenizer.id_limit(), tokenizer.vocab_size());
    let layouts: Layouts = fixture("tokenizer_layouts.json");
    let fast = layouts.cases.into_iter().find(|case| case.name == "fast");
    let mut fast = fast.unwrap();
    for class in ["BartTokenizer", "PreTrainedTokenizerFast"] {
        *fast
            .files
            .get_mut("tokenizer_config.json")
            .unwrap()
            .pointer_mut("/tokenizer_class")
            .unwrap() = class.into();
        let json = fast.files.get_mut("tokenizer.json").unwrap();
        json["model"]["vocab"]["far"] = 9000.into();
        let tokenizer = fast.read_from_memory();
        assert_eq!(tokenizer.id_limit(), 9001, "{class}");
        assert!(tokenizer.vocab_size() < 9000, "{class}");
        assert_eq!(tokenizer.decode(&[9000]), "far", "{class}");
    }
}

/// Florence-2's tokens are appended to BART's vocabulary, as Microsoft's processor does.
#[test]
fn a_vocabulary_without_locations_gets_them() {
    let tokenizer = small_tokenizer(&["<mask>"]);
    let id = |token: &str| tokenizer.token_to_id(token).unwrap();
    assert_eq!(id("<loc_999>"), id("<loc_0>") + 999);
    assert_eq!(id("<cap>"), id("<loc_999>") + 1);
    assert_eq!(id("<and>") + 1, tokenizer.vocab_size() as u32);
    let ids = tokenizer.encode("<loc_5><and>").unwrap();
    assert_eq!(ids[1..3], [id("<loc_5>"), id("<and>")]);
}

#[test]
fn broken_files_are_errors_that_name_them() {
    let layouts: Layouts = fixture("tokenizer_layouts.json");
    let slow = layouts
        .cases
        .iter()
        .find(|case| case.name == "slow")
        .unwrap();
    for (file, content, named) in [
        ("vocab.json", "{", "EOF"),
        ("vocab.json", r#"{"a": -1}"#, "-1"),
        ("merges.txt", "a b c", "`a b c`"),
        ("merges.txt", "qq qq", "qq"),
        (
            "added_tokens.json",
            "[]",
            "found a list, expected an object",
        ),
        ("added_tokens.json", r#"{"<x>": "7"}"#, "`<x>`"),
        ("added_tokens.json", r#"{"<x>": -7}"#, "`<x>`"),
        ("tokenizer_config.json", "", "EOF"),
        (
            "tokenizer_config.json",
            r#"{"pad_token": 1}"#,
            "`pad_token`: found a number",
        ),
        (
            "tokenizer_config.json",
            r#"{"add_prefix_space": 1}"#,
            "`add_prefix_space`",
        ),
        (
            "tokenizer_config.json",
            r#"{"cls_token": null}"#,
            "`cls_token`",
        ),
        (
            "tokenizer_config.json",
            r#"{"added_tokens_decoder": {"x": {"content": "y"}}}"#,
            "`x`",
        ),
        (
            "tokenizer_config.json",
            r#"{"added_tokens_decoder": {"1": {"content": "y", "lstrip": 1}}}"#,
            "`lstrip`",
        ),
        (
            "tokenizer_config.json",
            r#"{"mask_token": {"lstrip": true}}"#,
            "`mask_token`: expected a string in `content`",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in slow.contents() {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        std::fs::write(folder.path().join(file), content).unwrap();
        let error = Tokenizer::from_dir(folder.path()).unwrap_err().to_string();
        let path = folder.path().join(file).display().to_string();
        assert!(error.starts_with(&path), "{content}: {error}");
        assert!(error.contains(named), "{content}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

fn real_tokenizers() -> PathBuf {
    let folder = std::env::var_os("FLORENCE2_TOKENIZER");
    folder.expect("FLORENCE2_TOKENIZER names a folder").into()
}

/// The tokenizers of the native layout, of Microsoft's layout, and of Microsoft's older files.
fn all_forms(folder: &Path) -> Vec<(&'static str, Tokenizer)> {
    let older = tempfile::tempdir().unwrap();
    for file in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
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

/// The output of `tests/fixtures/tokenizer.py`.
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
#[ignore = "needs Florence-2's vocabulary, which is not part of the project"]
fn published_prompts_have_the_published_ids() {
    let folder = real_tokenizers();
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
#[ignore = "needs Florence-2's vocabulary, which is not part of the project"]
fn texts_have_transformers_ids() {
    let folder = real_tokenizers();
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
#[ignore = "needs Florence-2's vocabulary, which is not part of the project"]
fn added_tokens_have_the_same_ids_in_every_form() {
    let folder = real_tokenizers();
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

/// A folder with the files of a tokenizer and an empty configuration of the image processor.
fn with_preprocessor(files: &BTreeMap<&str, Vec<u8>>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    std::fs::write(folder.path().join("preprocessor_config.json"), "{}").unwrap();
    folder
}

/// A tokenizer without an image token receives it with the id that transformers gives it.
#[test]
fn an_added_image_token_has_the_id_that_transformers_gives_it() {
    let layouts: Layouts = fixture("tokenizer_layouts.json");
    let mut added = 0;
    for mut layout in layouts.cases {
        let id = layout.read_from_memory().token_to_id("<image>");
        let config = layout.files.get_mut("tokenizer_config.json").unwrap();
        let config = config.as_object_mut().unwrap();
        if config.get("extra_special_tokens") == Some(&json!({"image_token": "<image>"})) {
            config.remove("extra_special_tokens");
            added += 1;
        }
        let folder = with_preprocessor(&layout.contents());
        let files = HuggingFaceFiles::from_dir(folder.path()).unwrap();
        assert_eq!(Some(files.image_token_id), id, "{}", layout.name);
        let folder = with_preprocessor(&files.files.into_iter().collect());
        let tokenizer = Tokenizer::from_dir(folder.path()).unwrap();
        for (text, ids) in layouts.texts.iter().zip(&layout.ids) {
            let found = tokenizer.encode(text).unwrap();
            assert_eq!(&found, ids, "{}: {text:?}", layout.name);
        }
    }
    assert!(added >= 20, "{added}");
}

#[test]
#[ignore = "needs Florence-2's vocabulary, which is not part of the project"]
fn the_image_token_has_transformers_id() {
    for layout in ["ms", "hf"] {
        let entries = std::fs::read_dir(real_tokenizers().join(layout)).unwrap();
        let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let names: Vec<String> = paths.iter().map(|path| name(path)).collect();
        let contents = paths.iter().map(|path| std::fs::read(path).unwrap());
        let files = names.iter().map(String::as_str).zip(contents).collect();
        let folder = with_preprocessor(&files);
        let files = HuggingFaceFiles::from_dir(folder.path()).unwrap();
        assert_eq!(files.image_token_id, 51_289, "{layout}");
    }
}

fn demo() -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model");
    Tokenizer::from_dir(&folder).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Spans are contiguous from the start of the text, and end at character boundaries.
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
        // A character that no later id completes belongs to no span.
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
    let error = || chain(&Tokenizer::from_dir(folder.path()).unwrap_err());
    let missing = error();
    assert!(
        missing.contains("no tokenizer.json, nor vocab.json with merges.txt"),
        "{missing}"
    );
    for (json, named) in [
        ("", "EOF"),
        ("{}", "missing field `model`"),
        (
            r#"{"model": {"type": "BPE", "merges": []}}"#,
            "missing field `vocab`",
        ),
        (
            r#"{"model": {"type": "Unigram", "vocab": {}}}"#,
            "`model.type`: found `Unigram`, expected `BPE`",
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

/// The messages of an error and its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(chain);
    format!("{error}: {}", source.unwrap_or_default())
}
