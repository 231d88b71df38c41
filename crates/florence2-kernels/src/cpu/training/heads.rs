//! The heads of an attention, as slices of its tensors.

use burn::tensor::Tensor;
use burn_flex::{Flex, FlexTensor};

use super::super::tensor::{slice, values};
use super::attention::{Head, Mask};
use crate::{AttentionSettings, DropoutMask};

/// All heads of a batch.
pub(crate) struct Heads {
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    heads: usize,
    queries: usize,
    keys: usize,
    head_dim: usize,
    mask: Option<BatchMask>,
    scale: f32,
    dropout: Option<DropoutMask>,
}

/// A mask `[batch or 1, 1, queries or 1, keys]`.
struct BatchMask {
    is_masked: Vec<bool>,
    batch: usize,
    queries: usize,
}

impl Heads {
    /// Returns `None` if a tensor is not f32 or has no values.
    pub(crate) fn new(
        [q, k, v]: [&Tensor<Flex, 4>; 3],
        settings: &AttentionSettings<Flex>,
    ) -> Option<Self> {
        let [batch, heads, queries, head_dim] = q.dims();
        let keys = k.dims()[2];
        if batch * heads * queries * keys * head_dim == 0 {
            return None;
        }
        let mask = settings.mask.as_ref().map(|mask| {
            let [batch, _, queries, _] = mask.dims();
            let is_masked = mask.to_data().iter::<bool>().collect();
            BatchMask {
                is_masked,
                batch,
                queries,
            }
        });
        Some(Self {
            q: values(q)?,
            k: values(k)?,
            v: values(v)?,
            heads,
            queries,
            keys,
            head_dim,
            mask,
            scale: settings.scale as f32,
            dropout: settings.dropout,
        })
    }

    /// A head, counted through the batch.
    pub(crate) fn head(&self, index: usize) -> Head<'_> {
        let part = |tensor, rows: usize| {
            let size = rows * self.head_dim;
            &slice(tensor)[index * size..][..size]
        };
        let mask = self.mask.as_ref().map(|mask| {
            let entry = if mask.batch == 1 {
                0
            } else {
                index / self.heads
            };
            let size = mask.queries * self.keys;
            Mask {
                is_masked: &mask.is_masked[entry * size..][..size],
                is_shared: mask.queries == 1,
            }
        });
        let place = index * self.queries * self.keys;
        Head {
            q: part(&self.q, self.queries),
            k: part(&self.k, self.keys),
            v: part(&self.v, self.keys),
            head_dim: self.head_dim,
            scale: self.scale,
            mask,
            dropout: self.dropout.map(|mask| (mask, place)),
        }
    }
}
