//! GPUs behind a graphics API: Vulkan, or Metal on Apple's machines.

pub use burn_wgpu::{Wgpu, WgpuDevice};

use ::wgpu::{DeviceType, Instance, InstanceDescriptor};
use burn_wgpu::graphics::{AutoGraphicsApi, GraphicsApi};
use cubecl::future::block_on;

use super::{Adapter, Unavailable};

/// The name of this build's devices, which depends on the shader language that it compiles to:
/// SPIR-V for Vulkan and MSL for Metal if the features enable them, else WGSL.
pub const API: &str = if cfg!(all(feature = "metal", target_os = "macos")) {
    "metal"
} else if cfg!(all(feature = "vulkan", not(target_os = "macos"))) {
    "vulkan"
} else {
    "wgpu"
};

/// Lists the GPUs of the system's graphics API, discrete ones first and a software driver last.
///
/// # Errors
/// [`Unavailable`] if there is none.
pub fn adapters() -> Result<Vec<Adapter<WgpuDevice>>, Unavailable> {
    let api = AutoGraphicsApi::backend();
    let instance = Instance::new(InstanceDescriptor {
        backends: api.into(),
        ..InstanceDescriptor::new_without_display_handle()
    });
    let found: Vec<_> = block_on(instance.enumerate_adapters(api.into()))
        .iter()
        .map(::wgpu::Adapter::get_info)
        .collect();
    let of_type = |device_type: DeviceType, device: fn(usize) -> WgpuDevice| {
        let same = found
            .iter()
            .filter(move |info| info.device_type == device_type);
        same.enumerate().map(move |(index, info)| Adapter {
            device: device(index),
            name: info.name.clone(),
            software: device_type == DeviceType::Cpu,
        })
    };
    let adapters: Vec<_> = of_type(DeviceType::DiscreteGpu, WgpuDevice::DiscreteGpu)
        .chain(of_type(
            DeviceType::IntegratedGpu,
            WgpuDevice::IntegratedGpu,
        ))
        .chain(of_type(DeviceType::VirtualGpu, WgpuDevice::VirtualGpu))
        // burn does not distinguish devices within these two kinds, so only one of each is listed.
        .chain(of_type(DeviceType::Other, |_| WgpuDevice::DefaultDevice).take(1))
        .chain(of_type(DeviceType::Cpu, |_| WgpuDevice::Cpu).take(1))
        .collect();
    if adapters.is_empty() {
        return Err(Unavailable::new(format!(
            "no adapter found, expected a GPU's {api:?} driver"
        )));
    }
    Ok(adapters)
}
