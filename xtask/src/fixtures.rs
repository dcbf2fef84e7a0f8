//! `cargo xtask fixtures`: makes the base images, and serves them when asked.

use std::time::Duration;

use clap::Args;
use wharf_testkit::docker::Daemon;
use wharf_testkit::fixtures::{self, Mirror};

use crate::setup;
use crate::shell::Done;

/// What to do with the images.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Serve them on loopback until interrupted, as a mirror of the public registry.
    #[arg(long)]
    serve: bool,
}

/// Makes the base images; serves them in the foreground when asked.
pub(crate) fn run(options: &Options) -> Done {
    setup::run()?;
    for image in fixtures::all()? {
        println!("{} in {}", image.name, image.layout.display());
    }
    if !options.serve {
        return Ok(());
    }
    let mirror = serve(Daemon::existing().as_ref())?;
    println!("export WHARF_REGISTRY_MIRRORS={}", mirror.setting());
    eprintln!("serving until interrupted");
    loop {
        std::thread::sleep(Duration::from_hours(1));
    }
}

/// A mirror that an engine on this host reaches, and one in a container of this Docker daemon, when there is one.
pub(crate) fn serve(daemon: Option<&Daemon>) -> wharf_testkit::Result<Mirror> {
    let mut mirror = Mirror::start()?;
    // Containers of a daemon on another host reach neither address: nothing to serve there.
    if let Some(gateway) = daemon.and_then(|daemon| daemon.gateway().ok()) {
        let _ = mirror.also_on(gateway);
    }
    Ok(mirror)
}
