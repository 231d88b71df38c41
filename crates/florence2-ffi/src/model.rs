//! Loading a model.

use std::ffi::{CString, c_char, c_void};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use florence2::weights::LoadProgress;
use florence2::{
    AdapterOptions, AdapterSource, CancelToken, Florence2, LoadCallback, LoadOptions, MemoryFiles,
    Precision,
};
use serde_json::json;

use crate::arguments;
use crate::boundary;
use crate::error::florence2_error;
use crate::failure::{Failure, Outcome};
use crate::handle::{self, Handle};
use crate::option_struct::{self, Options, first_size};
use crate::options::florence2_cancel;
use crate::status::florence2_status;
use crate::text::c_string;

/// A loaded model.
///
/// Made by one of florence2_model_load*, owned by the caller, to be freed with florence2_model_free.
/// Immutable: any number of threads may run it at once, and each run has its own memory.
pub struct florence2_model {
    pub(crate) model: Florence2,
    device: CString,
    info_json: CString,
    warnings: Vec<CString>,
}

impl Handle for florence2_model {
    const NAME: &'static str = "model";
}

/// The progress of loading a model.
///
/// Borrowed for the callback's call. Later versions may add fields at the end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_load_progress {
    /// Tensors that were loaded.
    pub tensors: usize,
    /// Tensors to load.
    pub total_tensors: usize,
    /// Values in the loaded tensors.
    pub parameters: u64,
    /// Values in all tensors to load.
    pub total_parameters: u64,
}

/// Called before the first tensor and after each, on the thread that made the call; `progress` is
/// borrowed for this call. Returns 0 to continue; any other number ends the loading, which then fails
/// with FLORENCE2_STATUS_CANCELLED. Must not unwind: no exception may leave it, nor may longjmp.
pub type florence2_load_progress_callback = Option<
    unsafe extern "C" fn(progress: *const florence2_load_progress, user: *mut c_void) -> i32,
>;

/// How to load a model. To be cleared with florence2_load_options_init; zero is the default
/// everywhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_load_options {
    /// The size of this struct, as florence2_load_options_init sets it.
    pub struct_size: usize,
    /// One of florence2_device_name's names; NULL or "auto" for the best one.
    pub device: *const c_char,
    /// How weights are kept and multiplied: "f32", "f16", "bf16" or "int8"; NULL or "auto" for f32.
    /// The device "cpu" has them all, and multiplies those of "f16" in f32, of "bf16" and "int8"
    /// faster. GPUs have "f32", "f16" and, those of CUDA and ROCm, "bf16".
    pub dtype: *const c_char,
    /// LoRA adapters, merged into the weights in this order.
    pub adapters: *const florence2_adapter,
    /// The number of adapters at `adapters`.
    pub adapters_len: usize,
    /// Threads that the model starts and computes with, 1 to 1024. 0 for the threads that all models
    /// of the process share, one for each CPU.
    pub threads: usize,
    /// The largest number of threads that spin between two operations of a run on the CPU, the
    /// caller's among them. 0 for 8; -1 for none: idle threads then sleep, and a run takes longer.
    pub spin_limit: i32,
    /// Must be 0.
    pub reserved: u32,
    /// Called before the first tensor and after each; NULL for no callback.
    pub on_progress: florence2_load_progress_callback,
    /// Passed to the callback as it is.
    pub user: *mut c_void,
    /// Ends the loading early; NULL for no token.
    pub cancel: *const florence2_cancel,
    /// A weights file of any name, or an index of shards, instead of the weights in the model's folder:
    /// a path in UTF-8. The format is told by the content: safetensors or a file of torch.save. NULL for
    /// the folder's; must be NULL for a model in memory.
    pub weights: *const c_char,
    /// A folder with the files of the image processor and of the tokenizer, if they are not in the
    /// model's folder: a path in UTF-8. NULL for the model's folder; must be NULL for a model in memory.
    pub processor: *const c_char,
}

// SAFETY: `repr(C)`, `struct_size` first, numbers, pointers and nullable functions alone.
unsafe impl Options for florence2_load_options {
    const NAME: &'static str = "options";
    const FIRST_SIZE: usize = first_size(48, 24);
}

/// A file in memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_file {
    /// The file's name in the folder of the model or of the adapter, such as "config.json": UTF-8.
    pub name: *const c_char,
    /// The file's contents.
    pub data: *const u8,
    /// Bytes at `data`.
    pub data_len: usize,
}

