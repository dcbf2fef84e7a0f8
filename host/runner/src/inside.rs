//! A specification's program as a child of this process, which is the first of a container that somebody else has made: rights,
//! mounts and limits are the container's.

use std::{ffi::c_int, io, os::fd::OwnedFd};

use oci_spec::runtime::Spec;

use crate::{
    cgroup::Usage,
    error::{Context, Result},
    helper::inside::{Program, Report, how_ended, processor_time, spawn},
    outcome::{self, StepOutcome},
    runner::first_argument,
};

/// Where a container finds its own control group, and what is asked there: the newer version's file or the older's.
const OUT_OF_MEMORY: [&str; 2] = [
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.oom_control",
];
const PEAK: [&str; 2] = [
    "/sys/fs/cgroup/memory.peak",
    "/sys/fs/cgroup/memory/memory.max_usage_in_bytes",
];

/// A program that was started.
#[derive(Debug)]
pub struct Inside {
    main: c_int,
    failure: Option<Report>,
    program: String,
}

impl Inside {
    /// Starts the program on these descriptors. Before this process has another thread.
    pub fn start(spec: &Spec, stdio: &[OwnedFd; 3]) -> Result<Self> {
        // SAFETY: neither doing what is usual nor ignoring a signal runs code of ours. What this process ignores the program
        // would ignore, too.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let mut program = Program::new(spec).context("a step's program")?;
        program.keep_within_own_rights();
        let spawned = spawn(&program, stdio, None).context("a step's program");
        // SAFETY: as above. What nobody reads any more is an error to be told, and not the end.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        let (main, failure) = spawned?;
        Ok(Self {
            main,
            failure,
            program: first_argument(spec),
        })
    }

    /// Waits until it has ended, and ends everything that it leaves.
    pub fn wait(self) -> Result<StepOutcome> {
        let mut status = 0;
        loop {
            match reap(&mut status).context("waiting for a step")? {
                Some(process) if process == self.main => break,
                Some(_) => {}
                None => {
                    return Err(io::Error::from(io::ErrorKind::NotFound)).context("waiting for a step");
                }
            }
        }
        // SAFETY: the first process of a container sends a signal to all others of it, which touches no memory.
        unsafe { libc::kill(-1, libc::SIGKILL) };
        let mut other = 0;
        while reap(&mut other).context("ending a step")?.is_some() {}
        let ended = self.failure.unwrap_or_else(|| how_ended(status));
        let usage = Usage {
            cpu_us: None,
            peak_memory: read(PEAK).and_then(|text| text.trim().parse().ok()),
            ran_out_of_memory: read(OUT_OF_MEMORY).is_some_and(|text| has_killed(&text)),
        };
        let reports = [Report::Used(processor_time()), ended];
        outcome::of_reports(None, &reports, &self.program, usage)
    }
}

/// Waits for any process to end; none when there are none.
fn reap(status: &mut c_int) -> io::Result<Option<c_int>> {
    loop {
        // SAFETY: `status` lives until the call returns.
        match unsafe { libc::waitpid(-1, std::ptr::from_mut(status), 0) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
                error => return Err(error),
            },
            process => return Ok(Some(process)),
        }
    }
}

fn read(files: [&str; 2]) -> Option<String> {
    files.iter().find_map(|file| std::fs::read_to_string(file).ok())
}

fn has_killed(text: &str) -> bool {
    let mut counts = text.lines().filter_map(|line| line.strip_prefix("oom_kill "));
    counts.any(|count| count.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::has_killed;

    #[test]
    fn a_control_group_says_whether_its_memory_was_used_up() {
        assert!(has_killed("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"));
        assert!(!has_killed("low 0\noom 1\noom_kill 0\noom_group_kill 0\n"));
    }
}
