//! The limits of the whole workspace: 400 lines of code a file, 12 files a folder. Tests count too;
//! generated code does not.

use std::fs;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 400;
const MAX_FILES: usize = 12;

#[test]
fn files_have_at_most_four_hundred_lines_of_code() {
    let mut too_long = Vec::new();
    let files = sources();
    for path in &files {
        let text = fs::read_to_string(path).expect("is text");
        let lines = lines_of_code(&text);
        if lines > MAX_LINES && !text.contains("@generated") {
            too_long.push(format!("{}: {lines}", path.display()));
        }
    }
    assert!(files.len() > 500, "only {} files found", files.len());
    assert!(too_long.is_empty(), "{too_long:#?}");
}

#[test]
fn folders_have_at_most_twelve_source_files() {
    let mut folders = std::collections::BTreeMap::<PathBuf, usize>::new();
    for path in sources() {
        let folder = path.parent().expect("is in a folder");
        *folders.entry(folder.to_owned()).or_default() += 1;
    }
    folders.retain(|_, files| *files > MAX_FILES);
    assert!(folders.is_empty(), "{folders:#?}");
}

#[test]
fn blank_lines_and_comments_are_no_code() {
    let text = "//! Words.\n\nfn it() {\n    /* more\n       words */\n    call(); // last\n}\n";
    assert_eq!(lines_of_code(text), 3);
}

fn lines_of_code(text: &str) -> usize {
    let mut in_comment = false;
    let is_code = |line: &&str| {
        let line = line.trim();
        let was_in_comment = in_comment;
        in_comment |= line.starts_with("/*");
        let is_comment = in_comment;
        in_comment &= !line.contains("*/");
        !was_in_comment && !is_comment && !line.is_empty() && !line.starts_with("//")
    };
    text.lines().filter(is_code).count()
}

/// All files of Rust and Go in the workspace.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("is a folder") {
            let path = entry.expect("can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // What is built, and what git keeps.
            let is_source = name != "target" && !name.starts_with('.');
            if path.is_dir() && is_source {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs" || it == "go") {
                files.push(path);
            }
        }
    }
    files
}
