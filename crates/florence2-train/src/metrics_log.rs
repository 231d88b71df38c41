//! `metrics.jsonl`: the losses and metrics of a run, one JSON object per line.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::write_atomic;

/// The keys of [`MetricsRecord`] that are not names of metrics.
const FIELDS: [&str; 7] = [
    "step",
    "epoch",
    "loss",
    "learning_rate",
    "grad_norm",
    "images_per_second",
    "eval_loss",
];

/// One line of `metrics.jsonl`: the training since the line before, or an evaluation.
///
/// Numbers that are not finite are written as `null`, and `null` is read as no value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Line")]
pub struct MetricsRecord {
    /// Optimiser steps since the start of the training: Hugging Face's `global_step`.
    pub step: u64,
    /// Epochs since the start of the training.
    pub epoch: f64,
    /// The mean training loss since the record before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// The learning rate of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// The L2 norm of the gradients of the step, before clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Images per second of training since the record before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_per_second: Option<f64>,
    /// The mean loss on the evaluation data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_loss: Option<f64>,
    /// Other metrics by name, such as `eval_map`.
    #[serde(flatten)]
    pub metrics: BTreeMap<String, f64>,
}

/// A record as it is read: every value may be `null`.
#[derive(Deserialize)]
struct Line {
    step: u64,
    epoch: f64,
    loss: Option<f64>,
    learning_rate: Option<f64>,
    grad_norm: Option<f64>,
    images_per_second: Option<f64>,
    eval_loss: Option<f64>,
    #[serde(flatten)]
    metrics: BTreeMap<String, Option<f64>>,
}

impl From<Line> for MetricsRecord {
    fn from(line: Line) -> Self {
        let metrics = line.metrics.into_iter();
        Self {
            step: line.step,
            epoch: line.epoch,
            loss: line.loss,
            learning_rate: line.learning_rate,
            grad_norm: line.grad_norm,
            images_per_second: line.images_per_second,
            eval_loss: line.eval_loss,
            metrics: metrics
                .filter_map(|(name, value)| value.map(|value| (name, value)))
                .collect(),
        }
    }
}

/// `metrics.jsonl` cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsLogError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file cannot be written, for example because the disk is full.
    #[error("{}: cannot be written: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A line other than the last one is not a record.
    #[error("{}, line {line}: {reason}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What was found and what was expected.
        reason: String,
    },
    /// Metrics of a record have names of its other keys.
    #[error("metrics: found the names {}, expected names other than {}", .names.join(", "), FIELDS.join(", "))]
    Names {
        /// The names.
        names: Vec<String>,
    },
}

/// Writes `metrics.jsonl`. Each record is passed to the operating system at once, so that a killed process loses none.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    /// The file's length in bytes: the end of the last complete line.
    length: u64,
}

impl MetricsLog {
    /// Creates the file, or empties it.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, MetricsLogError> {
        let path = path.into();
        match File::create(&path) {
            Ok(file) => Ok(Self {
                path,
                file,
                length: 0,
            }),
            Err(source) => Err(MetricsLogError::Write { path, source }),
        }
    }

    /// Continues the file of a run that resumes after `step` steps: removes the records after it and an incomplete last line,
    /// by replacing the file. A missing file is created.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or written, and if a line is not a record. The file then remains as it was.
    pub fn resume(path: impl Into<PathBuf>, step: u64) -> Result<Self, MetricsLogError> {
        let path = path.into();
        let contents = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::create(path),
            contents => contents.map_err(|source| MetricsLogError::Read {
                path: path.clone(),
                source,
            })?,
        };
        let mut kept = Vec::with_capacity(contents.len());
        for (line, record) in parse(&path, &contents)? {
            if record.step <= step {
                kept.extend_from_slice(line);
                kept.push(b'\n');
            }
        }
        let opened = replace_if_changed(&path, &contents, &kept)
            .and_then(|()| open_at(&path, kept.len() as u64));
        match opened {
            Ok(file) => Ok(Self {
                path,
                file,
                length: kept.len() as u64,
            }),
            Err(source) => Err(MetricsLogError::Write { path, source }),
        }
    }

    /// Appends a record.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written: the part of the line that was written is removed, and a later call may succeed.
    /// Fails if a metric has the name of another key of the record.
    pub fn append(&mut self, record: &MetricsRecord) -> Result<(), MetricsLogError> {
        let names: Vec<_> = FIELDS
            .into_iter()
            .filter(|field| record.metrics.contains_key(*field))
            .map(str::to_owned)
            .collect();
        if !names.is_empty() {
            return Err(MetricsLogError::Names { names });
        }
        let written = to_line(record).and_then(|line| {
            self.file.write_all(&line)?;
            Ok(line.len() as u64)
        });
        match written {
            Ok(bytes) => {
                self.length += bytes;
                Ok(())
            }
            Err(source) => {
                // If this fails too, `resume` and `read_metrics` ignore the incomplete line.
                let _ = self.remove_incomplete_line();
                let path = self.path.clone();
                Err(MetricsLogError::Write { path, source })
            }
        }
    }

    /// Removes what a failed write left after the last complete line.
    fn remove_incomplete_line(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        Ok(())
    }
}

