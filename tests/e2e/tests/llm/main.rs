//! The shelf's modules for models, and the pipeline made of them: snapshots from a hub that is cut off and killed, real weights,
//! a GPU that is free, and images that Docker and Podman run.

mod deploy;
mod gpu;
mod pulled;
mod snapshots;

use std::path::PathBuf;

use wharf_testkit::{World, paths};

fn module(name: &str) -> PathBuf {
    paths::workspace().join("modules").join(name)
}

/// A value that no other run has.
fn random() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("the kernel's");
    text.trim().replace('-', "")
}

/// Bytes that look like no others, the same for the same seed.
fn content(size: usize, seed: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32 ^ seed.wrapping_mul(0x85eb_ca6b);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    (0..size.div_ceil(4)).flat_map(|_| next()).take(size).collect()
}

/// The processes of a world that are its engine.
fn engines(world: &World) -> Vec<u32> {
    let is_engine = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        words.contains(&&b"engine"[..]) && words.contains(&&b"serve"[..])
    };
    world.processes().into_iter().filter(is_engine).collect()
}
