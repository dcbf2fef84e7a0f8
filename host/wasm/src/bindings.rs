//! The host's side of `wit/`, as generated.

#![allow(missing_docs, clippy::pedantic, unreachable_pub)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "everything",
    imports: {
        "wharf:pipeline/eval-sync": async | trappable,
        "wharf:pipeline/host-sync": async | trappable,
        "wharf:pipeline/exports-sync": async | trappable,
        "wharf:pipeline/registry-sync": async | trappable,
        default: trappable,
    },
    with: {
        "wharf:pipeline/secret.secret": wharf_graph::Secret,
        "wharf:pipeline/filesystem.directory": wharf_graph::Directory,
        "wharf:pipeline/filesystem.file": wharf_graph::File,
        "wharf:pipeline/filesystem.copy-options": wharf_graph::op::CopyOptions,
        "wharf:pipeline/cache.volume": wharf_graph::Volume,
        "wharf:pipeline/container.container": wharf_graph::Container,
        "wharf:pipeline/container.exec-options": wharf_graph::op::ExecOptions,
        "wharf:pipeline/publishing.publish-options": wharf_graph::publish::PublishOptions,
    },
});
