//! Turns `proto/lockstep/v1` into Rust. protox parses the files, so no `protoc` has to be installed.

use std::{error::Error, path::Path};

const FILES: [&str; 4] = ["delivery", "command", "feedback", "report"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("../../proto");
    let files: Vec<_> = FILES.iter().map(|name| root.join(format!("lockstep/v1/{name}.proto"))).collect();
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let descriptors = protox::compile(&files, [root])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
