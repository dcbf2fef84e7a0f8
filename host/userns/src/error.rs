//! Why there is no namespace, and what to do about it.

use std::io;

/// Why a program does not run in a namespace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel makes none for this user.
    #[error("this user may not make a user namespace: {why}")]
    Forbidden {
        /// What forbids it.
        why: String,
        /// What to do about it.
        next: String,
    },
    /// It was made, and something in it failed.
    #[error("the user namespace cannot be used: {0}")]
    Unusable(String),
    /// Another operation failed.
    #[error("{context}: {source}")]
    Io {
        /// What was done.
        context: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(context: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { context, source }
    }

    /// What to do about it, where that is known.
    pub fn next(&self) -> Option<&str> {
        match self {
            Self::Forbidden { next, .. } => Some(next),
            Self::Unusable(_) | Self::Io { .. } => None,
        }
    }

    /// The kernel's refusal, with the setting that is behind it.
    pub(crate) fn refused(error: &io::Error) -> Self {
        obstacle().unwrap_or_else(|| {
            let (why, next) = match error.raw_os_error() {
                Some(libc::EINVAL | libc::ENOSYS) => (
                    "the kernel has no user namespaces".to_owned(),
                    "a kernel that was built with CONFIG_USER_NS",
                ),
                Some(libc::ENOSPC) => (
                    "there are as many as the system allows".to_owned(),
                    "sudo sysctl user.max_user_namespaces=15000",
                ),
                _ => (
                    format!("{error}; in a container, the filter of system calls of that container may forbid it"),
                    "in a container: run it with --security-opt seccomp=unconfined --security-opt systempaths=unconfined",
                ),
            };
            Self::Forbidden {
                why,
                next: next.to_owned(),
            }
        })
    }
}

/// A setting of this system that forbids ordinary users a namespace, or to use it; nothing is tried.
pub fn obstacle() -> Option<Error> {
    let setting = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let settings = [
        ("kernel.unprivileged_userns_clone", 0, "1"),
        ("user.max_user_namespaces", 0, "15000"),
        ("kernel.apparmor_restrict_unprivileged_userns", 1, "0"),
    ];
    let forbids = settings
        .into_iter()
        .find(|(name, forbids, _)| setting(name) == Some(*forbids))?;
    let (name, value, allows) = forbids;
    Some(Error::Forbidden {
        why: format!("the setting {name} is {value}"),
        next: format!("sudo sysctl {name}={allows}    # and in a file of /etc/sysctl.d, so that it stays"),
    })
}
