//! Keeps `tests/generated` in step with `tests/proto`, without a build script in the library.
//!
//! To write the file anew: `UPDATE_GENERATED=1 cargo test -p kcp-tonic --test codegen`.

use std::path::Path;

#[test]
fn generated_code_is_up_to_date() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let protos = protox::compile(["helloworld.proto"], [tests.join("proto")]).unwrap();
    tonic_prost_build::configure()
        .out_dir(fresh)
        .compile_fds(protos)
        .unwrap();
    let fresh = std::fs::read_to_string(fresh.join("helloworld.rs")).unwrap();
    let kept = tests.join("generated").join("helloworld.rs");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&kept, &fresh).unwrap();
    }
    let kept = std::fs::read_to_string(kept).unwrap();
    assert!(fresh == kept, "tests/generated does not fit tests/proto");
}
