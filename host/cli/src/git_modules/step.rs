//! Building a module of a repository in a step: in an image with cargo, out of the repository's files alone.

use std::path::PathBuf;

use wharf_build::{Foreign, Recipe};
use wharf_graph::{
    Container, Directory, Error,
    build::Edit,
    op::{Configure, CopyOptions, ExecOptions, Filter, Network},
};

use crate::{
    error::Report,
    progress::Style,
    registries::Reach,
    run::{self, RunOptions},
};

/// The image that has cargo, unless `WHARF_BUILD_IMAGE` names another.
const IMAGE: &str = "docker.io/library/rust:1";
/// What beside a module is not its source: what was made of it before.
const MADE: [&str; 3] = ["**/.wharf/module.*", "**/.wharf/target", "**/.wharf/dependencies.json"];

/// Builds it; the component lies beside the module's source then.
pub(super) fn build(foreign: &Foreign, recipe: &Recipe, reach: &Reach, style: Style) -> Result<PathBuf, Report> {
    let image = std::env::var("WHARF_BUILD_IMAGE").unwrap_or_else(|_| IMAGE.to_owned());
    let component = foreign.directory.join(".wharf").join("compiled.wasm");
    let file = container(foreign, recipe, &image).file(recipe.component);
    run::run(reach.engine()?, style, RunOptions::default(), |within| async move {
        match within.session.export_file(file.node(), &component).await {
            Ok(()) => Ok(component),
            Err(Error::Exec(failure)) => Err(Report::failed(format!(
                "{} in {image}\n{}",
                failure.reason,
                failure.stderr_tail.trim_end()
            ))),
            Err(error) => Err(error.into()),
        }
    })
}

/// The container in which it was built.
fn container(foreign: &Foreign, recipe: &Recipe, image: &str) -> Container {
    let files = Filter {
        exclude: MADE.map(str::to_owned).into(),
        ..Filter::default()
    };
    let files = Directory::host(&foreign.tree.to_string_lossy(), files);
    let said = |reason: &str| ExecOptions {
        reason: Some(format!("{reason} of {}", foreign.url)),
        ..ExecOptions::default()
    };
    let prepare = ["sh", "-ec", &recipe.prepare].map(str::to_owned);
    let prepared = Container::image(image, None)
        .with_network(Network::All)
        .with_exec(&prepare, said("prepare to build a module"));
    let network = if recipe.is_complete {
        Network::None
    } else {
        Network::All
    };
    let whole = CopyOptions::default();
    let ready = prepared
        .with_network(network)
        .edit(Edit::copy_directory(recipe.tree, &files, whole))
        .configure(Configure::Workdir(recipe.directory.clone()));
    let ready = recipe.env.iter().fold(ready, |container, (name, value)| {
        container.configure(Configure::Env {
            name: (*name).to_owned(),
            value: value.clone(),
            expand: false,
        })
    });
    ready.with_exec(&recipe.args, said("build a module"))
}
