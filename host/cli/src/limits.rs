//! The operator's limits: the most that any module may have on this machine.

use std::{env, fs, io, path::PathBuf};

use wharf_manifest::{Limit, Manifest};

use crate::error::Report;

/// Where the machine's operator writes them.
const FILE: &str = "/etc/wharf/limits.toml";
/// Names a file with more.
const VARIABLE: &str = "WHARF_LIMITS";

/// What the machine's file and the one that `WHARF_LIMITS` names allow, both together.
pub(crate) fn limits() -> Result<Limit, Report> {
    let named = env::var_os(VARIABLE).map(PathBuf::from);
    let mut limit = Limit::default();
    for (path, must_be_there) in [(Some(PathBuf::from(FILE)), false), (named, true)] {
        let Some(path) = path else { continue };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_be_there => continue,
            Err(error) => {
                return Err(Report::usage(format!(
                    "the limits in {} cannot be read: {error}",
                    path.display()
                )));
            }
        };
        let more =
            Manifest::limits(&text).map_err(|error| Report::usage(format!("{}: {error}", path.display())))?;
        limit = limit.and(more);
    }
    Ok(limit)
}
