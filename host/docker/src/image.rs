//! The engine's image: this program, its loader and the libraries that it has loaded, this machine's git, and nothing else.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use bollard::{
    body_full,
    query_parameters::{
        CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions,
    },
};
use futures::TryStreamExt;
use wharf_digest::Digest;

use crate::{
    Daemon, DockerError, DockerOptions,
    elf::{interpreter_of, is_program, library_name},
    git,
};

/// The image's repository.
const REPOSITORY: &str = "wharf-engine";
/// What tells images of ours from others under that name.
const LABEL: &str = "org.opencontainers.image.title=wharf-engine";
/// Where the program lies in it.
pub(crate) const PROGRAM: &str = "/wharf";
/// Where its libraries lie.
pub(crate) const LIBRARIES: &str = "/lib";

/// The image of this program, made when the daemon has none.
pub(crate) async fn ensure(daemon: &Daemon, options: &DockerOptions) -> Result<String, DockerError> {
    let program = read(&options.program)?;
    let beside = beside(&options.program, &program)?;
    let mut identity = program.clone();
    for (path, bytes) in &beside {
        identity.extend_from_slice(path.as_bytes());
        identity.extend_from_slice(Digest::of(bytes).as_bytes());
    }
    let tag = format!(
        "{}-{}",
        env!("CARGO_PKG_VERSION"),
        &Digest::of(&identity).to_hex()[..12]
    );
    let name = format!("{REPOSITORY}:{tag}");
    if daemon.docker.inspect_image(&name).await.is_ok() {
        return Ok(name);
    }
    let refused = DockerError::refused("take the engine's image in");
    let archive =
        archive(program, &beside).map_err(|source| DockerError::io("pack", &options.program, source))?;
    let import = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(REPOSITORY)
        .tag(&tag)
        .changes(vec![
            format!("ENTRYPOINT [\"{PROGRAM}\"]"),
            format!("ENV LD_LIBRARY_PATH={LIBRARIES}"),
            format!("LABEL {LABEL}"),
        ])
        .build();
    daemon
        .docker
        .create_image(Some(import), Some(body_full(archive.into())), None)
        .try_collect::<Vec<_>>()
        .await
        .map_err(refused)?;
    remove_replaced(daemon, &name).await;
    Ok(name)
}

/// What lies beside the program in the image. Another program than this one has to do with nothing: what it would load is not
/// known here.
fn beside(path: &Path, program: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, DockerError> {
    let own = std::env::current_exe().and_then(fs::canonicalize);
    let is_own = own.is_ok_and(|own| fs::canonicalize(path).is_ok_and(|path| path == own));
    if is_own && cfg!(target_os = "linux") {
        let mut files = git::files();
        // What the engine itself has loaded is what it gets, whatever git would.
        files.extend(loaded_libraries(path)?);
        return Ok(files);
    }
    let refused = |why: &str| DockerError::Refused {
        doing: "run an engine that is made of another program",
        why: format!("{} {why}", path.display()),
    };
    if !is_program(program) {
        return Err(refused("is no program of Linux"));
    }
    if interpreter_of(program).is_some() {
        return Err(refused("needs libraries: name one that is linked statically"));
    }
    Ok(BTreeMap::new())
}

/// This program and what it needs to run in any root, below one directory.
#[derive(Debug)]
pub struct OwnProgram {
    /// How it is started.
    pub command: Vec<String>,
    /// Files by their path in that root.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl OwnProgram {
    /// Writes it as a layer of an image, with these directories below its own, and their modes.
    pub fn write_layer(
        &self,
        directories: &[(&str, u32)],
        to: &mut dyn std::io::Write,
    ) -> std::io::Result<()> {
        let mut archive = tar::Builder::new(to);
        for (path, mode) in directories {
            let mut header = header(tar::EntryType::Directory, *mode, 0);
            archive.append_data(
                &mut header,
                format!("{}/", path.trim_matches('/')),
                std::io::empty(),
            )?;
        }
        for (path, bytes) in &self.files {
            let mut header = header(tar::EntryType::Regular, 0o755, bytes.len() as u64);
            archive.append_data(&mut header, path.trim_start_matches('/'), bytes.as_slice())?;
        }
        archive.finish()
    }
}

/// This program as it can be put below a directory of any root: with its own loader and libraries, whatever the root has.
pub fn own_program(directory: &str) -> Result<OwnProgram, DockerError> {
    let own = std::env::current_exe()
        .map_err(|source| DockerError::io("find", Path::new("/proc/self/exe"), source))?;
    let program = read(&own)?;
    let interpreter = interpreter_of(&program);
    let at = |name: &str| format!("{directory}/{name}");
    let mut files = BTreeMap::new();
    let mut command = Vec::new();
    if let Some(interpreter) = &interpreter {
        for (path, bytes) in loaded_libraries(&own)? {
            let name = if path == *interpreter {
                "loader"
            } else {
                path.trim_start_matches('/')
            };
            files.insert(at(name), bytes);
        }
        command = vec![
            at("loader"),
            "--library-path".to_owned(),
            format!("{directory}{LIBRARIES}"),
        ];
    }
    files.insert(at("wharf"), program);
    command.push(at("wharf"));
    Ok(OwnProgram { command, files })
}

/// Removes images of programs that were replaced by others, unless a container uses them. Those that somebody gave a name of
/// their own lose ours: the daemon keeps an image for as long as it has a name.
async fn remove_replaced(daemon: &Daemon, present: &str) {
    let all = ListContainersOptionsBuilder::new().all(true).build();
    let Ok(containers) = daemon.docker.list_containers(Some(all)).await else {
        return;
    };
    let used: HashSet<String> = containers
        .into_iter()
        .filter_map(|container| container.image_id)
        .collect();
    let filters = HashMap::from([("label", vec![LABEL]), ("reference", vec![REPOSITORY])]);
    let ours = ListImagesOptionsBuilder::new().filters(&filters).build();
    let images = daemon.docker.list_images(Some(ours)).await.unwrap_or_default();
    let unused = images.iter().filter(|image| !used.contains(&image.id));
    let ours = format!("{REPOSITORY}:");
    for name in unused.flat_map(|image| &image.repo_tags) {
        if name.starts_with(&ours) && name != present {
            // One that stays only takes room, and is tried again when the next image is made.
            daemon
                .docker
                .remove_image(name, None::<RemoveImageOptions>, None)
                .await
                .ok();
        }
    }
}

/// What this process has loaded beside its program, by path in the image: libraries under the names by which they are
/// looked for, the loader where the program says it is.
fn loaded_libraries(program: &Path) -> Result<BTreeMap<String, Vec<u8>>, DockerError> {
    let maps_path = Path::new("/proc/self/maps");
    let maps = fs::read_to_string(maps_path).map_err(|source| DockerError::io("read", maps_path, source))?;
    let interpreter = interpreter_of(&read(program)?);
    let own = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let mut paths: Vec<PathBuf> = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])))
        .filter(|path| *path != own)
        .collect();
    paths.sort();
    paths.dedup();
    let mut libraries = BTreeMap::new();
    for path in paths {
        let Ok(bytes) = fs::read(&path) else { continue };
        let Some(name) = library_name(&bytes, &path) else {
            continue;
        };
        libraries.insert(format!("{LIBRARIES}/{name}"), bytes);
    }
    if let Some(interpreter) = interpreter {
        let path = Path::new(&interpreter);
        libraries.insert(interpreter.clone(), read(path)?);
    }
    Ok(libraries)
}

