//! GPUs for tests on machines without any: a small library with the functions of NVIDIA's management library, built when it is
//! wanted, and CDI specifications whose devices are device nodes that do no harm.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, Result};

/// What the library says of its driver.
pub const DRIVER: &str = "570.86.10";
/// The devices that stand for GPUs, by major and minor number: to open one does nothing. None is one that runc gives to every
/// container.
const NODES: [(u32, u32); 4] = [(10, 229), (10, 237), (10, 234), (10, 235)];

/// A GPU that is none.
#[derive(Clone, Debug)]
pub struct FakeGpu {
    /// What it is called.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Bytes of memory.
    pub memory: u64,
    /// It has fallen off its bus.
    pub is_lost: bool,
}

impl FakeGpu {
    /// The one of this number, with so many GiB.
    pub fn new(number: usize, gibibytes: u64) -> Self {
        Self {
            name: format!("NVIDIA Test {gibibytes}"),
            uuid: format!("GPU-00000000-0000-4000-8000-{number:012}"),
            memory: gibibytes << 30,
            is_lost: false,
        }
    }
}

/// Some of them.
#[derive(Debug)]
pub struct FakeGpus {
    directory: PathBuf,
}

impl FakeGpus {
    /// So many equal ones, with 16 GiB each, and their specification.
    pub fn equal(directory: &Path, count: usize) -> Result<Self> {
        let gpus: Vec<_> = (0..count).map(|number| FakeGpu::new(number, 16)).collect();
        Self::of(directory, &gpus)
    }

    /// These, and their specification.
    pub fn of(directory: &Path, gpus: &[FakeGpu]) -> Result<Self> {
        let fake = Self::without_specification(directory, gpus, 0)?;
        fake.specify(gpus.len())?;
        Ok(fake)
    }

    /// These, of which no specification says anything, by a library that answers this number when it is started.
    pub fn without_specification(directory: &Path, gpus: &[FakeGpu], starts: i32) -> Result<Self> {
        let fake = Self {
            directory: directory.to_owned(),
        };
        let cdi = fake.cdi();
        fs::create_dir_all(&cdi).map_err(Error::io("making", &cdi))?;
        let mut header = format!(
            "#define STARTS {starts}\n#define DRIVER \"{DRIVER}\"\n#define COUNT {}\n",
            gpus.len()
        );
        header.push_str("static const struct device devices[COUNT + 2] = {\n");
        for gpu in gpus {
            let lost = i32::from(gpu.is_lost);
            let _ = writeln!(
                header,
                "    {{{:?}, {:?}, {}ULL, {lost}}},",
                gpu.name, gpu.uuid, gpu.memory
            );
        }
        header.push_str("};\n");
        let source = fake.write("nvml.c", include_str!("nvml.c"))?;
        fake.write("devices.h", &header)?;
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
            .arg(fake.library())
            .arg(&source);
        let failed = |why: String| Error::Command {
            command: format!("{compiler:?}"),
            why,
        };
        let output = Command::new("cc")
            .args(compiler.get_args())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            Ok(fake)
        } else {
            Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
        }
    }

    /// The library.
    pub fn library(&self) -> PathBuf {
        self.directory.join("libnvidia-ml.so.1")
    }

    /// The directory with the specifications.
    pub fn cdi(&self) -> PathBuf {
        self.directory.join("cdi")
    }

    /// The major and minor number of the device that stands for one.
    pub fn node(number: usize) -> (u32, u32) {
        NODES[number]
    }

    /// The variables by which an engine finds them.
    pub fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("WHARF_NVML", self.library()), ("WHARF_CDI_DIRS", self.cdi())]
    }

    /// As `nvidia-ctk cdi generate` would write it: what all share, and what each has of its own.
    fn specify(&self, count: usize) -> Result<()> {
        let library = self.write("libfake.so.570.86.10", "a library\n")?;
        let link = self.directory.join("libfake.so.1");
        std::os::unix::fs::symlink(&library, &link).map_err(Error::io("making", &link))?;
        let library = library.display();
        let mut text = format!(
            "---\ncdiVersion: 0.6.0\nkind: nvidia.com/gpu\ncontainerEdits:\n  env:\n  - FAKE_DRIVER={DRIVER}\n  \
             deviceNodes:\n  - path: /dev/fakectl\n    type: c\n    major: 1\n    minor: 3\n  mounts:\n  - hostPath: {library}\n    \
             containerPath: /usr/lib/fake/libfake.so.570.86.10\n    options: [ro, nosuid, nodev, bind]\n  hooks:\n  \
             - hookName: createContainer\n    path: /usr/bin/nvidia-cdi-hook\n    \
             args: [nvidia-cdi-hook, update-ldcache, --folder, /usr/lib/fake]\n  \
             - hookName: createContainer\n    path: /usr/bin/nvidia-cdi-hook\n    \
             args: [nvidia-cdi-hook, enable-cuda-compat, --host-driver-version={DRIVER}]\ndevices:\n"
        );
        for number in 0..count {
            let marker = self.write(&format!("marker{number}"), &format!("GPU {number}\n"))?;
            let (marker, (major, minor)) = (marker.display(), NODES[number % NODES.len()]);
            let _ = write!(
                text,
                "- name: \"{number}\"\n  containerEdits:\n    env:\n    - FAKE_GPU_{number}=yes\n    deviceNodes:\n    \
                 - path: /dev/fake{number}\n      type: c\n      major: {major}\n      minor: {minor}\n      permissions: rw\n    \
                 mounts:\n    - hostPath: {marker}\n      containerPath: /run/fake/{number}\n      options: [ro, bind]\n"
            );
        }
        self.write("cdi/nvidia.yaml", &text).map(drop)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
        Ok(path)
    }
}
