//! Compiles the protos with protox, so that no `protoc` is needed.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let mut protos = Vec::new();
    for entry in std::fs::read_dir(root.join("tributary/v1"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            protos.push(path);
        }
    }
    protos.sort();
    println!(
        "cargo:rerun-if-changed={}",
        root.join("tributary").display()
    );
    let descriptors = protox::compile(&protos, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    write_descriptors(&out.join("tributary.v1.bin"), &descriptors)?;
    // the service has a method named Connect, which would clash with the generated constructor
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".tributary.v1")
        .compile_fds(descriptors)?;
    Ok(())
}

fn write_descriptors(
    path: &Path,
    descriptors: &(impl prost::Message + Clone),
) -> Result<(), std::io::Error> {
    std::fs::write(path, descriptors.encode_to_vec())
}
