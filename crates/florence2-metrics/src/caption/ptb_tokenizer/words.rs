//! Rules for words.

use super::chars::{is_alphanumeric, is_apostrophe, is_digit, is_letter};
use super::lists::{
    APOSTROPHE_PREFIXES, APOSTROPHE_WORDS, assimilation, is_abbreviation,
    is_abbreviation_before_number, is_sentence_starter,
};
use super::scan::{LONGEST_SPAN, Match, contraction, count, is_at, starts_with};

/// A word: letters and digits, and further ones after a period or a question or exclamation mark
/// without a space. It takes precedence before a contraction, so that `cannot's` is not `can not`.
pub(super) fn word(text: &[char]) -> Option<Match> {
    let end = word_end(text);
    let following = if end < text.len() {
        contraction(&text[end..])
    } else {
        None
    };
    (end > 0).then(|| Match::before(end, following.map_or(0, |found| found.length)))
}

fn word_end(text: &[char]) -> usize {
    if !is_letter(text[0]) {
        return 0;
    }
    let mut end = count(text, 0, is_alphanumeric);
    while is_at(text, end, |c| matches!(c, '.' | '!' | '?')) && is_at(text, end + 1, is_letter) {
        end += 1 + count(text, end + 1, is_alphanumeric);
    }
    end
}

/// A word with a period before a comma, a semicolon or a colon.
pub(super) fn before_punctuation(text: &[char]) -> Option<Match> {
    let end = word_end(text).max(count(text, 0, |c| c.is_ascii_alphanumeric()));
    let is_word =
        text[..end].iter().any(char::is_ascii_alphabetic) && text[..end].iter().all(char::is_ascii);
    let is_before =
        is_at(text, end, |c| c == '.') && is_at(text, end + 1, |c| matches!(c, ',' | ';' | ':'));
    (is_word && is_before).then(|| Match::before(end + 1, 1))
}

/// Words and numbers that are joined by hyphens or underscores.
pub(super) fn hyphenated(text: &[char]) -> Option<Match> {
    let alphanumeric = count(text, 0, is_alphanumeric);
    if alphanumeric == 0 {
        return None;
    }
    let joined = join(text, alphanumeric, |c| matches!(c, '-' | '_'));
    Some(Match::source(joined))
}

/// `1.5-inch` and `mon.-fri`: a word or number with periods and commas before a hyphen.
pub(super) fn dotted_hyphenated(text: &[char]) -> Option<Match> {
    if !text[0].is_ascii_alphanumeric() {
        return None;
    }
    let span = &text[..text.len().min(LONGEST_SPAN)];
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ',');
    let end = count(span, 0, is_part);
    let joined = join(text, end, |c| c == '-');
    (joined > end).then(|| Match::source(joined))
}

/// Extends a token by separators that are followed by letters or digits.
fn join(text: &[char], mut end: usize, is_separator: impl Fn(char) -> bool) -> usize {
    while is_at(text, end, &is_separator) {
        let part = joined_part(text, end + 1);
        if part == 0 {
            break;
        }
        end += 1 + part;
    }
    end
}

/// Returns the length of a part after a hyphen: letters or digits, `o'brien` or `p.m.`, or 0.
fn joined_part(text: &[char], start: usize) -> usize {
    let rest = &text[start.min(text.len())..];
    let acronym = acronym_end(rest);
    if acronym > 2 {
        return acronym;
    }
    let is_article = |c: char| matches!(c.to_ascii_lowercase(), 'd' | 'l' | 'o');
    let is_elided = is_at(rest, 0, is_article)
        && is_at(rest, 1, is_apostrophe)
        && is_at(rest, 2, is_alphanumeric);
    if is_elided {
        return 2 + count(rest, 2, is_alphanumeric);
    }
    count(rest, 0, is_alphanumeric)
}

/// `and/or`: two or three parts.
pub(super) fn slashed(text: &[char]) -> Option<Match> {
    let mut end = slash_part(text, 0)?;
    for _ in 0..2 {
        if !is_at(text, end, |c| c == '/') {
            break;
        }
        let Some(part) = slash_part(text, end + 1) else {
            break;
        };
        end = part;
    }
    Some(Match::source(end))
}

/// Returns the end of letters or digits with letters after hyphens.
fn slash_part(text: &[char], start: usize) -> Option<usize> {
    let length = count(text, start, |c| c.is_ascii_alphanumeric());
    let mut end = start + length;
    while is_at(text, end, |c| c == '-') && is_at(text, end + 1, |c| c.is_ascii_alphabetic()) {
        end += 1 + count(text, end + 1, |c| c.is_ascii_alphabetic());
    }
    (length > 0).then_some(end)
}

/// `AT&T`.
pub(super) fn ampersand(text: &[char]) -> Option<Match> {
    let is_capital = |c: char| c.is_ascii_uppercase();
    let first = count(text, 0, is_capital);
    let mut end = first;
    while first > 0 && is_at(text, end, |c| c == '&') && is_at(text, end + 1, is_capital) {
        end += 1 + count(text, end + 1, is_capital);
    }
    (end > first).then(|| Match::source(end))
}

/// `u.s.`: single letters with periods. A letter with a period may be an initial.
pub(super) fn acronym(text: &[char]) -> Option<Match> {
    if starts_with(text, "ph.d.") || starts_with(text, "ed.d.") {
        return Some(Match::source(5));
    }
    let end = acronym_end(text);
    (end > 0).then(|| Match::source(end))
}

