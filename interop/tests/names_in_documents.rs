//! Names in documents exist: the table in docs/kcp-go-api.md lists everything that kcp-go exports, its second
//! column names items of this project, and the tests in SECURITY.md exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn table_lists_exactly_the_names_that_kcp_go_exports() {
    let api = exported();
    let mut named = BTreeSet::new();
    for (theirs, _) in table() {
        let mut holder = String::new();
        for word in code(&theirs) {
            if let Some((of, _)) = word.split_once('.') {
                of.clone_into(&mut holder);
            }
            let found = resolve(&api, &holder, word);
            assert!(!found.is_empty(), "kcp-go exports no {word}");
            named.extend(found);
        }
    }
    // An entry for a method or field covers its type.
    let holders = named.clone();
    let holders = holders.iter().filter_map(|name| name.split_once('.'));
    named.extend(holders.map(|(holder, _)| holder.to_owned()));
    // The counters are listed in the documentation of `stats`, and tested there.
    let missing: Vec<&String> = api
        .iter()
        .filter(|name| !name.starts_with("Snmp.") || METHODS_OF_SNMP.contains(&&name[5..]))
        .filter(|name| !named.contains(*name))
        .collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
}

#[test]
fn our_names_in_the_table_exist() {
    let mut declared = BTreeSet::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kcp-transport/src");
    declared_in(&sources, &mut declared);
    for (_, ours) in table() {
        for word in code(&ours).flat_map(words) {
            let known = declared.contains(word) || FOREIGN.contains(&word);
            assert!(known, "there is no {word}, in {ours}");
        }
    }
}

#[test]
fn tests_named_in_the_security_notes_exist() {
    let mut declared = BTreeSet::new();
    for sources in [
        "../kcp-transport/src",
        "../kcp-transport/tests",
        "../kcp-tonic/tests",
        "tests",
    ] {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(sources);
        declared_in(&sources, &mut declared);
    }
    let notes = read("../SECURITY.md");
    let named = code(&notes).filter_map(|it| it.rsplit_once("::"));
    // The names of all these tests contain an underscore; those of types do not.
    let named: Vec<&str> = named
        .map(|(_, name)| name)
        .filter(|name| name.contains('_'))
        .collect();
    assert!(named.len() > 50, "{named:?}");
    let missing: Vec<_> = named.iter().filter(|it| !declared.contains(**it)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The two columns of each row.
fn table() -> Vec<(String, String)> {
    let page = read("../docs/kcp-go-api.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let row = row.trim_matches(['|', ' ']);
        let (theirs, ours) = row.split_once(" | ").expect("two columns");
        (theirs.to_owned(), ours.to_owned())
    })
    .collect()
}

/// The texts between backticks.
fn code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|it: char| !it.is_alphanumeric() && it != '_')
        .filter(|word| !word.is_empty())
}

/// The names that kcp-go exports. Methods and fields have the form `Type.name`.
fn exported() -> BTreeSet<String> {
    let api: serde_json::Value =
        serde_json::from_str(&read("vectors/v5.7/api.json")).expect("is JSON");
    let list = api["exported"].as_array().expect("a list").iter();
    let names = list.map(|line| line.as_str().expect("a kind and a name"));
    names
        .map(|line| {
            line.split_once(' ')
                .expect("a kind and a name")
                .1
                .to_owned()
        })
        .collect()
}

/// The exported names for a word of the table: a member of `holder`, the type named last in the row; a name; or,
/// for `PREFIX_*`, all constants with the prefix.
fn resolve(api: &BTreeSet<String>, holder: &str, word: &str) -> Vec<String> {
    if let Some(prefix) = word.strip_suffix('*') {
        assert!(
            prefix.ends_with('_'),
            "a prefix ends with an underscore: {word}"
        );
        let constants = api.iter().filter(|name| name.starts_with(prefix));
        return constants.cloned().collect();
    }
    let member = format!("{holder}.{word}");
    let names = [member, word.to_owned()].into_iter();
    names.filter(|name| api.contains(name)).take(1).collect()
}

/// Collects the items, fields and variants that the sources in a directory declare.
fn declared_in(directory: &Path, declared: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("is a directory") {
        let path = entry.expect("is readable").path();
        if path.is_dir() {
            declared_in(&path, declared);
            continue;
        }
        if path.extension().is_none_or(|kind| kind != "rs") {
            continue;
        }
        for line in fs::read_to_string(&path).expect("is text").lines() {
            let mut before = "";
            for word in words(line.split("//").next().unwrap_or_default()) {
                if DECLARING.contains(&before) {
                    declared.insert(word.to_owned());
                }
                before = word;
            }
            let line = line.trim().trim_start_matches("pub ");
            let end = line.find([':', ',', '(', ' ']).unwrap_or(line.len());
            let (name, rest) = line.split_at(end);
            if rest.starts_with(": ") || rest == "," || rest.starts_with('(') {
                declared.insert(name.to_owned());
            }
        }
    }
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const METHODS_OF_SNMP: &[&str] = &["Copy", "Header", "Reset", "ToSlice"];

/// Keywords before the name of an item.
const DECLARING: &[&str] = &["fn", "struct", "enum", "trait", "mod", "const"];

/// Words of the table that are not names of this project.
const FOREIGN: &[&str] = &[
    "AsyncRead",
    "AsyncWrite",
    "false",
    "kcp_transport",
    "metrics",
    "nil",
    "read_exact",
    "time",
    "timeout",
    "tokio",
    "tracing",
    "write_all",
];
