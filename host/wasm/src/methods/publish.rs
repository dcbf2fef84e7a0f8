//! Publishing a container, and loading it into Docker, by name.

use futures::FutureExt;
use wharf_graph::publish::{Compression, Login, PublishOptions};

use super::{Arguments, Method, act, param, texts};
use crate::{Case, DefaultValue, Handle, Param, Type, Value};

pub(super) fn publish() -> Method {
    let names = ["gzip", "zstd", "uncompressed"];
    let compression = Type::Enum(names.map(Case::plain).to_vec().into());
    let params = vec![
        param("reference", Type::String, "Where to: ghcr.io/acme/app:1.0."),
        texts("tag", "A further tag; may be repeated."),
        Param {
            default: Some(DefaultValue::Value("gzip".into())),
            ..param("compression", compression, "How new layers are compressed.")
        },
        texts(
            "annotation",
            "NAME=VALUE that the manifest says beside; may be repeated.",
        ),
        param(
            "user",
            Type::Option(Box::new(Type::String)),
            "Who the registry is told that we are; needs --password. What you are logged in as unless given.",
        ),
        param(
            "password",
            Type::Option(Box::new(Type::Handle(Handle::Secret))),
            "The user's password, or a token in its place.",
        ),
    ];
    act(
        "publish",
        "Push it as an image; prints its reference with its digest.",
        params,
        Some(Type::String),
        |own, given, pipeline| {
            let Value::Container(container) = own else {
                return None;
            };
            let reference = given.text(0)?;
            let options = options(given);
            Some(
                async move {
                    let published = pipeline.publish(container, reference, &options?).await?;
                    Ok(Value::String(published))
                }
                .boxed(),
            )
        },
    )
}

pub(super) fn load() -> Method {
    act(
        "load",
        "Load it as an image into your Docker; prints the image's id.",
        vec![param(
            "name",
            Type::String,
            "What it is called there: acme/app:dev.",
        )],
        Some(Type::String),
        |own, given, pipeline| {
            let Value::Container(container) = own else {
                return None;
            };
            let name = given.text(0)?;
            Some(
                async move {
                    let id = pipeline.load(container.node(), name).await?;
                    Ok(Value::String(id))
                }
                .boxed(),
            )
        },
    )
}

fn options(given: Arguments<'_>) -> Result<PublishOptions, wharf_graph::Error> {
    let invalid = |message: String| Err(wharf_graph::Error::Invalid(message));
    let mut options = PublishOptions {
        tags: given.texts(1).unwrap_or_default(),
        compression: match given.text(2) {
            Some("zstd") => Compression::Zstd,
            Some("uncompressed") => Compression::None,
            _ => Compression::Gzip,
        },
        ..PublishOptions::default()
    };
    for pair in given.texts(3).unwrap_or_default() {
        match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                options.annotations.insert(name.to_owned(), value.to_owned());
            }
            _ => return invalid(format!("the annotation {pair:?} is written as NAME=VALUE")),
        }
    }
    options.login = match (given.given(4), given.secret(5)) {
        (Some(Value::String(user)), Some(password)) => Some(Login {
            user: user.clone(),
            password: password.id.clone(),
        }),
        (None, None) => None,
        _ => return invalid("--user and --password go together".to_owned()),
    };
    Ok(options)
}
