//! Loading a model.

use std::ffi::{CString, c_char, c_void};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use florence2::weights::LoadProgress;
use florence2::{
    AdapterOptions, CancelToken, Dtype, Florence2, LoadCallback, LoadOptions, MemoryFiles,
};
use serde_json::json;

use crate::arguments;
use crate::boundary;
use crate::cancel::florence2_cancel;
use crate::error::florence2_error;
use crate::failure::{Failure, Outcome};
use crate::handle::{self, Handle};
use crate::option_struct::{self, Options, first_size};
use crate::status::florence2_status;
use crate::text::c_string;

/// A loaded model.
///
/// - Ownership: one of the florence2_model_load functions creates it. The caller frees it with
///   florence2_model_free.
/// - Threads: it is immutable. Any number of threads may run it at the same time. Each run has its
///   own memory.
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
/// It is valid only during the callback. Later versions may append fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_load_progress {
    /// The number of tensors that are loaded.
    pub tensors: usize,
    /// The number of tensors to load.
    pub total_tensors: usize,
    /// The number of values in the loaded tensors.
    pub parameters: u64,
    /// The number of values in all tensors to load.
    pub total_parameters: u64,
}

/// Called before the first tensor is loaded and after each tensor.
///
/// - `progress`: the progress. It is valid only during the callback.
/// - `user`: the field `user` of florence2_load_options.
///
/// Return 0 to continue. Any other number ends the loading, which fails with
/// FLORENCE2_STATUS_CANCELLED. The callback is called on the thread that started the loading. The
/// section "Callbacks" at the start of this file lists the functions that it may call. It must not
/// unwind: neither an exception nor longjmp may leave it.
pub type florence2_load_progress_callback = Option<
    unsafe extern "C" fn(progress: *const florence2_load_progress, user: *mut c_void) -> i32,
>;

/// Options for loading a model. Initialise it with florence2_load_options_init. The default of a
/// field applies if the field is 0 or NULL.
///
/// The library reads the struct and everything that it points to only during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_load_options {
    /// The size of this struct in bytes. florence2_load_options_init sets it.
    pub struct_size: usize,
    /// The device: a name that florence2_device_name returns, or "auto" for a GPU if
    /// there is one that supports the dtype, else "cpu". "auto" selects no software GPU. A name
    /// without a number, such as "cuda", selects the first device of its kind. Default: "auto".
    pub device: *const c_char,
    /// The format of the weights: "f32", "f16", "bf16" or "int8", or "auto" for "f32". The device
    /// "cpu" supports all four. It multiplies "f16" weights in f32, and is faster with "bf16" and
    /// "int8". GPUs support "f32" and "f16"; CUDA and ROCm also support "bf16". Default: "auto".
    pub dtype: *const c_char,
    /// LoRA adapters. They are merged into the weights in this order. Default: none.
    pub adapters: *const florence2_adapter,
    /// The number of elements at `adapters`.
    pub adapters_len: usize,
    /// The number of threads that the model starts and computes with, 1 to 1024. Default: 0, the
    /// thread pool that all models of the process share, with one thread for each CPU.
    pub threads: usize,
    /// The maximum number of threads that spin between two operations of a run on the CPU,
    /// including the run's own. With -1, no threads spin: they sleep between operations, and runs
    /// take longer. Default: 0, which means 8.
    pub spin_limit: i32,
    /// Must be 0.
    pub reserved: u32,
    /// The callback for the progress of loading. Default: NULL, no callback.
    pub on_progress: florence2_load_progress_callback,
    /// Passed to the callback unchanged.
    pub user: *mut c_void,
    /// A token that cancels the loading. Default: NULL, no token.
    pub cancel: *const florence2_cancel,
    /// The path of a weights file with any name, or of an index of shards, to use instead of the
    /// weights in the model's folder. The contents determine the format: safetensors or a file of
    /// torch.save. Must be NULL for a model in memory. Default: NULL, the weights in the folder.
    pub weights: *const c_char,
    /// The path of a folder with the files of the image processor and the tokenizer, if the model's
    /// folder does not contain them. Must be NULL for a model in memory. Default: NULL, the model's
    /// folder.
    pub processor: *const c_char,
}

// SAFETY: `repr(C)`, `struct_size` first, only numbers, pointers and nullable functions.
unsafe impl Options for florence2_load_options {
    const NAME: &'static str = "options";
    const FIRST_SIZE: usize = first_size(48, 24);
}

/// A file in memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_file {
    /// The file name that the file has in the folder of the model or the adapter, such as
    /// "config.json". Required.
    pub name: *const c_char,
    /// The contents of the file.
    pub data: *const u8,
    /// The number of bytes at `data`.
    pub data_len: usize,
}

/// A LoRA adapter in the format of Hugging Face's PEFT: a folder, or files in memory. Either
/// `folder` or `files` is required.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_adapter {
    /// The path of a folder with adapter_config.json and the adapter's weights. NULL for an adapter
    /// in memory.
    pub folder: *const c_char,
    /// The adapter's files in memory: adapter_config.json and the weights.
    pub files: *const florence2_file,
    /// The number of elements at `files`. Must be 0 if there is a `folder`.
    pub files_len: usize,
    /// A factor of the adapter's updates of the weights, as PEFT's set_scale. Default: 0, which
    /// means 1.
    pub scale: f32,
    /// Must be 0.
    pub reserved: u32,
}