/// Opens a file to continue it at `length` bytes.
fn open_at(path: &Path, length: u64) -> io::Result<File> {
    // Not to append: Windows then refuses to truncate the file.
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.seek(SeekFrom::Start(length))?;
    Ok(file)
}

/// Reads the records of a `metrics.jsonl`. An incomplete last line, as of a killed process, is ignored.
///
/// # Errors
///
/// Fails if the file cannot be read, and if another line is not a record. The error names the line.
pub fn read_metrics(path: &Path) -> Result<Vec<MetricsRecord>, MetricsLogError> {
    let contents = std::fs::read(path).map_err(|source| MetricsLogError::Read {
        path: path.to_owned(),
        source,
    })?;
    let lines = parse(path, &contents)?;
    Ok(lines.into_iter().map(|(_, record)| record).collect())
}

/// Returns the lines, without their ends, and their records.
fn parse<'a>(
    path: &Path,
    contents: &'a [u8],
) -> Result<Vec<(&'a [u8], MetricsRecord)>, MetricsLogError> {
    let mut records = Vec::new();
    for (index, line) in contents.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let complete = line.ends_with(b"\n");
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(record) => records.push((line, record)),
            // Only the last line has no end.
            Err(_) if !complete => {}
            Err(error) => {
                return Err(MetricsLogError::Line {
                    path: path.to_owned(),
                    line: index + 1,
                    reason: format!("expected a record as a JSON object: {error}"),
                });
            }
        }
    }
    Ok(records)
}

fn to_line(record: &MetricsRecord) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

