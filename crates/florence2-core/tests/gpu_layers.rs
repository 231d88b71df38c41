//! Layers on a GPU: results in f16 are finite, and products of single rows are correct. The tests in
//! `reference` compare the model's results on GPUs with transformers.

#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used)]

use burn::module::Param;
use burn::tensor::{Bool, DType, Tensor, TensorData};
use florence2_core::Florence2VisionConfig;
use florence2_core::language_model::{Attention, KeysValues};
use florence2_core::layers::Linear;
use florence2_core::vision_tower::ConvEmbed;
use florence2_kernels::gpu::start;
use florence2_kernels::gpu::wgpu::{Wgpu, WgpuDevice, adapters};
use florence2_kernels::{Dtype, Weight};

fn device() -> WgpuDevice {
    let device = adapters().unwrap().swap_remove(0).device;
    start::<Wgpu>(&device, DType::F16).unwrap();
    device
}

fn values<const D: usize>(tensor: Tensor<Wgpu, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().into_vec().unwrap()
}

/// An identity matrix in f16.
fn identity(size: usize, device: &WgpuDevice) -> Tensor<Wgpu, 2> {
    Tensor::<Wgpu, 2>::eye(size, device).cast(DType::F16)
}

/// The squares of the input values overflow in f16.
#[test]
fn large_numbers_are_normed_in_f16() {
    let device = device();
    let mut config = Florence2VisionConfig::default();
    config.in_channels = 4;
    config.embed_dim = vec![4];
    config.patch_size = vec![3];
    config.patch_stride = vec![2];
    config.patch_padding = vec![1];
    config.patch_prenorm = vec![true];
    // After the norm, a convolution that returns its input.
    let mut layer = ConvEmbed::<Wgpu>::new(&config, 0, Dtype::F16, &device);
    let zeros = Tensor::<Wgpu, 4>::zeros([4, 4, 3, 3], (&device, DType::F16));
    let middle = identity(4, &device).reshape([4, 4, 1, 1]);
    let weight = zeros.slice_assign([0..4, 0..4, 1..2, 1..2], middle);
    layer.conv.weight = Weight::from_tensor(weight, Dtype::F16);
    layer.conv.bias = None;
    let large =
        Tensor::<Wgpu, 1>::from_data([60000.0, -60000.0, 30000.0, 0.0], (&device, DType::F16));
    let normed = layer.forward(large.reshape([1, 1, 1, 4]));
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
    // The projections return their input.
    let mut attention = Attention::<Wgpu>::new(4, 2, 0.0, Dtype::F16, &device);
    for linear in [&mut attention.q_proj, &mut attention.out_proj] {
        linear.weight = Weight::from_tensor(identity(4, &device), Dtype::F16);
        linear.bias = None;
    }
    let ones = Tensor::<Wgpu, 4>::ones([1, 2, 2, 2], (&device, DType::F16));
    let keys_values = KeysValues {
        keys: ones.clone(),
        values: ones.clone(),
        key_padding_mask: Some(Tensor::<Wgpu, 4, Bool>::full([1, 1, 1, 2], true, &device)),
    };
    let queries = ones.reshape([1, 2, 4]);
    let attended = attention.forward_cross(queries, &keys_values);
    assert_eq!(values(attended), [1.0; 8]);
}

/// The kernel that autotune selects for one row must read a weight, which is transposed, correctly.
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
        weight: Weight::from_tensor(tensor([OUTPUTS, INPUTS]), Dtype::F32),
        bias: Some(Param::from_tensor(bias)),
    };
    for rows in [1, 3] {
        let input = tensor([rows, INPUTS]).reshape([rows, 1, INPUTS]);
        let found = values(linear.forward(input));
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
