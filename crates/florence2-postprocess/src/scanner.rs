//! Generated text as a flat list of units, found in one pass.

use std::iter::once;
use std::ops::Range;

use crate::steps::count;

/// Tokens that frame an answer without belonging to it, in the order in which the reference removes
/// them. The order matters, since removing one can create another.
pub(crate) const FRAME_TOKENS: [&str; 3] = ["<s>", "</s>", "<pad>"];

/// The kind of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitKind {
    /// A run of characters without `<`.
    Text,
    /// `<loc_N>`.
    Location(u32),
    /// `<sep>`: the end of a polygon's ring.
    Separator,
    /// `<poly>`.
    PolygonStart,
    /// `</poly>`.
    PolygonEnd,
    /// A `<` that begins none of the above.
    Stray,
}

/// One unit and its bytes in [`Scanned::text`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) kind: UnitKind,
    pub(crate) range: Range<usize>,
}

/// The text without its frame tokens, and its units.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) text: String,
    pub(crate) units: Vec<Unit>,
    /// The source offset of each byte of `text`.
    source_offsets: Vec<usize>,
}

impl Unit {
    pub(crate) fn is_location(&self) -> bool {
        matches!(self.kind, UnitKind::Location(_))
    }

    /// A location, or a tag that structures polygons.
    pub(crate) fn is_polygon_part(&self) -> bool {
        !matches!(self.kind, UnitKind::Text | UnitKind::Stray)
    }
}

impl Scanned {
    pub(crate) fn new(source: &str) -> Self {
        let mut text = source.to_owned();
        let mut source_offsets: Vec<usize> = (0..source.len()).collect();
        for token in FRAME_TOKENS {
            (text, source_offsets) = without(token, &text, &source_offsets);
        }
        Self {
            units: units(&text),
            text,
            source_offsets,
        }
    }

    /// The bytes of the source from which a range of `text` originates.
    pub(crate) fn source_range(&self, range: &Range<usize>) -> Range<usize> {
        match self.source_offsets.get(range.clone()) {
            Some([first, .., last]) => *first..*last + 1,
            Some([only]) => *only..*only + 1,
            _ => 0..0,
        }
    }

    /// The number of consecutive counted units from each unit on; one entry more than units.
    pub(crate) fn ahead(&self, is_counted: impl Fn(&Unit) -> bool) -> Vec<usize> {
        let mut ahead = vec![0; self.units.len() + 1];
        count(self.units.len());
        for (index, unit) in self.units.iter().enumerate().rev() {
            if is_counted(unit) {
                ahead[index] = ahead[index + 1] + 1;
            }
        }
        ahead
    }

    /// The bins of the locations among some units.
    pub(crate) fn bins(&self, units: Range<usize>) -> Vec<u32> {
        self.units[units]
            .iter()
            .filter_map(|unit| match unit.kind {
                UnitKind::Location(bin) => Some(bin),
                _ => None,
            })
            .collect()
    }

    /// The bytes of `text` that consecutive units cover.
    pub(crate) fn text_range(&self, units: Range<usize>) -> Range<usize> {
        match &self.units[units] {
            [] => 0..0,
            [only] => only.range.clone(),
            [first, .., last] => first.range.start..last.range.end,
        }
    }
}

/// Removes a token from the text, and returns the source offset of each remaining byte.
fn without(token: &str, text: &str, source_offsets: &[usize]) -> (String, Vec<usize>) {
    count(text.len());
    let mut kept = String::with_capacity(text.len());
    let mut kept_offsets = Vec::with_capacity(text.len());
    let mut begin = 0;
    let ends = text.match_indices(token).map(|(index, _)| index);
    for end in ends.chain(once(text.len())) {
        kept.push_str(&text[begin..end]);
        kept_offsets.extend_from_slice(&source_offsets[begin..end]);
        begin = end + token.len();
    }
    (kept, kept_offsets)
}

pub(crate) fn units(text: &str) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut offset = 0;
    while offset < text.len() {
        let (kind, length) = first_unit(&text[offset..]);
        count(length);
        units.push(Unit {
            kind,
            range: offset..offset + length,
        });
        offset += length;
    }
    units
}

/// The first unit of a non-empty text, and its length in bytes.
fn first_unit(text: &str) -> (UnitKind, usize) {
    if !text.starts_with('<') {
        return (UnitKind::Text, text.find('<').unwrap_or(text.len()));
    }
    for (tag, kind) in [
        ("<sep>", UnitKind::Separator),
        ("<poly>", UnitKind::PolygonStart),
        ("</poly>", UnitKind::PolygonEnd),
    ] {
        if text.starts_with(tag) {
            return (kind, tag.len());
        }
    }
    match location(text) {
        Some((bin, length)) => (UnitKind::Location(bin), length),
        None => (UnitKind::Stray, 1),
    }
}

/// Parses `<loc_N>` at the beginning of a text: N and the number of its bytes.
///
/// N is ASCII. The reference's pattern accepts any Unicode digit, but no token has one.
fn location(text: &str) -> Option<(u32, usize)> {
    let after = text.strip_prefix("<loc_")?;
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || !after[digits..].starts_with('>') {
        return None;
    }
    // Only digits that overflow fail to parse, and no token has so many.
    let bin = after[..digits].parse().unwrap_or(u32::MAX);
    Some((bin, "<loc_".len() + digits + ">".len()))
}

#[cfg(test)]
mod tests {
    use UnitKind::{Location, PolygonEnd, PolygonStart, Separator, Stray, Text};

    use super::*;

    fn kinds(text: &str) -> Vec<UnitKind> {
        units(text).iter().map(|unit| unit.kind).collect()
    }

    #[test]
    fn units_cover_the_text_in_order() {
        let text = "a b<loc_7><loc_x><sep><poly></poly><<loc_999999999999>é<loc_";
        let units = units(text);
        let joined: String = units.iter().map(|unit| &text[unit.range.clone()]).collect();
        assert_eq!(joined, text);
        let expected = [
            Text,
            Location(7),
            Stray,
            Text,
            Separator,
            PolygonStart,
            PolygonEnd,
            Stray,
            Location(u32::MAX),
            Text,
            Stray,
            Text,
        ];
        assert_eq!(kinds(text), expected);
    }

    #[test]
    fn frame_tokens_go_one_kind_after_the_other() {
        // Without `<s>` a `</s>` appears, which is removed too; without `</s>` an `<s>` appears and
        // stays.
        let scanned = Scanned::new("<<s>/s>a<</s>s>b<pad>");
        assert_eq!(scanned.text, "a<s>b");
        assert_eq!(scanned.source_range(&(0..1)), 7..8);
        assert_eq!(scanned.source_range(&(1..4)), 8..15);
        assert_eq!(scanned.source_range(&(2..2)), 0..0);
    }

    #[test]
    fn units_ahead_count_down() {
        let scanned = Scanned::new("a<loc_1><loc_2>b<loc_3>");
        assert_eq!(scanned.ahead(Unit::is_location), [0, 2, 1, 0, 1, 0]);
    }
}
