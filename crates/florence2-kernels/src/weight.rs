//! [`Weight`]: a parameter, or its packed form.

use burn::module::{
    AutodiffModule, Content, Devices, HasAutodiffModule, Module, ModuleDisplay,
    ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId,
};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{DType, Distribution, Tensor};

use crate::Backend;

/// The format of a model's large weights and of their products. Sums are f32 in every precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f32 weights and products. A backend may store weights as f16 if f16 represents them exactly.
    #[default]
    F32,
    /// f16 weights. GPUs also multiply in f16, the CPU in f32.
    F16,
    /// bf16 weights and products.
    Bf16,
    /// int8 weights with a scale per output. Activations are quantised at run time. Products that
    /// would lose too much accuracy stay in bf16.
    Int8,
}

impl Precision {
    /// All precisions, widest first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::Int8];

    /// The name in options: `f32`, `f16`, `bf16` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// Returns the precision with a name, or `None` for other names.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.name() == name)
    }

    /// Lists some precisions for an error message: `f32, f16 or bf16`.
    pub fn choice(precisions: &[Self]) -> String {
        let names: Vec<&str> = precisions
            .iter()
            .map(|precision| precision.name())
            .collect();
        match names.as_slice() {
            [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            names => names.concat(),
        }
    }

    /// The data type of a tensor of such weights; `None` for int8, whose values need scales.
    pub fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 => Some(DType::F32),
            Self::F16 => Some(DType::F16),
            Self::Bf16 => Some(DType::BF16),
            Self::Int8 => None,
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A weight of `D` dimensions, outputs first, as checkpoints store it.
///
/// Checkpoints are loaded through [`Module::map`]. If the backend packs weights
/// ([`Backend::pack`]), a mapped value is packed at once, so that no second copy of it remains.
#[derive(Debug, Clone)]
pub enum Weight<B: Backend, const D: usize> {
    /// An ordinary parameter: trainable, and readable by any operation.
    Parameter(Param<Tensor<B, D>>, Precision),
    /// The backend's packed form.
    Packed(Packed),
}

/// A weight in a backend's packed form, shared by all clones.
#[derive(Debug, Clone)]
pub struct Packed {
    #[cfg_attr(not(feature = "flex"), allow(dead_code, reason = "no backend packs"))]
    pub(crate) matrix: PackedMatrix,
    pub(crate) shape: Vec<usize>,
    pub(crate) precision: Precision,
}

#[cfg(feature = "flex")]
type PackedMatrix = std::sync::Arc<crate::cpu::PackedMatrix>;
#[cfg(not(feature = "flex"))]
type PackedMatrix = std::sync::Arc<std::convert::Infallible>;

impl<B: Backend, const D: usize> Weight<B, D> {
    /// Creates a lazily initialised weight, with the uniform distribution of torch's linear layers.
    pub fn new(shape: [usize; D], precision: Precision, device: &B::Device) -> Self {
        let inputs: usize = shape[1..].iter().product();
        let bound = (inputs as f64).powf(-0.5);
        let parameter = Param::uninitialized(
            ParamId::new(),
            move |device, require_grad| {
                let values = Tensor::random(shape, Distribution::Uniform(-bound, bound), device);
                values.set_require_grad(require_grad)
            },
            device.clone(),
            true,
            shape.into(),
        );
        Self::Parameter(parameter, precision)
    }

    /// Creates a weight with given values, packed if the backend packs weights.
    pub fn from_tensor(values: Tensor<B, D>, precision: Precision) -> Self {
        Self::Parameter(Param::from_tensor(values), precision).packed()
    }

    /// The dimensions, outputs first.
    pub fn dims(&self) -> [usize; D] {
        match self {
            // INVARIANT: a tensor's shape has as many dimensions as its type.
            Self::Parameter(parameter, _) => parameter.lazy_shape().dims(),
            Self::Packed(packed) => packed.shape.as_slice().try_into().expect("D dimensions"),
        }
    }

    /// The precision in which it is stored, or would be stored by a backend that packs weights.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Parameter(_, precision) => *precision,
            Self::Packed(packed) => packed.precision,
        }
    }

    /// The values, unpacked if they are packed. For reading them once, not for computation.
    pub fn val(&self) -> Tensor<B, D> {
        match self {
            Self::Parameter(parameter, _) => parameter.val(),
            Self::Packed(packed) => B::unpack(packed, self.dims()),
        }
    }

    /// The packed form, if it is packed.
    pub fn as_packed(&self) -> Option<&Packed> {
        match self {
            Self::Parameter(..) => None,
            Self::Packed(packed) => Some(packed),
        }
    }

    /// Packs this weight. A parameter without a value, or one that the backend does not pack, is
    /// returned unchanged.
    #[must_use]
    pub fn packed(self) -> Self {
        match &self {
            Self::Parameter(parameter, precision) if parameter.is_initialized() => {
                match B::pack(parameter.val(), *precision) {
                    Some(packed) => Self::Packed(packed),
                    None => self,
                }
            }
            _ => self,
        }
    }

    fn as_parameter(&self) -> Param<Tensor<B, D>> {
        match self {
            Self::Parameter(parameter, _) => parameter.clone(),
            Self::Packed(_) => Param::from_tensor(self.val()),
        }
    }
}

