//! The host's GPUs for the engine's container, which gives them on to steps.

use bollard::models::{ContainerCreateBody, DeviceRequest, SystemInfo};

use crate::{Daemon, DockerError, image::LIBRARIES};

/// The runtime of NVIDIA's container toolkit, as the daemon knows it.
const RUNTIME: &str = "nvidia";
/// All GPUs, as CDI specifications call them.
const ALL: &str = "nvidia.com/gpu=all";
/// Where the host has CDI specifications: the engine gives steps their devices by them.
const SPECIFICATIONS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// Where NVIDIA's libraries come to lie in a container.
const DRIVER_LIBRARIES: [&str; 3] = [
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
];

/// How a daemon gives GPUs to containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuDriver {
    /// By NVIDIA's container toolkit.
    Toolkit,
    /// By CDI specifications.
    Specifications,
}

impl Daemon {
    /// How the daemon gives GPUs to containers; none when it has none to give.
    pub async fn gpus(&self) -> Result<Option<GpuDriver>, DockerError> {
        let info = self.docker.info().await;
        Ok(driver(&info.map_err(DockerError::refused("say what it is"))?))
    }
}

fn driver(info: &SystemInfo) -> Option<GpuDriver> {
    let runtimes = info.runtimes.as_ref();
    if runtimes.is_some_and(|runtimes| runtimes.contains_key(RUNTIME)) {
        return Some(GpuDriver::Toolkit);
    }
    let devices = info.discovered_devices.iter().flatten();
    let mut names = devices.filter_map(|device| device.id.as_deref());
    names
        .any(|name| name.starts_with("nvidia.com/gpu="))
        .then_some(GpuDriver::Specifications)
}

/// Adds all GPUs to a container that is to be made, and what an engine needs to find them and to give them on.
pub(crate) fn add(body: &mut ContainerCreateBody, driver: GpuDriver) {
    let request = match driver {
        GpuDriver::Toolkit => DeviceRequest {
            driver: Some(RUNTIME.to_owned()),
            count: Some(-1),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..DeviceRequest::default()
        },
        GpuDriver::Specifications => DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(vec![ALL.to_owned()]),
            ..DeviceRequest::default()
        },
    };
    let libraries: Vec<_> = std::iter::once(LIBRARIES).chain(DRIVER_LIBRARIES).collect();
    body.env.get_or_insert_default().extend([
        format!("LD_LIBRARY_PATH={}", libraries.join(":")),
        // Whatever steps may want of the driver.
        "NVIDIA_DRIVER_CAPABILITIES=all".to_owned(),
    ]);
    let host = body.host_config.get_or_insert_default();
    host.device_requests.get_or_insert_default().push(request);
    let specifications = SPECIFICATIONS.map(|directory| format!("{directory}:{directory}:ro"));
    host.binds.get_or_insert_default().extend(specifications);
}