/// A LoRA adapter in PEFT's format: a folder, or its files in memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_adapter {
    /// The folder with adapter_config.json and the adapter's weights: UTF-8. NULL for an adapter in
    /// memory.
    pub folder: *const c_char,
    /// adapter_config.json and the adapter's weights. Only where `folder` is NULL.
    pub files: *const florence2_file,
    /// The number of files at `files`.
    pub files_len: usize,
    /// The factor of the adapter's updates, as PEFT's set_scale; 0 for 1.
    pub scale: f32,
    /// Must be 0.
    pub reserved: u32,
}

/// Clears `options` and sets its struct_size: `size` is sizeof(florence2_load_options). NULL is
/// allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_load_options_init(
    options: *mut florence2_load_options,
    size: usize,
) {
    // SAFETY: the header requires room for `size` bytes.
    unsafe { boundary::init_struct(options, size) };
}

/// Loads a model from a folder in Microsoft's or Hugging Face's layout: config.json,
/// preprocessor_config.json, a tokenizer and the weights.
///
/// `directory`: UTF-8. `options`: NULL for the defaults. `model`: where the model goes.
/// Fails with FLORENCE2_STATUS_IO, FLORENCE2_STATUS_INVALID_MODEL (naming the file, or all tensors
/// that do not fit), FLORENCE2_STATUS_INVALID_ARGUMENT (naming the option),
/// FLORENCE2_STATUS_UNSUPPORTED_DEVICE, FLORENCE2_STATUS_CANCELLED, FLORENCE2_STATUS_FORKED. Callable
/// from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_load(
    directory: *const c_char,
    options: *const florence2_load_options,
    model: *mut *mut florence2_model,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header requires a string, options of their own size and writable outputs.
    unsafe {
        boundary::create(model, error, || {
            let directory = arguments::text("directory", directory)?;
            let options = load_options(options)?;
            timed(|| Florence2::load_with(directory, &options), directory)
        })
    }
}

/// Loads a model whose files are in memory: config.json, preprocessor_config.json or
/// processor_config.json, the tokenizer's files, the weights, and generation_config.json where the
/// model has one.
///
/// The weights are one file in safetensors or torch's format, of any name that ends as such a file's,
/// or shards with their index, such as model.safetensors.index.json.
///
/// `files`: `files_len` files, read during the call only. `options`: NULL for the defaults. `model`:
/// where the model goes. Fails as florence2_model_load, for a missing file too, and with
/// FLORENCE2_STATUS_INVALID_ARGUMENT for a name that occurs twice or that no file of a model has.
/// Callable from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_load_memory(
    files: *const florence2_file,
    files_len: usize,
    options: *const florence2_load_options,
    model: *mut *mut florence2_model,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header requires an array, what it points to, options of their own size, and writable
    // outputs.
    unsafe {
        boundary::create(model, error, || {
            let files = memory_files("files", files, files_len)?;
            let options = load_options(options)?;
            timed(|| Florence2::from_files(&files, &options), "memory")
        })
    }
}

/// Loads the demo model that the library carries: a very small Florence-2 that knows coloured shapes
/// and short words, and answers nonsense on anything else.
///
/// `options`: NULL for the defaults. `model`: where the model goes.
/// Fails with FLORENCE2_STATUS_NOT_IN_THIS_BUILD when the library was built without it. Callable
/// from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_load_demo(
    options: *const florence2_load_options,
    model: *mut *mut florence2_model,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header requires options of their own size and writable outputs.
    unsafe {
        boundary::create(model, error, || {
            let options = load_options(options)?;
            demo(&options)
        })
    }
}

#[cfg(feature = "demo")]
fn demo(options: &LoadOptions) -> Outcome<florence2_model> {
    timed(|| Florence2::demo_with(options), "demo")
}

#[cfg(not(feature = "demo"))]
fn demo(_options: &LoadOptions) -> Outcome<florence2_model> {
    let message = "the demo model: this build has none, expected one with the feature `demo`";
    Err(Failure::new(florence2_status::NotInThisBuild, message))
}

