//! Users and groups as Docker reads them: names looked up in the container's own files, numbers taken as they are.

/// Who a step runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory: `/` for a user without an entry.
    pub home: String,
}

/// The container has no such user or group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswdError {
    /// No such user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    /// No such group.
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn users(passwd: &str) -> impl Iterator<Item = Entry<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (_, uid, gid) = (fields.next()?, fields.next()?, fields.next()?);
        let home = fields.nth(1).unwrap_or_default();
        Some(Entry {
            name,
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home,
        })
    })
}

fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

/// Who `user[:group]` is, given the contents of `/etc/passwd` and `/etc/group`; empty is root.
pub fn resolve(user: &str, passwd: &str, group: &str) -> Result<User, PasswdError> {
    let (name, group_name) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let number: Option<u32> = name.parse().ok();
    let entry = users(passwd)
        .find(|entry| entry.name == name)
        .or_else(|| users(passwd).find(|e| Some(e.uid) == number));
    let mut found = match (&entry, number) {
        (Some(entry), _) => {
            let home = if entry.home.is_empty() { "/" } else { entry.home };
            User {
                uid: entry.uid,
                gid: entry.gid,
                groups: Vec::new(),
                home: home.to_owned(),
            }
        }
        (None, Some(uid)) => {
            let home = if uid == 0 { "/root" } else { "/" };
            User {
                uid,
                gid: 0,
                groups: Vec::new(),
                home: home.to_owned(),
            }
        }
        (None, None) => return Err(PasswdError::User(name.to_owned())),
    };
    match group_name {
        Some(wanted) => {
            let known = groups(group)
                .find(|(name, ..)| *name == wanted)
                .map(|(_, gid, _)| gid);
            let gid = known.or_else(|| wanted.parse().ok());
            found.gid = gid.ok_or_else(|| PasswdError::Group(wanted.to_owned()))?;
        }
        None => {
            if let Some(entry) = &entry {
                let member = |members: &str| members.split(',').any(|member| member == entry.name);
                found.groups = groups(group)
                    .filter(|(_, _, members)| member(members))
                    .map(|(_, gid, _)| gid)
                    .collect();
            }
        }
    }
    Ok(found)
}

/// Owner and group of `user[:group]` for files: a user without a group owns with the user's own group.
pub fn owner(user: &str, passwd: &str, group: &str) -> Result<(u32, u32), PasswdError> {
    let found = resolve(user, passwd, group)?;
    let number: Option<u32> = user.parse().ok();
    // A bare number without an entry stands for both, as for `chown` options of the field.
    let gid = if number.is_some() && users(passwd).all(|entry| Some(entry.uid) != number) {
        found.uid
    } else {
        found.gid
    };
    Ok((found.uid, if user.contains(':') { found.gid } else { gid }))
}

#[cfg(test)]
mod tests {
    use super::{PasswdError, owner, resolve};

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\napp:x:1000:\nwheel:x:10:app,other\nstaff:x:50:\n";

    #[test]
    fn names_and_numbers_are_read_as_docker_reads_them() {
        let ids = |user: &str| {
            let found = resolve(user, PASSWD, GROUP).unwrap();
            (found.uid, found.gid, found.groups, found.home)
        };
        assert_eq!(ids(""), (0, 0, vec![], "/root".to_owned()));
        assert_eq!(ids("app"), (1000, 1000, vec![10], "/home/app".to_owned()));
        assert_eq!(ids("1000"), (1000, 1000, vec![10], "/home/app".to_owned()));
        assert_eq!(ids("4242"), (4242, 0, vec![], "/".to_owned()));
        assert_eq!(ids("app:staff"), (1000, 50, vec![], "/home/app".to_owned()));
        assert_eq!(ids("4242:7"), (4242, 7, vec![], "/".to_owned()));
        assert_eq!(
            resolve("nobody", PASSWD, GROUP),
            Err(PasswdError::User("nobody".to_owned()))
        );
        assert_eq!(
            resolve("app:none", PASSWD, GROUP),
            Err(PasswdError::Group("none".to_owned()))
        );
    }

    #[test]
    fn a_bare_number_owns_with_the_group_of_the_same_number() {
        assert_eq!(owner("4242", PASSWD, GROUP), Ok((4242, 4242)));
        assert_eq!(owner("app", PASSWD, GROUP), Ok((1000, 1000)));
        assert_eq!(owner("4242:7", PASSWD, GROUP), Ok((4242, 7)));
    }
}
