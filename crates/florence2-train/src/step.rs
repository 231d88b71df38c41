//! One optimiser step: forward and backward passes over micro-batches, gradient clipping, AdamW.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use burn::module::{AutodiffModule, Module};
use burn::tensor::{Int, Tensor, TensorData};
use burn_autodiff::Autodiff;
use florence2_core::multi_modal_projector::MultiModalProjector;
use florence2_core::vision_tower::VisionTower;
use florence2_core::{CancelToken, Florence2ForConditionalGeneration, ForwardText, IGNORE_INDEX};
use florence2_kernels::Backend;

use crate::error::{Error, Result};
use crate::gradients::Gradients;
use crate::optimizer::{AdamW, AdamWSettings};
use crate::trained_parameters::trained;

/// Held while a graph of autodiff exists. When a backward pass ends, burn-autodiff 0.21 removes nodes
/// from the graphs that other threads build at that time
/// (`GraphCleaner::cleanup_orphaned_entries`): their gradients would be incomplete.
static GRAPH: Mutex<()> = Mutex::new(());

/// torch's `clip_grad_norm_` adds this number to the norm.
const NORM_EPSILON: f64 = 1e-6;

/// A micro-batch. Rows are padded on the right.
#[derive(Debug, Clone)]
pub struct Batch<B: Backend> {
    /// The images.
    pub images: Images<B>,
    /// The prompts, `[batch, tokens]`, without `<image>` placeholders.
    pub input_ids: Tensor<B, 2, Int>,
    /// `[batch, tokens]`: 1 for a prompt, 0 for padding; `None` if nothing is padded.
    pub attention_mask: Option<Tensor<B, 2, Int>>,
    /// The labels, `[batch, tokens]`, with [`IGNORE_INDEX`] as padding.
    pub labels: Tensor<B, 2, Int>,
    /// The number of labels that are not ignored.
    pub label_tokens: usize,
}

/// The images of a micro-batch, or what the frozen part of the model computed of them.
#[derive(Debug, Clone)]
pub enum Images<B: Backend> {
    /// Pixel values, `[batch, channels, height, width]`.
    Pixels(Tensor<B, 4>),
    /// The output of [`TrainStep::encode_frozen`].
    Frozen(FrozenFeatures<B>),
}

/// The output of the frozen part of the image encoder.
#[derive(Debug, Clone)]
pub enum FrozenFeatures<B: Backend> {
    /// Of the vision tower, if the projector is trained: `[batch, rows, columns, embed_dim]`.
    VisionTower(Tensor<B, 4>),
    /// Of the vision tower and the projector: `[batch, image tokens, d_model]`.
    Projector(Tensor<B, 3>),
}

impl<B: Backend> FrozenFeatures<B> {
    /// The features of one image, as a batch of one.
    pub(crate) fn row(&self, row: usize) -> Self {
        match self {
            Self::VisionTower(features) => Self::VisionTower(features.clone().narrow(0, row, 1)),
            Self::Projector(features) => Self::Projector(features.clone().narrow(0, row, 1)),
        }
    }

    /// Concatenates the features of images.
    ///
    /// # Errors
    /// [`Error::ImageSizes`] if the images had several sizes.
    pub(crate) fn cat(images: Vec<Self>) -> Result<Self> {
        let sizes: BTreeSet<String> = images.iter().map(Self::size).collect();
        if sizes.len() != 1 {
            let sizes = sizes.into_iter().collect();
            return Err(Error::ImageSizes { sizes });
        }
        let (mut towers, mut projected) = (Vec::new(), Vec::new());
        for features in images {
            match features {
                Self::VisionTower(features) => towers.push(features),
                Self::Projector(features) => projected.push(features),
            }
        }
        Ok(if towers.is_empty() {
            Self::Projector(Tensor::cat(projected, 0))
        } else {
            Self::VisionTower(Tensor::cat(towers, 0))
        })
    }

    /// The size of the features of an image, for messages.
    fn size(&self) -> String {
        match self {
            Self::VisionTower(features) => format!("features {:?}", &features.dims()[1..]),
            Self::Projector(features) => format!("features {:?}", &features.dims()[1..]),
        }
    }
}

/// The results of an optimiser step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The mean loss over all labels of the step.
    pub loss: f64,
    /// The L2 norm of the gradients before clipping.
    pub grad_norm: f64,
}

