//! What an engine that is no root of the machine cannot do, in words.

use wharf_userns::{Ids, ids, why_one};

/// What steps lack because the engine has one user id; none where it has more.
pub fn one_id() -> Option<String> {
    if ids() != Ids::One {
        return None;
    }
    let why = why_one().unwrap_or_else(|| "nobody has mapped more".to_owned());
    Some(format!(
        "this engine is not root and has one user id: {why}. So every file belongs to root, whoever its image gives it to, and \
         steps run as root alone: what changes owners or users (chown, su, apt's own user _apt, a step with another user) fails"
    ))
}

/// The same among what an engine has not.
pub(crate) fn lacks() -> Option<String> {
    match ids() {
        Ids::Machine => None,
        Ids::Range { users, .. } => Some(format!(
            "users and groups from {users} on, and no device files, as it is not root"
        )),
        Ids::One => one_id().map(|why| format!("users and groups but root: {why}")),
    }
}

/// Whose rights the engine has, in words.
pub fn rights() -> String {
    let user =
        wharf_userns::outer_user().map_or_else(|| "another user".to_owned(), |user| format!("user {user}"));
    match ids() {
        Ids::Machine => "root".to_owned(),
        Ids::Range { users, .. } => format!(
            "{user}'s, as root of a user namespace with the ids 0 to {}",
            users - 1
        ),
        Ids::One => format!("{user}'s, as root of a user namespace with one id"),
    }
}
