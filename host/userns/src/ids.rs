//! The ids of the namespace that this process is in.

use std::{fs::File, os::fd::AsRawFd, sync::LazyLock};

/// The variable by which a program that was started with one id is told why.
pub(crate) const WHY_ONE: &str = "WHARF_ONE_ID_BECAUSE";

/// Which users and groups there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Those of the machine: this is no namespace of its own.
    Machine,
    /// As many, from 0 on.
    Range {
        /// Of users.
        users: u32,
        /// Of groups.
        groups: u32,
    },
    /// Root alone.
    One,
}

impl Ids {
    /// Are these the machine's own, with all that its root may do?
    pub fn are_the_machines(self) -> bool {
        self == Self::Machine
    }

    fn of(users: &str, groups: &str) -> Self {
        match (count(users), count(groups)) {
            (u32::MAX, u32::MAX) => Self::Machine,
            (users, groups) if users > 1 && groups > 1 => Self::Range { users, groups },
            _ => Self::One,
        }
    }
}

/// How many ids a map has from 0 on without a gap.
fn count(map: &str) -> u32 {
    let mut ranges: Vec<(u32, u32)> = map.lines().filter_map(range).collect();
    ranges.sort_unstable();
    ranges.into_iter().fold(0, |next, (first, count)| {
        if first == next {
            next.saturating_add(count)
        } else {
            next
        }
    })
}

/// The first id inside, and how many follow.
fn range(line: &str) -> Option<(u32, u32)> {
    let mut numbers = line.split_whitespace().map(str::parse);
    let (first, _, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some((first.ok()?, count.ok()?))
}

/// The ids that this process's namespace has. They never change.
pub fn ids() -> Ids {
    static IDS: LazyLock<Ids> = LazyLock::new(|| {
        let map = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Ids::of(&map("uid_map"), &map("gid_map"))
    });
    *IDS
}

/// Who this namespace's root is outside of it.
pub fn outer_user() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    let of_root = |line: &str| {
        let mut numbers = line.split_whitespace();
        (numbers.next()? == "0").then(|| numbers.next()?.parse().ok())?
    };
    map.lines().find_map(of_root)
}

/// May this process change the network that it is in? That is whose namespace made it.
pub fn owns_network() -> bool {
    // Asks a namespace for the user namespace that it belongs to, from linux/nsfs.h; refused where that is outside of ours.
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    let Ok(network) = File::open("/proc/self/ns/net") else {
        return false;
    };
    // SAFETY: the request takes no argument and returns a descriptor, which is nobody else's.
    unsafe {
        let owner = libc::ioctl(network.as_raw_fd(), NS_GET_USERNS);
        if owner >= 0 {
            libc::close(owner);
        }
        owner >= 0
    }
}

/// Why there is one id only, in words, as whoever made the namespace found it.
pub fn why_one() -> Option<String> {
    std::env::var(WHY_ONE).ok().filter(|why| !why.is_empty())
}

/// This process's number where `/proc` is from: for other processes of the machine, that is, even when this one has another
/// number in a namespace of its own.
pub fn own_pid() -> u32 {
    let link = std::fs::read_link("/proc/self").ok();
    let number = link.and_then(|link| link.to_str()?.parse().ok());
    number.unwrap_or_else(std::process::id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_say_which_ids_there_are() {
        let machine = "         0          0 4294967295\n";
        assert_eq!(Ids::of(machine, machine), Ids::Machine);
        let one = "0 1001 1\n";
        assert_eq!(Ids::of(one, one), Ids::One);
        let some = "0 1001 1\n1 100000 65536\n";
        let range = Ids::Range {
            users: 65537,
            groups: 65537,
        };
        assert_eq!(Ids::of(some, some), range);
        // Users without groups are of no use.
        assert_eq!(Ids::of(some, one), Ids::One);
        // What is behind a gap does not count.
        assert_eq!(count("0 1001 1\n5 100000 65536\n"), 1);
    }
}
