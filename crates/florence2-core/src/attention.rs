//! The one attention that every module calls.

use burn::tensor::{Bool, Tensor, activation, backend::Backend};

/// `softmax(q k^T * scale) v`; HF `eager_attention_forward`.
///
/// # Shapes
/// - `q`: `[batch, heads, queries, dim]`
/// - `k`, `v`: `[batch, heads, keys, dim]`
/// - `masked`: `[batch or 1, heads or 1, queries or 1, keys]`, true where a key must not be seen
/// - output: `[batch, heads, queries, dim]`
pub fn scaled_dot_product_attention<B: Backend>(
    q: Tensor<B, 4>,
    k: Tensor<B, 4>,
    v: Tensor<B, 4>,
    masked: Option<Tensor<B, 4, Bool>>,
    scale: f64,
) -> Tensor<B, 4> {
    let mut scores = (q * scale).matmul(k.swap_dims(2, 3));
    if let Some(masked) = masked {
        let shape = scores.shape();
        scores = scores.mask_fill(masked.expand(shape), f32::NEG_INFINITY);
    }
    activation::softmax(scores, 3).matmul(v)
}
