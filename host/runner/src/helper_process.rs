//! The engine's side of the helper process.

use std::{
    collections::HashMap,
    os::{
        fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;

use crate::{
    error::{Context, Error, Result},
    helper::{self, Order},
};

type Answer = std::result::Result<OwnedFd, i32>;
/// Who waits for which container's process; none when the helper is gone.
type Answers = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>>;

/// The helper, and who waits for it.
#[derive(Debug)]
pub(crate) struct HelperProcess {
    socket: OwnedFd,
    answers: Answers,
    child: Mutex<Child>,
}

impl HelperProcess {
    pub(crate) fn start(program: &(PathBuf, Vec<String>)) -> Result<Self> {
        let (socket, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .context("the helper's socket")?;
        let child = spawn(program, theirs)?;
        let answers: Answers = Arc::new(Mutex::new(Some(HashMap::new())));
        let listening = socket.try_clone().context("the helper's socket")?;
        let waiting = Arc::clone(&answers);
        std::thread::Builder::new()
            .name("helper".to_owned())
            .spawn(move || pass_on(&listening, &waiting))
            .context("a thread")?;
        Ok(Self {
            socket,
            answers,
            child: Mutex::new(child),
        })
    }

    /// Orders a container with its descriptors; returns a descriptor of its process.
    pub(crate) async fn launch(&self, order: &Order, descriptors: &[BorrowedFd<'_>]) -> Result<OwnedFd> {
        let answered = self.send(order, descriptors)?;
        answered.await.map_err(|_| Error::HelperGone)?.map_err(|number| {
            Error::Setup(format!(
                "a process cannot be made: {}",
                std::io::Error::from_raw_os_error(number)
            ))
        })
    }

    fn send(&self, order: &Order, descriptors: &[BorrowedFd<'_>]) -> Result<oneshot::Receiver<Answer>> {
        let (answer, answered) = oneshot::channel();
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .ok_or(Error::HelperGone)?
            .insert(order.id, answer);
        helper::send_value(&self.socket, order, descriptors).map_err(|_| Error::HelperGone)?;
        Ok(answered)
    }

    /// Ends the helper and with it every step.
    pub(crate) fn end(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.kill().ok();
        child.wait().ok();
    }
}

impl Drop for HelperProcess {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(program: &(PathBuf, Vec<String>), socket: OwnedFd) -> Result<Child> {
    let mut command = Command::new(&program.0);
    command.args(&program.1).stdin(Stdio::null()).env_clear();
    let socket = socket.into_raw_fd();
    // SAFETY: between fork and exec only dup2 and fcntl are called, which are safe there.
    unsafe {
        command.pre_exec(move || {
            let done = if socket == helper::SOCKET {
                libc::fcntl(socket, libc::F_SETFD, 0)
            } else {
                libc::dup2(socket, helper::SOCKET)
            };
            if done < 0 {
                Err(std::io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
    }
    let child = command.spawn();
    // SAFETY: the child has its copy; this one was released above and is nobody else's.
    drop(unsafe { OwnedFd::from_raw_fd(socket) });
    child.context(&program.0.display().to_string())
}

/// Gives the helper's answers to those who wait for them, until it is gone.
fn pass_on(socket: &OwnedFd, answers: &Answers) {
    let mut buffer = [0; helper::ANSWER];
    while let Some((_, descriptors)) = helper::receive_message(socket, &mut buffer) {
        let (id, number) = helper::read_answer(buffer);
        let answer = descriptors.into_iter().next().ok_or(number);
        let mut waiting = answers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = waiting.as_mut().and_then(|waiting| waiting.remove(&id)) else {
            continue;
        };
        // Whoever wanted the step is gone: so must it be.
        if let Err(Ok(process)) = waiting.send(answer) {
            rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL).ok();
        }
    }
    // Those who wait learn it by this, and those who come later by finding nothing.
    *answers.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
