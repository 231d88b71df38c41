//! The SIMD level of the process. Each case runs in a separate process, since the first operation
//! selects the level permanently.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use burn::tensor::Tensor;
use burn_flex::{Flex, FlexDevice};
use florence2_kernels::layer_weights::LinearWeights;
use florence2_kernels::{Backend, Dtype, Weight, cpu_level, cpu_levels, set_cpu_level};

const VARIABLE: &str = "FLORENCE2_CPU_LEVEL";

/// Runs an ignored test of this file in a separate process, with the variable or without it.
fn run(test: &str, level: Option<&str>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    match level {
        Some(level) => command.env(VARIABLE, level),
        None => command.env_remove(VARIABLE),
    };
    command.output().unwrap()
}

#[track_caller]
fn assert_passes(test: &str, level: Option<&str>) {
    let output = run(test, level);
    assert!(output.status.success(), "{test} at {level:?}: {output:?}");
}

/// Runs an operation, which selects the level.
fn compute() {
    let weight = Tensor::<Flex, 2>::ones([40, 70], &FlexDevice);
    let weight = Weight::from_tensor(weight, Dtype::F32);
    let weights = LinearWeights {
        weight: &weight,
        bias: None,
    };
    let input = Tensor::<Flex, 3>::ones([1, 3, 70], &FlexDevice);
    let found = Flex::fused_linear(&input, &weights).unwrap().into_data();
    assert!(found.iter::<f32>().all(|value| value == 70.0));
}

#[test]
fn every_level_of_the_processor_is_run_by_its_name() {
    for level in cpu_levels() {
        assert_passes("runs_the_variables_level", Some(level));
    }
}

#[test]
#[ignore = "run in a process of its own"]
fn runs_the_variables_level() {
    let level = std::env::var(VARIABLE).unwrap();
    assert_eq!(cpu_level().unwrap(), level);
    Flex::check_settings().unwrap();
    compute();
    assert_eq!(cpu_level().unwrap(), level);
}

#[test]
fn a_wrong_level_is_an_error_that_names_it_and_the_choices() {
    let missing = ["avx2-vnni", "avx512-dot", "amx", "neon-dot"];
    let missing = missing
        .into_iter()
        .filter(|level| !cpu_levels().contains(level));
    for level in ["avx1024", "AVX2", " avx2"].into_iter().chain(missing) {
        assert_passes("refuses_the_variables_level", Some(level));
    }
    let output = run("computes", Some("avx1024"));
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("FLORENCE2_CPU_LEVEL: found `avx1024`"),
        "{said}"
    );
}

#[test]
#[ignore = "run in a process of its own"]
fn refuses_the_variables_level() {
    let level = std::env::var(VARIABLE).unwrap();
    for error in [
        Flex::check_settings().unwrap_err(),
        cpu_level().unwrap_err(),
    ] {
        assert_eq!((error.setting, &*error.found), (VARIABLE, &*level));
        for here in cpu_levels() {
            assert!(error.expected.contains(here), "{error}");
        }
    }
    // A call overrides the variable.
    set_cpu_level("portable").unwrap();
    compute();
}

#[test]
#[ignore = "run in a process of its own"]
fn computes() {
    compute();
}

#[test]
fn a_level_is_set_before_it_is_used() {
    assert_passes("sets_levels", None);
    assert_passes("sets_levels", Some("avx1024"));
    // An empty value counts as unset.
    assert_passes("computes", Some(""));
}

#[test]
#[ignore = "run in a process of its own"]
fn sets_levels() {
    let error = set_cpu_level("avx1024").unwrap_err();
    assert_eq!((error.setting, &*error.found), ("cpu_level", "avx1024"));
    let highest = *cpu_levels().last().unwrap();
    set_cpu_level(highest).unwrap();
    set_cpu_level("portable").unwrap();
    assert_eq!(cpu_level().unwrap(), "portable");
    compute();
    assert_eq!(cpu_level().unwrap(), "portable");
    set_cpu_level("portable").unwrap();
    if highest != "portable" {
        let error = set_cpu_level(highest).unwrap_err();
        assert_eq!(error.found, highest);
        assert!(error.expected.contains("`portable`"), "{error}");
    }
}
