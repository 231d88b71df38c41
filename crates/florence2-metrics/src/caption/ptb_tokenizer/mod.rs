//! The tokenizer of pycocoevalcap: Stanford's `PTBTokenizer` of CoreNLP 3.4.1 with `-lowerCase`, from
//! which punctuation is then removed.
//!
//! This is an implementation of its own of the Penn Treebank's rules. The lists and special cases were
//! found by comparing results.

mod chars;
mod lexer;
mod lists;
mod marks;
mod rules;
mod scan;
mod words;

use self::lexer::Lexer;

/// Tokens that pycocoevalcap removes. Brackets are missing from its list in lower case, and runs of
/// question or exclamation marks are not in it.
const PUNCTUATION: [&str; 11] = ["'", "''", "`", ".", "?", "!", ",", ":", "-", "--", ";"];

/// Tokenizes a caption: tokens in lower case, without punctuation, separated by spaces.
///
/// Captions in English get the tokens of pycocoevalcap's tokenizer. Its no-break space in tokens such as
/// `1 1/2` is a space here, at which BLEU and CIDEr-D split as well. Differences remain in rare text: phone
/// numbers in several parts, and abbreviations joined by hyphens (`a 1980s-dr.`).
pub fn tokenize(caption: &str) -> String {
    tokenize_captions(&[caption]).remove(0)
}

/// Tokenizes the captions of one file, as [`tokenize`]. The tokenizer looks beyond the end of a
/// line: `vitamin c.` keeps its period unless the next caption begins with a word such as `The`.
pub fn tokenize_captions<S: AsRef<str>>(captions: &[S]) -> Vec<String> {
    let lines: Vec<String> = captions
        .iter()
        .map(|caption| one_line(caption.as_ref()))
        .collect();
    let text: Vec<char> = lines.join("\n").chars().collect();
    let mut tokenized = vec![Vec::new(); captions.len()];
    let mut line = 0;
    for token in Lexer::new(&text) {
        match token {
            Some(token) if !PUNCTUATION.contains(&token.as_str()) => tokenized[line].push(token),
            Some(_) => {}
            None => line += 1,
        }
    }
    tokenized
        .into_iter()
        .map(|tokens: Vec<String>| tokens.join(" "))
        .collect()
}

/// Replaces line breaks by spaces, and removes soft hyphens.
fn one_line(caption: &str) -> String {
    let is_break = |c: char| matches!(c, '\n'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let kept = caption.chars().filter(|&c| c != '\u{ad}');
    kept.map(|c| if is_break(c) { ' ' } else { c }).collect()
}
