//! Work that is generic over burn's backends.

use florence2_kernels::Backend;

/// Work that any backend can do. The trait is hidden and no part of the public API, since burn's types
/// are not.
#[doc(hidden)]
pub trait DeviceWork: Send {
    /// The result of the work.
    type Output: Send;

    /// Does the work on a device.
    fn run<B: Backend>(self, device: &B::Device) -> Self::Output;
}
