//! Generated text as a flat list of units, found in one pass.

use std::ops::Range;

/// Tokens that frame an answer and are no part of it.
const FRAME_TOKENS: [&str; 3] = ["<s>", "</s>", "<pad>"];

/// What a unit is.
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
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) kind: UnitKind,
    pub(crate) range: Range<usize>,
}

/// The text without its frame tokens, and its units.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) text: String,
    pub(crate) units: Vec<Unit>,
    /// (offset in `text`, offset in the source) where a kept stretch begins.
    stretches: Vec<(usize, usize)>,
}

impl Scanned {
    pub(crate) fn new(source: &str) -> Self {
        let (text, stretches) = without_frame_tokens(source);
        let units = units(&text);
        Self {
            text,
            units,
            stretches,
        }
    }

    /// The bytes of the source that a range of `text` came from.
    pub(crate) fn source_range(&self, range: &Range<usize>) -> Range<usize> {
        let source = |offset: usize| {
            let index = self
                .stretches
                .partition_point(|(begin, _)| *begin <= offset);
            match index.checked_sub(1).map(|index| self.stretches[index]) {
                Some((begin, source)) => source + (offset - begin),
                None => offset,
            }
        };
        match range.is_empty() {
            true => source(range.start)..source(range.start),
            false => source(range.start)..source(range.end - 1) + 1,
        }
    }

    /// How many locations follow each other from each unit on; one entry more than units.
    pub(crate) fn location_runs(&self) -> Vec<usize> {
        let mut runs = vec![0; self.units.len() + 1];
        for (index, unit) in self.units.iter().enumerate().rev() {
            if matches!(unit.kind, UnitKind::Location(_)) {
                runs[index] = runs[index + 1] + 1;
            }
        }
        runs
    }

    /// The bins of consecutive location units.
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
        match units.is_empty() {
            true => 0..0,
            false => self.units[units.start].range.start..self.units[units.end - 1].range.end,
        }
    }
}

fn without_frame_tokens(source: &str) -> (String, Vec<(usize, usize)>) {
    let mut text = String::with_capacity(source.len());
    let mut stretches = vec![(0, 0)];
    let mut offset = 0;
    while offset < source.len() {
        let rest = &source[offset..];
        if let Some(token) = FRAME_TOKENS.iter().find(|token| rest.starts_with(**token)) {
            offset += token.len();
            stretches.push((text.len(), offset));
            continue;
        }
        // The first character, then all up to the next `<`, which may begin a frame token.
        let first = rest.chars().next().map_or(1, char::len_utf8);
        let length = rest[first..]
            .find('<')
            .map_or(rest.len(), |index| first + index);
        text.push_str(&rest[..length]);
        offset += length;
    }
    (text, stretches)
}

fn units(text: &str) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut offset = 0;
    while offset < text.len() {
        let (kind, length) = unit(&text[offset..]);
        units.push(Unit {
            kind,
            range: offset..offset + length,
        });
        offset += length;
    }
    units
}

/// The unit that a non-empty text begins with, and its bytes.
fn unit(text: &str) -> (UnitKind, usize) {
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

/// `<loc_N>` at the beginning of a text: N and the bytes it takes.
fn location(text: &str) -> Option<(u32, usize)> {
    let digits_and_rest = text.strip_prefix("<loc_")?;
    let digits = digits_and_rest
        .bytes()
        .take_while(u8::is_ascii_digit)
        .count();
    if digits == 0 || !digits_and_rest[digits..].starts_with('>') {
        return None;
    }
    let bin = digits_and_rest[..digits].parse().unwrap_or(u32::MAX);
    Some((bin, "<loc_".len() + digits + 1))
}
