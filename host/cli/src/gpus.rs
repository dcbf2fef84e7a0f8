//! GPUs for people and programs that look at an engine.

use serde_json::{Value, json};
use wharf_client::proto::GpusReply;

/// What there is, as JSON.
pub(crate) fn json(gpus: &GpusReply) -> Value {
    let devices = gpus.devices.iter().map(|device| {
        json!({
            "name": device.name, "uuid": device.uuid,
            "memory-total": device.memory_total, "memory-free": device.memory_free,
            "compute-capability": device.compute_capability, "driver": device.driver,
            "utilisation": device.utilisation, "free": device.is_free, "usable": device.is_usable,
        })
    });
    json!({
        "devices": devices.collect::<Vec<_>>(),
        "why-none": Some(&gpus.why_none).filter(|why| !why.is_empty()),
        "notes": gpus.notes,
    })
}