fn acronym_end(text: &[char]) -> usize {
    let mut end = 0;
    while is_at(text, end, |c| c.is_ascii_alphabetic()) && is_at(text, end + 1, |c| c == '.') {
        end += 2;
    }
    end
}

/// `mr.`, `etc.`, and `no.` before a number.
pub(super) fn abbreviation(text: &[char]) -> Option<Match> {
    let letters = count(text, 0, |c| c.is_ascii_alphabetic());
    if letters == 0 || !is_at(text, letters, |c| c == '.') {
        return None;
    }
    let word: String = text[..letters].iter().collect();
    if is_abbreviation(&word) {
        return Some(Match::source(letters + 1));
    }
    let spaces = count(text, letters + 1, char::is_whitespace);
    let is_before_number = is_at(text, letters + 1 + spaces, is_digit);
    (is_before_number && is_abbreviation_before_number(&word))
        .then(|| Match::before(letters + 1, spaces + 1))
}

/// A single letter at the end of a sentence, which does not keep its period.
pub(super) fn sentence_end(text: &[char]) -> Option<Match> {
    if !text[0].is_ascii_alphabetic() || !is_at(text, 1, |c| c == '.') {
        return None;
    }
    let spaces = count(text, 2, char::is_whitespace);
    let letters = count(text, 2 + spaces, |c| c.is_ascii_alphabetic());
    let end = 2 + spaces + letters;
    let next: String = text[2 + spaces..end].iter().collect();
    let is_end = spaces > 0 && is_at(text, end, char::is_whitespace) && is_sentence_starter(&next);
    is_end.then(|| Match::before(1, end))
}

/// The first part of `cannot` and of similar words.
pub(super) fn assimilated(text: &[char]) -> Option<Match> {
    let letters = count(text, 0, |c| c.is_ascii_alphabetic());
    let word: String = text[..letters].iter().collect();
    if let Some(first) = assimilation(&word) {
        return Some(Match::before(first, letters - first));
    }
    // `'tis` and `'twas`
    let is_old = text[0] == '\'' && (starts_with(text, "'tis") || starts_with(text, "'twas"));
    is_old.then(|| Match::before(2, 2))
}

/// The part of `don't` before `n't`.
pub(super) fn contraction_stem(text: &[char]) -> Option<Match> {
    let letters = count(text, 0, |c| c.is_ascii_alphabetic());
    if letters < 2 || !text[letters - 1].eq_ignore_ascii_case(&'n') {
        return None;
    }
    let stem = letters - 1;
    let is_stem = !text[stem - 1].eq_ignore_ascii_case(&'n') && is_negation(&text[stem..]);
    is_stem.then(|| Match::before(stem, 3))
}

/// `n't`.
pub(super) fn negation(text: &[char]) -> Option<Match> {
    let token = || Match {
        length: 3,
        priority: 3,
        replacement: Some("n't".to_owned()),
    };
    is_negation(text).then(token)
}

fn is_negation(text: &[char]) -> bool {
    starts_with(text, "n't")
}

/// Words with an apostrophe that are one token: `o'clock`, `d'arc`, `hawai'i`, `'em`.
pub(super) fn with_apostrophe(text: &[char]) -> Option<Match> {
    let is_whole =
        |word: &&&str| starts_with(text, word) && !is_at(text, word.len(), is_alphanumeric);
    let whole = APOSTROPHE_WORDS
        .iter()
        .find(is_whole)
        .map_or(0, |word| word.len());
    let prefix = APOSTROPHE_PREFIXES
        .iter()
        .find(|prefix| starts_with(text, prefix));
    let prefix = prefix.map_or(0, |prefix| prefix.len());
    let longest = whole
        .max(prefix)
        .max(elided_article(text))
        .max(between_vowels(text));
    (longest > 0).then(|| Match::source(longest))
}

/// Returns the length of `d'`, `l'`, `n'`, `o'` or a capital letter and an apostrophe with two or more
/// letters, or 0.
fn elided_article(text: &[char]) -> usize {
    let is_article = match text[0] {
        'I' | 'Y' => false,
        'd' | 'l' | 'n' | 'o' => true,
        c => c.is_ascii_uppercase(),
    };
    if !is_article || !is_at(text, 1, is_apostrophe) || count(text, 2, is_letter) < 2 {
        return 0;
    }
    join(text, 2 + count(text, 2, is_alphanumeric), |c| c == '-')
}

/// Returns the length of a word with an apostrophe between vowels or before a capital letter, or 0.
fn between_vowels(text: &[char]) -> usize {
    let is_vowel = |c: char| matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u');
    let apostrophe = count(text, 0, is_letter);
    let is_before = |c: char| is_vowel(c) || c.eq_ignore_ascii_case(&'y');
    let is_word = apostrophe >= 2
        && is_before(text[apostrophe - 1])
        && is_at(text, apostrophe, is_apostrophe)
        && is_at(text, apostrophe + 1, |c| {
            is_vowel(c) || c.is_ascii_uppercase()
        });
    if !is_word {
        return 0;
    }
    join(
        text,
        apostrophe + 1 + count(text, apostrophe + 1, is_alphanumeric),
        |c| c == '-',
    )
}

/// `d'`, `l'` and `j'` by themselves, and `y'` before a letter.
pub(super) fn elision(text: &[char]) -> Option<Match> {
    if !is_at(text, 1, is_apostrophe) {
        return None;
    }
    match text[0].to_ascii_lowercase() {
        'd' | 'l' | 'j' => Some(Match::source(2)),
        'y' if is_at(text, 2, is_letter) => Some(Match::source(2)),
        _ => None,
    }
}
