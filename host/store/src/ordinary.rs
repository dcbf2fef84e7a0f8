//! What differs where the engine is no root of the machine, or one without all rights: names of attributes, owners, device files.

use std::{io, sync::LazyLock};

use rustix::{
    fs::{Gid, Uid},
    thread::{CapabilitySet, capabilities},
};
use wharf_userns::{Ids, ids};

/// May this process set the attributes that only root of the machine may? In a container of a Docker it may be root, and not
/// this one.
pub(crate) fn is_trusted() -> bool {
    static TRUSTED: LazyLock<bool> = LazyLock::new(|| {
        let own = capabilities(None).map(|sets| sets.effective);
        ids().are_the_machines() && own.is_ok_and(|own| own.contains(CapabilitySet::SYS_ADMIN))
    });
    *TRUSTED
}

/// The part of names of extended attributes that says who may set them: root of the machine alone, or whoever owns the file.
/// Overlay is mounted to keep its own in the same part.
fn part() -> &'static str {
    if is_trusted() { "trusted." } else { "user." }
}

/// The attribute of this name in that part.
pub(crate) fn attribute(name: &str) -> String {
    format!("{}{name}", part())
}

/// Is this the name of an attribute in that part which begins so?
pub(crate) fn is_attribute(name: &[u8], begin: &str) -> bool {
    let rest = name.strip_prefix(part().as_bytes());
    rest.is_some_and(|rest| rest.starts_with(begin.as_bytes()))
}

/// An owner as it can be kept: where there is one id, everything is root's.
pub(crate) fn owner((uid, gid): (u32, u32)) -> io::Result<(Option<Uid>, Option<Gid>)> {
    let (users, groups) = match ids() {
        Ids::Machine => (u32::MAX, u32::MAX),
        Ids::Range { users, groups } => (users, groups),
        Ids::One => return Ok((Some(Uid::ROOT), Some(Gid::ROOT))),
    };
    for (kind, id, count) in [("user", uid, users), ("group", gid, groups)] {
        if id >= count {
            return Err(io::Error::other(format!(
                "it belongs to {kind} {id}, and this engine, which is not root, has the ids up to {}: more have to be set aside \
                 for it in /etc/sub{}id",
                count - 1,
                &kind[..1]
            )));
        }
    }
    Ok((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
}

/// What [`kind`] says of an engine that is root of the machine.
pub(crate) const ROOTS: &str = "all users of the machine";

/// Whose ids files have, in words.
pub(crate) fn kind() -> &'static str {
    match ids() {
        Ids::Machine => ROOTS,
        Ids::Range { .. } => "the users of a user namespace",
        Ids::One => "one user alone",
    }
}

/// Can device files be made? Whiteouts, which look like some, can be made by anybody.
pub(crate) fn makes_devices() -> bool {
    ids().are_the_machines()
}
