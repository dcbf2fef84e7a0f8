//! What the benchmark works on, and how it is seen that the work was done.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use wharf_testkit::paths;

use crate::shell::{Done, Failure};

/// Something that no earlier work was asked with.
pub(super) fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("n{}-{:x}-{count}", process::id(), now.as_nanos())
}

/// What the steps of a chain have written when all of them ran, in their order.
pub(super) fn expected(steps: u32, nonce: &str) -> String {
    (0..steps)
        .map(|step| format!("{nonce}-{step}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Compares what came out with what was asked for.
pub(super) fn check(found: &str, expected: &str) -> Done {
    if found.trim_end() == expected.trim_end() {
        return Ok(());
    }
    Err(format!("the work was not done: {found:?} came out where {expected:?} was asked for").into())
}

/// A directory for what the benchmark makes, on the file system that the target directory is on.
pub(super) fn place() -> Result<PathBuf, Failure> {
    let place = paths::target().join("bench");
    fs::create_dir_all(&place)?;
    Ok(place)
}

/// Numbers that look random and are the same for the same seed (xorshift).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Bytes that do not compress.
    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(length).collect()
    }
}

/// Files of which no two are equal, in directories of a hundred, with a file `nonce` that holds one.
pub(super) fn tree(root: &Path, files: u32, bytes: u64, nonce: &str) -> Done {
    let seed = nonce
        .bytes()
        .fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
    let mut random = Random::new(seed);
    let each = (bytes / u64::from(files)) as usize;
    let pool = random.bytes(each * 4);
    fs::create_dir_all(root)?;
    fs::write(root.join("nonce"), format!("{nonce}\n"))?;
    for file in 0..files - 1 {
        let directory = root.join(format!("d{}", file / 100));
        if file % 100 == 0 {
            fs::create_dir(&directory)?;
        }
        // From half the mean to one and a half: sizes differ as those of sources do.
        let size = each / 2 + random.next() as usize % each.max(1);
        let from = random.next() as usize % (pool.len() - size);
        let mut file = fs::File::create(directory.join(format!("f{file}")))?;
        file.write_all(&random.next().to_le_bytes())?;
        file.write_all(&pool[from..from + size])?;
    }
    Ok(())
}
