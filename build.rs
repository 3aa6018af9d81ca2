//! Compiles the wire contract with protox, so that no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

use protox::prost::Message;

/// What desktops speak, and what workers do.
const PROTOS: [&str; 2] = [
    "proto/proactive/v1/proactive.proto",
    "proto/proactive/workers/v1/workers.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for proto in PROTOS {
        println!("cargo:rerun-if-changed={proto}");
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo tells build scripts through the environment"
    )]
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    // Reflection serves these to grpcurl.
    let encoded = descriptors.encode_to_vec();
    std::fs::write(out.join("proactive.v1.bin"), encoded)?;
    tonic_prost_build::configure()
        .bytes(".proactive.v1.FrameEvent.jpeg_bytes")
        .bytes(".proactive.workers.v1.Value.binary")
        .codec_path("crate::transport::codec::SmallProst")
        .compile_fds(descriptors)?;
    Ok(())
}
