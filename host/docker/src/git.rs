//! This machine's git, for the engine's image: git itself, its program for servers of the web, ssh, the shell by which it starts
//! them, and the certificates that it trusts. Where something is missing the engine does without it, and says so when it is
//! needed.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{elf, image::LIBRARIES};

/// Where git looks for a shell.
const SHELL: &str = "/bin/sh";
/// Where the programs that are found by name lie in the image.
const PROGRAMS: &str = "/usr/bin";
/// Where systems keep the certificates that they trust.
const CERTIFICATES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// Where libraries ask who somebody is: ssh runs for nobody who has no name.
const PASSWD: (&str, &str) = ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
/// Libraries by which older C libraries look names up, loaded by name and only then.
const LOOK_UP: [&str; 3] = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/// Git and all that it needs, by path in the image; nothing where there is none.
pub(crate) fn files() -> BTreeMap<String, Vec<u8>> {
    found().unwrap_or_default()
}

fn found() -> Option<BTreeMap<String, Vec<u8>>> {
    let git = in_path("git")?;
    let helpers = exec_path(&git)?;
    let mut files = BTreeMap::from([(PASSWD.0.to_owned(), PASSWD.1.as_bytes().to_vec())]);
    add_program(&mut files, &git, &format!("{PROGRAMS}/git"))?;
    // For servers of the web, and for directories. One that is missing keeps the others from nothing.
    for name in ["git-remote-http", "git-remote-https", "git-upload-pack"] {
        let helper = helpers.join(name);
        add_program(&mut files, &helper, helper.to_str()?);
    }
    add_program(&mut files, Path::new(SHELL), SHELL);
    if let Some(ssh) = in_path("ssh") {
        add_program(&mut files, &ssh, &format!("{PROGRAMS}/ssh"));
    }
    let trusted = CERTIFICATES
        .iter()
        .find_map(|path| Some(((*path).to_owned(), fs::read(path).ok()?)));
    files.extend(trusted);
    Some(files)
}

/// Puts a program there with its loader and its libraries, unless it is none.
fn add_program(files: &mut BTreeMap<String, Vec<u8>>, program: &Path, at: &str) -> Option<()> {
    let bytes = fs::read(program).ok()?;
    if !elf::is_program(&bytes) {
        return None;
    }
    if let Some(loader) = elf::interpreter_of(&bytes) {
        files.insert(loader.clone(), fs::read(&loader).ok()?);
    }
    files.insert(at.to_owned(), bytes);
    for path in elf::libraries_of(program) {
        add_library(files, &path);
        if path.file_name().is_some_and(|name| name == "libc.so.6") {
            for name in LOOK_UP {
                add_library(files, &path.with_file_name(name));
            }
        }
    }
    Some(())
}

fn add_library(files: &mut BTreeMap<String, Vec<u8>>, path: &Path) {
    let Ok(bytes) = fs::read(path) else { return };
    if let Some(name) = elf::library_name(&bytes, path) {
        files.insert(format!("{LIBRARIES}/{name}"), bytes);
    }
}

/// A program of this machine by its name.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// Where git has the programs that it starts: the same place in the image, as git has it written into itself.
fn exec_path(git: &Path) -> Option<PathBuf> {
    let output = Command::new(git)
        .arg("--exec-path")
        .env_remove("GIT_EXEC_PATH")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let path = PathBuf::from(text.trim());
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_comes_with_what_it_starts_and_what_that_needs() {
        let files = files();
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        for name in [
            "/usr/bin/git",
            "/bin/sh",
            "/etc/passwd",
            "/lib/libc.so.6",
            "/usr/bin/ssh",
        ] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        let https = names.iter().find(|name| name.ends_with("/git-remote-https"));
        assert!(https.is_some(), "{names:?}");
        assert!(
            names.iter().any(|name| name.starts_with("/lib/libcurl")),
            "{names:?}"
        );
    }
}
