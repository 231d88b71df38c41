//! A process that saves checkpoints and is killed at any moment.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use std::{env, fs};

use florence2_train::{Checkpoints, MetricsLog, MetricsRecord, TrainerState, read_metrics};

/// The variable with the output folder of the process that is killed.
const OUTPUT: &str = "FLORENCE2_TRAIN_KILLED_OUTPUT";

/// Starts the process 25 times, and kills it after it has saved a first checkpoint and up to 12 ms more.
#[test]
fn a_killed_run_continues_from_its_newest_checkpoint() {
    if let Some(output) = env::var_os(OUTPUT) {
        save_without_end(Path::new(&output));
    }
    let output = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(output.path());
    let mut steps = 0;
    for kill in 0..25 {
        let mut process = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "a_killed_run_continues_from_its_newest_checkpoint",
                "--nocapture",
            ])
            .env(OUTPUT, output.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The pipe remains open until the process is killed, since it writes further lines.
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let saved = lines.find(|line| line.as_ref().unwrap().contains("saved a checkpoint"));
        assert!(saved.is_some(), "the process has ended");
        sleep(Duration::from_micros(kill * 500));
        process.kill().unwrap();
        process.wait().unwrap();

        checkpoints.prepare().unwrap();
        let latest = checkpoints
            .latest()
            .unwrap()
            .expect("a checkpoint was saved");
        assert!(latest.step() > steps, "{} after {steps}", latest.step());
        steps = latest.step();
        for checkpoint in checkpoints.complete().unwrap() {
            let weights = fs::read(checkpoint.path.join("weights")).unwrap();
            assert_eq!(weights, contents(checkpoint.step()));
        }
        let log = output.path().join("metrics.jsonl");
        MetricsLog::resume(&log, latest.step()).unwrap();
        let logged = read_metrics(&log).unwrap();
        // Each record was written before its checkpoint.
        assert_eq!(logged.last().map(|record| record.step), Some(latest.step()));
    }
}

/// A run that continues from its newest checkpoint. It saves every checkpoint twice: the second one replaces the first.
fn save_without_end(output: &Path) -> ! {
    let checkpoints = Checkpoints::new(output);
    checkpoints.prepare().unwrap();
    let latest = checkpoints.latest().unwrap();
    let mut step = latest.map_or(0, |checkpoint| checkpoint.step());
    let mut log = MetricsLog::resume(output.join("metrics.jsonl"), step).unwrap();
    loop {
        step += 1;
        log.append(&MetricsRecord {
            step,
            loss: Some(1.5),
            ..MetricsRecord::default()
        })
        .unwrap();
        let mut state = TrainerState {
            global_step: step,
            ..TrainerState::default()
        };
        let write = |folder: &Path| fs::write(folder.join("weights"), contents(step));
        checkpoints.save(&mut state, write).unwrap();
        checkpoints.save(&mut state, write).unwrap();
        checkpoints.rotate(Some(3), None).unwrap();
        println!("saved a checkpoint");
    }
}

/// 256 KiB.
fn contents(step: u64) -> Vec<u8> {
    vec![step as u8; 1 << 18]
}
