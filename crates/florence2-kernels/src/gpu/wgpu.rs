//! GPUs behind a graphics API: Vulkan, or Metal on Apple's machines.

pub use burn_wgpu::{Wgpu, WgpuDevice};

use ::wgpu::{DeviceType, Instance, InstanceDescriptor};
use burn_wgpu::graphics::{AutoGraphicsApi, GraphicsApi};
use cubecl::future::block_on;

use super::{Adapter, Unavailable};

/// The shader language that this build writes for a GPU, by which its devices are named: SPIR-V for
/// Vulkan and MSL for Metal where the features ask for them, else WGSL.
pub const API: &str = if cfg!(all(feature = "metal", target_os = "macos")) {
    "metal"
} else if cfg!(all(feature = "vulkan", not(target_os = "macos"))) {
    "vulkan"
} else {
    "wgpu"
};

/// The GPUs that the system's graphics API has: discrete ones first, a CPU that plays one last.
///
/// # Errors
/// [`Unavailable`] when there is none.
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
        // burn tells of these two kinds no more than one apart.
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
