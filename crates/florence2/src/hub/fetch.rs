//! Download of a single file into memory.

use super::client::Client;
use super::settings::Hub;
use crate::error::{Error, Result};

/// The maximum size of a file in memory, in bytes.
const MAX_BYTES: u64 = 64 << 20;

impl Hub {
    /// Downloads a file of at most 64 MiB, such as an image. `address` is a URL, or a path of this
    /// hub, such as `datasets/ORG/NAME/resolve/main/image.jpg`. The file is not cached.
    ///
    /// # Errors
    /// [`Error::Hub`] if the hub is offline, or if the file does not exist, cannot be reached or is
    /// too large.
    pub fn fetch(&self, address: &str) -> Result<Vec<u8>> {
        let failed = |reason: String| Error::Hub {
            what: address.to_owned(),
            reason,
        };
        if self.offline {
            return Err(failed(
                "found HF_HUB_OFFLINE, expected a connection".to_owned(),
            ));
        }
        let url = match address.contains("://") {
            true => address.to_owned(),
            false => format!("{}/{address}", self.endpoint()),
        };
        let client = Client::new(self, address, "main");
        client.get_bytes(&url, MAX_BYTES).map_err(failed)
    }
}
