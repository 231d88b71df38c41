//! Splits text into tokens: at each position, the longest match of all rules.

use super::chars::{is_alphanumeric, is_symbol};
use super::rules::longest;
use super::scan::Match;

/// Iterator over tokens. It yields `None` for a line break.
pub(super) struct Lexer<'a> {
    rest: &'a [char],
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [char]) -> Self {
        Self { rest: text }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Option<String>;

    fn next(&mut self) -> Option<Option<String>> {
        loop {
            let &first = self.rest.first()?;
            if first == '\n' {
                self.rest = &self.rest[1..];
                return Some(None);
            }
            let found = longest(self.rest).unwrap_or_else(|| single(first));
            let (token, rest) = self.rest.split_at(found.length);
            self.rest = rest;
            let text = found
                .replacement
                .unwrap_or_else(|| token.iter().collect::<String>().to_lowercase());
            if !text.is_empty() {
                return Some(Some(text));
            }
        }
    }
}

/// The token of a character that begins none of the other tokens: empty if it is dropped.
fn single(c: char) -> Match {
    let replacement = match c {
        '(' => "-lrb-",
        ')' => "-rrb-",
        '[' => "-lsb-",
        ']' => "-rsb-",
        '{' => "-lcb-",
        '}' => "-rcb-",
        '\u{80}' | '\u{a4}' | '\u{20a0}' | '\u{20ac}' => "$",
        '\u{a2}' => "cents",
        '\u{a3}' => "#",
        '\u{bc}' => "1/4",
        '\u{bd}' => "1/2",
        '\u{be}' => "3/4",
        '\u{2153}' => "1/3",
        '\u{2154}' => "2/3",
        _ if is_symbol(c) || is_alphanumeric(c) => return Match::source(1),
        // White space, punctuation that is removed anyway, and characters that the tokenizer drops.
        _ => "",
    };
    Match {
        length: 1,
        priority: 1,
        replacement: Some(replacement.to_owned()),
    }
}
