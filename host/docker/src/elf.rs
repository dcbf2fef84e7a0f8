//! What a program needs to be run somewhere else: its loader and its libraries.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use goblin::elf::Elf;

/// The loader that a program names; none for one that is linked statically.
pub(crate) fn interpreter_of(program: &[u8]) -> Option<String> {
    let elf = Elf::parse(program).ok()?;
    elf.interpreter.map(str::to_owned)
}

/// The name by which a library is looked for; none for what is no library.
pub(crate) fn library_name(bytes: &[u8], path: &Path) -> Option<String> {
    let elf = Elf::parse(bytes).ok()?;
    let own = || path.file_name().and_then(|name| name.to_str());
    elf.soname.or_else(own).map(str::to_owned)
}

/// Is it a program that can be run as it is, rather than a script?
pub(crate) fn is_program(bytes: &[u8]) -> bool {
    Elf::parse(bytes).is_ok()
}

/// The libraries that a program's own loader finds for it, here. It is asked, as only it knows the places; it runs nothing of
/// the program.
pub(crate) fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let Some(loader) = fs::read(program).ok().and_then(|bytes| interpreter_of(&bytes)) else {
        return Vec::new();
    };
    let listed = Command::new(loader)
        .arg("--list")
        .arg(program)
        .stdin(Stdio::null())
        .output();
    let text = listed.map(|listed| listed.stdout).unwrap_or_default();
    listed_paths(&String::from_utf8_lossy(&text))
}

/// Paths in what a loader lists: `libc.so.6 => /lib/libc.so.6 (0x…)`.
fn listed_paths(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let (_, found) = line.split_once(" => ")?;
        let path = found.rsplit_once(" (").map_or(found, |(path, _)| path).trim();
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loaders_list_is_read() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f)\n\
                    \tlibmissing.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(listed_paths(text), [Path::new("/lib/x86_64-linux-gnu/libz.so.1")]);
    }

    #[test]
    fn this_programs_own_loader_finds_its_libraries() {
        let found = libraries_of(&std::env::current_exe().unwrap());
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).collect();
        assert!(names.contains(&"libc.so.6".as_ref()), "{found:?}");
    }
}
