//! Rules for tokens other than words.

use super::chars::{is_alphanumeric, is_apostrophe, is_digit, is_letter};
use super::lists::{DOMAINS, ENTITIES};
use super::scan::{LONGEST_SPAN, Match, count, is_at, starts_with};

/// Tags such as `<loc_1>` and `</a>`.
pub(super) fn tag(text: &[char]) -> Option<Match> {
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

pub(super) fn entity(text: &[char]) -> Option<Match> {
    let found = ENTITIES
        .iter()
        .find(|(entity, _)| starts_with(text, entity));
    found.map(|(entity, token)| Match::replaced(entity.len(), token))
}

fn is_url_character(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '"' | '<' | '>' | '|' | '(' | ')' | '{' | '}')
}

/// `https://example.com/path`, without punctuation at the end.
pub(super) fn url(text: &[char]) -> Option<Match> {
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
pub(super) fn host_path(text: &[char]) -> Option<Match> {
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
pub(super) fn email(text: &[char]) -> Option<Match> {
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

/// `'90s` and `'90`.
pub(super) fn year(text: &[char]) -> Option<Match> {
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
pub(super) fn mixed_fraction(text: &[char]) -> Option<Match> {
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
pub(super) fn currency(text: &[char]) -> Option<Match> {
    let letters = count(text, 0, |c| c.is_ascii_uppercase());
    (letters > 0 && is_at(text, letters, |c| c == '$')).then(|| Match::source(letters + 1))
}

/// `@user` and `#topic`.
pub(super) fn mention(text: &[char]) -> Option<Match> {
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
pub(super) fn run(text: &[char]) -> Option<Match> {
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
pub(super) fn emoticon(text: &[char]) -> Option<Match> {
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
