//! The folders `checkpoint-STEP` of an output folder: written, found and rotated so that a kill at any moment and a full disk
//! leave all earlier ones intact.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{sync_folder, write_synced};
use crate::trainer_state::TrainerState;

/// Hugging Face's `TRAINER_STATE_NAME`.
const TRAINER_STATE: &str = "trainer_state.json";
/// The file that completes a checkpoint. It is written last.
const MANIFEST: &str = "checkpoint.json";
/// Hugging Face's `PREFIX_CHECKPOINT_DIR`, with its dash.
const PREFIX: &str = "checkpoint-";
/// Prefixes of a checkpoint that is being written, and of one that is being deleted. Hugging Face's functions do not find
/// these folders.
const TEMPORARY: &str = "tmp-checkpoint-";
const DELETED: &str = "old-checkpoint-";

/// A complete checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The folder.
    pub path: PathBuf,
    /// The contents of `trainer_state.json`.
    pub state: TrainerState,
}

/// The checkpoints of an output folder.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    output_dir: PathBuf,
}

/// A checkpoint cannot be written, read or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file or folder cannot be read.
    #[error("{}: cannot be read: {source}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file or folder cannot be written, for example because the disk is full.
    #[error("{}: cannot be written: {source}", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The caller's function failed to write the contents of a checkpoint.
    #[error("{}: cannot be written: {source}", .path.display())]
    Contents {
        /// The folder of the checkpoint that was not created.
        path: PathBuf,
        /// The function's error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A checkpoint is incomplete, for example because it was copied partly.
    #[error("{}: the checkpoint is incomplete: {}", .path.display(), .reasons.join("; "))]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// Each missing or damaged file: what was found and what was expected.
        reasons: Vec<String>,
    },
}

type Result<T> = std::result::Result<T, CheckpointError>;

/// The contents of [`MANIFEST`].
#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    /// The size of every other file in bytes, by its path with `/`.
    files: BTreeMap<String, u64>,
    /// The bits of `best_metric`, since serde_json reads the last digit of a number inexactly.
    best_metric_bits: Option<u64>,
}

impl Checkpoint {
    /// Reads a checkpoint's state. Its folder may have any name.
    ///
    /// # Errors
    ///
    /// Fails if a file is missing, is damaged or has another size than when it was written. The error names each of them.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let incomplete = |reasons| CheckpointError::Incomplete {
            path: path.clone(),
            reasons,
        };
        let manifest: Manifest =
            read_json(&path.join(MANIFEST)).map_err(|reason| incomplete(vec![reason]))?;
        let reasons: Vec<_> = manifest
            .files
            .iter()
            .filter_map(|(name, size)| check_size(&path, name, *size).err())
            .collect();
        if !reasons.is_empty() {
            return Err(incomplete(reasons));
        }
        let mut state: TrainerState =
            read_json(&path.join(TRAINER_STATE)).map_err(|reason| incomplete(vec![reason]))?;
        state.best_metric = manifest.best_metric_bits.map(f64::from_bits);
        Ok(Self { path, state })
    }

    /// The optimiser steps before the checkpoint.
    pub fn step(&self) -> u64 {
        self.state.global_step
    }
}

impl Checkpoints {
    /// The checkpoints of `output_dir`. Nothing is read or written.
    pub fn new(output_dir: impl Into<PathBuf>) -> Self {
        Self {
            output_dir: output_dir.into(),
        }
    }

    /// Prepares the output folder for a run, which must be its only one: creates it if it is missing, and finishes or removes
    /// what a killed run left. A checkpoint that was complete except for its name gets its name.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be read or written.
    pub fn prepare(&self) -> Result<()> {
        let output_dir = &self.output_dir;
        fs::create_dir_all(output_dir).map_err(write_error(output_dir))?;
        for (step, folder) in self.folders(TEMPORARY)? {
            if read_step(&folder, step).is_some() {
                self.replace(step, &folder, &self.folder(PREFIX, step))?;
            } else {
                remove(&folder)?;
            }
        }
        for (_, folder) in self.folders(DELETED)? {
            remove(&folder)?;
        }
        sync_folder(output_dir).map_err(write_error(output_dir))
    }

