//! tshark with the dissector.

use std::path::PathBuf;
use std::process::Command;

use kcp_transport::crypto::Security;

use super::expected::{NAMES, Row, row as row_of};

/// tshark with the dissector, and a folder for captures.
pub(super) struct Tshark {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Tshark {
    pub(super) fn new() -> Option<Self> {
        Some(Self {
            program: super::debian::program("tshark", "tshark")?,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    /// Its output for a capture of these datagrams. It must not report errors of Lua.
    pub(super) fn run(
        &self,
        datagrams: &[Vec<u8>],
        preferences: &[(&str, &str)],
        output: &[&str],
    ) -> String {
        let file = self.folder.path().join("capture");
        super::capture::write(&file, datagrams);
        let mut tshark = Command::new(&self.program);
        // In place of the user's own folders, so that tshark reads none of the user's settings.
        tshark.env("HOME", self.folder.path());
        tshark.env("XDG_CONFIG_HOME", self.folder.path());
        let script = format!("lua_script:{DISSECTOR}");
        tshark.args(["-n", "-X", &script, "-r"]).arg(file);
        for (name, value) in preferences {
            tshark.arg("-o").arg(format!("kcp.{name}:{value}"));
        }
        let ran = tshark.args(output).output().unwrap();
        let (text, errors) = (
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr),
        );
        assert!(ran.status.success(), "{errors}");
        assert!(!errors.to_lowercase().contains("lua"), "{errors}");
        assert!(!text.contains("Lua Error"), "{text}");
        text.into_owned()
    }

    /// The fields of [`NAMES`] of each datagram.
    pub(super) fn rows(&self, datagrams: &[Vec<u8>], preferences: &[(&str, &str)]) -> Vec<Row> {
        let mut output = vec!["-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,"];
        for name in NAMES {
            output.extend(["-e", name]);
        }
        let text = self.run(datagrams, preferences, &output);
        let cells = |line: &str| line.split('\t').map(str::to_owned).collect();
        text.lines().map(cells).collect()
    }

    /// Compares what tshark shows with what this crate decodes, and returns the latter.
    pub(super) fn compare(
        &self,
        datagrams: &[Vec<u8>],
        security: &Security,
        preferences: &[(&str, &str)],
    ) -> Vec<Row> {
        let rows = self.rows(datagrams, preferences);
        let expected: Vec<Row> = datagrams.iter().map(|it| row_of(it, security)).collect();
        assert_eq!(rows.len(), expected.len());
        for (number, (row, expected)) in rows.iter().zip(&expected).enumerate() {
            assert_eq!(
                row, expected,
                "datagram {number}: {:02x?}",
                datagrams[number]
            );
        }
        expected
    }
}

const DISSECTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/wireshark/kcp.lua");
