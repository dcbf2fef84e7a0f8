//! Root file systems made of Debian's packages.

mod words;

/// How much a root file system has beside the packages that are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, wharf_sdk::Type)]
pub enum Variant {
    /// The packages that are marked essential.
    Essential,
    /// Those, and apt.
    Apt,
    /// The packages of the priority `required`, and apt.
    Minbase,
    /// The packages of the priority `important`, too.
    Important,
}

/// Root file systems made of Debian's packages.
///
/// The caller says which mirror they come from; nothing is fetched from anywhere else.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    use crate::{Variant, words};

    /// Where the root file system is made.
    const ROOT: &str = "/rootfs";
    /// The moment that is written into files as the current one: the same packages are the same files on every day.
    const EPOCH: &str = "315532800";
    /// What is of the step that made it: its devices, its names, and the state before the last change.
    const LEFT_OUT: [&str; 4] = [
        "dev/*",
        "etc/hostname",
        "etc/resolv.conf",
        "var/cache/debconf/*-old",
    ];

    /// A root file system with these packages and what they need.
    pub async fn rootfs(
        /// The mirror, such as `http://mirror.example/debian`.
        mirror: String,
        /// The packages, such as `curl`, or `curl=7.88.1-10` for one version.
        packages: Vec<String>,
        /// The suite: a code name, or `stable`.
        #[default("stable")]
        suite: String,
        /// How much there is beside.
        #[default(Variant::Minbase)]
        variant: Variant,
        /// An image with mmdebstrap, or a Debian in which it can be installed.
        #[default("debian:stable-slim")]
        tools: Container,
    ) -> Result<Directory> {
        words::mirror(&mirror)?;
        words::suite(&suite)?;
        packages.iter().try_for_each(|package| words::package(package))?;
        Ok(made(&tools, &mirror, &packages, &suite, variant))
    }

    /// A container of such a root file system.
    pub async fn container(
        /// The mirror, such as `http://mirror.example/debian`.
        mirror: String,
        /// The packages, such as `curl`, or `curl=7.88.1-10` for one version.
        packages: Vec<String>,
        /// The suite: a code name, or `stable`.
        #[default("stable")]
        suite: String,
        /// How much there is beside.
        #[default(Variant::Minbase)]
        variant: Variant,
        /// An image with mmdebstrap, or a Debian in which it can be installed.
        #[default("debian:stable-slim")]
        tools: Container,
    ) -> Result<Container> {
        let root = rootfs(mirror, packages, suite, variant, tools).await?;
        Ok(Container::new()
            .with_rootfs(&root)
            .with_env_variable(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .with_default_args(["sh"]))
    }

    fn made(
        tools: &Container,
        mirror: &str,
        packages: &[String],
        suite: &str,
        variant: Variant,
    ) -> Directory {
        let variant = match variant {
            Variant::Essential => "essential",
            Variant::Apt => "apt",
            Variant::Minbase => "minbase",
            Variant::Important => "important",
        };
        // Steps may not mount, so packages are set up without /proc and /sys.
        let mut command = vec!["mmdebstrap", "--mode=root", "--format=directory"];
        let (variant, include) = (
            format!("--variant={variant}"),
            format!("--include={}", packages.join(",")),
        );
        command.push(&variant);
        if !packages.is_empty() {
            command.push(&include);
        }
        command.extend([suite, ROOT, mirror]);
        tools
            .with_network(Network::All)
            .with_env_variable("SOURCE_DATE_EPOCH", EPOCH)
            .with_exec_opts(
                ["sh", "-c", include_str!("install.sh"), "install", mirror, suite],
                &ExecOptions::new().reason("find mmdebstrap, or install it"),
            )
            .with_exec_opts(command, &ExecOptions::new().reason("make the root file system"))
            .directory(ROOT)
            .filter(&CopyOptions::new().exclude(LEFT_OUT))
    }
}

#[cfg(test)]
mod tests;