/// Clears a florence2_load_options and sets its `struct_size`.
///
/// - `options`: the struct. If it is NULL, the function does nothing.
/// - `size`: sizeof(florence2_load_options).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_load_options_init(
    options: *mut florence2_load_options,
    size: usize,
) {
    // SAFETY: rule 4 of lib.rs.
    unsafe { boundary::init_struct(options, size) };
}

/// Loads a model from a folder in the layout of Microsoft's or Hugging Face's checkpoints:
/// config.json, preprocessor_config.json or processor_config.json, the tokenizer's files, the
/// weights and, if the model has one, generation_config.json.
///
/// - `directory`: the path of the folder. Required.
/// - `options`: NULL for the defaults.
/// - `model`: receives the model. Required. Free it with florence2_model_free.
///
/// Returns:
/// - FLORENCE2_STATUS_IO if a file is missing or cannot be read.
/// - FLORENCE2_STATUS_INVALID_MODEL if a file is malformed or the weights do not match. The message
///   names the file or the tensors.
/// - FLORENCE2_STATUS_INVALID_ARGUMENT if an option is invalid, if the threads cannot be started,
///   or if the processor lacks the level in the environment variable FLORENCE2_CPU_LEVEL.
/// - FLORENCE2_STATUS_UNSUPPORTED_DEVICE if the device does not exist, does not support the dtype,
///   or has too little memory.
/// - FLORENCE2_STATUS_CANCELLED if the cancel token was fired or the callback ended the loading.
/// - FLORENCE2_STATUS_FORKED in a process that was forked after a model was loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_load(
    directory: *const c_char,
    options: *const florence2_load_options,
    model: *mut *mut florence2_model,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 1, 3, 4, 5 and 6 of lib.rs.
    unsafe {
        boundary::create(model, error, || {
            let directory = arguments::text("directory", directory)?;
            let options = load_options(options)?;
            timed(|| Florence2::load_with(directory, &options), directory)
        })
    }
}

/// Loads a model from files in memory, with the names that they have in a model's folder: see
/// florence2_model_load. The weights are one file with any name that has the suffix of a weights
/// file, or shards with their index, such as model.safetensors.index.json.
///
/// - `files`: `files_len` files with different names. The library reads them only during the call.
/// - `files_len`: the number of files.
/// - `options`: NULL for the defaults.
/// - `model`: receives the model. Required. Free it with florence2_model_free.
///
/// Returns the statuses of florence2_model_load. A missing file is FLORENCE2_STATUS_IO. Returns
/// FLORENCE2_STATUS_INVALID_ARGUMENT also if two files have the same name, or if a name is not that
/// of a model's file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_load_memory(
    files: *const florence2_file,
    files_len: usize,
    options: *const florence2_load_options,
    model: *mut *mut florence2_model,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 1, 3, 4, 5 and 6 of lib.rs.
    unsafe {
        boundary::create(model, error, || {
            let files = memory_files("files", files, files_len)?;
            let options = load_options(options)?;
            timed(|| Florence2::load_memory(&files, &options), "memory")
        })
    }
}

/// Loads the demo model that is embedded in the library: a very small Florence-2 that recognises
/// coloured shapes and short words. Its answers about other images are meaningless.
///
/// - `options`: NULL for the defaults.
/// - `model`: receives the model. Required. Free it with florence2_model_free.
///
/// Returns FLORENCE2_STATUS_NOT_IN_THIS_BUILD if the library was built without the feature `demo`,
/// and the statuses of florence2_model_load.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_load_demo(
    options: *const florence2_load_options,
    model: *mut *mut florence2_model,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 1, 3, 4, 5 and 6 of lib.rs.
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
    let message = "demo model: not in this build, expected a build with the feature `demo`";
    Err(Failure::new(florence2_status::NotInThisBuild, message))
}

/// Loads a model, logs the duration, and prepares the strings that C programs read.
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

