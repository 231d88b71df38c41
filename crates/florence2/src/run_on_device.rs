//! Work on a device by name, for programs that are generic over burn's backends, such as the training of
//! the command.

use crate::device;
use crate::device_work::DeviceWork;
use crate::error::Result;
use crate::load_options::LoadOptions;
use crate::threads::Threads;

/// Runs work on the device and the threads of the options. The function is hidden and no part of the
/// public API, as [`DeviceWork`].
///
/// # Errors
/// Those of [`Florence2::load_with`](crate::Florence2::load_with) that name the device, the dtype or the
/// threads, and [`Error::DeviceFailed`](crate::Error::DeviceFailed) if a GPU fails during the work.
#[doc(hidden)]
pub fn run_on_device<W: DeviceWork>(options: &LoadOptions, work: W) -> Result<W::Output> {
    let threads = Threads::new(options.threads, options.spin_limit)?;
    threads.install(|| device::run(options, work))
}
