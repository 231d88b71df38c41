//! A SIMD level that cannot be used is an error of loading a model.

use std::process::Command;

use burn_flex::{Flex, FlexDevice};
use florence2_core::{Error, Florence2Config, Florence2ForConditionalGeneration};
use florence2_kernels::Dtype;

const VARIABLE: &str = "FLORENCE2_CPU_LEVEL";

#[test]
fn an_unknown_level_is_an_error_of_loading() {
    let unknown = "avx1024";
    if std::env::var(VARIABLE).as_deref() == Ok(unknown) {
        let config = Florence2Config::default();
        let loaded =
            Florence2ForConditionalGeneration::<Flex>::new(config, Dtype::F32, &FlexDevice);
        let Err(Error::Argument {
            argument,
            found,
            expected,
        }) = loaded.map(drop)
        else {
            panic!("a model of level `{unknown}`");
        };
        assert_eq!((argument, &*found), (VARIABLE, "`avx1024`"));
        assert!(expected.contains("portable"), "{expected}");
        return;
    }
    // In a separate process, since the first operation of this one has selected its level.
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "cpu_level::an_unknown_level_is_an_error_of_loading",
        ])
        .env(VARIABLE, unknown)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("1 passed"), "{said}");
}
