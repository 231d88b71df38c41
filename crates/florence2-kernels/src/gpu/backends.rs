//! The implementations of [`Backend`] for GPUs, which fuse no layer.

use burn::tensor::{DType, Tensor};

use crate::{Backend, Dtype, Packing, TrainingOps};

/// The implementation of [`Backend`] for a GPU.
macro_rules! on_gpu {
    ($backend:ty, $runtime:ty) => {
        impl TrainingOps for $backend {}

        impl Packing for $backend {
            fn dtypes() -> &'static [Dtype] {
                &[Dtype::F32, Dtype::F16, Dtype::Bf16]
            }

            fn parameter_dtype(dtype: Dtype) -> DType {
                $crate::tensor_dtype(dtype).unwrap_or(DType::F32)
            }
        }

        impl Backend for $backend {
            type SelfAttentionCache = ();
            type CrossAttentionCache = ();

            fn largest_buffer(device: &Self::Device) -> Option<u64> {
                Some(super::largest_buffer::<Self>(device))
            }

            fn top_k_log_softmax(logits: Tensor<Self, 2>, count: usize) -> Option<Tensor<Self, 2>> {
                Some(super::top_k_log_softmax(logits, count))
            }
        }

        impl super::GpuBackend for $backend {
            type Runtime = $runtime;
        }
    };
}

#[cfg(feature = "cuda")]
on_gpu!(super::cuda::Cuda, cubecl::cuda::CudaRuntime);
#[cfg(feature = "rocm")]
on_gpu!(super::rocm::Rocm, cubecl::hip::HipRuntime);
#[cfg(feature = "wgpu")]
on_gpu!(super::wgpu::Wgpu, cubecl::wgpu::WgpuRuntime);
