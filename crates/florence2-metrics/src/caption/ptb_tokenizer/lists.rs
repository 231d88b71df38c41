//! Words that the tokenizer of pycocoevalcap treats specially, found by comparing its results.

/// Abbreviations that keep their period, in any case.
const ABBREVIATIONS: &str = "adj adm adv al ala alex apr ariz assn assoc asst aug ave bldg blvd brig bros calif capt cf \
    cie cmdr co col colo conn corp cos cpl ct dak dec dept det dr elec ens esq est etc ext feb \
    fla fri ft ga gen gov hon inc ind insp intl jan jos jr jul jun kan kans ky lt ltd maj mar md \
    messrs mfg mich minn mlle mme mo mon mont mr mrs ms mt natl neb nev nov oct okla penn ph pres \
    prof pty pvt rd rep reps rev rt sen sens sep sept seq sgt sq sr st ste sys tel tenn thu thurs \
    tue tues univ va vs vt wed wis wisc wm wyo";

/// Abbreviations that keep their period only if the first letter is a capital, since they are also words.
const CAPITALISED: &str = "ark az del ill la mass miss ore pa tex wash";

/// Abbreviations that keep their period before a number.
const BEFORE_NUMBERS: [&str; 9] = ["art", "ca", "fig", "figs", "no", "nos", "op", "pp", "prop"];

/// Words that begin a sentence. A single letter and a period before one of them are two tokens.
const SENTENCE_STARTERS: &str = "A About According Additionally After An As At But Earlier He Her Here \
    However If In It Last Many More Now Once One Other Our She Since So Some Such That The Their Then There \
    These They This We What When While Yet You";

/// Words of two tokens.
const ASSIMILATIONS: [(&str, &str); 6] = [
    ("can", "not"),
    ("gim", "me"),
    ("gon", "na"),
    ("got", "ta"),
    ("lem", "me"),
    ("wan", "na"),
];

/// Words with an apostrophe at the end or within that are one token if no letter or digit follows.
pub(super) const APOSTROPHE_WORDS: [&str; 11] = [
    "'n",
    "ma'am",
    "c'mon",
    "cap'n",
    "s'mores",
    "nor'easter",
    "e'er",
    "ne'er",
    "ol'",
    "somethin'",
    "dunkin'",
];

/// Words that begin with an apostrophe, and end there even if letters follow.
pub(super) const APOSTROPHE_PREFIXES: [&str; 5] = ["'till", "'til", "'em", "'cause", "'n'"];

/// Words after an apostrophe that are a token with it: `'s`.
pub(super) const CONTRACTIONS: [&str; 6] = ["re", "ve", "ll", "s", "m", "d"];

/// Endings of host names that are recognised in addresses.
pub(super) const DOMAINS: [&str; 4] = ["com", "net", "org", "edu"];

/// Entities of HTML, and the characters that they stand for. Quotes and spaces are dropped.
pub(super) const ENTITIES: [(&str, &str); 5] = [
    ("&amp;", "&"),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", ""),
    ("&nbsp;", ""),
];

/// Whether a word is an abbreviation that keeps its period.
pub(super) fn is_abbreviation(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let is_capitalised = word.starts_with(|c: char| c.is_ascii_uppercase());
    contains(ABBREVIATIONS, &lower) || (is_capitalised && contains(CAPITALISED, &lower))
}

/// Whether a word is an abbreviation that keeps its period before a number.
pub(super) fn is_abbreviation_before_number(word: &str) -> bool {
    BEFORE_NUMBERS.contains(&word.to_ascii_lowercase().as_str())
}

/// Whether a word begins a sentence.
pub(super) fn is_sentence_starter(word: &str) -> bool {
    contains(SENTENCE_STARTERS, word)
}

/// Length of the first token of a word that is two tokens.
pub(super) fn assimilation(word: &str) -> Option<usize> {
    let lower = word.to_ascii_lowercase();
    let found = ASSIMILATIONS
        .iter()
        .find(|(first, second)| lower.strip_prefix(first) == Some(second));
    found.map(|(first, _)| first.len())
}

fn contains(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|entry| entry == word)
}
