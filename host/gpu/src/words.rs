//! Numbers for people.

/// Bytes of memory: `16.0 GiB`, `512 MiB`.
pub(crate) fn memory(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    if bytes >= GIB {
        format!("{:.1} GiB", bytes as f64 / GIB as f64)
    } else {
        format!("{} MiB", bytes.div_ceil(MIB))
    }
}

/// A count with its word.
pub(crate) fn gpus(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} GPU{plural}")
}
