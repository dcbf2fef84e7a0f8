//! What a container is given so that it gets at devices, settled for this host.

use std::{collections::BTreeSet, io, path::Path};

use super::{
    CdiError,
    spec::{self, ContainerEdits, Hook},
};

/// What a container is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// `NAME=value`, the strongest last.
    pub env: Vec<String>,
    /// Device nodes, each at another path.
    pub nodes: Vec<Node>,
    /// Files and directories of the host, each at another path.
    pub mounts: Vec<Mount>,
    /// Groups that the process is in, too.
    pub groups: Vec<u32>,
    /// Directories in which programs look for libraries, after those they look in anyhow.
    pub library_directories: Vec<String>,
}

/// What kind of device a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// One of characters: `c`.
    Character,
    /// One of blocks: `b`.
    Block,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where in the container.
    pub path: String,
    /// What kind.
    pub kind: NodeKind,
    /// The driver's number.
    pub major: u32,
    /// The device's number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What the container may do with the device: any of `r`, `w` and `m`.
    pub access: String,
}

/// A file or directory of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// On the host.
    pub source: String,
    /// In the container.
    pub destination: String,
    /// Can the container write to it?
    pub writable: bool,
}

/// What is done in a hook's place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Substitute {
    /// Programs are told of directories with libraries.
    Libraries(Vec<String>),
    /// Nothing: links to what is mounted are mounted beside it in any case.
    Links,
}

/// What stands for a hook; none for one of which we do not know what it does.
pub(super) fn substitute(hook: &Hook) -> Option<Substitute> {
    if hook.hook_name != "createContainer" {
        return None;
    }
    let has = |name: &str| hook.args.iter().any(|arg| arg == name);
    if has("create-symlinks") {
        return Some(Substitute::Links);
    }
    if !has("update-ldcache") {
        return None;
    }
    let mut folders = Vec::new();
    let mut args = hook.args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix("--folder") {
            Some("") => folders.extend(args.next().cloned()),
            Some(value) => folders.extend(value.strip_prefix('=').map(str::to_owned)),
            None => {}
        }
    }
    Some(Substitute::Libraries(folders))
}

impl Edits {
    /// Takes in what a specification says of `device`. What is there already stays.
    pub(super) fn add(&mut self, edits: &ContainerEdits, device: &str) -> Result<(), CdiError> {
        self.env.extend(edits.env.iter().cloned());
        for node in &edits.device_nodes {
            if !self.nodes.iter().any(|there| there.path == node.path) {
                self.nodes.push(settle(node, device)?);
            }
        }
        for mount in &edits.mounts {
            let is_bind = mount
                .kind
                .as_deref()
                .is_none_or(|kind| kind.is_empty() || kind == "bind" || kind == "none");
            if !is_bind || !Path::new(&mount.host_path).exists() {
                return Err(CdiError::Mount {
                    device: device.to_owned(),
                    path: mount.host_path.clone(),
                });
            }
            let writable = !mount.options.iter().any(|option| option == "ro");
            self.mount(&mount.host_path, &mount.container_path, writable);
            for name in names_of(Path::new(&mount.host_path)) {
                let beside = Path::new(&mount.container_path).with_file_name(name);
                self.mount(&mount.host_path, &beside.to_string_lossy(), writable);
            }
        }
        for hook in &edits.hooks {
            if let Some(Substitute::Libraries(folders)) = substitute(hook) {
                self.library_directories.extend(folders);
            }
        }
        self.groups.extend(&edits.additional_gids);
        for list in [&mut self.library_directories, &mut self.env] {
            let mut seen = BTreeSet::new();
            list.retain(|text| seen.insert(text.clone()));
        }
        self.groups.sort_unstable();
        self.groups.dedup();
        Ok(())
    }

    fn mount(&mut self, source: &str, destination: &str, writable: bool) {
        if !self.mounts.iter().any(|there| there.destination == destination) {
            self.mounts.push(Mount {
                source: source.to_owned(),
                destination: destination.to_owned(),
                writable,
            });
        }
    }
}

/// Other names of a library: links beside it that lead to it, as the loader and compilers look for it.
fn names_of(library: &Path) -> Vec<String> {
    let is_library = library
        .file_name()
        .is_some_and(|name| name.to_string_lossy().contains(".so"));
    let (Some(directory), Ok(real), true) = (library.parent(), library.canonicalize(), is_library) else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    let leads_there = links.filter(|link| link.path().canonicalize().is_ok_and(|target| target == real));
    let mut names: Vec<_> = leads_there
        .filter_map(|link| link.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// What a node is, as the specification says or as it is on this host.
fn settle(node: &spec::DeviceNode, device: &str) -> Result<Node, CdiError> {
    let path = node.host_path.clone().unwrap_or_else(|| node.path.clone());
    let no_device = || CdiError::NoDevice {
        device: device.to_owned(),
        path: path.clone(),
    };
    let said = match node.kind.as_deref() {
        Some("b") => Some(NodeKind::Block),
        Some("c" | "u") => Some(NodeKind::Character),
        Some("") | None => None,
        Some(_) => return Err(no_device()),
    };
    let numbers = node.major.zip(node.minor).filter(|(major, _)| *major != 0);
    let (kind, (major, minor), mode, owner) = match (said, numbers) {
        (Some(kind), Some(numbers)) => (kind, numbers, None, None),
        _ => {
            let metadata = std::fs::metadata(&path).map_err(|source| CdiError::Node {
                device: device.to_owned(),
                path: path.clone(),
                source,
            })?;
            let there = There::of(&metadata).map_err(|_| no_device())?;
            (there.kind, there.numbers, Some(there.mode), Some(there.owner))
        }
    };
    let access = match node.permissions.as_deref() {
        None | Some("") => "rwm",
        Some("none") => "",
        Some(access) => access,
    };
    let (uid, gid) = owner.unwrap_or_default();
    Ok(Node {
        path: node.path.clone(),
        kind,
        major,
        minor,
        mode: node.file_mode.or(mode).unwrap_or(0o666) & 0o7777,
        uid: node.uid.unwrap_or(uid),
        gid: node.gid.unwrap_or(gid),
        access: access.to_owned(),
    })
}

/// A device of this host.
struct There {
    kind: NodeKind,
    /// Major and minor.
    numbers: (u32, u32),
    mode: u32,
    /// User and group.
    owner: (u32, u32),
}

impl There {
    #[cfg(target_os = "linux")]
    fn of(metadata: &std::fs::Metadata) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;

        use rustix::fs::{FileType, major, minor};

        Ok(Self {
            kind: match FileType::from_raw_mode(metadata.mode()) {
                FileType::CharacterDevice => NodeKind::Character,
                FileType::BlockDevice => NodeKind::Block,
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            },
            numbers: (major(metadata.rdev()), minor(metadata.rdev())),
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
        })
    }

    /// Containers have devices of Linux.
    #[cfg(not(target_os = "linux"))]
    fn of(_: &std::fs::Metadata) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