/// Loads, logs how long it took, and prepares what C reads of a model.
fn timed(
    load: impl FnOnce() -> florence2::Result<Florence2>,
    name: &str,
) -> Outcome<florence2_model> {
    let started = Instant::now();
    let model = load()?;
    let seconds = started.elapsed().as_secs_f64();
    log::info!("{name}: loaded onto {} in {seconds:.3} s", model.device());
    let info = json!({
        "device": model.device(),
        "dtype": model.dtype().name(),
        "threads": model.threads(),
        "vocab_size": model.processor().tokenizer.vocab_size(),
        "max_new_tokens": model.config().text_config.max_position_embeddings,
        "generation_config": model.generation_config(),
    });
    let warnings = model.warnings().iter();
    Ok(florence2_model {
        warnings: warnings
            .map(|warning| c_string(&warning.to_string()))
            .collect(),
        device: c_string(model.device()),
        info_json: c_string(&info.to_string()),
        model,
    })
}

/// # Safety
/// As the header requires options.
unsafe fn load_options(options: *const florence2_load_options) -> Outcome<LoadOptions> {
    // SAFETY: the caller guarantees it.
    unsafe {
        let Some(options) = option_struct::read_struct(options)? else {
            return Ok(LoadOptions::default());
        };
        let adapters =
            arguments::array("options.adapters", options.adapters, options.adapters_len)?;
        let adapters = adapters.iter().enumerate().map(|(index, adapter)| {
            adapter_options(&format!("options.adapters[{index}]"), adapter)
        });
        let device = arguments::optional_text("options.device", options.device)?;
        let dtype = dtype(arguments::optional_text("options.dtype", options.dtype)?)?;
        let weights = arguments::optional_text("options.weights", options.weights)?;
        let processor = arguments::optional_text("options.processor", options.processor)?;
        option_struct::check_reserved("options.reserved", options.reserved)?;
        let cancel = handle::borrow_optional(options.cancel)?;
        Ok(LoadOptions {
            dtype,
            device: device.unwrap_or("auto").to_owned(),
            adapters: adapters.collect::<Outcome<_>>()?,
            threads: NonZeroUsize::new(options.threads),
            spin_limit: spin_limit(options.spin_limit)?,
            progress: load_callback(options.on_progress, options.user),
            cancel: cancel.map_or_else(CancelToken::default, |cancel| cancel.token.clone()),
            weights: weights.map(PathBuf::from),
            processor: processor.map(PathBuf::from),
        })
    }
}

fn spin_limit(number: i32) -> Outcome<Option<usize>> {
    match number {
        0 => Ok(None),
        -1 => Ok(Some(0)),
        number if number > 0 => Ok(Some(number as usize)),
        other => Err(Failure::argument(
            "options.spin_limit",
            other,
            "-1, 0 or more",
        )),
    }
}

/// A caller's callback and its argument.
struct Progress {
    callback: unsafe extern "C" fn(*const florence2_load_progress, *mut c_void) -> i32,
    user: *mut c_void,
}

// SAFETY: the facade calls it on the thread that loads the model alone, which is the caller's.
unsafe impl Send for Progress {}
// SAFETY: as above.
unsafe impl Sync for Progress {}

