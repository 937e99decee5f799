//! Runs the fuzz targets of `fuzz/` on the inputs that are kept there, and on a few of their own.

#[path = "../../fuzz/src/targets/mod.rs"]
#[allow(unreachable_pub, reason = "public in the library of the fuzz targets")]
mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use kcp_transport::testing::Rng;

use targets::{ALL, Target};

fn corpus(name: &str) -> Vec<PathBuf> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let entries = fs::read_dir(corpora.join(name)).expect("each target has a corpus");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("can be listed").path())
        .collect();
    files.sort();
    files
}

/// Runs a target; returns the name of an input that fails.
fn run(target: Target, input: &[u8], name: &str) -> Option<String> {
    let result = catch_unwind(|| target(input));
    result.is_err().then(|| name.to_owned())
}

#[test]
fn fuzz_targets_accept_their_corpora() {
    let mut failed = Vec::new();
    for (name, target) in ALL {
        let files = corpus(name);
        assert!(!files.is_empty(), "{name} has an empty corpus");
        for file in files {
            let input = fs::read(&file).expect("can be read");
            failed.extend(run(*target, &input, &file.display().to_string()));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn fuzz_targets_accept_nothing_and_noise() {
    let mut failed = Vec::new();
    for (name, target) in ALL {
        failed.extend(run(*target, &[], name));
        let mut rng = Rng::new(1);
        for len in [1, 10, 100, 1000] {
            let mut input = vec![0; len];
            rng.fill(&mut input);
            failed.extend(run(*target, &input, name));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn each_fuzz_target_has_a_program_of_its_name() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("can be read");
    for (name, _) in ALL {
        let entry = manifest
            .split("[[bin]]")
            .find(|it| it.contains(&format!("\nname = \"{name}\"")));
        let path = entry.and_then(|it| it.split("path = \"").nth(1)?.split('"').next());
        let path = path.unwrap_or_else(|| panic!("{name} has no program"));
        assert!(path.ends_with(&format!("/{name}.rs")), "{name}");
        assert!(fuzz.join(path).is_file(), "{name}");
    }
}
