//! GPUs: what steps ask for, and what engines have.

use std::sync::Arc;

use wasmtime::component::{Accessor, Resource};
use wharf_graph::{
    Container, Directory,
    gpu::{Gpu, GpuRequest, GpuSharing, Target, WhenBusy},
};
use wharf_manifest::Capability;

use super::convert;
use crate::{
    bindings::wharf::pipeline::{gpu, gpu_eval, gpu_eval_sync, types as wit},
    held::Held,
    state::{HasState, Pipeline, State},
};

type Handle<T> = wasmtime::Result<Resource<T>>;
type Outcome<T> = wasmtime::Result<Result<Vec<T>, wit::Error>>;

impl gpu::HostRequest for &mut State {
    fn new(&mut self) -> Handle<GpuRequest> {
        Ok(self.table.push(GpuRequest::default())?)
    }

    fn set_count(&mut self, own: Resource<GpuRequest>, count: u32) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.count = count;
        Ok(())
    }

    fn set_minimum_memory(&mut self, own: Resource<GpuRequest>, bytes: u64) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.minimum_memory = bytes;
        Ok(())
    }

    fn set_sharing(&mut self, own: Resource<GpuRequest>, sharing: gpu::Sharing) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.sharing = match sharing {
            gpu::Sharing::Exclusive => GpuSharing::Exclusive,
            gpu::Sharing::Shared => GpuSharing::Shared,
        };
        Ok(())
    }

    fn set_when_busy(&mut self, own: Resource<GpuRequest>, when_busy: gpu::WhenBusy) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.when_busy = match when_busy {
            gpu::WhenBusy::Wait => WhenBusy::Wait,
            gpu::WhenBusy::Fail => WhenBusy::Fail,
        };
        Ok(())
    }

    fn drop(&mut self, own: Resource<GpuRequest>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl gpu::Host for &mut State {
    fn with_gpu(
        &mut self,
        container: Resource<Container>,
        request: Resource<GpuRequest>,
    ) -> Handle<Container> {
        let request = *self.table.get(&request)?;
        let container = match self.held.check_all(Capability::Gpu) {
            Ok(()) => self.table.get(&container)?.with_gpus(Some(request)),
            Err(denied) => Container::failed(denied),
        };
        self.meter.describe(container.node().encoding().len())?;
        Ok(self.table.push(container)?)
    }

    fn on_target(&mut self, directory: Resource<Directory>, target: String) -> Handle<Directory> {
        let directory = match self.held.check_all(Capability::Gpu) {
            Ok(()) => self.table.get(&directory)?.on_target(&target),
            Err(denied) => Directory::failed(denied),
        };
        self.meter.describe(directory.node().encoding().len())?;
        Ok(self.table.push(directory)?)
    }

    fn without_gpu(&mut self, container: Resource<Container>) -> Handle<Container> {
        let container = self.table.get(&container)?.with_gpus(None);
        self.meter.describe(container.node().encoding().len())?;
        Ok(self.table.push(container)?)
    }
}

/// Who asks, and what is asked.
struct Asked {
    pipeline: Arc<dyn Pipeline>,
    held: Held,
}

impl Asked {
    fn by(state: &State) -> Self {
        Self {
            pipeline: Arc::clone(&state.pipeline),
            held: state.held.clone(),
        }
    }

    async fn devices(self) -> Result<Vec<gpu::Device>, wit::Error> {
        self.held.check_all(Capability::Gpu).map_err(convert::error)?;
        let devices = self.pipeline.gpus().await.map_err(convert::error)?;
        Ok(devices.into_iter().map(device).collect())
    }

    async fn targets(self) -> Result<Vec<gpu::Target>, wit::Error> {
        self.held.check_all(Capability::Gpu).map_err(convert::error)?;
        let targets = self.pipeline.targets().await.map_err(convert::error)?;
        Ok(targets.into_iter().map(target).collect())
    }
}

impl gpu_eval::Host for &mut State {}

impl<T: Send + 'static> gpu_eval::HostWithStore<T> for HasState {
    async fn devices(accessor: &Accessor<T, Self>) -> Outcome<gpu::Device> {
        let asked = accessor.with(|mut access| Asked::by(access.get()));
        Ok(asked.devices().await)
    }

    async fn targets(accessor: &Accessor<T, Self>) -> Outcome<gpu::Target> {
        let asked = accessor.with(|mut access| Asked::by(access.get()));
        Ok(asked.targets().await)
    }
}

impl gpu_eval_sync::Host for &mut State {
    async fn devices(&mut self) -> Outcome<gpu::Device> {
        Ok(Asked::by(self).devices().await)
    }

    async fn targets(&mut self) -> Outcome<gpu::Target> {
        Ok(Asked::by(self).targets().await)
    }
}

fn device(gpu: Gpu) -> gpu::Device {
    gpu::Device {
        name: gpu.name,
        uuid: gpu.uuid,
        memory_total: gpu.memory_total,
        memory_free: gpu.memory_free,
        compute_capability: gpu.compute_capability,
        driver: gpu.driver,
        utilisation: gpu.utilisation,
        is_free: gpu.is_free,
        is_usable: gpu.is_usable,
    }
}

fn target(target: Target) -> gpu::Target {
    gpu::Target {
        name: target.name,
        labels: target.labels,
        devices: target.devices.into_iter().map(device).collect(),
        why_not: target.why_not,
    }
}