fn archive(program: Vec<u8>, beside: &BTreeMap<String, Vec<u8>>) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::with_capacity(program.len() + (8 << 20)));
    for (directory, mode) in [
        ("tmp", 0o1777),
        ("root", 0o700),
        ("etc", 0o755),
        ("run", 0o755),
        ("var/lib/wharf", 0o755),
    ] {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        archive.append_data(&mut header, format!("{directory}/"), std::io::empty())?;
    }
    // Git goes by several names.
    let mut packed: HashMap<Digest, String> = HashMap::new();
    let mut add = |path: &str, bytes: &[u8]| {
        let path = path.trim_start_matches('/');
        if let Some(first) = packed.get(&Digest::of(bytes)) {
            return archive.append_link(&mut header(tar::EntryType::Link, 0o755, 0), path, first);
        }
        packed.insert(Digest::of(bytes), path.to_owned());
        let mut header = header(tar::EntryType::Regular, 0o755, bytes.len() as u64);
        archive.append_data(&mut header, path, bytes)
    };
    add(PROGRAM, &program)?;
    for (path, bytes) in beside {
        add(path, bytes)?;
    }
    archive.into_inner()
}

pub(crate) fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header
}

fn read(path: &Path) -> Result<Vec<u8>, DockerError> {
    fs::read(path).map_err(|source| DockerError::io("read", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_holds_the_program_its_loader_and_its_libraries() {
        let program = std::env::current_exe().unwrap();
        let mut libraries = loaded_libraries(&program).unwrap();
        libraries.insert("/lib/other-name".to_owned(), libraries["/lib/libc.so.6"].clone());
        let interpreter = interpreter_of(&read(&program).unwrap()).unwrap();
        assert!(libraries.contains_key(&interpreter), "{:?}", libraries.keys());
        assert!(libraries.contains_key("/lib/libc.so.6"), "{:?}", libraries.keys());
        let archive = archive(b"program".to_vec(), &libraries).unwrap();
        let mut archive = tar::Archive::new(archive.as_slice());
        let paths: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect();
        for path in [
            "wharf",
            "lib/libc.so.6",
            "lib/other-name",
            interpreter.trim_start_matches('/'),
        ] {
            assert!(paths.iter().any(|found| found == path), "{path}: {paths:?}");
        }
    }
}
