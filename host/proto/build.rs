//! Compiles engine.proto; no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["engine.proto"], ["."])?;
    tonic_prost_build::configure()
        // Not copied again out of the message that they came in.
        .bytes(".wharf.engine.v1.WholeFile.content")
        .compile_fds(files)?;
    println!("cargo::rerun-if-changed=engine.proto");
    Ok(())
}
