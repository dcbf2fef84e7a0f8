//! GPUs for a container's commands, and engines that have them, by name. Whoever writes it wants it: it takes no right.

use serde_json::{Value as Json, json};
use wharf_graph::gpu::{GpuRequest, GpuSharing, WhenBusy};

use super::{Method, build, param};
use crate::{Case, DefaultValue, Handle, Param, Type, Value};

pub(super) fn with_gpu() -> Method {
    let names = |names: [&str; 2]| Type::Enum(names.map(Case::plain).to_vec().into());
    let or = |usual: Json, param: Param| Param {
        default: Some(DefaultValue::Value(usual)),
        ..param
    };
    let memory = "Bytes of memory that each has at least.";
    let sharing = "Who else may have them: nobody, or others that share them.";
    let busy = "What a command does when they are in use.";
    build(
        "with-gpu",
        "The same, whose later commands have GPUs.",
        vec![
            or(json!(1), param("count", Type::Integer(false, 32), "How many.")),
            or(
                json!(0),
                param("minimum-memory", Type::Integer(false, 64), memory),
            ),
            or(
                json!("exclusive"),
                param("sharing", names(["exclusive", "shared"]), sharing),
            ),
            or(json!("wait"), param("when-busy", names(["wait", "fail"]), busy)),
        ],
        Handle::Container,
        |own, given| {
            let Value::Container(container) = own else {
                return None;
            };
            let request = GpuRequest {
                count: given.number(0)?.try_into().ok()?,
                minimum_memory: given.number(1)?,
                sharing: match given.text(2)? {
                    "shared" => GpuSharing::Shared,
                    _ => GpuSharing::Exclusive,
                },
                when_busy: match given.text(3)? {
                    "fail" => WhenBusy::Fail,
                    _ => WhenBusy::Wait,
                },
            };
            Some(Value::Container(container.with_gpus(Some(request))))
        },
    )
}

pub(super) fn on_target() -> Method {
    build(
        "on-target",
        "The same, made by another engine.",
        vec![param(
            "target",
            Type::String,
            "The engine, as targets.toml names it.",
        )],
        Handle::Directory,
        |own, given| {
            let Value::Directory(directory) = own else {
                return None;
            };
            Some(Value::Directory(directory.on_target(given.text(0)?)))
        },
    )
}
