//! Rules for tokens other than words.

use super::chars::{is_alphanumeric, is_apostrophe, is_digit, is_letter};
use super::lists::{CONTRACTIONS, DOMAINS, ENTITIES};
use super::words;

/// Longest address, tag and the like, in characters, which bounds the time per position.
pub(super) const LONGEST_SPAN: usize = 300;

/// A token at the beginning of a text.
pub(super) struct Match {
    /// Number of characters of the token.
    pub(super) length: usize,
    /// Number of characters that the rule compares, with those that must follow the token. The rule
    /// with the largest number applies.
    pub(super) priority: usize,
    /// The token, if it is not the text in lower case.
    pub(super) replacement: Option<String>,
}

impl Match {
    /// A token that is the text in lower case.
    pub(super) fn source(length: usize) -> Self {
        Self {
            length,
            priority: length,
            replacement: None,
        }
    }

    /// A token that must be followed by some more characters.
    pub(super) fn before(length: usize, following: usize) -> Self {
        Self {
            length,
            priority: length + following,
            replacement: None,
        }
    }

    fn replaced(length: usize, token: &str) -> Self {
        Self {
            length,
            priority: length,
            replacement: Some(token.to_owned()),
        }
    }
}

type Rule = fn(&[char]) -> Option<Match>;

/// All rules. The first of those that compare as many characters applies.
const RULES: [Rule; 26] = [
    tag,
    entity,
    url,
    host_path,
    email,
    words::contraction_stem,
    words::negation,
    contraction,
    words::assimilated,
    words::sentence_end,
    words::abbreviation,
    words::acronym,
    words::with_apostrophe,
    words::elision,
    year,
    words::word,
    words::before_punctuation,
    words::hyphenated,
    words::dotted_hyphenated,
    words::slashed,
    words::ampersand,
    number,
    mixed_fraction,
    currency,
    mention,
    run,
];

/// Returns the match of the rule that compares the most characters.
pub(super) fn longest(text: &[char]) -> Option<Match> {
    let mut best: Option<Match> = emoticon(text);
    for rule in RULES {
        if let Some(found) = rule(text)
            && best
                .as_ref()
                .is_none_or(|best| found.priority > best.priority)
        {
            best = Some(found);
        }
    }
    best
}

/// Number of characters from `start` on that satisfy a predicate.
pub(super) fn count(text: &[char], start: usize, predicate: impl Fn(char) -> bool) -> usize {
    text[start.min(text.len())..]
        .iter()
        .take_while(|&&c| predicate(c))
        .count()
}

/// Whether a character exists and satisfies a predicate.
pub(super) fn is_at(text: &[char], index: usize, predicate: impl Fn(char) -> bool) -> bool {
    text.get(index).is_some_and(|&c| predicate(c))
}

/// Whether a text begins with another, in any case. A straight apostrophe also matches the
/// typographic one.
pub(super) fn starts_with(text: &[char], prefix: &str) -> bool {
    let equal = |(found, expected): (&char, char)| {
        found.eq_ignore_ascii_case(&expected) || (expected == '\'' && is_apostrophe(*found))
    };
    text.len() >= prefix.chars().count() && text.iter().zip(prefix.chars()).all(equal)
}

/// Tags such as `<loc_1>` and `</a>`.
fn tag(text: &[char]) -> Option<Match> {
    if text[0] != '<' {
        return None;
    }
    let name = if is_at(text, 1, |c| matches!(c, '/' | '!' | '?')) {
        2
    } else {
        1
    };
    let is_name = |c: char| c.is_ascii_alphabetic() || (c == '-' && name == 2);
    if !is_at(text, name, is_name) {
        return None;
    }
    let span = &text[..text.len().min(LONGEST_SPAN)];
    let end = 1 + count(span, 1, |c| !matches!(c, '<' | '>' | '\n'));
    is_at(span, end, |c| c == '>').then(|| Match::source(end + 1))
}

fn entity(text: &[char]) -> Option<Match> {
    let found = ENTITIES
        .iter()
        .find(|(entity, _)| starts_with(text, entity));
    found.map(|(entity, token)| Match::replaced(entity.len(), token))
}

fn is_url_character(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '"' | '<' | '>' | '|' | '(' | ')' | '{' | '}')
}

/// `https://example.com/path`, without punctuation at the end.
fn url(text: &[char]) -> Option<Match> {
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| starts_with(text, scheme))?;
    let span = &text[..text.len().min(LONGEST_SPAN)];
    let end = scheme.len() + count(span, scheme.len(), is_url_character);
    let is_end = |&c: &char| !matches!(c, '.' | ',' | '!' | '?' | ';' | ':' | '\'');
    let length = span[..end].iter().rposition(is_end)? + 1;
    (length > scheme.len()).then(|| Match::source(length))
}

/// `example.com/path`.
fn host_path(text: &[char]) -> Option<Match> {
    let span = &text[..text.len().min(LONGEST_SPAN)];
    let mut dot = 0;
    loop {
        let label = count(span, dot, |c| is_alphanumeric(c) || c == '-');
        let end = dot + label;
        if label == 0 {
            return None;
        }
        let word: String = span[dot..end].iter().collect();
        let is_domain = dot > 0 && DOMAINS.contains(&word.to_ascii_lowercase().as_str());
        if is_domain && is_at(span, end, |c| c == '/') {
            let path = count(span, end + 1, |c| {
                is_url_character(c) && !matches!(c, '.' | ',' | '?' | '!')
            });
            return (path > 0).then(|| Match::source(end + 1 + path));
        }
        if !is_at(span, end, |c| c == '.') {
            return None;
        }
        dot = end + 1;
    }
}

