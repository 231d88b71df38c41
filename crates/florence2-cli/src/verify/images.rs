//! The images of the cases: from a folder, or from their public addresses.

use std::path::Path;

#[cfg(feature = "hub")]
use florence2::Hub;
use florence2::{Image, error_chain};

use super::cases::ImageSource;

/// Returns the image with a file name: that in `folder` if it exists, otherwise the downloaded one.
///
/// # Errors
/// The reason why the image is not available, or the size that differs from that of the published
/// image.
pub(super) fn open(
    name: &str,
    source: &ImageSource,
    folder: Option<&Path>,
) -> Result<Image, String> {
    let file = folder.map(|folder| folder.join(name));
    let file = file.filter(|file| file.exists());
    let image = match &file {
        Some(file) => Image::open(file).map_err(|error| error_chain(&error))?,
        None => {
            let bytes = download(&source.address)?;
            Image::from_bytes(&bytes).map_err(|error| format!("{name}: {}", error_chain(&error)))?
        }
    };
    let (found, expected) = (image.size(), (source.width, source.height));
    if (found.width, found.height) == expected {
        return Ok(image);
    }
    let name = file.map_or(name.to_owned(), |file| file.display().to_string());
    Err(format!(
        "{name}: found {}x{} pixels, expected {}x{}",
        found.width, found.height, source.width, source.height
    ))
}

#[cfg(feature = "hub")]
fn download(address: &str) -> Result<Vec<u8>, String> {
    Hub::from_env()
        .fetch(address)
        .map_err(|error| error_chain(&error))
}

#[cfg(not(feature = "hub"))]
fn download(address: &str) -> Result<Vec<u8>, String> {
    Err(format!(
        "{address}: this build does not download, expected the image in the folder of --images"
    ))
}
