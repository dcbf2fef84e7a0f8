//! GPUs of steps: asked for, leased while they run, and reached by what a specification says.

use std::{collections::BTreeMap, sync::Arc};

use wharf_digest::Digest;
use wharf_gpu::{Device, Edits, Granted, LeaseError, NodeKind, Request, Sharing, Use, WhenBusy};
use wharf_graph::{
    Error,
    gpu::{self, GpuRequest, GpuSharing},
    plan::{Provider, Step, Tree},
};
use wharf_proto::v1::{Gpu, GpusReply};
use wharf_runner::spec::{Bind, DeviceKind, DeviceNode, Process};

use crate::engine::Engine;

/// Where programs look for libraries beside the usual directories.
const LIBRARIES: &str = "LD_LIBRARY_PATH";

/// The GPUs that a process has, if any, until this is dropped.
#[derive(Default)]
pub(crate) struct Leased(Option<Granted>);

impl Leased {
    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.0
            .as_ref()
            .map_or(0, |granted| granted.lease.devices().len() as u32)
    }

    /// Lets a process at them.
    pub(crate) fn give_to(&self, process: &mut Process) {
        if let Some(granted) = &self.0 {
            edit(process, &granted.edits);
        }
    }
}

impl Engine {
    /// What there is.
    pub(crate) async fn gpus(&self) -> Result<GpusReply, Error> {
        let gpus = Arc::clone(&self.gpus);
        let looked = tokio::task::spawn_blocking(move || gpus.look()).await;
        let inventory = looked.map_err(|error| Error::other("gpu", error.to_string()))?;
        Ok(GpusReply {
            devices: inventory.devices.iter().map(shown).collect(),
            why_none: inventory.why_none.unwrap_or_default(),
            notes: inventory.notes,
        })
    }

    /// Fails when a step can never have the GPUs that it and its services need, before anything is made for it.
    pub(crate) async fn check_gpus(&self, tree: &Tree) -> Result<(), Error> {
        let mut wanted = BTreeMap::new();
        let Some(step) = tree.step() else { return Ok(()) };
        collect(step, tree.key, &mut wanted);
        if wanted.is_empty() {
            return Ok(());
        }
        let wanted: Vec<_> = wanted.into_values().collect();
        let Err(error) = self.gpus.check(&wanted).await else {
            return Ok(());
        };
        // The same command on other inputs is remembered: they may come out with the same content.
        if self.look(|store| store.has_results_with_op(&tree.op_key))? {
            return Ok(());
        }
        Err(lease_error(error))
    }

    /// Waits for the GPUs of a step. Steps wait for them after their volumes and before their turn, so that nobody holds a turn
    /// who cannot run.
    pub(crate) async fn lease_gpus(&self, step: &Step) -> Result<Leased, Error> {
        let Some(wanted) = &step.gpus else {
            return Ok(Leased::default());
        };
        let granted = self.gpus.lease(request(wanted)).await.map_err(lease_error)?;
        Ok(Leased(Some(granted)))
    }
}

/// What a process needs, and the services that run beside it.
fn collect(step: &Step, key: Digest, wanted: &mut BTreeMap<Digest, Request>) {
    if let Some(own) = &step.gpus {
        wanted.insert(key, request(own));
    }
    for service in step.services.values() {
        if let Provider::Process { step, .. } = &service.provider {
            collect(step, service.key, wanted);
        }
    }
}

fn request(wanted: &GpuRequest) -> Request {
    Request {
        count: wanted.count,
        minimum_memory: wanted.minimum_memory,
        sharing: match wanted.sharing {
            GpuSharing::Exclusive => Sharing::Exclusive,
            GpuSharing::Shared => Sharing::Shared,
        },
        when_busy: match wanted.when_busy {
            gpu::WhenBusy::Wait => WhenBusy::Wait,
            gpu::WhenBusy::Fail => WhenBusy::Fail,
        },
    }
}

fn lease_error(error: LeaseError) -> Error {
    match error {
        LeaseError::Never(words) => Error::other("no-gpu", words),
        LeaseError::Busy(words) => Error::Unavailable(words),
        error @ (LeaseError::Cdi(_) | LeaseError::Driver(_)) => Error::other("gpu", error.to_string()),
    }
}

fn shown(device: &Device) -> Gpu {
    Gpu {
        name: device.name.clone(),
        uuid: device.uuid.clone(),
        memory_total: device.memory_total,
        memory_free: device.memory_free,
        compute_capability: device.compute_capability.clone(),
        driver: device.driver.clone(),
        utilisation: device.utilisation,
        is_free: device.used == Use::Free,
        is_usable: device.cdi.is_some(),
        shown: device.describe(),
    }
}

/// Gives a process what a specification says. As there, its variables are stronger than the process's own.
fn edit(process: &mut Process, edits: &Edits) {
    for variable in &edits.env {
        let name = variable.split('=').next().unwrap_or(variable);
        set(&mut process.env, name, variable.clone());
    }
    if !edits.library_directories.is_empty() {
        let own = process
            .env
            .iter()
            .find_map(|variable| variable.strip_prefix(&format!("{LIBRARIES}=")));
        let directories = own.filter(|own| !own.is_empty()).into_iter();
        let directories: Vec<_> = directories
            .chain(edits.library_directories.iter().map(String::as_str))
            .collect();
        let variable = format!("{LIBRARIES}={}", directories.join(":"));
        set(&mut process.env, LIBRARIES, variable);
    }
    process.user.groups.extend(&edits.groups);
    process.binds.extend(edits.mounts.iter().map(|mount| Bind {
        source: mount.source.clone(),
        destination: mount.destination.clone(),
        writable: mount.writable,
    }));
    process.devices.extend(edits.nodes.iter().map(|node| DeviceNode {
        path: node.path.clone(),
        kind: match node.kind {
            NodeKind::Character => DeviceKind::Character,
            NodeKind::Block => DeviceKind::Block,
        },
        major: node.major,
        minor: node.minor,
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        access: node.access.clone(),
    }));
}

fn set(env: &mut Vec<String>, name: &str, variable: String) {
    let is_it = |there: &String| there.split('=').next() == Some(name);
    env.retain(|there| !is_it(there));
    env.push(variable);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_specification_says_is_stronger_than_the_process_s_own() {
        let mut process = Process {
            env: ["PATH=/bin", "GPU=mine", "LD_LIBRARY_PATH=/own"]
                .map(str::to_owned)
                .into(),
            ..Process::default()
        };
        let edits = Edits {
            env: vec!["GPU=theirs".to_owned()],
            library_directories: vec!["/usr/lib/gpu".to_owned()],
            groups: vec![44],
            ..Edits::default()
        };
        edit(&mut process, &edits);
        assert_eq!(
            process.env,
            ["PATH=/bin", "GPU=theirs", "LD_LIBRARY_PATH=/own:/usr/lib/gpu"]
        );
        assert_eq!(process.user.groups, [44]);
    }
}
