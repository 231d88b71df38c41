//! Phrases that are removed from the results of grounding.

/// Pronouns, articles and similar words, as published with the weights; sorted.
const BANNED_PHRASES: [&str; 72] = [
    "I",
    "a",
    "a group",
    "a set",
    "all",
    "an",
    "another",
    "any",
    "anybody",
    "anyone",
    "anything",
    "each",
    "each other",
    "everybody",
    "everyone",
    "everything",
    "few",
    "he",
    "her",
    "hers",
    "herself",
    "him",
    "himself",
    "his",
    "image",
    "images",
    "it",
    "its",
    "itself",
    "lots",
    "many",
    "me",
    "mine",
    "myself",
    "nobody",
    "none",
    "one",
    "one another",
    "oneself",
    "other objects",
    "our",
    "ours",
    "ourselves",
    "several",
    "she",
    "some",
    "somebody",
    "someone",
    "something",
    "that",
    "the",
    "the image",
    "their",
    "theirs",
    "them",
    "themselves",
    "these",
    "they",
    "this",
    "those",
    "us",
    "we",
    "what",
    "which",
    "who",
    "whom",
    "whose",
    "you",
    "your",
    "yours",
    "yourself",
    "yourselves",
];

/// Returns whether a grounded phrase is dropped. The comparison is exact and case-sensitive, as in
/// the reference.
pub(crate) fn is_banned(phrase: &str) -> bool {
    BANNED_PHRASES.binary_search(&phrase).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_case_sensitive() {
        assert!(BANNED_PHRASES.is_sorted());
        assert!(is_banned("I") && is_banned("the image"));
        assert!(!is_banned("i") && !is_banned("The image"));
    }
}
