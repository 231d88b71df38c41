//! A missing GPU is an error, and results in f16 are numbers. The results of the model on GPUs are
//! compared with the reference in florence2-core.
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
    use burn::module::Param;
    use burn::nn::LayerNormConfig;
    use burn::tensor::{Bool, DType, Tensor, TensorData};
    use florence2_kernels::gpu::wgpu::{Wgpu, WgpuDevice, adapters};
    use florence2_kernels::gpu::{Unavailable, precisions, start, watched};
    use florence2_kernels::{Backend, KeysValues, Linear, Precision, Weight};

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
    fn a_device_names_its_precisions() {
        let found = precisions::<Wgpu>(&device()).unwrap();
        assert_eq!(found, [Precision::F32, Precision::F16]);
    }

    /// A backend skips operations that do not fit: the sum would be of stale memory.
    #[test]
    fn work_beyond_the_largest_buffer_is_an_error_and_harms_none_after_it() {
        let device = device();
        let limit = Wgpu::largest_buffer(&device).unwrap();
        let largest = |elements: u64| {
            let ones = Tensor::<Wgpu, 1>::ones([elements as usize], &device);
            watched::<Wgpu, _>(&device, || values(ones.max()))
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
        let said: Result<(), Unavailable> = watched::<Wgpu, _>(&device(), || panic!("no driver"));
        assert!(said.unwrap_err().to_string().starts_with("no driver; "));
    }

    /// The squares of these numbers are infinite in f16.
    #[test]
    fn large_numbers_are_normed_in_f16() {
        let device = device();
        let norm = LayerNormConfig::new(4).init(&device);
        let large =
            Tensor::<Wgpu, 1>::from_data([60000.0, -60000.0, 30000.0, 0.0], (&device, DType::F16));
        let normed = Wgpu::apply_norm(large.reshape([1, 1, 4]), &norm);
        let expected = [1.183, -1.521, 0.507, -0.169];
        for (found, expected) in values(normed).iter().zip(expected) {
            assert!(
                (found - expected).abs() < 0.005,
                "found {found}, expected {expected}"
            );
        }
    }

    #[test]
    fn a_row_that_is_masked_as_a_whole_stays_a_number_in_f16() {
        let device = device();
        let ones = Tensor::<Wgpu, 3>::ones([1, 2, 4], (&device, DType::F16));
        let masked = Tensor::<Wgpu, 4, Bool>::full([1, 1, 1, 2], true, &device);
        let keys_values = <Wgpu as Backend>::KeysValues::new(
            ones.clone(),
            ones.clone(),
            2,
            Some(masked),
            Precision::F32,
        );
        assert_eq!(values(keys_values.attend(ones)), [1.0; 8]);
    }

    /// The kernel that autotune selects for one row must read a weight, which is transposed,
    /// correctly.
    #[test]
    fn a_token_by_itself_is_multiplied_as_many_are() {
        const INPUTS: usize = 64;
        const OUTPUTS: usize = 96;
        let device = device();
        let number = |index: usize| ((index * 37 + index / 11) % 19) as f32 / 19.0 - 0.5;
        let numbers = |count: usize| (0..count).map(number).collect::<Vec<_>>();
        let tensor = |shape: [usize; 2]| {
            let data = TensorData::new(numbers(shape[0] * shape[1]), shape);
            Tensor::<Wgpu, 2>::from_data(data, &device)
        };
        let bias = tensor([1, OUTPUTS]).reshape([OUTPUTS]);
        let linear = Linear::<Wgpu> {
            weight: Weight::from_tensor(tensor([OUTPUTS, INPUTS]), Precision::F32),
            bias: Some(Param::from_tensor(bias)),
        };
        for rows in [1, 3] {
            let input = tensor([rows, INPUTS]).reshape([rows, 1, INPUTS]);
            let found = values(Wgpu::apply_linear(input, &linear));
            for (index, found) in found.into_iter().enumerate() {
                let (row, output) = (index / OUTPUTS, index % OUTPUTS);
                let product = |at| number(row * INPUTS + at) * number(output * INPUTS + at);
                let expected = (0..INPUTS).map(product).sum::<f32>() + number(output);
                assert!(
                    (found - expected).abs() < 1e-4,
                    "output {output} of row {row} of {rows}: found {found}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn the_likeliest_come_first_with_their_numbers() {
        let device = device();
        let probabilities = [[0.1_f32, 0.6, 0.05, 0.25], [0.7, 0.1, 0.15, 0.05]];
        let logits = Tensor::<Wgpu, 2>::from_data(probabilities, &device).log();
        let likeliest = values(Wgpu::likeliest(logits, 2).unwrap());
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
        for (found, expected) in likeliest.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "found {likeliest:?}");
        }
    }
}
