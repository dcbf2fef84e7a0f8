//! The lowest directory of every step's root: the mount points that every container has.
//!
//! Few images have them all, and making what is missing in each step's own layer and taking it out again costs more than
//! mounting does. An image that hides what lies below it has them made all the same (see [`crate::stubs`]).

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use crate::error::{Context, Result};

const DIRECTORIES: [&str; 4] = ["proc", "dev", "sys", "etc"];
const FILES: [&str; 3] = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// Makes it, unless it is there.
pub(crate) fn lay(ground: &Path) -> Result<()> {
    let said = ground.display().to_string();
    fs::create_dir_all(ground).context(&said)?;
    for name in DIRECTORIES {
        fs::create_dir_all(ground.join(name)).context(&said)?;
    }
    for name in FILES {
        fs::write(ground.join(name), "").context(&said)?;
    }
    // Whatever this process's own mask is.
    for (names, mode) in [(&DIRECTORIES[..], 0o755), (&FILES[..], 0o644)] {
        for name in names {
            fs::set_permissions(ground.join(name), Permissions::from_mode(mode)).context(&said)?;
        }
    }
    fs::set_permissions(ground, Permissions::from_mode(0o755)).context(&said)
}