impl<B: Backend, const D: usize> Module<B> for Weight<B, D> {
    type Record = Param<Tensor<B, D>>;

    fn collect_devices(&self, devices: Devices<B>) -> Devices<B> {
        self.as_parameter().collect_devices(devices)
    }

    fn fork(self, device: &B::Device) -> Self {
        match self {
            Self::Parameter(parameter, precision) => {
                Self::Parameter(parameter.fork(device), precision)
            }
            packed @ Self::Packed(_) => packed,
        }
    }

    fn to_device(self, device: &B::Device) -> Self {
        match self {
            Self::Parameter(parameter, precision) => {
                Self::Parameter(parameter.to_device(device), precision)
            }
            packed @ Self::Packed(_) => packed,
        }
    }

    fn visit<V: ModuleVisitor<B>>(&self, visitor: &mut V) {
        visitor.visit_float(&self.as_parameter());
    }

    fn map<M: ModuleMapper<B>>(self, mapper: &mut M) -> Self {
        match self {
            Self::Parameter(parameter, precision) => {
                Self::Parameter(mapper.map_float(parameter), precision).packed()
            }
            packed @ Self::Packed(_) => packed,
        }
    }

    fn load_record(self, record: Self::Record) -> Self {
        match self {
            Self::Parameter(parameter, precision) => {
                Self::Parameter(parameter.load_record(record), precision).packed()
            }
            packed @ Self::Packed(_) => packed,
        }
    }

    fn into_record(self) -> Self::Record {
        self.as_parameter().into_record()
    }
}

impl<B, const D: usize> AutodiffModule<B> for Weight<B, D>
where
    B: AutodiffBackend + Backend,
    B::InnerBackend: Backend,
{
    type InnerModule = Weight<B::InnerBackend, D>;

    fn valid(&self) -> Self::InnerModule {
        match self {
            Self::Parameter(parameter, precision) => {
                Weight::Parameter(parameter.valid(), *precision)
            }
            Self::Packed(packed) => Weight::Packed(packed.clone()),
        }
    }

    fn from_inner(module: Self::InnerModule) -> Self {
        match module {
            Weight::Parameter(parameter, precision) => {
                Self::Parameter(AutodiffModule::from_inner(parameter), precision)
            }
            Weight::Packed(packed) => Self::Packed(packed),
        }
    }
}

impl<B, I, const D: usize> HasAutodiffModule<B> for Weight<I, D>
where
    I: Backend,
    B: AutodiffBackend<InnerBackend = I> + Backend,
{
    type TrainModule = Weight<B, D>;
}

impl<B: Backend, const D: usize> ModuleDisplayDefault for Weight<B, D> {
    fn content(&self, content: Content) -> Option<Content> {
        content
            .add_formatted(&format!("Weight {:?}", self.dims()))
            .optional()
    }
}

impl<B: Backend, const D: usize> ModuleDisplay for Weight<B, D> {}