impl<B: Backend> Batch<B> {
    /// Pads prompts and labels, each a row of token ids. Labels may contain [`IGNORE_INDEX`].
    pub fn new(
        images: Images<B>,
        prompts: &[Vec<i64>],
        labels: &[Vec<i64>],
        pad_token_id: u32,
        device: &B::Device,
    ) -> Self {
        let ids = padded(prompts, i64::from(pad_token_id));
        let counted = labels.iter().flatten().filter(|id| **id != IGNORE_INDEX);
        let is_padded = prompts
            .windows(2)
            .any(|pair| pair[0].len() != pair[1].len());
        let mask: Vec<Vec<i64>> = prompts.iter().map(|prompt| vec![1; prompt.len()]).collect();
        Self {
            images,
            input_ids: Tensor::from_data(ids, device),
            attention_mask: is_padded.then(|| Tensor::from_data(padded(&mask, 0), device)),
            labels: Tensor::from_data(padded(labels, IGNORE_INDEX), device),
            label_tokens: counted.count(),
        }
    }
}

/// Rows of ids, padded on the right.
fn padded<'a>(rows: &'a [Vec<i64>], padding: i64) -> TensorData {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let row = |row: &'a Vec<i64>| {
        let padding = std::iter::repeat_n(padding, width - row.len());
        row.iter().copied().chain(padding)
    };
    let ids: Vec<i64> = rows.iter().flat_map(row).collect();
    TensorData::new(ids, [rows.len(), width])
}

/// The frozen part of the image encoder, on the backend without autodiff.
struct FrozenEncoder<B: Backend> {
    vision_tower: VisionTower<B>,
    projector: Option<MultiModalProjector<B>>,
}

/// A model in training with its optimiser.
pub struct TrainStep<B: Backend> {
    model: Florence2ForConditionalGeneration<Autodiff<B>>,
    /// `None` if a part of the vision tower is trained.
    frozen: Option<FrozenEncoder<B>>,
    pub(crate) optimizer: AdamW<Autodiff<B>>,
    gradients: Gradients<Autodiff<B>>,
    /// The sum of the losses of the labels of this step, `[1]`.
    loss: Option<Tensor<B, 1>>,
    max_grad_norm: f64,
}

impl<B: Backend> TrainStep<B> {
    /// Creates the optimiser of the model's trained parameters.
    ///
    /// # Errors
    /// [`Error::NothingToTrain`] if no parameter is trained.
    pub fn new(
        model: Florence2ForConditionalGeneration<Autodiff<B>>,
        settings: &AdamWSettings,
        max_grad_norm: f64,
    ) -> Result<Self> {
        if trained(&model, "").is_empty() {
            return Err(Error::NothingToTrain);
        }
        Ok(Self {
            frozen: FrozenEncoder::new(&model),
            model,
            optimizer: AdamW::new(*settings),
            gradients: Gradients::default(),
            loss: None,
            max_grad_norm,
        })
    }

    /// The model with its current parameters.
    pub fn model(&self) -> &Florence2ForConditionalGeneration<Autodiff<B>> {
        &self.model
    }

    /// Changes the values of the trained parameters.
    ///
    /// # Errors
    /// Those of `map`. The model is then unchanged.
    pub(crate) fn map_model(
        &mut self,
        map: impl FnOnce(
            Florence2ForConditionalGeneration<Autodiff<B>>,
        ) -> Result<Florence2ForConditionalGeneration<Autodiff<B>>>,
    ) -> Result<()> {
        self.model = map(self.model.clone())?;
        Ok(())
    }

    /// The features of images that no training step changes; `None` if the vision tower is trained.
    ///
    /// # Errors
    /// Those of the vision tower.
    pub fn encode_frozen(&self, pixel_values: Tensor<B, 4>) -> Result<Option<FrozenFeatures<B>>> {
        let Some(frozen) = &self.frozen else {
            return Ok(None);
        };
        self.model
            .config()
            .check_pixel_values(pixel_values.dims())?;
        let features = frozen
            .vision_tower
            .forward(pixel_values, &CancelToken::default())?;
        Ok(Some(match &frozen.projector {
            Some(projector) => FrozenFeatures::Projector(projector.forward(features)),
            None => FrozenFeatures::VisionTower(features),
        }))
    }