/// `name@example.com`. As in the reference, punctuation after it belongs to it.
fn email(text: &[char]) -> Option<Match> {
    let is_local = |c: char| is_url_character(c) && c != '@';
    if !text[0].is_ascii_alphanumeric() {
        return None;
    }
    let span = &text[..text.len().min(LONGEST_SPAN)];
    let at = count(span, 0, is_local);
    if !is_at(span, at, |c| c == '@') {
        return None;
    }
    let domain = count(span, at + 1, is_url_character);
    let end = at + 1 + domain;
    let last = span[at + 1..end].iter().rposition(|&c| c != '.')?;
    Some(Match::source(at + last + 2))
}

/// `'s`, `'re` and so on, if no letter or digit follows. The apostrophe becomes a straight one.
pub(super) fn contraction(text: &[char]) -> Option<Match> {
    if !is_apostrophe(text[0]) {
        return None;
    }
    let is_whole = |ending: &&&str| {
        starts_with(&text[1..], ending) && !is_at(text, 1 + ending.len(), is_alphanumeric)
    };
    let ending = CONTRACTIONS.iter().find(is_whole)?;
    Some(Match::replaced(1 + ending.len(), &format!("'{ending}")))
}

/// `'90s` and `'90`.
fn year(text: &[char]) -> Option<Match> {
    if !is_apostrophe(text[0]) || count(text, 1, is_digit) != 2 {
        return None;
    }
    let is_decade = text[2] == '0' && is_at(text, 3, |c| c == 's');
    if is_decade && !is_at(text, 4, is_alphanumeric) {
        return Some(Match::source(4));
    }
    let is_last = text.get(3).is_none_or(|c| c.is_whitespace());
    is_last.then(|| Match::source(3))
}

/// Numbers with a sign, decimals, groups, and times.
pub(super) fn number(text: &[char]) -> Option<Match> {
    let sign = usize::from(matches!(text[0], '-' | '+'));
    let mut end = sign + count(text, sign, is_digit);
    while is_at(text, end, |c| matches!(c, '.' | ':' | ',')) && is_at(text, end + 1, is_digit) {
        end += 1 + count(text, end + 1, is_digit);
    }
    (end > sign).then(|| Match::source(end))
}

/// `1-1/2`, and `1 1/2`, of which the reference makes one token with a no-break space.
fn mixed_fraction(text: &[char]) -> Option<Match> {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\u{a0}');
    let whole = count(text, 0, is_digit);
    let has_hyphen = is_at(text, whole, |c| c == '-');
    let spaces = if has_hyphen {
        1
    } else {
        count(text, whole, is_space)
    };
    let numerator = whole + spaces;
    let slash = numerator + count(text, numerator, is_digit);
    let denominator = count(text, slash + 1, is_digit);
    let is_fraction = whole > 0 && spaces > 0 && slash > numerator && denominator > 0;
    if !is_fraction || text[slash] != '/' {
        return None;
    }
    let end = slash + 1 + denominator;
    if has_hyphen {
        return Some(Match::source(end));
    }
    let [whole, fraction] = [&text[..whole], &text[numerator..end]].map(String::from_iter);
    Some(Match::replaced(end, &format!("{whole} {fraction}")))
}

/// `US$`.
fn currency(text: &[char]) -> Option<Match> {
    let letters = count(text, 0, |c| c.is_ascii_uppercase());
    (letters > 0 && is_at(text, letters, |c| c == '$')).then(|| Match::source(letters + 1))
}

/// `@user` and `#topic`.
fn mention(text: &[char]) -> Option<Match> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let length = match text[0] {
        '@' if !is_at(text, 1, |c| c.is_ascii_digit()) => count(text, 1, is_name),
        '#' => count(text, 1, is_letter),
        _ => 0,
    };
    (length > 0).then(|| Match::source(1 + length))
}

/// Runs of the same character, or of question and exclamation marks, that are one token. Quotes,
/// ellipses and dashes are removed.
fn run(text: &[char]) -> Option<Match> {
    let first = text[0];
    let length = match first {
        '!' | '?' => count(text, 0, |c| matches!(c, '!' | '?')),
        '*' | '_' | '#' | '-' => count(text, 0, |c| c == first),
        '\'' if is_at(text, 1, |c| c == '\'') => return Some(Match::replaced(2, "")),
        '.' if starts_with(text, "...") => {
            return Some(Match::replaced(count(text, 0, |c| c == '.'), ""));
        }
        'c' | 'C' if starts_with(text, "c++") => 3,
        _ => return None,
    };
    // Up to four hyphens are a dash.
    if first == '-' && length <= 4 {
        return Some(Match::replaced(length, ""));
    }
    Some(Match::source(length))
}

/// `:)`, `;-P`, `=D` and `-_-`.
fn emoticon(text: &[char]) -> Option<Match> {
    if starts_with(text, "-_-") || starts_with(text, "^_^") {
        return Some(Match::source(3));
    }
    let eyes = usize::from(text[0] == '>');
    if !is_at(text, eyes, |c| matches!(c, ':' | ';' | '=')) {
        return None;
    }
    let nose = usize::from(is_at(text, eyes + 1, |c| matches!(c, '-' | '\'')));
    let mouth = eyes + 1 + nose;
    let is_mouth = match text.get(mouth)? {
        '(' | ')' | '[' | ']' | '{' | '|' => true,
        'D' | 'P' | 'p' | 'O' => !is_at(text, mouth + 1, is_alphanumeric),
        _ => false,
    };
    let face: String = text[..=mouth].iter().collect();
    let escaped = face
        .to_lowercase()
        .replace('(', "-lrb-")
        .replace(')', "-rrb-");
    is_mouth.then(|| Match::replaced(mouth + 1, &escaped))
}
