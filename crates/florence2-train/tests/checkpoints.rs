//! Checkpoint folders after kills, failed writes and rotation.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use florence2_train::{Checkpoint, CheckpointError, Checkpoints, TrainerState};

fn state(step: u64) -> TrainerState {
    TrainerState {
        global_step: step,
        epoch: step as f64 / 10.0,
        ..TrainerState::default()
    }
}

/// Writes two files, one of them in a folder, whose contents name the step.
fn write(folder: &Path, step: u64) -> io::Result<()> {
    fs::write(folder.join("weights"), format!("weights of {step}"))?;
    fs::create_dir(folder.join("optimizer"))?;
    fs::write(
        folder.join("optimizer/moments"),
        format!("moments of {step}"),
    )
}

fn save(checkpoints: &Checkpoints, step: u64) -> Checkpoint {
    checkpoints
        .save(&mut state(step), |folder| write(folder, step))
        .unwrap()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn steps(checkpoints: &Checkpoints) -> Vec<u64> {
    let complete = checkpoints.complete().unwrap();
    complete.iter().map(Checkpoint::step).collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn a_saved_checkpoint_is_read_to_the_bit() {
    let output = tempfile::tempdir().unwrap();
    let output_dir = output.path().join("new/folder");
    let checkpoints = Checkpoints::new(&output_dir);
    checkpoints.prepare().unwrap();
    assert_eq!(checkpoints.latest().unwrap(), None);
    // serde_json does not read the last digits of these numbers exactly.
    for (index, metric) in [0.1 + 0.2, 1.0 / 3.0, 2.0_f64.sqrt() * 1e-7, 1e-300 / 3.0]
        .into_iter()
        .enumerate()
    {
        let mut state = state(index as u64 + 1);
        assert!(state.update_best(metric, false) || state.update_best(metric, true));
        let saved = checkpoints
            .save(&mut state, |folder| write(folder, 1))
            .unwrap();
        assert_eq!(
            saved.path,
            output_dir.join(format!("checkpoint-{}", index + 1))
        );
        assert_eq!(state.best_model_checkpoint.as_deref(), saved.path.to_str());
        let latest = checkpoints.latest().unwrap().unwrap();
        assert_eq!((&latest, &latest.state), (&saved, &state));
        assert_eq!(
            latest.state.best_metric.unwrap().to_bits(),
            metric.to_bits()
        );
        assert_eq!(Checkpoint::read(&saved.path).unwrap(), saved);
    }
    let files = names(&output_dir.join("checkpoint-1"));
    assert_eq!(
        files,
        set([
            "checkpoint.json",
            "optimizer",
            "trainer_state.json",
            "weights"
        ])
    );
}

type Stage = fn(&Path) -> io::Result<()>;

/// The stages at which a process is killed: the name, what makes the output folder look like it from the checkpoints 10, 20
/// and 30, and the complete checkpoints after `prepare`.
const STAGES: [(&str, Stage, &[u64]); 13] = [
    (
        "the temporary folder is created",
        |output| fs::create_dir(output.join("tmp-checkpoint-40")),
        &[10, 20, 30],
    ),
    (
        "a file is written partly",
        |output| {
            fs::create_dir(output.join("tmp-checkpoint-40"))?;
            fs::write(output.join("tmp-checkpoint-40/weights"), "wei")
        },
        &[10, 20, 30],
    ),
    (
        "the state is missing",
        |output| {
            rename(output, "checkpoint-30", "tmp-checkpoint-30")?;
            fs::remove_file(output.join("tmp-checkpoint-30/checkpoint.json"))?;
            fs::remove_file(output.join("tmp-checkpoint-30/trainer_state.json"))
        },
        &[10, 20],
    ),
    (
        "the manifest is missing",
        |output| {
            rename(output, "checkpoint-30", "tmp-checkpoint-30")?;
            fs::remove_file(output.join("tmp-checkpoint-30/checkpoint.json"))
        },
        &[10, 20],
    ),
    (
        "the manifest is written partly",
        |output| {
            rename(output, "checkpoint-30", "tmp-checkpoint-30")?;
            truncate(&output.join("tmp-checkpoint-30/checkpoint.json"))
        },
        &[10, 20],
    ),
    (
        "only the name is missing",
        |output| rename(output, "checkpoint-30", "tmp-checkpoint-30"),
        &[10, 20, 30],
    ),
    (
        "the checkpoint that it replaces has its name",
        |output| move_new(output, 20, "tmp-checkpoint-20"),
        &[10, 20, 30],
    ),
    (
        "neither it nor the checkpoint that it replaces has the name",
        |output| {
            rename(output, "checkpoint-20", "old-checkpoint-20")?;
            move_new(output, 20, "tmp-checkpoint-20")
        },
        &[10, 20, 30],
    ),
    (
        "the replaced checkpoint is not deleted yet",
        |output| {
            rename(output, "checkpoint-20", "old-checkpoint-20")?;
            move_new(output, 20, "checkpoint-20")
        },
        &[10, 20, 30],
    ),
    (
        "the oldest checkpoint is being deleted",
        |output| {
            rename(output, "checkpoint-10", "old-checkpoint-10")?;
            fs::remove_file(output.join("old-checkpoint-10/weights"))
        },
        &[20, 30],
    ),
    (
        "a copied checkpoint lacks a file",
        |output| fs::remove_file(output.join("checkpoint-30/optimizer/moments")),
        &[10, 20],
    ),
    (
        "a file of a copied checkpoint is shorter",
        |output| truncate(&output.join("checkpoint-30/weights")),
        &[10, 20],
    ),
    (
        "a copied checkpoint has another step's name",
        |output| rename(output, "checkpoint-30", "checkpoint-40"),
        &[10, 20],
    ),
];

#[test]
fn a_kill_at_any_stage_leaves_the_earlier_checkpoints() {
    for (name, stage, expected) in STAGES {
        let output = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(output.path());
        for step in [10, 20, 30] {
            save(&checkpoints, step);
        }
        stage(output.path()).unwrap();
        let latest_without_preparation = checkpoints.latest().unwrap().unwrap();
        assert!(latest_without_preparation.step() >= 10, "{name}");
        checkpoints.prepare().unwrap();
        assert_eq!(steps(&checkpoints), expected, "{name}");
        for checkpoint in checkpoints.complete().unwrap() {
            check_contents(&checkpoint);
        }
        let left = names(output.path());
        assert!(
            left.iter().all(|name| name.starts_with("checkpoint-")),
            "{name}: {left:?}"
        );
        // The run continues.
        save(&checkpoints, 30);
        save(&checkpoints, 50);
        assert_eq!(checkpoints.latest().unwrap().unwrap().step(), 50, "{name}");
    }
}

fn rename(output: &Path, from: &str, to: &str) -> io::Result<()> {
    fs::rename(output.join(from), output.join(to))
}

/// Saves a checkpoint elsewhere, and moves it into the output folder.
fn move_new(output: &Path, step: u64, name: &str) -> io::Result<()> {
    let other = tempfile::tempdir_in(output)?;
    let checkpoint = save(&Checkpoints::new(other.path()), step);
    fs::rename(checkpoint.path, output.join(name))
}

/// Removes the last byte.
fn truncate(path: &Path) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(path)?;
    file.set_len(file.metadata()?.len() - 1)
}

fn check_contents(checkpoint: &Checkpoint) {
    let read = |name| fs::read_to_string(checkpoint.path.join(name)).unwrap();
    let step = checkpoint.step();
    assert_eq!(read("weights"), format!("weights of {step}"));
    assert_eq!(read("optimizer/moments"), format!("moments of {step}"));
}

#[test]
fn an_incomplete_checkpoint_is_named_with_its_files() {
    let output = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(output.path());
    let path = save(&checkpoints, 10).path;
    truncate(&path.join("weights")).unwrap();
    fs::remove_file(path.join("optimizer/moments")).unwrap();
    let error = Checkpoint::read(&path).unwrap_err().to_string();
    let expected = format!(
        "{}: the checkpoint is incomplete: optimizer/moments: ",
        path.display()
    );
    assert!(error.starts_with(&expected), "{error}");
    assert!(
        error.ends_with("; weights: found 12 bytes, expected 13"),
        "{error}"
    );
    let error = Checkpoint::read(output.path()).unwrap_err();
    assert!(matches!(error, CheckpointError::Incomplete { .. }));
}

/// Each failure of a write of checkpoint 20 or of a second checkpoint 10.
#[test]
fn a_failed_write_leaves_the_earlier_checkpoints() {
    type Write = fn(&Path) -> Result<(), Box<dyn Error + Send + Sync>>;
    let failures: [(&str, Write); 4] = [
        ("no storage space", |folder| {
            fs::write(folder.join("weights"), "wei")?;
            Err(io::Error::from(io::ErrorKind::StorageFull).into())
        }),
        ("trainer_state.json", |folder| {
            Ok(fs::create_dir(folder.join("trainer_state.json"))?)
        }),
        ("checkpoint.json", |folder| {
            Ok(fs::create_dir(folder.join("checkpoint.json"))?)
        }),
        ("adapter: found", |_| {
            Err("adapter: found NaN, expected finite numbers".into())
        }),
    ];
    for (cause, failure) in failures {
        for step in [10, 20] {
            let output = tempfile::tempdir().unwrap();
            let checkpoints = Checkpoints::new(output.path());
            let earlier = save(&checkpoints, 10);
            let mut unsaved = state(step);
            unsaved.update_best(0.5, true);
            let error = checkpoints.save(&mut unsaved, failure).unwrap_err();
            assert_eq!(unsaved.best_model_checkpoint, None);
            assert!(
                matches!(
                    error,
                    CheckpointError::Contents { .. } | CheckpointError::Write { .. }
                ),
                "{error:?}"
            );
            assert!(error.to_string().contains(cause), "{error}");
            assert_eq!(
                checkpoints.complete().unwrap(),
                std::slice::from_ref(&earlier)
            );
            check_contents(&earlier);
            assert_eq!(names(output.path()), set(["checkpoint-10"]), "{cause}");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let output = tempfile::tempdir().unwrap();
    let file = output.path().join("file");
    fs::write(&file, "").unwrap();
    let checkpoints = Checkpoints::new(&file);
    let error = checkpoints.prepare().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("{}: cannot be written: ", file.display())),
        "{error}"
    );
    let missing = Checkpoints::new(output.path().join("missing"));
    assert!(matches!(
        missing.latest(),
        Err(CheckpointError::Read { .. })
    ));
    let saved = missing.save(&mut state(1), |folder| write(folder, 1));
    assert!(matches!(saved, Err(CheckpointError::Write { .. })));
}

/// The system's own error on a full disk, while a file is copied to the disk.
#[cfg(target_os = "linux")]
#[test]
fn the_error_of_a_full_disk_is_passed_on() {
    let output = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(output.path());
    let saved = checkpoints.save(&mut state(7), |_| fs::write("/dev/full", "weights"));
    let expected = format!(
        "{}: cannot be written: No space left",
        output.path().join("checkpoint-7").display()
    );
    let error = saved.unwrap_err().to_string();
    assert!(error.starts_with(&expected), "{error}");
    assert_eq!(names(output.path()), set([]));
}

#[test]
fn rotation_keeps_the_newest_and_the_best() {
    let cases: [(Option<usize>, Option<u64>, &[u64]); 8] = [
        (None, Some(2), &[1, 2, 3, 4, 10]),
        (Some(0), Some(2), &[1, 2, 3, 4, 10]),
        (Some(9), None, &[1, 2, 3, 4, 10]),
        (Some(2), None, &[4, 10]),
        (Some(2), Some(2), &[2, 10]),
        (Some(1), Some(2), &[2, 10]),
        (Some(1), Some(10), &[10]),
        (Some(1), Some(77), &[10]),
    ];
    for (limit, best, expected) in cases {
        let output = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(output.path());
        for step in [1, 2, 3, 4, 10] {
            save(&checkpoints, step);
        }
        // Neither is a complete checkpoint: they are not counted, and not deleted.
        fs::create_dir(output.path().join("checkpoint-99")).unwrap();
        fs::create_dir(output.path().join("checkpoint-010")).unwrap();
        let deleted = checkpoints.rotate(limit, best).unwrap();
        assert_eq!(steps(&checkpoints), expected);
        assert_eq!(deleted.len(), 5 - expected.len());
        assert_eq!(names(output.path()).len(), expected.len() + 2);
    }
}

#[test]
fn a_checkpoint_of_the_same_step_is_replaced() {
    let output = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(output.path());
    save(&checkpoints, 10);
    let replaced = checkpoints.save(&mut state(10), |folder| {
        fs::write(folder.join("weights"), "new")
    });
    let path = replaced.unwrap().path;
    assert_eq!(
        names(&path),
        set(["checkpoint.json", "trainer_state.json", "weights"])
    );
    assert_eq!(names(output.path()), set(["checkpoint-10"]));
    assert_eq!(fs::read_to_string(path.join("weights")).unwrap(), "new");
}

#[test]
fn later_checkpoints_of_an_abandoned_run_are_deleted() {
    let output = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(output.path());
    for step in [1, 2, 3, 10] {
        save(&checkpoints, step);
    }
    let deleted = checkpoints.delete_after(2).unwrap();
    let expected = ["checkpoint-10", "checkpoint-3"].map(|name| output.path().join(name));
    assert_eq!(deleted, expected);
    assert_eq!(names(output.path()), set(["checkpoint-1", "checkpoint-2"]));
}

#[cfg(unix)]
#[test]
fn a_checkpoint_may_contain_files_that_are_read_only() {
    let output = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(output.path());
    for _ in 0..2 {
        let write = |folder: &Path| {
            let path = folder.join("config.json");
            fs::write(&path, "{}")?;
            let mut permissions = fs::metadata(&path)?.permissions();
            permissions.set_readonly(true);
            fs::set_permissions(&path, permissions)
        };
        checkpoints.save(&mut state(10), write).unwrap();
    }
    assert_eq!(steps(&checkpoints), [10]);
}
