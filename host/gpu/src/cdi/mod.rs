//! Specifications of the Container Device Interface: how a container gets at a device.
//!
//! A directory holds specifications, JSON or YAML, each of one kind of devices (`nvidia.com/gpu`). A device's *edits* say what
//! of the host a container is given: device nodes, mounts, variables. Hooks, programs that a specification wants run on the
//! host, are never run; what the usual ones of NVIDIA's do is done here in other ways ([`edits`]), and the others are named.

mod edits;
mod spec;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

pub use edits::{Edits, Mount, Node, NodeKind};
use spec::Specification;

/// Where specifications are unless told otherwise, the strongest last.
pub const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// The class of the kinds that are GPUs: `nvidia.com/gpu`.
const CLASS: &str = "gpu";

/// Why a device's edits cannot be made out.
#[derive(Debug, thiserror::Error)]
pub enum CdiError {
    /// A device node that is not there.
    #[error("the device node {path} of {device}: {source}")]
    Node {
        /// Whose.
        device: String,
        /// Where on the host.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A device node that is no device.
    #[error("{path} of {device} is no device node")]
    NoDevice {
        /// Whose.
        device: String,
        /// Where on the host.
        path: String,
    },
    /// A file or directory to mount that is not there.
    #[error(
        "{path}, which {device} has mounted, is not there: write the specification again, with `nvidia-ctk cdi generate`"
    )]
    Mount {
        /// Whose.
        device: String,
        /// Where on the host.
        path: String,
    },
}

/// A device of a specification.
#[derive(Clone, Copy, Debug)]
pub struct Named<'s> {
    file: &'s Path,
    specification: &'s Specification,
    device: &'s spec::Device,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.specification.kind, self.device.name)
    }
}

/// All specifications of some directories.
#[derive(Debug, Default)]
pub struct Specifications {
    files: BTreeMap<PathBuf, Specification>,
    /// From weak to strong.
    order: Vec<PathBuf>,
    notes: Vec<String>,
}

impl Specifications {
    /// Reads them. A directory that is not there has none; a file that cannot be read is noted.
    pub fn read(directories: &[PathBuf]) -> Self {
        let mut all = Self::default();
        for directory in directories {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
            files.sort();
            for file in files {
                match Specification::read(&file) {
                    Some(Ok(specification)) => {
                        all.notes.extend(specification.left_out(&file));
                        all.files.insert(file.clone(), specification);
                        all.order.push(file);
                    }
                    Some(Err(why)) => all.notes.push(format!("{}: {why}", file.display())),
                    None => {}
                }
            }
        }
        all
    }

    /// What cannot be read, and what is left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A GPU's device: by its UUID, or by its number. Of several the strongest directory's.
    pub fn device_of(&self, uuid: &str, index: u32) -> Option<Named<'_>> {
        self.find(uuid).or_else(|| self.find(&index.to_string()))
    }

    fn find(&self, name: &str) -> Option<Named<'_>> {
        let files = self.order.iter().rev();
        files
            .filter_map(|file| {
                let specification = self.files.get(file)?;
                let (_, class) = specification.kind.split_once('/')?;
                let device = specification.devices.iter().find(|device| device.name == name)?;
                (class == CLASS).then_some(Named {
                    file,
                    specification,
                    device,
                })
            })
            .next()
    }

    /// What a container needs to get at these devices: what their specifications say of all devices, once, and what they say
    /// of each. Device nodes are looked up on this host.
    pub fn edits(&self, devices: &[Named<'_>]) -> Result<Edits, CdiError> {
        let mut edits = Edits::default();
        let mut seen = Vec::new();
        for named in devices {
            let name = named.to_string();
            if !seen.contains(&named.file) {
                seen.push(named.file);
                if let Some(all) = &named.specification.container_edits {
                    edits.add(all, &name)?;
                }
            }
            edits.add(&named.device.container_edits, &name)?;
        }
        Ok(edits)
    }
}
