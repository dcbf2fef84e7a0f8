//! GPUs: what steps ask for, and what engines have. A module that others call has to be granted `gpu`.
//!
//! ```
//! use wharf_sdk::prelude::*;
//!
//! /// Trains on a GPU with 24 GiB at least, which the step has for itself.
//! pub fn train(data: Directory) -> Container {
//!     image::pull("pytorch/pytorch")
//!         .with_mounted_directory("/data", &data)
//!         .with_gpu(&gpu::Request::new().minimum_memory(24 << 30))
//!         .with_exec(["python", "train.py", "/data"])
//! }
//! ```

use crate::bindings::wharf::pipeline::{gpu as raw, gpu_eval};
use crate::{Container, Directory, Result};

pub use raw::{Device, Sharing, Target, WhenBusy};

/// The engine's GPUs, as they are now; empty where there is none.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing::Planner};
/// async fn image_for_here() -> Result<Container> {
///     let largest = gpu::devices().await?.iter().map(|device| device.memory_total).max();
///     Ok(match largest {
///         Some(bytes) if bytes >= 80 << 30 => image::pull("acme/model:70b"),
///         Some(_) => image::pull("acme/model:8b"),
///         None => image::pull("acme/model:on-processors"),
///     })
/// }
/// # let plan = Planner::new().answer("gpu::devices", Vec::<gpu::Device>::new()).plan(image_for_here());
/// # assert!(plan.to_string().contains("on-processors"), "{plan}");
/// ```
pub async fn devices() -> Result<Vec<Device>> {
    Ok(gpu_eval::devices().await?)
}

/// The engines that the user's configuration names, with what each has now. One that does not answer says why not.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing::Planner};
/// async fn free_ones() -> Result<Vec<String>> {
///     let targets = gpu::targets().await?;
///     let free = targets.into_iter().filter(|target| target.devices.iter().any(|device| device.is_free));
///     Ok(free.map(|target| target.name).collect())
/// }
/// # let plan = Planner::new().answer("gpu::targets", Vec::<gpu::Target>::new()).plan(free_ones());
/// # assert_eq!(plan.returned, Ok(Vec::new()));
/// ```
pub async fn targets() -> Result<Vec<Target>> {
    Ok(gpu_eval::targets().await?)
}

/// What a step asks for. All settings are optional: one GPU of whatever memory, for the step alone, waited for.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let request = gpu::Request::new()
///     .count(2)
///     .minimum_memory(40 << 30)
///     .when_busy(gpu::WhenBusy::Fail);
/// let trained = image::pull("pytorch/pytorch").with_gpu(&request).with_exec(["torchrun", "train.py"]);
/// ```
#[derive(Debug)]
pub struct Request(pub(crate) raw::Request);

impl Default for Request {
    fn default() -> Self {
        Self::new()
    }
}

impl Request {
    /// One GPU of whatever memory, for the step alone, waited for.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let request = gpu::Request::new();
    /// ```
    pub fn new() -> Self {
        Self(raw::Request::new())
    }

    /// How many GPUs. Default: 1.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let request = gpu::Request::new().count(2);
    /// ```
    #[must_use]
    pub fn count(self, count: u32) -> Self {
        self.0.set_count(count);
        self
    }

    /// The memory that each GPU has at least, in bytes. Of a shared one, so much is counted as taken. Default: 0.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let request = gpu::Request::new().minimum_memory(24 << 30);
    /// ```
    #[must_use]
    pub fn minimum_memory(self, bytes: u64) -> Self {
        self.0.set_minimum_memory(bytes);
        self
    }

    /// Who else may have the GPUs. Default: [`Sharing::Exclusive`], nobody.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let request = gpu::Request::new().sharing(gpu::Sharing::Shared).minimum_memory(4 << 30);
    /// ```
    #[must_use]
    pub fn sharing(self, sharing: Sharing) -> Self {
        self.0.set_sharing(sharing);
        self
    }

    /// What the step does when the GPUs that would do are in use. Default: [`WhenBusy::Wait`].
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let request = gpu::Request::new().when_busy(gpu::WhenBusy::Fail);
    /// ```
    #[must_use]
    pub fn when_busy(self, when_busy: WhenBusy) -> Self {
        self.0.set_when_busy(when_busy);
        self
    }
}

impl Container {
    /// Let later steps have GPUs while they run; they see no others. What the engine can never satisfy is an error with the code
    /// "no-gpu" that says what there is.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let tested = image::pull("nvidia/cuda:12.8.0-base-ubuntu24.04")
    ///     .with_gpu(&gpu::Request::new())
    ///     .with_exec(["nvidia-smi", "-L"]);
    /// ```
    #[must_use]
    pub fn with_gpu(&self, request: &Request) -> Self {
        Self(raw::with_gpu(&self.0, &request.0))
    }

    /// Let later steps have no GPU.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let trained = image::pull("pytorch/pytorch").with_gpu(&gpu::Request::new()).with_exec(["python", "train.py"]);
    /// let packed = trained.without_gpu().with_exec(["tar", "-cf", "/model.tar", "/model"]);
    /// ```
    #[must_use]
    pub fn without_gpu(&self) -> Self {
        Self(raw::without_gpu(&self.0))
    }
}

impl Directory {
    /// The same directory, made by the engine that the user's configuration gives this name: its steps run there, with that
    /// engine's GPUs, images and remembered results. What another engine lacks of it is brought there through the caller's
    /// machine when it is used; files belong to root then, as those of a directory of the host. A name that the
    /// configuration lacks is an error "not found", an engine that does not answer "unavailable".
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// /// Trains wherever a GPU is free, and here when none is.
    /// async fn trained(data: &Directory) -> Result<Directory> {
    ///     let trains = image::pull("pytorch/pytorch")
    ///         .with_mounted_directory("/data", data)
    ///         .with_gpu(&gpu::Request::new())
    ///         .with_exec(["python", "train.py", "--data", "/data", "--to", "/model"]);
    ///     let model = trains.directory("/model");
    ///     let targets = gpu::targets().await?;
    ///     let free = targets.iter().find(|target| target.devices.iter().any(|device| device.is_free));
    ///     Ok(match free {
    ///         Some(target) => model.on_target(&target.name),
    ///         None => model,
    ///     })
    /// }
    /// # let targets = vec![gpu::Target { name: "box".into(), labels: vec![], devices: vec![], why_not: None }];
    /// # let plan = Planner::new().answer("gpu::targets", targets).plan(trained(&Directory::new()));
    /// # assert!(!plan.to_string().contains("on_target"), "{plan}");
    /// ```
    #[must_use]
    pub fn on_target(&self, target: &str) -> Self {
        Self(raw::on_target(&self.0, target))
    }
}
