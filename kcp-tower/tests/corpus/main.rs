//! Runs the fuzz target of HTTP/2 on the inputs that are kept for it.

#[path = "../../../kcp-transport/fuzz/src/http2.rs"]
#[allow(unreachable_pub, reason = "public in the library of the fuzz targets")]
mod http2;

use std::fs;
use std::path::Path;

#[test]
fn http2_over_kcp_accepts_its_corpus() {
    http2::http2_over_kcp(&[]);
    let corpus =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../kcp-transport/fuzz/corpus/http2_over_kcp");
    let entries = fs::read_dir(corpus).expect("there is a corpus");
    let mut count = 0;
    for entry in entries {
        let file = entry.expect("can be listed").path();
        println!("{}", file.display());
        http2::http2_over_kcp(&fs::read(file).expect("can be read"));
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
}
