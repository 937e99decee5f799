//! Generates clients and servers of the gRPC services, without protoc.

use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = match protox::compile(["echo.proto", "test.proto"], ["proto"]) {
        Ok(descriptors) => descriptors,
        Err(error) => {
            println!("cargo::error={error}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = tonic_prost_build::compile_fds(descriptors) {
        println!("cargo::error={error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
