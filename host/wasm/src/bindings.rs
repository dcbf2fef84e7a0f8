//! The host's side of `wit/`, as generated.

#![allow(missing_docs, clippy::pedantic, unreachable_pub)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "everything",
    imports: {
        "wharf:pipeline/eval-sync": async | trappable,
        "wharf:pipeline/git-eval-sync": async | trappable,
        "wharf:pipeline/host-sync": async | trappable,
        "wharf:pipeline/exports-sync": async | trappable,
        "wharf:pipeline/serve-sync": async | trappable,
        "wharf:pipeline/registry-sync": async | trappable,
        "wharf:pipeline/gpu-eval-sync": async | trappable,
        "wharf:pipeline/reveal-sync": async | trappable,
        "wharf:pipeline/debug-sync": async | trappable,
        default: trappable,
    },
    with: {
        "wharf:pipeline/secret.secret": wharf_graph::Secret,
        "wharf:pipeline/filesystem.directory": wharf_graph::Directory,
        "wharf:pipeline/filesystem.file": wharf_graph::File,
        "wharf:pipeline/filesystem.changeset": wharf_graph::Changeset,
        "wharf:pipeline/filesystem.search-options": wharf_graph::read::SearchOptions,
        "wharf:pipeline/filesystem.copy-options": wharf_graph::op::CopyOptions,
        "wharf:pipeline/cache.volume": wharf_graph::Volume,
        "wharf:pipeline/container.container": wharf_graph::Container,
        "wharf:pipeline/http.fetch-options": wharf_graph::source::FetchOptions,
        "wharf:pipeline/git.access": wharf_graph::source::GitAccess,
        "wharf:pipeline/git.checkout-options": wharf_graph::source::Checkout,
        "wharf:pipeline/git.repository": wharf_graph::build::GitRepository,
        "wharf:pipeline/git.reference": wharf_graph::build::GitReference,
        "wharf:pipeline/log.group": crate::interface::Group,
        "wharf:pipeline/container.exec-options": wharf_graph::op::ExecOptions,
        "wharf:pipeline/container.healthcheck-options": wharf_graph::op::HealthCheckOptions,
        "wharf:pipeline/service.service": wharf_graph::Service,
        "wharf:pipeline/service.service-options": wharf_graph::op::ServiceOptions,
        "wharf:pipeline/publishing.publish-options": wharf_graph::publish::PublishOptions,
        "wharf:pipeline/gpu.request": wharf_graph::gpu::GpuRequest,
    },
});