impl Progress {
    fn report(&self, progress: LoadProgress) -> ControlFlow<()> {
        let progress = florence2_load_progress {
            tensors: progress.tensors,
            total_tensors: progress.total_tensors,
            parameters: progress.parameters,
            total_parameters: progress.total_parameters,
        };
        // SAFETY: the header requires a function of this type that does not unwind.
        match unsafe { (self.callback)(&raw const progress, self.user) } {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}

fn load_callback(callback: florence2_load_progress_callback, user: *mut c_void) -> LoadCallback {
    callback.map_or_else(LoadCallback::default, |callback| {
        let progress = Progress { callback, user };
        LoadCallback::new(move |state| progress.report(state))
    })
}

fn dtype(name: Option<&str>) -> Outcome<Precision> {
    let name = match name {
        None | Some("auto") => return Ok(Precision::default()),
        Some(name) => name,
    };
    Precision::named(name).ok_or_else(|| {
        let expected = Precision::choice(&Precision::ALL);
        Failure::argument("options.dtype", name, format!("auto, {expected}"))
    })
}

/// # Safety
/// As the header requires an adapter.
unsafe fn adapter_options(argument: &str, adapter: &florence2_adapter) -> Outcome<AdapterOptions> {
    option_struct::check_reserved(&format!("{argument}.reserved"), adapter.reserved)?;
    // SAFETY: the caller guarantees it.
    let (folder, files) = unsafe {
        (
            arguments::optional_text(&format!("{argument}.folder"), adapter.folder)?,
            memory_files(
                &format!("{argument}.files"),
                adapter.files,
                adapter.files_len,
            )?,
        )
    };
    let source = match folder {
        None if adapter.files_len == 0 => {
            let expected = "a folder or files in memory";
            return Err(Failure::argument(argument, "neither", expected));
        }
        None => AdapterSource::Memory(files),
        Some(folder) if adapter.files_len == 0 => AdapterSource::Folder(folder.into()),
        Some(_) => {
            let expected = "a folder or files in memory";
            return Err(Failure::argument(argument, "both", expected));
        }
    };
    let scale = if adapter.scale == 0.0 {
        1.0
    } else {
        adapter.scale
    };
    Ok(AdapterOptions { source, scale })
}

/// # Safety
/// As the header requires files in memory.
unsafe fn memory_files(
    argument: &str,
    files: *const florence2_file,
    len: usize,
) -> Outcome<MemoryFiles> {
    let mut read = MemoryFiles::new();
    // SAFETY: the caller guarantees it.
    let files = unsafe { arguments::array(argument, files, len) }?;
    for (index, file) in files.iter().enumerate() {
        let name_argument = format!("{argument}[{index}].name");
        // SAFETY: the caller guarantees it.
        let (name, data) = unsafe {
            (
                arguments::text(&name_argument, file.name)?,
                arguments::bytes(
                    &format!("{argument}[{index}].data"),
                    file.data,
                    file.data_len,
                )?,
            )
        };
        if read.get(name).is_some() {
            let found = format!("a second `{name}`");
            return Err(Failure::argument(&name_argument, found, "one of each name"));
        }
        read.insert(name, data);
    }
    Ok(read)
}

/// The name of the device that the model is on, such as "cpu": UTF-8, borrowed from the model. The
/// empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_device(model: *const florence2_model) -> *const c_char {
    // SAFETY: the header requires a live model or NULL.
    unsafe { boundary::read(model, c"".as_ptr(), |model| model.device.as_ptr()) }
}

/// What the model is, as a JSON object: "device", "dtype", "threads", "vocab_size",
/// "max_new_tokens" (what an answer can have at most) and "generation_config" (what run options
/// leave unset). UTF-8, borrowed from the model. The empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_info_json(model: *const florence2_model) -> *const c_char {
    // SAFETY: the header requires a live model or NULL.
    unsafe { boundary::read(model, c"".as_ptr(), |model| model.info_json.as_ptr()) }
}

/// The number of warnings about a model's files: settings and tensors that the model was loaded
/// without. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_warning_count(model: *const florence2_model) -> usize {
    // SAFETY: the header requires a live model or NULL.
    unsafe { boundary::read(model, 0, |model| model.warnings.len()) }
}

/// One of the warnings: one line of UTF-8, borrowed from the model. NULL when there is no such index.
/// The log callback receives the warnings too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_warning(
    model: *const florence2_model,
    index: usize,
) -> *const c_char {
    // SAFETY: the header requires a live model or NULL.
    unsafe {
        boundary::read(model, std::ptr::null(), |model| {
            let warning = model.warnings.get(index);
            warning.map_or(std::ptr::null(), |warning| warning.as_ptr())
        })
    }
}

/// The id of a token of the model's vocabulary, for the field `eos_token_ids` of
/// florence2_run_options and the like.
///
/// `token`: UTF-8, as the tokenizer's file writes it. `token_id`: where the id goes.
/// Fails with FLORENCE2_STATUS_INVALID_ARGUMENT when there is no such token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_token_id(
    model: *const florence2_model,
    token: *const c_char,
    token_id: *mut u32,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header requires a live model, a string and writable outputs.
    unsafe {
        boundary::call(error, || {
            let model = handle::borrow(model)?;
            let token = arguments::text("token", token)?;
            if token_id.is_null() {
                return Err(Failure::argument("token_id", "NULL", "a place for the id"));
            }
            let Some(id) = model.model.processor().tokenizer.token_to_id(token) else {
                return Err(Failure::argument(
                    "token",
                    token,
                    "a token of the vocabulary",
                ));
            };
            token_id.write(id);
            Ok(())
        })
    }
}

/// Frees a model, which no call may use any more. Images and results stay usable; image features of
/// the model can only be freed. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_free(model: *mut florence2_model) {
    // SAFETY: the header requires a model that no other thread uses, or NULL.
    unsafe { boundary::free(model) };
}
