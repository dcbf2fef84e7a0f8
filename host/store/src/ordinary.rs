//! What differs where the engine is not root of the machine: names of attributes.

use std::sync::LazyLock;

use rustix::thread::{CapabilitySet, capabilities};

/// May this process set the attributes that only root of the machine may?
pub(crate) fn is_trusted() -> bool {
    static TRUSTED: LazyLock<bool> = LazyLock::new(|| {
        let own = capabilities(None).map(|sets| sets.effective);
        // The root of a user namespace has all rights there, and this one nowhere.
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let is_the_machines = map.split_whitespace().eq(["0", "0", "4294967295"]);
        is_the_machines && own.is_ok_and(|own| own.contains(CapabilitySet::SYS_ADMIN))
    });
    *TRUSTED
}

/// The part of names of extended attributes that says who may set them: root of the machine alone, or whoever owns the file.
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