fn replace_if_changed(path: &Path, old: &[u8], new: &[u8]) -> io::Result<()> {
    if old == new {
        Ok(())
    } else {
        write_atomic(path, new)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn training(step: u64) -> MetricsRecord {
        MetricsRecord {
            step,
            epoch: step as f64 / 4.0,
            loss: Some(2.5),
            learning_rate: Some(0.125),
            grad_norm: Some(1.25),
            images_per_second: Some(3.5),
            ..MetricsRecord::default()
        }
    }

    fn evaluation(step: u64) -> MetricsRecord {
        MetricsRecord {
            step,
            epoch: step as f64 / 4.0,
            eval_loss: Some(2.75),
            metrics: BTreeMap::from([("eval_map".to_owned(), 0.5)]),
            ..MetricsRecord::default()
        }
    }

    #[test]
    fn a_record_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::create(&path).unwrap();
        let records = [training(1), training(2), evaluation(2)];
        for (index, record) in records.iter().enumerate() {
            log.append(record).unwrap();
            // Each record is in the file when `append` returns.
            assert_eq!(read_metrics(&path).unwrap(), records[..=index]);
        }
        let expected = "\
{\"step\":1,\"epoch\":0.25,\"loss\":2.5,\"learning_rate\":0.125,\"grad_norm\":1.25,\"images_per_second\":3.5}
{\"step\":2,\"epoch\":0.5,\"loss\":2.5,\"learning_rate\":0.125,\"grad_norm\":1.25,\"images_per_second\":3.5}
{\"step\":2,\"epoch\":0.5,\"eval_loss\":2.75,\"eval_map\":0.5}
";
        let contents = fs::read_to_string(&path).unwrap();
        assert_eq!(contents, expected);
    }

    #[test]
    fn numbers_that_are_not_finite_are_null() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut record = evaluation(3);
        record.loss = Some(f64::NAN);
        record.metrics.insert("eval_f1".to_owned(), f64::INFINITY);
        MetricsLog::create(&path).unwrap().append(&record).unwrap();
        assert_eq!(read_metrics(&path).unwrap(), [evaluation(3)]);
    }

    /// Resumes after step 2 of a file that ends as that of a killed process.
    #[test]
    fn resume_removes_later_records_and_an_incomplete_line() {
        let kept: String = [training(1), training(2), evaluation(2)]
            .iter()
            .map(|record| String::from_utf8(to_line(record).unwrap()).unwrap())
            .collect();
        let later = String::from_utf8(to_line(&training(3)).unwrap()).unwrap();
        let unfinished_last = kept.trim_end().to_owned();
        let cases = [
            kept.clone(),
            kept.clone() + &later,
            kept.clone() + &later + "{\"step\":4,\"epo",
            kept.clone() + "{\"step\":2,\"epoch\":0.5,\"eval_lo",
            kept.clone() + "\0\0\0\0",
            kept.clone() + "\n  \n",
            unfinished_last,
        ];
        for contents in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("metrics.jsonl");
            fs::write(&path, &contents).unwrap();
            let mut log = MetricsLog::resume(&path, 2).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), kept, "{contents:?}");
            log.append(&training(3)).unwrap();
            let continued = fs::read_to_string(&path).unwrap();
            assert_eq!(continued, format!("{kept}{later}"), "{contents:?}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_missing_file_is_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        MetricsLog::resume(&path, 2)
            .unwrap()
            .append(&training(3))
            .unwrap();
        assert_eq!(read_metrics(&path).unwrap(), [training(3)]);
    }

    #[test]
    fn another_damaged_line_is_an_error_and_remains() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let contents = "{\"step\":1,\"epoch\":0.5}\n{\"step\":\n{\"step\":3,\"epoch\":0.5}\n";
        fs::write(&path, contents).unwrap();
        for error in [
            MetricsLog::resume(&path, 2).unwrap_err(),
            read_metrics(&path).unwrap_err(),
        ] {
            let expected = format!(
                "{}, line 2: expected a record as a JSON object: ",
                path.display()
            );
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), contents);
    }

    #[test]
    fn a_metric_with_the_name_of_a_field_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut record = evaluation(1);
        record.metrics.insert("loss".to_owned(), 1.0);
        record.metrics.insert("step".to_owned(), 1.0);
        let mut log = MetricsLog::create(&path).unwrap();
        let error = log.append(&record).unwrap_err().to_string();
        assert!(
            error.starts_with("metrics: found the names step, loss, expected"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing/metrics.jsonl");
        let is_write =
            |error| matches!(error, MetricsLogError::Write { path, .. } if path == missing);
        assert!(is_write(MetricsLog::create(&missing).unwrap_err()));
        assert!(is_write(MetricsLog::resume(&missing, 1).unwrap_err()));
        assert!(matches!(
            read_metrics(&missing),
            Err(MetricsLogError::Read { .. })
        ));
    }

    #[test]
    fn a_record_after_a_failed_write_is_a_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        for resumed in [false, true] {
            let mut log = if resumed {
                MetricsLog::resume(&path, 2).unwrap()
            } else {
                MetricsLog::create(&path).unwrap()
            };
            log.append(&training(1)).unwrap();
            // A write that fails after some bytes, as on a full disk.
            log.file.write_all(b"{\"step\":2,\"ep").unwrap();
            log.remove_incomplete_line().unwrap();
            log.append(&training(2)).unwrap();
        }
        let expected = [training(1), training(2), training(1), training(2)];
        assert_eq!(read_metrics(&path).unwrap(), expected);
    }

    /// Linux's `/dev/full` is a device on a full disk.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error() {
        let mut log = MetricsLog::create("/dev/full").unwrap();
        let error = log.append(&training(1)).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/dev/full: cannot be written: No space left"),
            "{error}"
        );
    }
}
