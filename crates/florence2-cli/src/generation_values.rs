//! The values of generation flags that consist of several numbers.

/// A list of token ids, parsed from one argument.
#[derive(Clone)]
pub(crate) struct Ids(Vec<u32>);

impl Ids {
    /// The lists of several arguments.
    pub(crate) fn values(lists: &[Self]) -> Vec<Vec<u32>> {
        lists.iter().map(|ids| ids.0.clone()).collect()
    }
}

/// A token sequence and its bias, parsed from one argument.
#[derive(Clone)]
pub(crate) struct Bias(Vec<u32>, f32);

impl Bias {
    /// The sequences and biases of several arguments.
    pub(crate) fn values(biases: &[Self]) -> Vec<(Vec<u32>, f32)> {
        let pairs = biases.iter().map(|bias| (bias.0.clone(), bias.1));
        pairs.collect()
    }
}

pub(crate) fn parse_ids(text: &str) -> Result<Ids, String> {
    let ids: Result<Vec<u32>, _> = text.split(',').map(|id| id.trim().parse()).collect();
    ids.map(Ids)
        .map_err(|_| format!("found `{text}`, expected ids separated by commas"))
}

pub(crate) fn parse_bias(text: &str) -> Result<Bias, String> {
    let parts = text.split_once('=').and_then(|(ids, bias)| {
        let ids = parse_ids(ids).ok()?;
        Some(Bias(ids.0, bias.trim().parse().ok()?))
    });
    parts.ok_or_else(|| format!("found `{text}`, expected ids and a bias as ID,..=BIAS"))
}

pub(crate) fn parse_decay(text: &str) -> Result<(usize, f64), String> {
    let parts = text.split_once(',').and_then(|(start, factor)| {
        Some((start.trim().parse().ok()?, factor.trim().parse().ok()?))
    });
    parts.ok_or_else(|| format!("found `{text}`, expected two numbers START,FACTOR"))
}
