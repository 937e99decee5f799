//! Documents hold: their links lead somewhere, their Rust compiles, and their commands are run or listed here.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (path, text) in documents() {
        for target in targets(&text) {
            checked += 1;
            if let Some(problem) = problem_of(&path, target) {
                wrong.push(format!("{}: {target}: {problem}", path.display()));
            }
        }
    }
    assert!(checked > 50, "only {checked} links found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rust_in_documents_is_compiled() {
    let tested = [
        read("interop/src/documents.rs"),
        read("examples/src/lib.rs"),
        read("kcp-transport/src/lib.rs"),
        read("kcp-tower/src/lib.rs"),
    ];
    let mut unlisted = Vec::new();
    for (path, text) in documents() {
        let name = name(&path);
        for (kind, _) in blocks(&text).filter(|(kind, _)| kind.starts_with("rust")) {
            let known = if kind.contains("ignore") {
                FRAGMENTS.iter().any(|(file, _)| *file == name)
            } else {
                let own = name.strip_suffix("/README.md");
                tested.iter().any(|it| it.contains(&format!("../{name}\"")))
                    || own.is_some_and(|it| it == "kcp-transport" || it == "kcp-tower")
            };
            if !known {
                unlisted.push(format!("{name}: {kind}"));
            }
        }
    }
    assert!(unlisted.is_empty(), "{unlisted:?}");
}

#[test]
fn commands_in_documents_are_run_or_listed() {
    let mut listed: BTreeSet<&str> = RUN.iter().chain(NOT_RUN).map(|it| it.0).collect();
    let mut unlisted = Vec::new();
    for (path, text) in documents() {
        for (_, code) in blocks(&text).filter(|(kind, _)| *kind == "sh") {
            for line in code.lines() {
                let command = line.split("  #").next().unwrap().trim();
                let known = [RUN, NOT_RUN].concat();
                if command.is_empty() {
                    continue;
                }
                if known.iter().any(|(it, _)| *it == command) {
                    listed.remove(command);
                } else {
                    unlisted.push(format!("{}: {command}", path.display()));
                }
            }
        }
    }
    assert!(unlisted.is_empty(), "{unlisted:?}");
    assert!(listed.is_empty(), "in no document: {listed:?}");
    for (command, file) in RUN {
        assert!(root().join(file).exists(), "{command}: there is no {file}");
    }
    assert!(read(".ci/run").contains("step cargo test --workspace\n"));
}

#[test]
fn figures_of_the_front_page_are_those_of_the_table() {
    let table = read("docs/performance.md");
    // Loss of 0 / 1 / 5 / 10 / 20 %, and the 99th percentile of calls.
    let at_5_percent = |subject: &str| {
        let row = table.lines().find(|line| line.starts_with(subject));
        let figures = row.unwrap().split('|').nth(2).unwrap();
        figures.split('/').nth(2).unwrap().trim().to_owned()
    };
    let (ours, tcp) = (
        at_5_percent("| this crate |"),
        at_5_percent("| TCP, cubic |"),
    );
    let page = read("kcp-transport/src/lib.rs");
    assert!(page.contains(&format!("{ours} ms with this crate, and {tcp} ms over TCP")));
}

/// Commands that are run, and what runs them or the same program with the same arguments.
const RUN: &[(&str, &str)] = &[
    (
        "cargo run --release --bin greeter",
        "examples/tests/programs.rs",
    ),
    (
        "cargo run -p kcp-tonic --example metrics --features metrics",
        "kcp-tonic/tests/metrics/main.rs",
    ),
    (
        "tshark -X lua_script:docs/wireshark/kcp.lua -r capture.pcap",
        "kcp-transport/tests/wireshark/main.rs",
    ),
    (
        "tshark -X lua_script:docs/wireshark/kcp.lua -o kcp.ports:4000 -o kcp.cipher:aes-128-gcm -o 'kcp.password:a password' -r capture.pcap",
        "kcp-transport/tests/wireshark/main.rs",
    ),
    ("cargo test --workspace", ".ci/run"),
    (
        "cargo run --release -p kcp-examples --bin echo -- server --listen '[::]:4000'",
        "examples/tests/command_line.rs",
    ),
    (
        "RUST_LOG=kcp_transport=debug cargo run --release -p kcp-examples --bin echo -- server --listen '[::]:4000'",
        "examples/tests/command_line.rs",
    ),
    ("kcp perf server", "examples/tests/kcp/document.rs"),
    (
        "kcp perf client example.com:4000",
        "examples/tests/kcp/document.rs",
    ),
    (
        "kcp perf client example.com:4000 -t 3 -P 2 -R",
        "examples/tests/kcp/document.rs",
    ),
    (
        "kcp perf client example.com:4000 -t 3 --messages",
        "examples/tests/kcp/document.rs",
    ),
    (
        "kcp ping example.com:4000 -c 5",
        "examples/tests/kcp/document.rs",
    ),
    (
        "kcp relay --listen 127.0.0.1:4001 --server 127.0.0.1:4000 --loss 5 --delay 20 --rate 100",
        "examples/tests/kcp/document.rs",
    ),
    (
        "kcp perf client 127.0.0.1:4001 -t 3",
        "examples/tests/kcp/document.rs",
    ),
];

