//! [`Weight`]: a parameter, its packed form, or a frozen weight with a low-rank update.

use burn::module::{
    AutodiffModule, Content, Devices, HasAutodiffModule, Module, ModuleDisplay,
    ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId,
};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Distribution, Tensor};

use crate::dtype::Dtype;
use crate::lora::LoraUpdate;
use crate::packing::{Packed, Packing};

/// A weight of `D` dimensions, outputs first, as checkpoints store it.
///
/// Checkpoints are loaded through [`Module::map`]. If the backend packs weights
/// ([`Packing::pack`]), a mapped value is packed at once, so that no second copy of it remains.
///
/// [`AutodiffModule::valid`] merges an update into its weight.
#[derive(Debug, Clone)]
pub enum Weight<B: Packing, const D: usize> {
    /// An ordinary parameter: trainable, and readable by any operation.
    Parameter(Param<Tensor<B, D>>, Dtype),
    /// The backend's packed form, which is not trainable.
    Packed(Packed),
    /// A frozen weight, and the update that is trained beside it. Its value is the sum of both. No
    /// fused operation reads it.
    Adapted(Box<Self>, LoraUpdate<B>),
}

impl<B: Packing, const D: usize> Weight<B, D> {
    /// Creates a lazily initialised weight, with the uniform distribution of torch's linear layers.
    pub fn new(shape: [usize; D], dtype: Dtype, device: &B::Device) -> Self {
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
        Self::Parameter(parameter, dtype)
    }

    /// Creates a weight with given values, packed if the backend packs weights.
    pub fn from_tensor(values: Tensor<B, D>, dtype: Dtype) -> Self {
        Self::Parameter(Param::from_tensor(values), dtype).packed()
    }

    /// The dimensions, outputs first.
    pub fn dims(&self) -> [usize; D] {
        match self {
            // INVARIANT: a tensor's shape has as many dimensions as its type.
            Self::Parameter(parameter, _) => parameter.lazy_shape().dims(),
            Self::Packed(packed) => packed.shape.as_slice().try_into().expect("D dimensions"),
            Self::Adapted(base, _) => base.dims(),
        }
    }

    /// The dtype in which it is stored, or would be stored by a backend that packs weights.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::Parameter(_, dtype) => *dtype,
            Self::Packed(packed) => packed.dtype,
            Self::Adapted(base, _) => base.dtype(),
        }
    }

    /// The values, unpacked if they are packed. For reading them once, not for computation.
    pub fn val(&self) -> Tensor<B, D> {
        match self {
            Self::Parameter(parameter, _) => parameter.val(),
            Self::Packed(packed) => B::unpack(packed, self.dims()),
            Self::Adapted(base, update) => base.val() + update.delta().reshape(base.dims()),
        }
    }

    /// The packed form, if it is packed.
    pub fn as_packed(&self) -> Option<&Packed> {
        match self {
            Self::Packed(packed) => Some(packed),
            Self::Parameter(..) | Self::Adapted(..) => None,
        }
    }

    /// The frozen weight and its update, if it is adapted.
    pub fn as_adapted(&self) -> Option<(&Self, &LoraUpdate<B>)> {
        match self {
            Self::Adapted(base, update) => Some((base, update)),
            Self::Parameter(..) | Self::Packed(_) => None,
        }
    }

    /// Freezes this weight and adds an update to it, in place of an update that it has.
    #[must_use]
    pub fn adapted(self, update: LoraUpdate<B>) -> Self {
        match self {
            Self::Adapted(base, _) => Self::Adapted(base, update),
            base => Self::Adapted(Box::new(base.frozen()), update),
        }
    }

    /// The weight whose value is not trained. An update of it remains trainable.
    #[must_use]
    pub fn frozen(self) -> Self {
        match self {
            Self::Parameter(parameter, dtype) => Self::Parameter(parameter.no_grad(), dtype),
            frozen @ (Self::Packed(_) | Self::Adapted(..)) => frozen,
        }
    }

    /// Packs this weight. A parameter without a value, or one that the backend does not pack, is
    /// returned unchanged.
    #[must_use]
    pub fn packed(self) -> Self {
        match &self {
            Self::Parameter(parameter, dtype) if parameter.is_initialized() => {
                match B::pack(parameter.val(), *dtype) {
                    Some(packed) => Self::Packed(packed),
                    None => self,
                }
            }
            _ => self,
        }
    }

    /// The weight as a parameter whose value is trained, without an update.
    #[must_use]
    pub fn trained(self) -> Self {
        let dtype = self.dtype();
        let value = self.val().detach();
        Self::Parameter(Param::from_tensor(value.require_grad()), dtype)
    }

    /// The weight as a parameter, which is not trained if the weight is frozen. Its value is computed
    /// when it is read.
    fn as_parameter(&self) -> Param<Tensor<B, D>> {
        if let Self::Parameter(parameter, _) = self {
            return parameter.clone();
        }
        let (weight, device) = (self.clone(), B::Device::default());
        let value = move |_: &B::Device, _| weight.val();
        let shape = self.dims().into();
        Param::uninitialized(ParamId::new(), value, device, false, shape)
    }
}

