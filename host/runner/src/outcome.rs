//! How steps end.

use serde::{Deserialize, Serialize};

use crate::{
    cgroup::Usage,
    error::{Error, Result},
    helper::Report,
};

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// The kernel ended it because its memory was used up.
    OutOfMemory,
    /// Its time was over.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// There is no such program.
    NotFound,
    /// The program cannot be executed.
    NotExecutable,
}

impl Exit {
    /// The exit code as a shell would see it.
    pub fn code(&self) -> i32 {
        match self {
            Self::Code(code) => *code,
            Self::Signal(signal) => 128 + signal,
            Self::OutOfMemory | Self::TimedOut | Self::Cancelled => 137,
            Self::NotFound => 127,
            Self::NotExecutable => 126,
        }
    }
}

/// What became of a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepOutcome {
    /// How it ended.
    pub exit: Exit,
    /// Why its program could not be run, in the words of `docker run`.
    pub message: Option<String>,
    /// Processor time in microseconds.
    pub cpu_us: Option<u64>,
    /// The most memory it used at once, in bytes.
    pub peak_memory: Option<u64>,
}

/// What the program's failure to start means: an error number of `execve`.
pub(crate) fn not_run(program: &str, number: i32) -> Result<(Exit, String)> {
    let in_path = !program.contains('/');
    let (exit, why) = match number {
        libc::ENOENT | libc::ENOTDIR if in_path => (Exit::NotFound, "executable file not found in $PATH"),
        libc::ENOENT | libc::ENOTDIR => (Exit::NotFound, "no such file or directory"),
        libc::EACCES => (Exit::NotExecutable, "permission denied"),
        libc::EISDIR => (Exit::NotExecutable, "is a directory"),
        libc::ENOEXEC => (Exit::NotExecutable, "exec format error"),
        other => {
            let error = std::io::Error::from_raw_os_error(other);
            return Err(Error::Setup(format!("exec: {program:?}: {error}")));
        }
    };
    Ok((exit, format!("exec: {program:?}: {why}")))
}

/// The outcome that the init's reports tell. `stopped` is set when the runner ended it.
pub(crate) fn of_reports(
    stopped: Option<Exit>,
    reports: &[Report],
    program: &str,
    usage: Usage,
) -> Result<StepOutcome> {
    let used = reports.iter().find_map(|report| match report {
        Report::Used(used) => Some(*used),
        _ => None,
    });
    let last = reports
        .iter()
        .rev()
        .find(|report| !matches!(report, Report::Stubs(_) | Report::Used(_)));
    let mut message = None;
    let exit = match (stopped, last) {
        (Some(stopped), _) => stopped,
        (None, Some(Report::Setup(message))) => return Err(Error::Setup(message.clone())),
        (None, _) if usage.ran_out_of_memory => Exit::OutOfMemory,
        (None, Some(Report::Exited(code))) => Exit::Code(*code),
        (None, Some(Report::Signalled(signal))) => Exit::Signal(*signal),
        (None, Some(Report::Exec(number))) => {
            let (exit, why) = not_run(program, *number)?;
            message = Some(why);
            exit
        }
        // The init itself was killed from outside.
        (None, _) => Exit::Signal(libc::SIGKILL),
    };
    Ok(StepOutcome {
        exit,
        message,
        cpu_us: used.or(usage.cpu_us),
        peak_memory: usage.peak_memory,
    })
}