    /// Saves the checkpoint `checkpoint-STEP` of the step `state.global_step`.
    ///
    /// `write` writes its files, other than `trainer_state.json` and `checkpoint.json`, into the folder that it is given. The
    /// folder is temporary. It is renamed when all files are on the disk, and it then replaces a checkpoint of the same step.
    /// `state.best_model_checkpoint` is set to the checkpoint of `state.best_global_step` if that is saved, as by Hugging
    /// Face's `Trainer`.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be written, for example because the disk is full, and if `write` fails. No other checkpoint
    /// is changed, the temporary folder is removed, and `state` remains as it is.
    pub fn save<E>(
        &self,
        state: &mut TrainerState,
        write: impl FnOnce(&Path) -> std::result::Result<(), E>,
    ) -> Result<Checkpoint>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let step = state.global_step;
        let path = self.folder(PREFIX, step);
        let temporary = self.folder(TEMPORARY, step);
        let mut saved_state = state.clone();
        saved_state.best_model_checkpoint = self.best_model_checkpoint(state);
        let saved = remove(&temporary)
            .and_then(|()| fs::create_dir(&temporary).map_err(write_error(&temporary)))
            .and_then(|()| {
                write(&temporary).map_err(|source| CheckpointError::Contents {
                    path: path.clone(),
                    source: source.into(),
                })
            })
            .and_then(|()| complete(&temporary, &saved_state))
            .and_then(|()| self.replace(step, &temporary, &path));
        if let Err(error) = saved {
            // The first error is the one to report. `prepare` removes what remains.
            let _ = fs::remove_dir_all(&temporary);
            return Err(error);
        }
        state.clone_from(&saved_state);
        Ok(Checkpoint {
            path,
            state: saved_state,
        })
    }

    /// The complete checkpoints, by their steps. Incomplete ones are ignored.
    ///
    /// # Errors
    ///
    /// Fails if the output folder cannot be read.
    pub fn complete(&self) -> Result<Vec<Checkpoint>> {
        let folders = self.folders(PREFIX)?.into_iter();
        Ok(folders
            .filter_map(|(step, folder)| read_step(&folder, step))
            .collect())
    }

    /// The complete checkpoint with the largest step.
    ///
    /// # Errors
    ///
    /// Fails if the output folder cannot be read.
    pub fn latest(&self) -> Result<Option<Checkpoint>> {
        Ok(self.complete()?.pop())
    }

    /// Deletes the oldest complete checkpoints, so that `save_total_limit` remain: Hugging Face's `rotate_checkpoints`. The
    /// newest one and that of `best_global_step` are always kept. None and 0 delete nothing. Returns the deleted folders.
    ///
    /// Incomplete checkpoints are neither counted nor deleted.
    ///
    /// # Errors
    ///
    /// Fails if the output folder cannot be read or a checkpoint cannot be deleted.
    pub fn rotate(
        &self,
        save_total_limit: Option<usize>,
        best_global_step: Option<u64>,
    ) -> Result<Vec<PathBuf>> {
        let limit = save_total_limit.unwrap_or(0);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let complete = self.complete()?;
        let newest = complete.last().map(Checkpoint::step);
        let is_kept = |checkpoint: &&Checkpoint| {
            let step = Some(checkpoint.step());
            step == newest || step == best_global_step
        };
        let kept = limit.max(complete.iter().filter(is_kept).count());
        let excess = complete.len().saturating_sub(kept);
        let mut deleted = Vec::new();
        for checkpoint in complete.iter().filter(|checkpoint| !is_kept(checkpoint)) {
            if deleted.len() == excess {
                break;
            }
            self.delete(checkpoint)?;
            deleted.push(checkpoint.path.clone());
        }
        Ok(deleted)
    }

    /// Deletes the complete checkpoints after `step`, for a run that continues from `step` and not from the newest one.
    /// They would otherwise remain its newest checkpoints. Returns the deleted folders.
    ///
    /// # Errors
    ///
    /// Fails if the output folder cannot be read or a checkpoint cannot be deleted.
    pub fn delete_after(&self, step: u64) -> Result<Vec<PathBuf>> {
        let mut deleted = Vec::new();
        // The newest first, so that those that a kill leaves are of one run.
        for checkpoint in self.complete()?.into_iter().rev() {
            if checkpoint.step() > step {
                self.delete(&checkpoint)?;
                deleted.push(checkpoint.path);
            }
        }
        Ok(deleted)
    }

    /// Renames the folder first, so that a kill leaves no incomplete checkpoint.
    fn delete(&self, checkpoint: &Checkpoint) -> Result<()> {
        let folder = self.folder(DELETED, checkpoint.step());
        remove(&folder)?;
        fs::rename(&checkpoint.path, &folder).map_err(write_error(&checkpoint.path))?;
        remove(&folder)
    }

    /// Renames a complete temporary folder. A kill between the two renames leaves a temporary folder that `prepare` names.
    fn replace(&self, step: u64, temporary: &Path, path: &Path) -> Result<()> {
        let replaced = self.folder(DELETED, step);
        remove(&replaced)?;
        let exists = path.exists();
        if exists {
            fs::rename(path, &replaced).map_err(write_error(path))?;
        }
        if let Err(error) = fs::rename(temporary, path) {
            if exists {
                // The first error is the one to report.
                let _ = fs::rename(&replaced, path);
            }
            return Err(write_error(path)(error));
        }
        sync_folder(&self.output_dir).map_err(write_error(&self.output_dir))?;
        remove(&replaced)
    }

    fn best_model_checkpoint(&self, state: &TrainerState) -> Option<String> {
        let step = state.best_global_step?;
        let folder = self.folder(PREFIX, step);
        let saved = step == state.global_step || read_step(&folder, step).is_some();
        saved.then(|| folder.display().to_string())
    }

    fn folder(&self, prefix: &str, step: u64) -> PathBuf {
        self.output_dir.join(format!("{prefix}{step}"))
    }

    /// The entries of the output folder whose names are `prefix` and a step, by their steps.
    fn folders(&self, prefix: &str) -> Result<Vec<(u64, PathBuf)>> {
        let read_error = |source| CheckpointError::Read {
            path: self.output_dir.clone(),
            source,
        };
        let mut folders = Vec::new();
        for entry in fs::read_dir(&self.output_dir).map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            let name = entry.file_name();
            let step = name.to_str().and_then(|name| name.strip_prefix(prefix));
            let Some(step) = step.and_then(|digits| digits.parse().ok()) else {
                continue;
            };
            // Not of `checkpoint-010` or `checkpoint-+10`.
            if name.as_os_str() == format!("{prefix}{step}").as_str() {
                folders.push((step, entry.path()));
            }
        }
        folders.sort_unstable();
        Ok(folders)
    }
}

