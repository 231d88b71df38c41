//! The fused operations, one per file.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod channel_attention;
pub(crate) mod cross_attention_cache;
pub(crate) mod depthwise;
pub(crate) mod feed_forward;
pub(crate) mod kv_cache;
pub(crate) mod layer_norm;
pub(crate) mod layers;
pub(crate) mod patch_embedding;
pub(crate) mod reduce;
pub(crate) mod softmax;
pub(crate) mod top_k;
pub(crate) mod window_attention;
