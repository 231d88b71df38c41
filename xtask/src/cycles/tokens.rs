//! Paths and definitions in token streams, which are not parsed: the arguments of macros and of
//! attributes, and the bodies of `macro_rules`.

use proc_macro2::{TokenStream, TokenTree};

use super::tree::Namespace;

/// A path in a token stream.
pub(crate) struct TokenPath {
    pub segments: Vec<String>,
    pub line: usize,
    /// The path is followed by `!`.
    pub is_macro: bool,
}

/// The words after which an identifier is defined and not used.
const DEFINING: [(&str, Namespace); 9] = [
    ("struct", Namespace::Type),
    ("enum", Namespace::Type),
    ("union", Namespace::Type),
    ("trait", Namespace::Type),
    ("type", Namespace::Type),
    ("mod", Namespace::Type),
    ("fn", Namespace::Value),
    ("const", Namespace::Value),
    ("static", Namespace::Value),
];

/// Returns the paths in a token stream, single identifiers included. Fields, methods, lifetimes and
/// the variables of `macro_rules` are left out.
pub(crate) fn paths(stream: TokenStream) -> Vec<TokenPath> {
    let mut found = Vec::new();
    collect(stream, &mut found);
    found
}

/// Returns the names that the items in a token stream define.
pub(crate) fn definitions(stream: TokenStream) -> Vec<(String, Namespace)> {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut found = Vec::new();
    for pair in tokens.windows(2) {
        let [TokenTree::Ident(word), TokenTree::Ident(name)] = pair else {
            continue;
        };
        let word = DEFINING.iter().find(|(defining, _)| word == defining);
        found.extend(word.map(|(_, namespace)| (name.to_string(), *namespace)));
    }
    for token in tokens {
        if let TokenTree::Group(group) = token {
            found.extend(definitions(group.stream()));
        }
    }
    found
}

fn collect(stream: TokenStream, found: &mut Vec<TokenPath>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut position = 0;
    while position < tokens.len() {
        match &tokens[position] {
            TokenTree::Group(group) => collect(group.stream(), found),
            TokenTree::Ident(first) => {
                let line = first.span().start().line;
                let (segments, end) = path_at(&tokens, position);
                if is_used(&tokens, position, end) {
                    let is_macro = is_punct(&tokens, end, '!') && !is_punct(&tokens, end + 1, '=');
                    found.push(TokenPath {
                        segments,
                        line,
                        is_macro,
                    });
                }
                position = end;
                continue;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        position += 1;
    }
}

/// Reads the path whose first identifier stands at `start`. Returns its segments and the position
/// after it.
fn path_at(tokens: &[TokenTree], start: usize) -> (Vec<String>, usize) {
    let mut segments = Vec::new();
    let mut position = start;
    while let Some(TokenTree::Ident(segment)) = tokens.get(position) {
        segments.push(segment.to_string());
        position += 1;
        let continues = is_punct(tokens, position, ':')
            && is_punct(tokens, position + 1, ':')
            && matches!(tokens.get(position + 2), Some(TokenTree::Ident(_)));
        if !continues {
            break;
        }
        position += 2;
    }
    (segments, position)
}

/// Returns whether the path in `start..end` refers to an item, as far as the tokens around it show.
fn is_used(tokens: &[TokenTree], start: usize, end: usize) -> bool {
    let previous =
        |back: usize, punct: char| start >= back && is_punct(tokens, start - back, punct);
    let is_field = previous(1, '.') && !previous(2, '.');
    let is_lifetime = previous(1, '\'');
    let is_rest_of_path = previous(1, ':') && previous(2, ':');
    let is_variable =
        previous(1, '$') && !matches!(&tokens[start], TokenTree::Ident(i) if i == "crate");
    let is_name_before_colon =
        end == start + 1 && is_punct(tokens, end, ':') && !is_punct(tokens, end + 1, ':');
    let is_defined = start > 0
        && matches!(&tokens[start - 1], TokenTree::Ident(word)
            if DEFINING.iter().any(|(defining, _)| word == defining));
    !(is_field
        || is_lifetime
        || is_rest_of_path
        || is_variable
        || is_name_before_colon
        || is_defined)
}

fn is_punct(tokens: &[TokenTree], position: usize, expected: char) -> bool {
    matches!(tokens.get(position), Some(TokenTree::Punct(punct)) if punct.as_char() == expected)
}
