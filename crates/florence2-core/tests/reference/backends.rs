//! The backends of this build and the dtypes of each. burn-flex fuses every layer. The others
//! fuse none, so they test the layers in burn's operations.

/// Defines a test per backend and dtype, for a function that is generic over the backend and
/// takes the dtype.
macro_rules! on_every_backend {
    ($check:ident) => {
        mod $check {
            on_every_backend!(@backend $check flex burn_flex::Flex: f32 F32);
            on_every_backend!(@backend $check ndarray burn_ndarray::NdArray: f32 F32);
            #[cfg(feature = "cuda")]
            on_every_backend!(@backend $check cuda florence2_kernels::gpu::cuda::Cuda:
                f32 F32, f16 F16, bf16 Bf16);
            #[cfg(feature = "rocm")]
            on_every_backend!(@backend $check rocm florence2_kernels::gpu::rocm::Rocm:
                f32 F32, f16 F16, bf16 Bf16);
            // Graphics APIs do not compute with bf16.
            #[cfg(feature = "wgpu")]
            on_every_backend!(@backend $check wgpu florence2_kernels::gpu::wgpu::Wgpu:
                f32 F32, f16 F16);
        }
    };
    (@backend $check:ident $name:ident $backend:ty: $($test:ident $dtype:ident),*) => {
        mod $name {
            $(#[test]
            fn $test() {
                super::super::$check::<$backend>(florence2_kernels::Dtype::$dtype);
            })*
        }
    };
}

/// Defines a test per backend, for a function that is generic over it.
macro_rules! on_every_backend_in_f32 {
    ($check:ident) => {
        mod $check {
            on_every_backend_in_f32!(@backend $check flex burn_flex::Flex);
            on_every_backend_in_f32!(@backend $check ndarray burn_ndarray::NdArray);
            #[cfg(feature = "cuda")]
            on_every_backend_in_f32!(@backend $check cuda florence2_kernels::gpu::cuda::Cuda);
            #[cfg(feature = "rocm")]
            on_every_backend_in_f32!(@backend $check rocm florence2_kernels::gpu::rocm::Rocm);
            #[cfg(feature = "wgpu")]
            on_every_backend_in_f32!(@backend $check wgpu florence2_kernels::gpu::wgpu::Wgpu);
        }
    };
    (@backend $check:ident $name:ident $backend:ty) => {
        #[test]
        fn $name() {
            super::$check::<$backend>();
        }
    };
}
