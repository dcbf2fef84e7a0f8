//! A specification as its file has it. What later versions add is kept by name, and named as left out where it matters.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, de::IgnoredAny};

use super::edits::substitute;

/// One file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Specification {
    /// `vendor.com/class`.
    pub(super) kind: String,
    pub(super) devices: Vec<Device>,
    /// What holds for all of them.
    pub(super) container_edits: Option<ContainerEdits>,
}

/// One of its devices.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device {
    pub(super) name: String,
    #[serde(default)]
    pub(super) container_edits: ContainerEdits,
}

/// What a container is given.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerEdits {
    #[serde(default)]
    pub(super) env: Vec<String>,
    #[serde(default)]
    pub(super) device_nodes: Vec<DeviceNode>,
    #[serde(default)]
    pub(super) mounts: Vec<Mount>,
    #[serde(default)]
    pub(super) hooks: Vec<Hook>,
    #[serde(default)]
    pub(super) additional_gids: Vec<u32>,
    /// Network devices, cache classes and what else there may come to be.
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, IgnoredAny>,
}

/// A device node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceNode {
    pub(super) path: String,
    pub(super) host_path: Option<String>,
    /// `c`, `b`, `u` or `p`.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) file_mode: Option<u32>,
    /// Any of `r`, `w`, `m`, or `none`.
    pub(super) permissions: Option<String>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

/// A file or directory.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mount {
    pub(super) host_path: String,
    pub(super) container_path: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) options: Vec<String>,
}

/// A program that is to be run on the host.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hook {
    pub(super) hook_name: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) args: Vec<String>,
}

impl Specification {
    /// The one in a file; none when it is not named as specifications are.
    pub(super) fn read(file: &Path) -> Option<Result<Self, String>> {
        let is_json = match file.extension()?.to_str()? {
            "json" => true,
            "yaml" | "yml" => false,
            _ => return None,
        };
        let read = || {
            let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
            if is_json {
                serde_json::from_str(&text).map_err(|error| error.to_string())
            } else {
                serde_saphyr::from_str(&text).map_err(|error| error.to_string())
            }
        };
        Some(read().map_err(|why: String| format!("not a CDI specification: {why}")))
    }

    /// What of it is left out, in words.
    pub(super) fn left_out(&self, file: &Path) -> Vec<String> {
        let of_devices = self.devices.iter().map(|device| &device.container_edits);
        let all = self.container_edits.iter().chain(of_devices);
        let left = all.flat_map(|edits| {
            let hooks = edits.hooks.iter().filter(|hook| substitute(hook).is_none());
            let hooks =
                hooks.map(|hook| format!("the {} hook `{}` is not run", hook.hook_name, hook.command()));
            let others = edits
                .others
                .keys()
                .map(|what| format!("{what} is not understood"));
            hooks.chain(others).collect::<Vec<_>>()
        });
        left.map(|what| format!("{}: {what}", file.display())).collect()
    }
}

impl Hook {
    /// Its program and its subcommand.
    fn command(&self) -> String {
        let words = self.args.iter().skip(1).take_while(|word| !word.starts_with('-'));
        std::iter::once(self.path.as_str())
            .chain(words.map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ")
    }
}
