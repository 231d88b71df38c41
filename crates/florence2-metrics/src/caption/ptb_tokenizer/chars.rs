//! Classes of characters, as the tokenizer of pycocoevalcap treats them.

/// Ranges of characters that are tokens of their own.
const SYMBOLS: &[(char, char)] = &[
    ('\u{a1}', '\u{a1}'),
    ('\u{a5}', '\u{a9}'),
    ('\u{ac}', '\u{ac}'),
    ('\u{ae}', '\u{b4}'),
    ('\u{b6}', '\u{b9}'),
    ('\u{bf}', '\u{bf}'),
    ('\u{d7}', '\u{d7}'),
    ('\u{f7}', '\u{f7}'),
    ('\u{37e}', '\u{37e}'),
    ('\u{387}', '\u{387}'),
    ('\u{589}', '\u{589}'),
    ('\u{5be}', '\u{5be}'),
    ('\u{5c0}', '\u{5c0}'),
    ('\u{5c3}', '\u{5c3}'),
    ('\u{5c6}', '\u{5c6}'),
    ('\u{5f3}', '\u{5f4}'),
    ('\u{600}', '\u{603}'),
    ('\u{606}', '\u{60c}'),
    ('\u{614}', '\u{614}'),
    ('\u{61b}', '\u{61b}'),
    ('\u{61e}', '\u{61f}'),
    ('\u{66a}', '\u{66a}'),
    ('\u{66d}', '\u{66d}'),
    ('\u{6d4}', '\u{6d4}'),
    ('\u{700}', '\u{70d}'),
    ('\u{7f6}', '\u{7f8}'),
    ('\u{964}', '\u{965}'),
    ('\u{e3f}', '\u{e3f}'),
    ('\u{e4f}', '\u{e4f}'),
    ('\u{1fbd}', '\u{1fbd}'),
    ('\u{2016}', '\u{2017}'),
    ('\u{201a}', '\u{201a}'),
    ('\u{201e}', '\u{2023}'),
    ('\u{2030}', '\u{2038}'),
    ('\u{203b}', '\u{203b}'),
    ('\u{203e}', '\u{2042}'),
    ('\u{2044}', '\u{2044}'),
    ('\u{2070}', '\u{2070}'),
    ('\u{2074}', '\u{207e}'),
    ('\u{2080}', '\u{208e}'),
    ('\u{20a4}', '\u{20a4}'),
    ('\u{2100}', '\u{2101}'),
    ('\u{2103}', '\u{2106}'),
    ('\u{2108}', '\u{2109}'),
    ('\u{2114}', '\u{2114}'),
    ('\u{2116}', '\u{2118}'),
    ('\u{211e}', '\u{2123}'),
    ('\u{2125}', '\u{2125}'),
    ('\u{2127}', '\u{2127}'),
    ('\u{2129}', '\u{2129}'),
    ('\u{212e}', '\u{212e}'),
    ('\u{213a}', '\u{213b}'),
    ('\u{2140}', '\u{2144}'),
    ('\u{214a}', '\u{214d}'),
    ('\u{214f}', '\u{214f}'),
    ('\u{2155}', '\u{215e}'),
    ('\u{2190}', '\u{2bff}'),
    ('\u{3001}', '\u{3002}'),
    ('\u{3012}', '\u{3012}'),
    ('\u{30fb}', '\u{30fb}'),
    ('\u{ff01}', '\u{ff0f}'),
    ('\u{ff1a}', '\u{ff20}'),
    ('\u{ff3b}', '\u{ff40}'),
    ('\u{ff5b}', '\u{ff65}'),
    ('\u{ffe0}', '\u{ffe1}'),
    ('\u{ffe5}', '\u{ffe6}'),
];

/// Whether a character is a token of its own. Characters that are neither this nor part of a word
/// are dropped.
pub(super) fn is_symbol(c: char) -> bool {
    let is_ascii_symbol = matches!(c, '$'..='&' | '*'..=',' | ':'..='>' | '\\' | '^' | '`' | '|' | '~' | '@' | '/' | '#');
    is_ascii_symbol
        || SYMBOLS
            .iter()
            .any(|&(first, last)| (first..=last).contains(&c))
}

/// Letters and digits. The tokenizer drops characters beyond the basic multilingual plane, such as
/// emoji.
pub(super) fn is_alphanumeric(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let is_modifier = matches!(c, '\u{2c2}'..='\u{36f}');
    let is_hyphen = matches!(c, '\u{2010}' | '\u{2011}');
    let is_letter = c.is_alphabetic() || is_modifier || is_hyphen || is_digit(c);
    is_letter && c <= '\u{ffff}' && !is_symbol(c)
}

pub(super) fn is_letter(c: char) -> bool {
    is_alphanumeric(c) && !is_digit(c)
}

/// Decimal digits. Between the two ranges, other numeric characters are fractions and the like.
pub(super) fn is_digit(c: char) -> bool {
    match c {
        '0'..='9' | '\u{ff10}'..='\u{ff19}' => true,
        '\u{660}'..='\u{1fff}' => c.is_numeric(),
        _ => false,
    }
}

/// The straight and the typographic apostrophe.
pub(super) fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}')
}
