//! Gzip on all processors: a stream of members, each compressed by itself.
//!
//! A gzip file is any number of members behind each other, and every reader of layers reads them as one stream. So blocks of
//! the input are compressed beside each other, the same input gives the same bytes on any number of processors, and what
//! does not compress, as weights and archives do not, is stored as it is, block by block.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
};

use flate2::{Compression, write::GzEncoder};

/// Input bytes of one member.
const BLOCK: usize = 1024 * 1024;
/// What is tried of a block to tell whether it compresses: so many pieces of so many bytes.
const PROBES: usize = 4;
const PROBE: usize = 4096;

type Member = io::Result<Vec<u8>>;

struct Job {
    block: Vec<u8>,
    done: SyncSender<Member>,
}

/// Compresses what is written to it.
pub(crate) struct GzipMembers<W: Write> {
    out: W,
    block: Vec<u8>,
    /// Where blocks are given to the threads; closing it ends them.
    jobs: Sender<Job>,
    /// Members on their way, in order.
    pending: VecDeque<Receiver<Member>>,
    /// So many may be.
    ahead: usize,
    is_empty: bool,
}

impl<W: Write> GzipMembers<W> {
    pub(crate) fn new(out: W) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let (jobs, waiting) = channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads {
            let waiting = Arc::clone(&waiting);
            thread::spawn(move || {
                let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok(job) = next() {
                    // Whoever is gone needs no member.
                    let _ = job.done.send(member(&job.block));
                }
            });
        }
        Self {
            out,
            block: Vec::with_capacity(BLOCK),
            jobs,
            pending: VecDeque::new(),
            ahead: 2 * threads,
            is_empty: true,
        }
    }

    /// Gives the block to the threads.
    fn hand_over(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let (done, member) = sync_channel(1);
        self.jobs.send(Job { block, done }).map_err(|_| ended())?;
        self.pending.push_back(member);
        self.is_empty = false;
        while self.pending.len() > self.ahead {
            self.take_in()?;
        }
        Ok(())
    }

    /// Writes the member that comes next.
    fn take_in(&mut self) -> io::Result<()> {
        match self.pending.pop_front() {
            Some(member) => self.out.write_all(&member.recv().map_err(|_| ended())??),
            None => Ok(()),
        }
    }

    /// Writes all that is left. Nothing at all is one empty member.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() || self.is_empty {
            self.hand_over()?;
        }
        while !self.pending.is_empty() {
            self.take_in()?;
        }
        Ok(self.out)
    }
}

impl<W: Write> Write for GzipMembers<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == BLOCK {
            self.hand_over()?;
        }
        Ok(count)
    }

    /// A block is written when it is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ended() -> io::Error {
    io::Error::other("a thread that compresses ended early")
}

fn member(block: &[u8]) -> Member {
    let level = if compresses(block)? {
        Compression::default()
    } else {
        Compression::none()
    };
    let mut encoder = GzEncoder::new(Vec::with_capacity(block.len() / 2), level);
    encoder.write_all(block)?;
    encoder.finish()
}

/// Does any of a few pieces get smaller by a fiftieth at least?
fn compresses(block: &[u8]) -> io::Result<bool> {
    if block.len() <= PROBES * PROBE {
        return Ok(true);
    }
    for probe in 0..PROBES {
        let from = probe * (block.len() - PROBE) / (PROBES - 1);
        let mut encoder = GzEncoder::new(Vec::with_capacity(PROBE + 64), Compression::fast());
        encoder.write_all(&block[from..from + PROBE])?;
        if encoder.finish()?.len() < PROBE - PROBE / 50 {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::read::MultiGzDecoder;

    use super::{BLOCK, GzipMembers, compresses};

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut writer = GzipMembers::new(Vec::new());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let mut found = Vec::new();
        MultiGzDecoder::new(bytes).read_to_end(&mut found).unwrap();
        found
    }

    /// Bytes that do not compress (xorshift).
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        std::iter::repeat_with(|| next().to_le_bytes())
            .flatten()
            .take(length)
            .collect()
    }

    #[test]
    fn any_length_comes_back_and_is_packed_alike_each_time() {
        let text: Vec<u8> = (0..u32::try_from(BLOCK).unwrap())
            .flat_map(u32::to_le_bytes)
            .collect();
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17] {
            let blob = packed(&text[..length]);
            assert_eq!(unpacked(&blob), text[..length], "{length} bytes");
            assert_eq!(packed(&text[..length]), blob, "{length} bytes");
        }
    }

    #[test]
    fn what_does_not_compress_is_stored_and_what_does_beside_it_is_not() {
        let noise = noise(BLOCK);
        assert!(!compresses(&noise).unwrap());
        let stored = packed(&noise);
        assert!(stored.len() > BLOCK && stored.len() < BLOCK + 1024);
        let both = [noise.clone(), vec![7; BLOCK]].concat();
        let blob = packed(&both);
        assert!(blob.len() < stored.len() + 8192, "{} bytes", blob.len());
        assert_eq!(unpacked(&blob), both);
    }
}
