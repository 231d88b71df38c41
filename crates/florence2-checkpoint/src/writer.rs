//! Writes safetensors files, one tensor at a time.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::atomic_file::AtomicFile;
use crate::error::{Error, Result};

/// Values that are converted at a time.
const PART: usize = 1 << 14;

/// The number type of a tensor that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatType {
    /// 32 bits.
    F32,
    /// 16 bits: 5 of the exponent, 10 of the mantissa. The largest value is 65504.
    F16,
    /// 16 bits: 8 of the exponent, 7 of the mantissa.
    Bf16,
}

impl FloatType {
    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }

    /// Bytes per value.
    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Appends the bytes of values, rounded to the nearest of this type.
    fn encode(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::F16 => bytes.extend(
                values
                    .iter()
                    .flat_map(|value| half::f16::from_f32(*value).to_le_bytes()),
            ),
            Self::Bf16 => bytes.extend(
                values
                    .iter()
                    .flat_map(|value| half::bf16::from_f32(*value).to_le_bytes()),
            ),
        }
    }
}

/// The name, the shape and the number type of a tensor that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// The key in the file.
    pub name: String,
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The number type in the file.
    pub dtype: FloatType,
}

impl TensorSpec {
    /// Describes a tensor.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, dtype: FloatType) -> Self {
        Self {
            name: name.into(),
            shape: shape.into(),
            dtype,
        }
    }
}

/// Writes a safetensors file with the metadata `{"format": "pt"}` that torch's users expect. The
/// bytes are those of the safetensors library: tensors lie in the order of their types, then of their
/// names.
///
/// Tensors are written one at a time and in any order, so that a model need not be held twice. The
/// file has a temporary name until [`Self::finish`]. An earlier file of the path is unchanged if
/// an error occurs, the disk is full or the process is killed.
///
/// ```no_run
/// use florence2_checkpoint::{FloatType, SafetensorsWriter, TensorSpec};
///
/// let tensors = [TensorSpec::new("bias", [3], FloatType::F16)];
/// let mut writer = SafetensorsWriter::create("model.safetensors".as_ref(), tensors)?;
/// writer.write("bias", &[0.0, 0.5, 1.0])?;
/// writer.finish()?;
/// # Ok::<(), florence2_checkpoint::Error>(())
/// ```
#[derive(Debug)]
pub struct SafetensorsWriter {
    file: AtomicFile,
    /// The tensors that are not written yet.
    missing: BTreeMap<String, Region>,
}

/// The place of a tensor in the file.
#[derive(Debug)]
struct Region {
    /// The offset of the first byte in the file.
    start: u64,
    /// The number of values.
    count: usize,
    dtype: FloatType,
}

impl SafetensorsWriter {
    /// Creates the temporary file and writes the header.
    ///
    /// # Errors
    /// [`Error::Write`], and [`Error::Malformed`] if several tensors have the same name or the file
    /// would be larger than the address space.
    pub fn create(path: &Path, tensors: impl IntoIterator<Item = TensorSpec>) -> Result<Self> {
        let mut tensors: Vec<TensorSpec> = tensors.into_iter().collect();
        // The order of the safetensors library, which aligns each tensor to its type.
        tensors.sort_by(|a, b| {
            let types = b.dtype.dtype().cmp(&a.dtype.dtype());
            types.then_with(|| a.name.cmp(&b.name))
        });
        let name = path.display().to_string();
        check_names(&tensors, &name)?;
        let (header, infos) = header(&tensors, &name)?;
        let mut file = AtomicFile::create(path)?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        let data_start = 8 + header.len() as u64;
        let missing = tensors
            .into_iter()
            .zip(infos)
            .map(|(tensor, (start, count))| {
                let region = Region {
                    start: data_start + start,
                    count,
                    dtype: tensor.dtype,
                };
                (tensor.name, region)
            });
        Ok(Self {
            missing: missing.collect(),
            file,
        })
    }

    /// Writes the values of a tensor in row-major order, rounded to its number type.
    ///
    /// # Errors
    /// [`Error::Write`], and [`Error::Malformed`] if the file has no tensor of this name, if it is
    /// already written, or if the number of values is not that of its shape.
    pub fn write(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let Some(region) = self.missing.remove(name) else {
            let reason = format!("found `{name}`, expected a tensor of the header, written once");
            return Err(self.file.malformed(reason));
        };
        if values.len() != region.count {
            let (found, expected) = (values.len(), region.count);
            let reason = format!("`{name}`: found {found} values, expected {expected}");
            return Err(self.file.malformed(reason));
        }
        self.file.seek(region.start)?;
        let mut bytes = Vec::with_capacity(PART.min(values.len()) * region.dtype.size());
        for values in values.chunks(PART) {
            bytes.clear();
            region.dtype.encode(values, &mut bytes);
            self.file.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Flushes the file to the disk and gives it its name.
    ///
    /// # Errors
    /// [`Error::Write`], and [`Error::Malformed`] with the tensors that are not written.
    pub fn finish(self) -> Result<()> {
        if !self.missing.is_empty() {
            let names: Vec<&str> = self.missing.keys().map(String::as_str).collect();
            let reason = format!("tensors without values: {}", names.join(", "));
            return Err(self.file.malformed(reason));
        }
        self.file.finish()
    }
}

fn check_names(tensors: &[TensorSpec], file: &str) -> Result<()> {
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    let equal = names.windows(2).filter(|pair| pair[0] == pair[1]);
    let mut equal: Vec<&str> = equal.map(|pair| pair[0]).collect();
    equal.dedup();
    if equal.is_empty() {
        return Ok(());
    }
    let reason = format!("several tensors have the name {}", equal.join(", "));
    Err(Error::malformed(file, reason))
}

/// The header of a file, and the offset and the number of values of each tensor in the data.
type Header = (Vec<u8>, Vec<(u64, usize)>);

fn header(tensors: &[TensorSpec], file: &str) -> Result<Header> {
    let mut infos = Vec::with_capacity(tensors.len());
    let mut regions = Vec::with_capacity(tensors.len());
    let mut offset = 0_usize;
    for tensor in tensors {
        let mut shape = tensor.shape.iter();
        let count = shape.try_fold(1_usize, |count, length| count.checked_mul(*length));
        let length = count.and_then(|count| count.checked_mul(tensor.dtype.size()));
        let end = length.and_then(|length| offset.checked_add(length));
        let (Some(count), Some(end)) = (count, end) else {
            let (name, shape) = (&tensor.name, &tensor.shape);
            let reason = format!("`{name}`: found shape {shape:?}, expected fewer values");
            return Err(Error::malformed(file, reason));
        };
        let info = TensorInfo {
            dtype: tensor.dtype.dtype(),
            shape: tensor.shape.clone(),
            data_offsets: (offset, end),
        };
        infos.push((tensor.name.clone(), info));
        regions.push((offset as u64, count));
        offset = end;
    }
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata =
        Metadata::new(Some(format), infos).map_err(|error| Error::malformed(file, error))?;
    let mut header =
        serde_json::to_vec(&metadata).map_err(|error| Error::malformed(file, error))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok((header, regions))
}
