//! Every public async function documents its cancel safety, and is driven by the harness.

use std::path::{Path, PathBuf};

/// What is driven although no `pub async fn` declares it.
const TRAITS: [&str; 11] = [
    "OwnedHalf::read",
    "OwnedHalf::write",
    "OwnedHalf::write_vectored",
    "OwnedHalf::flush",
    "OwnedHalf::shutdown",
    "KcpStream::read_exact",
    "KcpStream::write_all",
    "KcpConnector::call",
    "Serving::poll",
    "KcpIo::read",
    "kcp_tower::KcpIncoming::poll_next",
];

/// A `pub async fn` as its source has it.
struct Function {
    place: String,
    name: String,
    documented: bool,
}

/// All Rust sources below a directory, in order.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).expect("is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("reads").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

fn read(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    sources(directory, &mut found);
    let text = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("reads");
        (path, text)
    };
    found.into_iter().map(text).collect()
}

/// The types that the macro is invoked with, for functions inside `macro_rules!`.
fn invocations(text: &str, macro_name: &str) -> Vec<String> {
    let call = format!("{macro_name}!(");
    let calls = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(&call));
    calls
        .map(|rest| rest.trim_end_matches(");").to_owned())
        .collect()
}

/// The public async functions of a source. Understands as much of the language as rustfmt output needs.
fn functions(path: &Path, text: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let (mut owners, mut macro_name) = (Vec::new(), String::new());
    let mut docs = String::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.trim();
        if let Some(doc) = code.strip_prefix("///") {
            docs.push_str(doc);
            docs.push('\n');
            continue;
        }
        if let Some(name) = code.strip_prefix("macro_rules! ") {
            macro_name = name.trim_end_matches(" {").to_owned();
        } else if line == "}" {
            owners.clear();
            macro_name.clear();
        } else if code.starts_with("impl") && code.ends_with('{') {
            let owner = code.trim_end_matches(" {").rsplit(' ').next();
            let owner = owner.expect("has words");
            owners = if owner == "$type" {
                invocations(text, &macro_name)
            } else {
                vec![owner.split('<').next().expect("has one").to_owned()]
            };
        }
        if let Some(rest) = code.strip_prefix("pub async fn ") {
            let name = rest.split(['(', '<']).next().expect("has one");
            let package = path.components().rev().find_map(|part| {
                let part = part.as_os_str().to_str()?;
                part.starts_with("kcp-").then(|| part.replace('-', "_"))
            });
            let package = package.expect("in a package");
            if owners.is_empty() {
                owners.push(package.clone());
            }
            for owner in &owners {
                // Both crates above the transport have types of these names.
                let prefix = if ["KcpIncoming", "KcpIncomingBuilder"].contains(&owner.as_str()) {
                    format!("{package}::{owner}")
                } else {
                    owner.clone()
                };
                found.push(Function {
                    place: format!("{}:{}", path.display(), number + 1),
                    name: format!("{prefix}::{name}"),
                    documented: docs.contains("# Cancel safety"),
                });
            }
        }
        // Attributes stand between the text and its function.
        if !code.starts_with('#') {
            docs.clear();
        }
    }
    found
}

#[test]
fn every_public_async_function_documents_cancel_safety_and_is_driven() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("has one");
    let packages = ["kcp-transport", "kcp-tower", "kcp-tonic"].map(|name| workspace.join(name));
    if !packages.iter().all(|package| package.join("src").is_dir()) {
        eprintln!("not in the workspace");
        return;
    }
    let mut functions_found = Vec::new();
    let mut tests = String::new();
    for package in &packages {
        for (path, text) in read(&package.join("src")) {
            functions_found.extend(functions(&path, &text));
        }
        for (path, text) in read(&package.join("tests")) {
            if !path.ends_with("coverage.rs") {
                tests.push_str(&text);
            }
        }
    }
    let names: Vec<_> = functions_found.iter().map(|it| it.name.as_str()).collect();
    assert!(names.contains(&"MessageSender::send"), "{names:?}");
    assert!(names.contains(&"KcpChannel::connect"), "{names:?}");
    let mut missing = Vec::new();
    for function in &functions_found {
        if !function.documented {
            missing.push(format!("{} has no `# Cancel safety`", function.place));
        }
    }
    for name in names.iter().chain(&TRAITS) {
        // Names that a test builds have their last part beside the first.
        let (owner, operation) = name.rsplit_once("::").expect("has two parts");
        let built = tests.contains(&format!("\"{owner}\""))
            && (tests.contains(&format!("{{name}}::{operation}"))
                || tests.contains(&format!("\"{operation}\"")));
        if !built && !tests.contains(&format!("\"{name}\"")) {
            missing.push(format!("{name} is not driven"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