/// The checkpoint of a folder, if it is complete and of that step.
fn read_step(folder: &Path, step: u64) -> Option<Checkpoint> {
    let checkpoint = Checkpoint::read(folder).ok()?;
    (checkpoint.step() == step).then_some(checkpoint)
}

/// Adds the state and the manifest to a folder with all other files of a checkpoint.
///
/// All files are on the disk before the manifest is written. A folder with a manifest is therefore complete, even after
/// a power failure.
fn complete(folder: &Path, state: &TrainerState) -> Result<()> {
    let path = folder.join(TRAINER_STATE);
    let json = serde_json::to_vec_pretty(state).map_err(io::Error::from);
    json.and_then(|json| write_synced(&path, &json))
        .map_err(write_error(&path))?;
    let mut manifest = Manifest {
        best_metric_bits: state.best_metric.map(f64::to_bits),
        ..Manifest::default()
    };
    sync_files(folder, "", &mut manifest.files)?;
    let path = folder.join(MANIFEST);
    let json = serde_json::to_vec_pretty(&manifest).map_err(io::Error::from);
    json.and_then(|json| write_synced(&path, &json))
        .and_then(|()| sync_folder(folder))
        .map_err(write_error(&path))
}

/// Waits until all files in `folder` are on the disk, and adds their sizes. `prefix` precedes their names.
fn sync_files(folder: &Path, prefix: &str, sizes: &mut BTreeMap<String, u64>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(write_error(folder))? {
        let entry = entry.map_err(write_error(folder))?;
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if path.is_dir() {
            sync_files(&path, &format!("{name}/"), sizes)?;
            continue;
        }
        // Windows requires write access. Elsewhere, a file may be read-only, for example a copy of one.
        let file = OpenOptions::new()
            .read(true)
            .write(cfg!(windows))
            .open(&path);
        let size = file.and_then(|file| {
            file.sync_all()?;
            file.metadata()
        });
        let size = size.map_err(write_error(&path))?.len();
        sizes.insert(name, size);
    }
    sync_folder(folder).map_err(write_error(folder))
}

fn check_size(folder: &Path, name: &str, expected: u64) -> std::result::Result<(), String> {
    match fs::metadata(folder.join(name)) {
        Ok(file) if file.len() == expected => Ok(()),
        Ok(file) => Err(format!(
            "{name}: found {} bytes, expected {expected}",
            file.len()
        )),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> std::result::Result<T, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let contents = fs::read(path).map_err(|error| format!("{name}: {error}"))?;
    serde_json::from_slice(&contents).map_err(|error| format!("{name}: {error}"))
}

/// Removes a folder with its contents, or a file. A missing one is no error.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(write_error(path)),
    }
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_owned();
    move |source| CheckpointError::Write { path, source }
}