/// Converts load options to those of the facade.
///
/// # Safety
/// `options` follows the rules 1, 3, 4 and 6 of lib.rs.
unsafe fn load_options(options: *const florence2_load_options) -> Outcome<LoadOptions> {
    // SAFETY: guaranteed by the caller.
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
        let mut load = LoadOptions::default()
            .device(device.unwrap_or("auto"))
            .dtype(dtype)
            .threads(NonZeroUsize::new(options.threads));
        load.adapters = adapters.collect::<Outcome<_>>()?;
        load.spin_limit = spin_limit(options.spin_limit)?;
        load.progress = load_callback(options.on_progress, options.user);
        load.cancel = cancel.map_or_else(CancelToken::default, |cancel| cancel.token.clone());
        load.weights = weights.map(PathBuf::from);
        load.processor = processor.map(PathBuf::from);
        Ok(load)
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

// SAFETY: the facade calls it only on the thread that loads the model, which is the caller's.
unsafe impl Send for Progress {}
// SAFETY: the facade calls it only on the thread that loads the model, which is the caller's.
unsafe impl Sync for Progress {}

impl Progress {
    fn report(&self, progress: LoadProgress) -> ControlFlow<()> {
        let progress = florence2_load_progress {
            tensors: progress.tensors,
            total_tensors: progress.total_tensors,
            parameters: progress.parameters,
            total_parameters: progress.total_parameters,
        };
        // SAFETY: rule 6 of lib.rs.
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

fn dtype(name: Option<&str>) -> Outcome<Dtype> {
    let name = match name {
        None | Some("auto") => return Ok(Dtype::default()),
        Some(name) => name,
    };
    Dtype::named(name).ok_or_else(|| {
        let expected = Dtype::choice(&Dtype::ALL);
        Failure::argument("options.dtype", name, format!("auto, {expected}"))
    })
}

/// Converts an adapter. `argument` is its name for errors.
///
/// # Safety
/// `adapter` follows rule 3 of lib.rs.
unsafe fn adapter_options(argument: &str, adapter: &florence2_adapter) -> Outcome<AdapterOptions> {
    option_struct::check_reserved(&format!("{argument}.reserved"), adapter.reserved)?;
    // SAFETY: guaranteed by the caller.
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
    let options = match folder {
        None if adapter.files_len == 0 => {
            let expected = "a folder or files in memory";
            return Err(Failure::argument(
                argument,
                "no folder and no files",
                expected,
            ));
        }
        None => AdapterOptions::from(files),
        Some(folder) if adapter.files_len == 0 => AdapterOptions::from(folder),
        Some(_) => {
            let expected = "a folder or files in memory";
            return Err(Failure::argument(
                argument,
                "both a folder and files",
                expected,
            ));
        }
    };
    let scale = if adapter.scale == 0.0 {
        1.0
    } else {
        adapter.scale
    };
    Ok(options.scale(scale))
}

/// Copies files in memory. `argument` is their name for errors.
///
/// # Safety
/// `files` and `len` follow rule 3 of lib.rs.
unsafe fn memory_files(
    argument: &str,
    files: *const florence2_file,
    len: usize,
) -> Outcome<MemoryFiles> {
    let mut read = MemoryFiles::new();
    // SAFETY: guaranteed by the caller.
    let files = unsafe { arguments::array(argument, files, len) }?;
    for (index, file) in files.iter().enumerate() {
        let name_argument = format!("{argument}[{index}].name");
        // SAFETY: guaranteed by the caller.
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
            return Err(Failure::argument(&name_argument, found, "different names"));
        }
        read.insert(name, data);
    }
    Ok(read)
}

/// Returns the name of the model's device, such as "cpu", borrowed from the model; the empty string
/// for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_device(model: *const florence2_model) -> *const c_char {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(model, c"".as_ptr(), |model| model.device.as_ptr()) }
}

/// Describes a model.
///
/// Returns a JSON object, borrowed from the model, with the keys "device", "dtype", "threads",
/// "vocab_size", "max_new_tokens" (the maximum number of tokens of an answer) and
/// "generation_config" (the options that apply if the run options do not set them); the empty
/// string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_info_json(model: *const florence2_model) -> *const c_char {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(model, c"".as_ptr(), |model| model.info_json.as_ptr()) }
}

/// Returns the number of warnings about the model's files: settings and tensors that the library
/// does not use. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_warning_count(model: *const florence2_model) -> usize {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(model, 0, |model| model.warnings.len()) }
}

/// Returns a warning about the model's files. The log callback receives the warnings too.
///
/// - `model`: the model.
/// - `index`: 0 to florence2_model_warning_count() - 1.
///
/// Returns one line, borrowed from the model; NULL if `model` is NULL or `index` is out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_warning(
    model: *const florence2_model,
    index: usize,
) -> *const c_char {
    // SAFETY: rule 1 of lib.rs.
    unsafe {
        boundary::read(model, std::ptr::null(), |model| {
            let warning = model.warnings.get(index);
            warning.map_or(std::ptr::null(), |warning| warning.as_ptr())
        })
    }
}

/// Returns the id of a token, for fields such as `eos_token_ids` of florence2_run_options.
///
/// - `model`: the model. Required.
/// - `token`: the token, as it is written in the tokenizer's file. Required.
/// - `token_id`: receives the id. Required. It is not changed if the call fails.
///
/// Returns FLORENCE2_STATUS_INVALID_ARGUMENT if the vocabulary does not contain the token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_token_id(
    model: *const florence2_model,
    token: *const c_char,
    token_id: *mut u32,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 1, 3 and 5 of lib.rs.
    unsafe {
        boundary::call(error, || {
            let model = handle::borrow(model)?;
            let token = arguments::text("token", token)?;
            if token_id.is_null() {
                return Err(Failure::argument(
                    "token_id",
                    "NULL",
                    "a pointer for the id",
                ));
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

/// Frees a model. NULL is allowed. No call may use the model any more. Images and results remain
/// valid. Image features of the model can then only be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_free(model: *mut florence2_model) {
    // SAFETY: rules 1 and 2 of lib.rs.
    unsafe { boundary::free(model) };
}