    /// Runs the forward and the backward pass of a micro-batch, and adds its gradients to those of
    /// the step. The loss of each label is divided by `step_tokens`, the number of labels of all
    /// micro-batches of the step: transformers' `num_items_in_batch`. `seed` is that of dropout and
    /// drop path.
    ///
    /// One call at a time runs in a process. Other code must not run backward passes of burn's
    /// autodiff meanwhile.
    ///
    /// # Errors
    /// Those of the model's forward pass.
    pub fn accumulate(&mut self, batch: Batch<B>, step_tokens: usize, seed: u64) -> Result<()> {
        // The mutex protects no value that a panic could leave inconsistent.
        let _graph = GRAPH.lock().unwrap_or_else(PoisonError::into_inner);
        self.model.set_dropout_seed(Some(seed));
        let image_features = self.image_features(batch.images)?;
        let mut text = ForwardText::new(Tensor::from_inner(batch.input_ids));
        text.attention_mask = batch.attention_mask.map(Tensor::from_inner);
        text.labels = Some(Tensor::from_inner(batch.labels));
        let output = self.model.forward_text(image_features, text)?;
        // INVARIANT: a forward pass with labels returns a loss.
        let mean = output.loss.expect("a loss");
        let loss = mean * (batch.label_tokens as f64 / step_tokens as f64);
        let part = loss.clone().inner();
        self.gradients.add(&self.model, loss.backward());
        self.loss = Some(match self.loss.take() {
            Some(sum) => sum + part,
            None => part,
        });
        Ok(())
    }

    /// Computes the mean loss of a batch in evaluation.
    ///
    /// # Errors
    /// Those of the model's forward pass.
    pub fn evaluate(model: &Florence2ForConditionalGeneration<B>, batch: Batch<B>) -> Result<f64> {
        let image_features = match batch.images {
            Images::Pixels(pixels) => model.encode_image(pixels, &CancelToken::default())?,
            Images::Frozen(FrozenFeatures::Projector(features)) => features,
            Images::Frozen(FrozenFeatures::VisionTower(features)) => {
                model.model.multi_modal_projector.forward(features)
            }
        };
        let mut text = ForwardText::new(batch.input_ids);
        text.attention_mask = batch.attention_mask;
        text.labels = Some(batch.labels);
        let output = model.forward_text(image_features, text)?;
        // INVARIANT: as in `accumulate`.
        Ok(scalar(output.loss.expect("a loss")))
    }

    /// Clips the gradients to `max_grad_norm`, unless it is 0, and updates the parameters.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if the loss or the norm is NaN or infinite. The parameters are then
    /// unchanged.
    pub fn update(&mut self, learning_rate: f64) -> Result<StepReport> {
        let mut gradients = std::mem::take(&mut self.gradients);
        let loss = self.loss.take().map_or(f64::NAN, scalar);
        let grad_norm = gradients.squared_norm().map_or(0.0, scalar).sqrt();
        if !loss.is_finite() || !grad_norm.is_finite() {
            return Err(Error::NotFinite { loss, grad_norm });
        }
        let clip = self.max_grad_norm / (grad_norm + NORM_EPSILON);
        if self.max_grad_norm > 0.0 && clip < 1.0 {
            gradients.scale(clip);
        }
        let model = self.model.clone();
        self.model = self.optimizer.step(model, gradients, learning_rate);
        Ok(StepReport { loss, grad_norm })
    }

    /// The model for inference, without autodiff: updates are merged into their weights, and the
    /// weights are packed.
    pub fn inference_model(&self) -> Florence2ForConditionalGeneration<B> {
        packed(self.model.valid())
    }

    fn image_features(&self, images: Images<B>) -> Result<Tensor<Autodiff<B>, 3>> {
        let features = match images {
            Images::Frozen(features) => features,
            Images::Pixels(pixels) => match self.encode_frozen(pixels.clone())? {
                Some(features) => features,
                None => {
                    let pixels = Tensor::from_inner(pixels);
                    return Ok(self.model.encode_image(pixels, &CancelToken::default())?);
                }
            },
        };
        Ok(match features {
            FrozenFeatures::Projector(features) => Tensor::from_inner(features),
            FrozenFeatures::VisionTower(features) => {
                let projector = &self.model.model.multi_modal_projector;
                projector.forward(Tensor::from_inner(features))
            }
        })
    }
}

impl<B: Backend> FrozenEncoder<B> {
    fn new(model: &Florence2ForConditionalGeneration<Autodiff<B>>) -> Option<Self> {
        let vision_tower = &model.model.vision_tower;
        let projector = &model.model.multi_modal_projector;
        trained(vision_tower, "").is_empty().then(|| Self {
            vision_tower: packed(vision_tower.valid()),
            projector: trained(projector, "")
                .is_empty()
                .then(|| packed(projector.valid())),
        })
    }
}

/// Packs the weights of a module. A weight is packed when it is mapped.
fn packed<B: Backend, M: Module<B>>(module: M) -> M {
    struct Unchanged;
    impl<B: Backend> burn::module::ModuleMapper<B> for Unchanged {}
    module.map(&mut Unchanged)
}

fn scalar<B: Backend>(value: Tensor<B, 1>) -> f64 {
    f64::from(burn::tensor::ElementConversion::elem::<f32>(
        value.into_scalar(),
    ))
}
