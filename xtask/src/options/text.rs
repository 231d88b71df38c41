//! Names and comments.

use std::fmt::Write as _;

/// The name in Swift, such as `eosTokenID`.
pub(crate) fn swift_name(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default();
    words.fold(first.to_owned(), |name, word| name + &capitalised(word))
}

/// The name in Go, such as `EOSTokenID`.
pub(crate) fn go_name(name: &str) -> String {
    let words = name.split('_');
    words.fold(String::new(), |name, word| name + &capitalised(word))
}

/// The word with a capital first letter, and an acronym in capitals.
fn capitalised(word: &str) -> String {
    match word {
        "id" | "eos" | "bos" => return word.to_uppercase(),
        "ids" => return "IDs".to_owned(),
        _ => {}
    }
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// The text with a small first letter.
pub(crate) fn uncapitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

/// The words of a text. A span in backticks is one word.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match words.last_mut() {
            Some(last) if last.matches('`').count() % 2 == 1 => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// The text as lines of comments that begin with `prefix`, of at most `width` characters each.
pub(crate) fn comment(prefix: &str, text: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in words(text) {
        if !line.is_empty() && prefix.len() + line.len() + 1 + word.len() > width {
            let _ = writeln!(lines, "{prefix}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    let _ = writeln!(lines, "{prefix}{line}");
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_languages() {
        assert_eq!(swift_name("no_repeat_ngram_size"), "noRepeatNgramSize");
        assert_eq!(swift_name("eos_token_id"), "eosTokenID");
        assert_eq!(go_name("bad_words_ids"), "BadWordsIDs");
        assert_eq!(go_name("eos_token_id"), "EOSTokenID");
    }

    #[test]
    fn comments_are_wrapped() {
        let found = comment("/// ", "one two `three - 4`.", 11);
        assert_eq!(found, "/// one two\n/// `three - 4`.\n");
    }
}