/// Commands that are not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "kill -TERM \"$(pgrep -x echo)\"",
        "would end programs that the tests have not started",
    ),
    ("ss -lunp 'sport = :4000'", "not installed everywhere"),
    ("ulimit -n 65536", "changes the limits of the shell"),
    (
        "ls \"/proc/$(pgrep -x echo)/fd\" | wc -l",
        "needs a program with this name",
    ),
    (
        "cargo run --release -p kcp-benches --bin connections -- idle --burst 20000",
        "a measurement of ten minutes",
    ),
    (
        "sysctl -w net.core.rmem_max=8388608 net.core.wmem_max=8388608",
        "changes the system",
    ),
    (
        "cargo run --release --bin lab -- --only 'losses/unary-1k/*,losses/bulk-10mb/*' --report lab",
        "a measurement of a quarter of an hour, as root",
    ),
    (
        "cargo run --release --bin lab -- --only 'loss-5/unary-1k/kcp:redundancy=off'",
        "a measurement, as root",
    ),
    (
        "cargo install --path examples --bin kcp",
        "installs a program",
    ),
    ("openssl rand -hex 32", "another program"),
];

/// Documents with Rust that does not compile by itself, and why.
const FRAGMENTS: &[(&str, &str)] = &[(
    "kcp-tonic/README.md",
    "a part of kcp-tonic/examples/helloworld.rs, which its tests compare",
)];

/// What is wrong with a link of a document.
fn problem_of(document: &Path, target: &str) -> Option<String> {
    const HERE: &str = "https://github.com/kcp-rs/kcp";
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if let Some(rest) = file.strip_prefix(HERE) {
        // The page of the repository shows its README.
        let rest = rest.strip_prefix("/blob/main/");
        let rest = rest.or_else(|| file.strip_prefix(HERE)?.strip_prefix("/tree/main/"));
        let rest = rest.unwrap_or("README.md");
        root().join(rest)
    } else if file.contains("://") {
        return None;
    } else if file.is_empty() {
        document.to_owned()
    } else {
        document.parent().unwrap().join(file)
    };
    if !path.exists() {
        return Some("there is no such file".to_owned());
    }
    if anchor.is_empty() {
        return None;
    }
    let text = fs::read_to_string(&path).ok()?;
    let found = headings(&text).any(|it| slug(it) == anchor);
    (!found).then(|| "there is no such heading".to_owned())
}

/// The targets of links, outside of code.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let lines = outside_of_code(text);
    let inline = lines
        .clone()
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| Some(rest.split_once(')')?.0));
    // [name]: target
    let named = lines.filter_map(|line| {
        let line = line.trim_start_matches("//! ");
        let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
        (!target.contains(' ')).then_some(target)
    });
    // Links of documentation to items are checked by rustdoc.
    inline
        .chain(named)
        .filter(|it| it.contains(['.', '/', '#']) && !it.contains("::"))
}

fn headings(text: &str) -> impl Iterator<Item = &str> {
    outside_of_code(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim())
}

fn outside_of_code(text: &str) -> impl Iterator<Item = &str> + Clone {
    let mut inside = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start_matches("//! ").starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

/// The blocks of code with the words after their fences.
fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut parts = text.split("\n```");
    parts.next();
    std::iter::from_fn(move || {
        let block = parts.next()?;
        parts.next();
        block.split_once('\n')
    })
}

/// As GitHub makes anchors of headings.
fn slug(heading: &str) -> String {
    let kept = |it: &char| it.is_alphanumeric() || [' ', '-', '_'].contains(it);
    let lower = heading.to_lowercase();
    lower
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

/// All Markdown of the repository, and the front pages of the crates.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    markdown_in(&root(), &mut paths);
    for page in ["kcp-transport", "kcp-tower", "kcp-tonic"] {
        paths.push(root().join(page).join("src/lib.rs"));
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

fn markdown_in(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            markdown_in(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

fn name(path: &Path) -> String {
    let root = root();
    path.strip_prefix(&root)
        .unwrap()
        .to_string_lossy()
        .replace('\\', "/")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
