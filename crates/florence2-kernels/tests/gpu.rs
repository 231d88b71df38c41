//! A missing GPU is an error, and so is work that fails on one. The layers and the results of the
//! model on GPUs are tested in florence2-core.
#![cfg(feature = "gpu")]
#![allow(clippy::unwrap_used)]

/// With a GPU or without one, the result is a non-empty list or an error with what was expected. A
/// second call returns the same.
#[cfg(any(feature = "cuda", feature = "rocm", feature = "wgpu"))]
fn assert_answers<D: PartialEq + std::fmt::Debug>(
    adapters: impl Fn() -> Result<
        Vec<florence2_kernels::gpu::Adapter<D>>,
        florence2_kernels::gpu::Unavailable,
    >,
) {
    let first = adapters();
    assert_eq!(first, adapters());
    match first {
        Ok(found) => assert!(!found.is_empty()),
        Err(missing) => assert!(missing.to_string().contains("expected"), "{missing}"),
    }
}

#[cfg(feature = "cuda")]
#[test]
fn cuda_answers() {
    assert_answers(florence2_kernels::gpu::cuda::adapters);
}

#[cfg(feature = "rocm")]
#[test]
fn rocm_answers() {
    assert_answers(florence2_kernels::gpu::rocm::adapters);
}

#[cfg(feature = "wgpu")]
mod wgpu {
    use burn::tensor::{DType, Tensor};
    use florence2_kernels::gpu::wgpu::{Wgpu, WgpuDevice, adapters};
    use florence2_kernels::gpu::{Unavailable, dtypes, run_checked, start};
    use florence2_kernels::{Backend, Dtype};

    fn device() -> WgpuDevice {
        let device = adapters().unwrap().swap_remove(0).device;
        start::<Wgpu>(&device, DType::F16).unwrap();
        device
    }

    fn values<const D: usize>(tensor: Tensor<Wgpu, D>) -> Vec<f32> {
        tensor.into_data().convert::<f32>().into_vec().unwrap()
    }

    #[test]
    fn wgpu_answers() {
        super::assert_answers(adapters);
    }

    #[test]
    fn a_number_type_without_arithmetic_is_an_error() {
        let refused: Result<(), Unavailable> = start::<Wgpu>(&device(), DType::BF16);
        let message = refused.unwrap_err().to_string();
        assert!(
            message.contains("BF16") && message.contains("expected"),
            "{message}"
        );
    }

    #[test]
    fn a_device_names_its_dtypes() {
        let found = dtypes::<Wgpu>(&device()).unwrap();
        assert_eq!(found, [Dtype::F32, Dtype::F16]);
    }

    /// A backend skips operations that do not fit: the sum would be of stale memory.
    #[test]
    fn work_beyond_the_largest_buffer_is_an_error_and_harms_none_after_it() {
        let device = device();
        let limit = Wgpu::largest_buffer(&device).unwrap();
        let largest = |elements: u64| {
            let ones = Tensor::<Wgpu, 1>::ones([elements as usize], &device);
            run_checked::<Wgpu, _>(&device, || values(ones.max()))
        };
        let fitting = limit / 4;
        assert_eq!(largest(fitting), Ok(vec![1.0]));
        let message = largest(fitting + 1).unwrap_err().to_string();
        assert!(
            message.contains(&format!(
                "expected enough memory, in buffers of at most {limit}"
            )) && !message.contains('\n'),
            "{message}"
        );
        assert_eq!(largest(fitting), Ok(vec![1.0]));
    }

    #[test]
    fn a_panic_at_work_is_an_error() {
        let said: Result<(), Unavailable> =
            run_checked::<Wgpu, _>(&device(), || panic!("no driver"));
        assert!(said.unwrap_err().to_string().starts_with("no driver; "));
    }

    #[test]
    fn the_largest_log_probabilities_come_first_with_their_indices() {
        let device = device();
        let probabilities = [[0.1_f32, 0.6, 0.05, 0.25], [0.7, 0.1, 0.15, 0.05]];
        let logits = Tensor::<Wgpu, 2>::from_data(probabilities, &device).log();
        let largest = values(Wgpu::top_k_log_softmax(logits, 2).unwrap());
        let expected = [
            0.6_f32.ln(),
            0.25_f32.ln(),
            1.0,
            3.0,
            0.7_f32.ln(),
            0.15_f32.ln(),
            0.0,
            2.0,
        ];
        for (found, expected) in largest.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "found {largest:?}");
        }
    }
}
