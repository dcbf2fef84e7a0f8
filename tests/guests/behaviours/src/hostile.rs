//! What a guest must not get away with.

use std::hint::black_box;

/// An endless loop that the compiler cannot take for one.
pub fn spin() -> u64 {
    let mut turns = 0_u64;
    while black_box(true) {
        turns = black_box(turns.wrapping_add(1));
    }
    turns
}

/// Memory in pieces of 1 MiB, each written to.
pub fn allocate(bytes: u64) -> u64 {
    let mut held = Vec::new();
    while (held.len() as u64) << 20 < bytes {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
    held.iter().map(|piece| piece.len() as u64).sum()
}

/// A frame of 1 KiB for each level.
pub fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 128]);
    if depth == 0 {
        frame[0]
    } else {
        recurse(depth - 1) + black_box(frame[1] & 1)
    }
}

/// All arguments, variables and files that WASI shows.
pub(crate) fn surroundings() -> String {
    let arguments = std::env::args_os().map(|argument| format!("{argument:?}"));
    let variables = std::env::vars_os().map(|variable| format!("{variable:?}"));
    let files = ["/", ".", "/etc/passwd", "/proc/self/environ"];
    let files = files.iter().filter(|path| std::fs::metadata(path).is_ok());
    let found: Vec<String> = arguments
        .chain(variables)
        .chain(files.map(|path| (*path).to_owned()))
        .collect();
    found.join(" ")
}