impl<B: Packing, const D: usize> Module<B> for Weight<B, D> {
    type Record = Param<Tensor<B, D>>;

    fn collect_devices(&self, devices: Devices<B>) -> Devices<B> {
        self.as_parameter().collect_devices(devices)
    }

    fn fork(self, device: &B::Device) -> Self {
        match self {
            Self::Parameter(parameter, dtype) => Self::Parameter(parameter.fork(device), dtype),
            packed @ Self::Packed(_) => packed,
            Self::Adapted(base, update) => Self::Adapted(
                Box::new(base.fork(device)),
                update.map_parameters(|parameter| parameter.fork(device)),
            ),
        }
    }

    fn to_device(self, device: &B::Device) -> Self {
        match self {
            Self::Parameter(parameter, dtype) => {
                Self::Parameter(parameter.to_device(device), dtype)
            }
            packed @ Self::Packed(_) => packed,
            Self::Adapted(base, update) => Self::Adapted(
                Box::new(base.to_device(device)),
                update.map_parameters(|parameter| parameter.to_device(device)),
            ),
        }
    }

    fn visit<V: ModuleVisitor<B>>(&self, visitor: &mut V) {
        match self {
            Self::Adapted(base, update) => {
                base.visit(visitor);
                update.visit(visitor);
            }
            weight => visitor.visit_float(&weight.as_parameter()),
        }
    }

    fn map<M: ModuleMapper<B>>(self, mapper: &mut M) -> Self {
        match self {
            Self::Parameter(parameter, dtype) => {
                Self::Parameter(mapper.map_float(parameter), dtype).packed()
            }
            packed @ Self::Packed(_) => packed,
            Self::Adapted(base, update) => {
                Self::Adapted(Box::new(base.map(mapper)), update.map(mapper))
            }
        }
    }

    fn load_record(self, record: Self::Record) -> Self {
        match self {
            Self::Parameter(parameter, dtype) => {
                Self::Parameter(parameter.load_record(record), dtype).packed()
            }
            packed @ Self::Packed(_) => packed,
            Self::Adapted(base, _) => base.load_record(record),
        }
    }

    fn into_record(self) -> Self::Record {
        self.as_parameter().into_record()
    }
}

impl<B, const D: usize> AutodiffModule<B> for Weight<B, D>
where
    B: AutodiffBackend + Packing,
    B::InnerBackend: Packing,
{
    type InnerModule = Weight<B::InnerBackend, D>;

    fn valid(&self) -> Self::InnerModule {
        match self {
            Self::Parameter(parameter, dtype) => Weight::Parameter(parameter.valid(), *dtype),
            Self::Packed(packed) => Weight::Packed(packed.clone()),
            Self::Adapted(base, update) => {
                let adapted = Weight::Adapted(Box::new(base.valid()), update.valid());
                Weight::from_tensor(adapted.val(), self.dtype())
            }
        }
    }

    fn from_inner(module: Self::InnerModule) -> Self {
        match module {
            Weight::Parameter(parameter, dtype) => {
                Self::Parameter(AutodiffModule::from_inner(parameter), dtype)
            }
            Weight::Packed(packed) => Self::Packed(packed),
            Weight::Adapted(base, update) => Self::Adapted(
                Box::new(Self::from_inner(*base)),
                LoraUpdate::from_inner(update),
            ),
        }
    }
}

impl<B, I, const D: usize> HasAutodiffModule<B> for Weight<I, D>
where
    I: Packing,
    B: AutodiffBackend<InnerBackend = I> + Packing,
{
    type TrainModule = Weight<B, D>;
}

impl<B: Packing, const D: usize> ModuleDisplayDefault for Weight<B, D> {
    fn content(&self, content: Content) -> Option<Content> {
        content
            .add_formatted(&format!("Weight {:?}", self.dims()))
            .optional()
    }
}

impl<B: Packing, const D: usize> ModuleDisplay for Weight<B, D> {}
