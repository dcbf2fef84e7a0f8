//! `wharf publish`: a module on its way to a registry.

use std::{fs::File, path::PathBuf, sync::Arc};

use serde_json::json;
use wharf_oci::Reference;
use wharf_manifest::Dependency;
use wharf_registry::{Contents, Destination, Error, Modules, Moved, Package, Publication, SigningKey};
use zeroize::Zeroizing;

use crate::{
    args::{PinningArgs, PublishArgs},
    commands::inspect,
    error::Report,
    module, output,
    places::Places,
    printable,
    progress::Style,
    registries::{Reach, shown},
    table::{bytes, columns},
};

/// Where the password of a key is, as cosign has it.
const KEY_PASSWORD: &str = "COSIGN_PASSWORD";

/// Publishes a module, or shows what would be published.
pub(crate) fn run(args: &PublishArgs) -> Result<(), Report> {
    let places = Places::find()?;
    let style = Style::from(&args.loudness);
    let reach = Reach::new(PinningArgs::default(), args.certificates.ca_cert.as_deref());
    let path = component(args, &places, style, &reach)?;
    let read = |error: std::io::Error| Report::usage(format!("{} cannot be read: {error}", path.display()));
    let component = std::fs::read(&path).map_err(read)?;
    let contents = Contents::of(&component).map_err(|why| Error::Unpublishable {
        what: path.display().to_string(),
        why,
    })?;
    check_calls(&contents)?;
    let destination = Destination::read(args.reference.as_deref(), &contents)?;
    check_tags(&args.tags)?;
    let key = args.sign_key.as_deref().map(signing_key).transpose()?;
    let package = Package::new(&component, contents, &destination.name, &destination.version);
    let modules = reach.modules(&places)?;
    let runtime = super::runtime()?;
    let reference = runtime.block_on(destination.reference(&modules))?;
    if args.dry_run {
        return show(args, &package, &reference);
    }
    let what = format!("publishing {} ({})", reference, bytes(package.component.size));
    let work = publish(args, &modules, &package, &path, &reference);
    let digest = runtime.block_on(shown(style, &what, &Arc::new(Moved::default()), work))?;
    let (digest, is_new) = match digest {
        Publication::New => (package.manifest.digest.clone(), true),
        Publication::Same { digest } => (digest, false),
    };
    let at = reference.at_digest(&digest);
    let is_signed = match &key {
        Some(key) => runtime.block_on(modules.sign(key, &at))?,
        None => false,
    };
    let published = at.to_string();
    if args.json {
        return output::json(&json!({
            "name": destination.name, "version": destination.version.to_string(),
            "reference": published, "digest": digest, "new": is_new, "signed": is_signed,
        }));
    }
    if !style.quiet {
        let (name, version) = (&destination.name, &destination.version);
        output::aside(&if is_new {
            format!("{name} {version} is published\n")
        } else {
            format!("{name} {version} is there already, and is the same: nothing was sent\n")
        });
        if let (Some(key), true) = (&key, is_signed) {
            output::aside(&format!("signed by the key {}\n", key.public().fingerprint()));
        }
    }
    output::line(&published)
}

/// The component's file: what is here as source is built first.
fn component(args: &PublishArgs, places: &Places, style: Style, reach: &Reach) -> Result<PathBuf, Report> {
    let path = &args.module.module;
    if path.is_dir() {
        return Ok(module::build(path, places, style, reach)?.built.path);
    }
    module::built_file(path)
}

async fn publish(
    args: &PublishArgs,
    modules: &Modules,
    package: &Package,
    path: &std::path::Path,
    reference: &Reference,
) -> Result<Publication, Report> {
    let file = File::open(path)
        .map_err(|error| Report::usage(format!("{} cannot be read: {error}", path.display())))?;
    let publication = modules.publish(package, file, reference).await?;
    for tag in &args.tags {
        modules.move_tag(reference, tag).await?;
    }
    Ok(publication)
}

/// The key that is meant by a file's path, or by a variable.
fn signing_key(written: &str) -> Result<SigningKey, Report> {
    let pem = match written.strip_prefix("env:") {
        Some(name) => std::env::var(name)
            .map_err(|_| Report::usage(format!("--sign-key: there is no variable {name}")))?,
        None => {
            let path = written.strip_prefix("file:").unwrap_or(written);
            std::fs::read_to_string(path)
                .map_err(|error| Report::usage(format!("--sign-key: {path} cannot be read: {error}")))?
        }
    };
    let pem = Zeroizing::new(pem);
    if !SigningKey::is_sealed(&pem) {
        return Ok(SigningKey::read(&pem)?);
    }
    let password = std::env::var(KEY_PASSWORD).map(Zeroizing::new).map_err(|_| {
        Report::usage("--sign-key: the key is sealed with a password")
            .with_hint(format!("put the password into the variable {KEY_PASSWORD}, as for cosign"))
    })?;
    Ok(SigningKey::open(&pem, &password)?)
}

/// What is published calls what others can have, too.
fn check_calls(contents: &Contents) -> Result<(), Report> {
    let about = contents.about();
    for (name, dependency) in about.iter().flat_map(|about| &about.dependencies) {
        let place = match dependency {
            Dependency::Path(path) => format!("at {}", path.display()),
            Dependency::Git { url, .. } => format!("in the repository {url}"),
            Dependency::Registry { .. } | Dependency::Oci { .. } => continue,
        };
        return Err(Report::usage(format!(
            "it calls {name}, which is {place}: whoever pulls it would not have that"
        ))
        .with_hint(format!("publish {name} first, and call it by its version")));
    }
    Ok(())
}

/// Tags that follow are words: what is published under a version stays.
fn check_tags(tags: &[String]) -> Result<(), Report> {
    for tag in tags {
        if tag.parse::<semver::Version>().is_ok() {
            return Err(Report::usage(format!(
                "--tag {tag} is a version, and versions do not move: `version` in wharf.toml says which one this is"
            )));
        }
        let probe: Result<Reference, _> = format!("localhost/module:{tag}").parse();
        probe.map_err(|error| Report::usage(format!("--tag {tag}: {error}")))?;
    }
    Ok(())
}

/// Shows what would be published.
fn show(args: &PublishArgs, package: &Package, reference: &Reference) -> Result<(), Report> {
    if args.json {
        return output::json(&json!({
            "reference": reference.to_string(), "tags": args.tags,
            "digest": package.manifest.digest, "component": package.component,
            "annotations": package.annotations, "contents": package.contents,
        }));
    }
    let row = |name: &str, value: &str| [name.to_owned(), value.to_owned()];
    let mut rows = vec![
        row("reference", &reference.to_string()),
        row("digest", &package.manifest.digest),
        row("component", &package.component.digest),
        row("size", &bytes(package.component.size)),
    ];
    rows.extend(args.tags.iter().map(|tag| row("tag", tag)));
    rows.extend(package.annotations.iter().map(|(name, value)| row(name, value)));
    output::text(&columns(&rows))?;
    output::text(&inspect::described(&package.contents))?;
    output::text(&printable::lines(&inspect::calls(&package.contents)))?;
    output::aside("nothing was published\n");
    Ok(())
}
