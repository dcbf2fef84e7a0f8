//! The ids that the machine's administrator has set aside for a user, and the programs that map them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Pid;

/// How many ids a user is usually given.
const USUAL: u32 = 65536;

/// What is mapped into a namespace beside its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    users: Part,
    groups: Part,
}

/// Users or groups.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    /// Who root is outside.
    own: u32,
    /// First ids, and how many follow.
    ranges: Vec<(u32, u32)>,
    /// What maps them.
    program: PathBuf,
}

/// Why no more than one id can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What is missing.
    pub why: String,
    /// What to type.
    pub next: String,
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (next: {})", self.why, self.next)
    }
}

impl Ranges {
    /// How many users there are, root included.
    pub fn users(&self) -> u64 {
        self.users.count()
    }

    /// How many groups there are, root's included.
    pub fn groups(&self) -> u64 {
        self.groups.count()
    }

    /// Maps them into the namespace of this process.
    pub(crate) fn map(&self, process: Pid) -> Result<(), Lack> {
        self.users.map(process)?;
        self.groups.map(process)
    }
}

impl Part {
    fn count(&self) -> u64 {
        1 + self
            .ranges
            .iter()
            .map(|(_, count)| u64::from(*count))
            .sum::<u64>()
    }

    fn map(&self, process: Pid) -> Result<(), Lack> {
        let mut next = 1_u32;
        let mut args = vec![0, self.own, 1];
        for (first, count) in &self.ranges {
            args.extend([next, *first, *count]);
            next = next.saturating_add(*count);
        }
        let output = Command::new(&self.program)
            .arg(process.as_raw_nonzero().to_string())
            .args(args.iter().map(u32::to_string))
            .output();
        let program = self.program.display();
        let why = match output {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Err(Lack {
            why: format!("{program} does not map the ids that are set aside: {why}"),
            next: format!(
                "ls -l {program}    # it has to belong to root with its set-user-id bit, or to have the capability cap_setuid \
                 (newgidmap: cap_setgid)"
            ),
        })
    }
}

/// What this user can have.
pub fn find() -> Result<Ranges, Lack> {
    let user = rustix::process::getuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = name_of(user, &passwd).or_else(|| std::env::var("USER").ok());
    let part = |program: &str, file: &str, own: u32| {
        let program = find_program(program)?;
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let ranges = ranges_of(user, name.as_deref(), &text);
        if ranges.is_empty() {
            return Err(no_range(file, user, name.as_deref()));
        }
        Ok(Part { own, ranges, program })
    };
    Ok(Ranges {
        users: part("newuidmap", "/etc/subuid", user)?,
        groups: part("newgidmap", "/etc/subgid", rustix::process::getgid().as_raw())?,
    })
}

fn find_program(name: &str) -> Result<PathBuf, Lack> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|program| is_program(program))
        .ok_or_else(|| Lack {
            why: format!("{name} is not installed"),
            next: "apt-get install uidmap    # or your system's package: shadow-utils, shadow".to_owned(),
        })
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

fn no_range(file: &str, user: u32, name: Option<&str>) -> Lack {
    let shown = name.map_or_else(|| user.to_string(), str::to_owned);
    let last = 100_000 + USUAL - 1;
    Lack {
        why: format!("{file} sets no ids aside for {shown}"),
        next: format!(
            "sudo usermod --add-subuids 100000-{last} --add-subgids 100000-{last} {shown}    # ids that nobody else has"
        ),
    }
}

fn name_of(user: u32, passwd: &str) -> Option<String> {
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(user)).then(|| name.to_owned())
    };
    passwd.lines().find_map(of_line)
}

/// A user's ranges in one of the files, which has users by name or by number.
fn ranges_of(user: u32, name: Option<&str>, text: &str) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let whose = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let is_own = whose.parse() == Ok(user) || Some(whose) == name;
        (is_own && count > 0).then_some((first, count))
    };
    text.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "# kept by hand\nann:100000:65536\n1001:300000:10\nbob:165536:65536\nann:500000:0\n";
        assert_eq!(
            ranges_of(1001, Some("ann"), text),
            [(100_000, 65536), (300_000, 10)]
        );
        assert_eq!(ranges_of(1002, Some("bob"), text), [(165_536, 65536)]);
        assert!(ranges_of(1003, None, text).is_empty());
        assert_eq!(
            name_of(1001, "root:x:0:0::/:/bin/sh\nann:x:1001:1001::/:/bin/sh\n").as_deref(),
            Some("ann")
        );
    }

    #[test]
    fn who_has_none_is_told_what_to_type() {
        let lack = no_range("/etc/subuid", 1003, Some("eve"));
        assert_eq!(
            lack.to_string(),
            "/etc/subuid sets no ids aside for eve (next: sudo usermod --add-subuids 100000-165535 --add-subgids \
             100000-165535 eve    # ids that nobody else has)"
        );
    }
}
