//! The part of a container that is the same for most steps: what the kernel gives, under a few directories of the root.
//!
//! It can be made before there is a step. What a specification says elsewhere stays in it and is done for the step.

use std::{collections::BTreeMap, path::Path};

use oci_spec::runtime::{LinuxDevice, Mount, Spec};
use serde::{Deserialize, Serialize};

/// Where it is.
pub(crate) const TOPS: [&str; 3] = ["/proc", "/dev", "/sys"];

/// What is mounted, made, hidden and protected under [`TOPS`], in the specification's order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct System {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) devices: Vec<LinuxDevice>,
    pub(crate) sysctl: BTreeMap<String, String>,
    pub(crate) readonly: Vec<String>,
    pub(crate) masked: Vec<String>,
}

impl System {
    /// Takes it out of a specification.
    pub(crate) fn take(spec: &mut Spec) -> Self {
        let mut system = Self::default();
        let (mut own, mounts) = (Vec::new(), spec.mounts().clone().unwrap_or_default());
        for mount in mounts {
            // A bind is somebody's file or directory; it is not there before its step is.
            let is_bind = mount.typ().as_deref() == Some("bind");
            if is_within(mount.destination()) && !is_bind {
                system.mounts.push(mount);
            } else {
                own.push(mount);
            }
        }
        spec.set_mounts(Some(own));
        let Some(linux) = spec.linux_mut() else {
            return system;
        };
        let (staged, own) = split(linux.devices().clone(), |device| is_within(device.path()));
        system.devices = staged;
        linux.set_devices(Some(own));
        let (staged, own) = split(linux.readonly_paths().clone(), |path| is_within(Path::new(path)));
        system.readonly = staged;
        linux.set_readonly_paths(Some(own));
        let (staged, own) = split(linux.masked_paths().clone(), |path| is_within(Path::new(path)));
        system.masked = staged;
        linux.set_masked_paths(Some(own));
        system.sysctl = linux.sysctl().clone().unwrap_or_default().into_iter().collect();
        linux.set_sysctl(None);
        system
    }
}

fn is_within(path: &Path) -> bool {
    TOPS.iter().any(|top| path.starts_with(top))
}

fn split<T>(all: Option<Vec<T>>, staged: impl Fn(&T) -> bool) -> (Vec<T>, Vec<T>) {
    all.unwrap_or_default().into_iter().partition(staged)
}

#[cfg(test)]
mod tests {
    use super::System;
    use crate::spec::{Bind, Process, docker_like};

    #[test]
    fn steps_differ_in_what_is_their_own_alone() {
        let usual = System::take(&mut docker_like(&Process::default()).unwrap());
        let process = Process {
            args: vec!["true".to_owned()],
            hostname: "other".to_owned(),
            memory: Some(1 << 20),
            binds: vec![Bind {
                source: "/etc/hostname".to_owned(),
                destination: "/dev/name".to_owned(),
                writable: false,
            }],
            ..Process::default()
        };
        let mut spec = docker_like(&process).unwrap();
        assert_eq!(System::take(&mut spec), usual);
        let left: Vec<_> = spec
            .mounts()
            .iter()
            .flatten()
            .map(|mount| mount.destination().clone())
            .collect();
        assert_eq!(left, [std::path::PathBuf::from("/dev/name")]);
        let own = Process {
            temporary: vec![("/dev/shm".to_owned(), None, 0o1777)],
            ..Process::default()
        };
        assert_ne!(System::take(&mut docker_like(&own).unwrap()), usual);
    }
}
