//! A container as an image archive: an OCI image layout that `docker load` takes, too; the same bytes for the same container.

use std::io::{self, Write};

use wharf_graph::plan::ContainerPlan;
use wharf_oci::archive::NewImage;
use wharf_store::{Error, Snapshot, Store};

use crate::image::{oci_config, oci_platform};

/// Writes the archive.
pub(crate) fn write(
    store: &Store,
    snapshot: &Snapshot,
    container: &ContainerPlan,
    to: &mut dyn Write,
) -> Result<(), Error> {
    let io_error = |source: io::Error| Error::Io {
        context: "an image archive".to_owned(),
        source,
    };
    let mut files = Vec::new();
    for id in snapshot.layers() {
        let mut file = store.passing_file()?;
        store.export_layer(*id, &mut file)?;
        files.push(file);
    }
    let image = NewImage {
        platform: &oci_platform(&container.platform),
        config: &oci_config(&container.config),
        layers: &files,
        history: &[],
        annotations: &container.annotations,
        reference: None,
    };
    wharf_oci::archive::write(to, &image)
        .map(|_| ())
        .map_err(|error| io_error(io::Error::other(error)))
}
