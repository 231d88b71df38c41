//! Scores per class.

use std::collections::BTreeMap;

use serde::Serialize;

/// Scores of the samples of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group<S> {
    /// The class.
    pub class: String,
    /// Its scores.
    #[serde(flatten)]
    pub scores: S,
}

/// Returns the scores of each class, sorted by class. `classes` and `values` have one entry for
/// each sample; samples without a class are left out.
pub(crate) fn by_class<'a, V: Copy, S>(
    classes: impl Iterator<Item = Option<&'a str>>,
    values: &[V],
    scores: impl Fn(&[V]) -> Option<S>,
) -> Vec<Group<S>> {
    let mut groups: BTreeMap<&str, Vec<V>> = BTreeMap::new();
    for (class, &value) in classes.zip(values) {
        if let Some(class) = class {
            groups.entry(class).or_default().push(value);
        }
    }
    let group = |(class, values): (&str, Vec<V>)| {
        Some(Group {
            class: class.to_owned(),
            scores: scores(&values)?,
        })
    };
    groups.into_iter().filter_map(group).collect()
}
