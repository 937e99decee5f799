//! Whether the swarm of simulations notices mistakes: it must fail for each of those in
//! `list.txt`, which are made one by one in a copy of the source.
//!
//! ```text
//! cargo test -p kcp-transport --test mutants -- --ignored --nocapture
//! ```
//!
//! This takes a quarter of an hour on two cores. `KCP_MUTANTS=name,name` makes only those mistakes, `KCP_MUTANTS_SEEDS=4000`
//! runs that many seeds instead of 20 000, and `KCP_MUTANTS_TARGET=directory` keeps the build
//! there. `results.txt` has the last results.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One mistake.
struct Mutant<'a> {
    name: &'a str,
    /// What it does, in words.
    what: &'a str,
    file: &'a str,
    old: &'a str,
    new: &'a str,
}

#[test]
#[ignore = "takes a quarter of an hour; see the top of this file"]
fn swarm_notices_mistakes() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    copy(&source, &tree);
    let wanted = std::env::var("KCP_MUTANTS").ok();
    let wanted = |name: &str| {
        let list = wanted.as_deref();
        list.is_none_or(|list| list.split(',').any(|it| it == name))
    };
    let mut results = String::new();
    for mutant in mutants().iter().filter(|it| wanted(it.name)) {
        let line = format!(
            "{:28} {:28} {}",
            mutant.name,
            judge(mutant, &tree),
            mutant.what
        );
        println!("{line}");
        std::io::stdout().flush().expect("stdout takes it");
        results.push_str(&line);
        results.push('\n');
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants.txt");
    fs::write(&path, results).expect("the directory is there");
    println!("{}", path.display());
}

#[test]
fn every_mistake_has_a_name_of_its_own() {
    let mutants = mutants();
    assert!(mutants.len() >= 60, "{}", mutants.len());
    let mut names: Vec<&str> = mutants.iter().map(|it| it.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), mutants.len());
    assert!(mutants.iter().all(|it| it.old != it.new));
}

#[test]
fn every_mistake_applies_to_the_source() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    for mutant in mutants() {
        let text = fs::read_to_string(source.join(mutant.file)).unwrap_or_default();
        let found = text.matches(mutant.old).count();
        assert_eq!(found, 1, "{} in {}", mutant.name, mutant.file);
    }
}

/// Reads the list: blocks of a name, a line of words, a file, the old text and the new.
fn mutants() -> Vec<Mutant<'static>> {
    let blocks = include_str!("list.txt").split("=== ").skip(1);
    blocks
        .map(|block| {
            let (name, rest) = block.split_once('\n').expect("a name");
            let (what, rest) = rest.split_once("\n--- ").expect("a line of words");
            let (file, rest) = rest.split_once('\n').expect("a file");
            let (old, rest) = rest.split_once("\n+++\n").expect("the new text");
            let new = rest.strip_suffix('\n').expect("a last line");
            Mutant {
                name,
                what,
                file,
                old,
                new,
            }
        })
        .collect()
}

/// Makes one mistake, and returns whether it was noticed.
fn judge(mutant: &Mutant<'_>, tree: &Path) -> String {
    let path = tree.join("kcp-transport").join(mutant.file);
    let right = fs::read_to_string(&path).unwrap_or_default();
    if right.matches(mutant.old).count() != 1 {
        return "stale".into();
    }
    fs::write(&path, right.replacen(mutant.old, mutant.new, 1)).expect("the copy is writable");
    let verdict = if cargo(tree, &["--no-run"]).0 {
        let (passed, output) = cargo(tree, &["no_seed"]);
        if passed {
            "SURVIVED".into()
        } else {
            let seed = output.split("\nseed ").nth(1);
            match seed.and_then(|rest| rest.split(':').next()) {
                Some(seed) => format!("killed at seed {seed}"),
                None if output.contains(" a run, not ") => "killed by the sums".into(),
                None => "killed by standing still".into(),
            }
        }
    } else {
        "does not build".into()
    };
    fs::write(&path, right).expect("the copy is writable");
    verdict
}

/// Runs the swarm in the copy; returns whether it passed, and what it printed.
fn cargo(tree: &Path, arguments: &[&str]) -> (bool, String) {
    let seeds = std::env::var("KCP_MUTANTS_SEEDS").unwrap_or_else(|_| "20000".into());
    let target =
        std::env::var_os("KCP_MUTANTS_TARGET").map_or_else(|| tree.join("target"), PathBuf::from);
    // The mistake may be one after which time stands still.
    let output = Command::new("timeout")
        .args([
            "1200",
            env!("CARGO"),
            "test",
            "-q",
            "-p",
            "kcp-transport",
            "--test",
            "swarm",
        ])
        .args(arguments)
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", target)
        .env("KCP_SIM_SEEDS", format!("0..{seeds}"))
        .env("KCP_SIM_NO_SHRINK", "1")
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    (output.status.success(), text.into_owned())
}

/// Copies the files that git lists, so that no build comes along.
fn copy(source: &Path, tree: &Path) {
    let list = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(source)
        .output()
        .expect("git runs");
    let list = String::from_utf8(list.stdout).expect("names are UTF-8");
    // A file that has been moved would be built twice.
    remove_unlisted(tree, tree, &list.lines().map(Path::new).collect());
    for name in list.lines() {
        let (from, to) = (source.join(name), tree.join(name));
        let Ok(new) = fs::read(&from) else { continue };
        // Files that are the same keep their time, or all would be built again.
        if fs::read(&to).is_ok_and(|old| old == new) {
            continue;
        }
        fs::create_dir_all(to.parent().expect("a file has a directory")).expect("writable");
        fs::write(&to, new).expect("writable");
    }
}

/// Removes files that are not in the list, but for what was built.
fn remove_unlisted(tree: &Path, directory: &Path, list: &HashSet<&Path>) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let name = path.strip_prefix(tree).expect("it lies in the tree");
        if path.is_dir() && name != Path::new("target") {
            remove_unlisted(tree, &path, list);
        } else if path.is_file() && !list.contains(name) {
            fs::remove_file(&path).expect("the copy is writable");
        }
    }
}
