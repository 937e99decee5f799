//! Imports point one way: among the layers of the crate, and among the floors of `net`, in the order
//! that their documentation gives.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the lowest place to the highest. Those of one place do not import each other.
type Order = Vec<Vec<String>>;

#[test]
fn layers_of_the_crate_import_only_lower_ones() {
    let mut order = documented("lib.rs", "error");
    order.push(vec!["testing".to_owned()]);
    check(&order, &[]);
}

#[test]
fn floors_of_net_import_only_lower_ones() {
    check(&documented("net/mod.rs", "sync"), &["net"]);
}

#[test]
fn upward_and_sideways_imports_are_found() {
    let order: Order = [vec!["low"], vec!["left", "right"]]
        .map(|place| place.into_iter().map(str::to_owned).collect())
        .into();
    let wrong = |module: &[&str], text: &str| {
        let module: Vec<_> = module.iter().map(|&it| it.to_owned()).collect();
        let mut imports = imports(&module, text).into_iter();
        imports.any(|target| points_up(&order, &[], &module, &target))
    };
    assert!(wrong(&["low", "part"], "use crate::left::It;"));
    assert!(wrong(
        &["low"],
        "use super::{\n    std,\n    right::{A, B},\n};"
    ));
    assert!(wrong(&["low"], "fn it() -> crate::left::It {}"));
    assert!(wrong(&["left"], "pub(super) use super::right::It;"));
    assert!(!wrong(
        &["left"],
        "use crate::low::It;\nuse self::right::It;"
    ));
    assert!(!wrong(
        &["left"],
        "pub(in crate::right) struct It; // crate::right"
    ));
    assert!(!wrong(
        &["low"],
        "#[cfg(test)]\nmod tests {\n    use crate::left::It;\n}"
    ));
}

/// Fails with all imports of the modules under `root` that point up.
fn check(order: &Order, root: &[&str]) {
    let folder = root.iter().fold(source(), |folder, part| folder.join(part));
    let mut wrong = Vec::new();
    let mut checked = 0;
    for file in rust_files(&folder) {
        let module = module_of(&file);
        let text = fs::read_to_string(&file).expect("is text");
        for target in imports(&module, &text) {
            checked += 1;
            if points_up(order, root, &module, &target) {
                wrong.push(format!(
                    "{} imports {}",
                    module.join("::"),
                    target.join("::")
                ));
            }
        }
    }
    assert!(checked > 100, "only {checked} imports found");
    wrong.dedup();
    assert!(wrong.is_empty(), "upward:\n{}", wrong.join("\n"));
}

fn points_up(order: &Order, root: &[&str], module: &[String], target: &[String]) -> bool {
    let name = |path: &[String]| {
        let inside = path.iter().zip(root).all(|(part, root)| part == root);
        path.get(root.len()).filter(|_| inside).cloned()
    };
    let place = |name: &String| order.iter().position(|it| it.contains(name));
    let (Some(from), Some(to)) = (name(module), name(target)) else {
        return false;
    };
    match (place(&from), place(&to)) {
        (Some(low), Some(high)) => from != to && high >= low,
        // Re-exports of the root are for users; a module without a place has not been thought of.
        (None, _) => from != "lib" && target.len() > root.len(),
        (Some(_), None) => false,
    }
}

/// The order in the line of a module's documentation that begins with its lowest place.
fn documented(file: &str, lowest: &str) -> Order {
    let text = fs::read_to_string(source().join(file)).expect("is text");
    let start = format!("//! `{lowest}` ");
    let lines = text.lines().skip_while(|line| !line.starts_with(&start));
    let lines = lines.take_while(|line| line.contains('`'));
    let chain: Vec<_> = lines.map(|line| line.trim_start_matches("//!")).collect();
    assert!(!chain.is_empty(), "{file} gives no order");
    let places = chain.concat();
    let places = places.split('<').map(|place| {
        let names = place.split('|').map(|name| name.trim().trim_matches('`'));
        names.map(str::to_owned).collect()
    });
    places.collect()
}

/// Paths inside the crate that a file imports or names, its tests apart.
fn imports(module: &[String], text: &str) -> Vec<Vec<String>> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: Vec<_> = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let code = code.join(" ").replace("in crate::", "");
    let mut paths = Vec::new();
    for statement in code.split(';') {
        if let Some((before, tree)) = statement.rsplit_once("use ")
            && !before.ends_with(|letter: char| letter.is_alphanumeric())
        {
            expand(&mut paths, "", tree);
        }
        let named = statement.match_indices("crate::");
        paths.extend(named.map(|(at, _)| {
            let rest = statement[at..].chars();
            let path = rest.take_while(|it| it.is_alphanumeric() || matches!(it, ':' | '_'));
            path.collect()
        }));
    }
    let resolved = paths.iter().filter_map(|path| resolve(module, path));
    resolved.collect()
}

/// Adds the paths of a tree as in `a::{b, c::{d, e}}`.
fn expand(paths: &mut Vec<String>, prefix: &str, tree: &str) {
    let Some((head, rest)) = tree.split_once('{') else {
        paths.push(format!("{prefix}{}", tree.trim()));
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in rest.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                let part = &rest[start..at];
                if !part.trim().is_empty() {
                    expand(paths, &prefix, part);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// A path from the root of the crate, if it leads there.
fn resolve(module: &[String], path: &str) -> Option<Vec<String>> {
    let mut base: Vec<String> = module.to_vec();
    let mut parts = path.split("::").peekable();
    match parts.next()? {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            base.pop();
            while parts.next_if_eq(&"super").is_some() {
                base.pop();
            }
        }
        _ => return None,
    }
    base.extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
    Some(base)
}

fn module_of(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(source()).expect("is a source");
    let inside = inside.with_extension("");
    let parts = inside
        .iter()
        .map(|part| part.to_string_lossy().into_owned());
    parts.filter(|part| part != "mod").collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("is a folder") {
        let path = entry.expect("can be read").path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") && !is_test {
            files.push(path);
        }
    }
    files
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
