//! A guest in raw wit-bindgen, made from `wit/` alone: nothing of the SDK, no documentation, a name of its own.

#![allow(unsafe_code)]

wit_bindgen::generate!({
    path: "../../../wit",
    inline: r"
        package foreign:raw@1.0.0;

        interface tasks {
            use wharf:pipeline/types@0.1.0.{error};
            use wharf:pipeline/filesystem@0.1.0.{directory};
            use wharf:pipeline/container@0.1.0.{container};

            record report { lines: list<string>, code: s32 }
            enum level { low, high }

            shout: async func(text: string, level: level) -> string;
            both: async func(image: string) -> result<report, error>;
            put: async func(source: directory, image: string) -> container;
            plain: func(left: u32, right: u32) -> u32;
        }

        world guest {
            include wharf:pipeline/imports@0.1.0;
            export tasks;
        }
    ",
    world: "foreign:raw/guest",
    generate_all,
});

use exports::foreign::raw::tasks::{Guest, Level, Report};
use wharf::pipeline::{
    container::{Container, ExecOptions},
    eval,
    filesystem::Directory,
    image,
    types::{Error, ExitExpectation},
};

struct Tasks;

impl Guest for Tasks {
    async fn shout(text: String, level: Level) -> String {
        match level {
            Level::Low => text,
            Level::High => text.to_uppercase(),
        }
    }

    async fn both(image: String) -> Result<Report, Error> {
        let options = ExecOptions::new();
        options.set_expect(ExitExpectation::Any);
        let words = |script: &str| ["sh", "-c", script].map(str::to_owned);
        let base = image::pull(&image, None);
        let first = base.with_exec(&words("echo first"), None);
        let second = base.with_exec(&words("echo second; exit 3"), Some(&options));
        Ok(Report {
            lines: vec![eval::stdout(&first).await?, eval::stdout(&second).await?],
            code: eval::exit_code(&second).await?,
        })
    }

    async fn put(source: Directory, image: String) -> Container {
        image::pull(&image, None).with_directory("/source", &source, None)
    }

    fn plain(left: u32, right: u32) -> u32 {
        left.wrapping_add(right)
    }
}

export!(Tasks);
