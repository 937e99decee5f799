//! Keeps generated code in step with the files it is made of, without a build script in the library.
//!
//! To write the files anew: `UPDATE_GENERATED=1 cargo test -p kcp-tonic --test codegen`.

#![allow(clippy::unwrap_used)]

use std::path::Path;

#[test]
fn generated_code_of_tests_is_up_to_date() {
    assert_up_to_date("tests", "helloworld");
}

#[test]
fn generated_code_of_examples_is_up_to_date() {
    assert_up_to_date("examples", "helloworld");
    assert_up_to_date("examples", "routeguide");
}

/// `FOLDER/generated/NAME.rs` is what is made of `FOLDER/proto/NAME.proto`.
fn assert_up_to_date(folder: &str, name: &str) {
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&fresh).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let protos = protox::compile([format!("{name}.proto")], [folder.join("proto")]).unwrap();
    tonic_prost_build::configure()
        .out_dir(&fresh)
        .compile_fds(protos)
        .unwrap();
    let fresh = std::fs::read_to_string(fresh.join(format!("{name}.rs"))).unwrap();
    let kept = folder.join(format!("generated/{name}.rs"));
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&kept, &fresh).unwrap();
    }
    let kept = std::fs::read_to_string(&kept).unwrap();
    assert!(fresh == kept, "{name}.rs does not fit {name}.proto");
}
