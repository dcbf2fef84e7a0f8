//! Handles from what users write: paths and URLs, images, sources of secrets, names of caches, addresses of services.

use wharf_graph::{
    Container, Directory, File, Secret, Service, Volume,
    op::{HostPort, SecretId},
};

use super::{Place, Result, remote, wrong};
use crate::{
    interface::host_filter,
    types::{Handle, Type},
    value::Value,
};

/// The handle that this text stands for.
pub(super) fn parse(handle: Handle, ty: &Type, text: &str, place: Place<'_>) -> Result<Value> {
    if matches!(handle, Handle::Directory | Handle::File)
        && let Some(source) = remote::parse(handle, text, place)
    {
        return source.map_err(|hint| wrong(text, ty, &hint));
    }
    let on_disk = || {
        let path = place.directory.join(text);
        let path = std::path::absolute(&path).unwrap_or(path);
        if !path.exists() {
            return Err(wrong(text, ty, &format!("{} does not exist", path.display())));
        }
        let is_right = if handle == Handle::Directory {
            path.is_dir()
        } else {
            path.is_file()
        };
        if !is_right {
            return Err(wrong(text, ty, &format!("{} is something else", path.display())));
        }
        path.to_str()
            .map(str::to_owned)
            .ok_or_else(|| wrong(text, ty, "its path is not UTF-8"))
    };
    Ok(match handle {
        Handle::Directory => Value::Directory(Directory::host(&on_disk()?, host_filter())),
        Handle::File => Value::File(File::host(&on_disk()?)),
        Handle::Container => Value::Container(Container::image(text, None)),
        Handle::Volume => Value::Volume(Volume::new(place.scope, text)),
        Handle::Service => Value::Service(host_service(ty, text)?),
        Handle::Changeset => {
            return Err(wrong(
                text,
                ty,
                "changes cannot be written: pass the directories before and after, or a patch",
            ));
        }
        Handle::Secret => {
            let Some((scheme @ ("env" | "file" | "cmd"), source)) = text.split_once(':') else {
                // What was written may be the secret itself: it is not repeated.
                return Err(wrong(
                    "…",
                    ty,
                    "write env:NAME, file:PATH or cmd:COMMAND, never the secret itself",
                ));
            };
            let uri = if scheme == "file" {
                format!("file:{}", place.directory.join(source).display())
            } else {
                text.to_owned()
            };
            let id = SecretId {
                owner: place.scope.to_owned(),
                uri,
            };
            Value::Secret(Secret {
                name: source.to_owned(),
                id,
            })
        }
    })
}

/// A service of the caller's machine: `tcp://host:port`.
fn host_service(ty: &Type, text: &str) -> Result<Service> {
    let misfit = || wrong(text, ty, "write tcp://HOST:PORT, such as tcp://localhost:5432");
    let (host, port) = text
        .strip_prefix("tcp://")
        .and_then(|rest| rest.trim_end_matches('/').rsplit_once(':'))
        .ok_or_else(misfit)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port: u16 = port.parse().map_err(|_| misfit())?;
    if host.is_empty() || port == 0 {
        return Err(misfit());
    }
    Ok(Service::host(
        host,
        &[HostPort {
            host: port,
            service: port,
        }],
    ))
}
