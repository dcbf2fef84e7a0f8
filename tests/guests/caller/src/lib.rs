//! A module that calls others, for the tests of composition.

/// What the tests call.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::{Either, prelude::*, select};

    use super::{foreign_raw as raw, wharf_tests_helper as helper};

    /// A tree through the helper, lent twice and then handed over.
    pub async fn tree() -> Result<Directory> {
        let empty = Directory::new();
        let one = helper::add(&empty, "one".to_owned(), "1".to_owned()).await?;
        let two = helper::add(&empty, "two".to_owned(), "2".to_owned()).await?;
        helper::add(one.with_directory("/", &two), "three".to_owned(), "3".to_owned()).await
    }

    /// Values of every kind, there and back.
    pub async fn values() -> Result<String> {
        let report = helper::Report {
            tree: Directory::new().with_new_file("a", "a"),
            level: None,
            sizes: vec![("a".to_owned(), 1), ("b".to_owned(), 2)],
        };
        let origins = vec![
            helper::Origin::Nowhere,
            helper::Origin::At(Directory::new().with_new_file("deep", "deep")),
            helper::Origin::Named(helper::OriginNamed {
                name: "x".to_owned(),
                times: 3,
            }),
        ];
        let (origins, report) = helper::turn(report, helper::Level::VeryHigh, origins).await?;
        let mut text = String::new();
        for origin in origins {
            text += &match origin {
                helper::Origin::Nowhere => "nowhere ".to_owned(),
                helper::Origin::At(tree) => format!("at {} ", tree.file("deep").contents().await?),
                helper::Origin::Named(named) => format!("{} times {} ", named.times, named.name),
            };
        }
        let level = report.tree.file("level").contents().await?;
        let plain = helper::plain(true, 'é', 255, -3, u64::MAX, i64::MIN, 0.5, 1.25, Some("m".to_owned())).await?;
        Ok(format!("{text}| {level} {:?} {:?} | {plain}", report.level, report.sizes))
    }

    /// Many calls at once, each of which waits for a step.
    pub async fn many(image: String, count: u32) -> Result<String> {
        let base = image::pull(image);
        let calls = (0..count).map(|number| helper::word(&base, format!("{number} ")));
        let words = join_all(calls).await.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(words.concat())
    }

    /// What the helper's failures look like.
    pub async fn failures() -> Vec<String> {
        let word = |outcome: Result<u32>| match outcome {
            Err(Error::NotFound(message)) => format!("not found: {message}"),
            Err(Error::Other(other)) => format!("{}: {}", other.code, other.message),
            other => format!("{other:?}"),
        };
        let say = || "the moon is full".to_owned();
        vec![
            word(helper::breaks(say()).await),
            word(helper::fails(say()).await),
            word(helper::fails_with_text(say()).await),
        ]
    }

    /// A call that is given up: the first that ends ends the other.
    pub async fn gives_up(image: String) -> Result<String> {
        let base = image::pull(image);
        let waits = Box::pin(helper::waits(base.with_env_variable("WHO", "given-up")));
        let quick = Box::pin(helper::word(&base, "quick".to_owned()));
        match select(waits, quick).await {
            Either::Left(_) => Err("it did not wait".into()),
            Either::Right((word, _)) => word,
        }
    }

    /// Waits for the helper.
    pub async fn waits(image: String) -> Result<()> {
        helper::waits(image::pull(image)).await
    }

    /// Waits for the helper, which does not stop.
    pub async fn spins() -> Result<u32> {
        helper::spins().await
    }

    /// Lets the helper try one thing.
    pub async fn tries(image: String, what: String, value: String) -> Result<String> {
        helper::tries(what, value, image::pull(image)).await
    }

    /// Asks the helper for its rights.
    pub async fn granted(capabilities: Vec<String>) -> Result<Vec<bool>> {
        helper::granted(capabilities).await
    }

    /// Hands a secret to the helper.
    pub async fn hands_secret(
        image: String,
        secret: Secret,
        /// Let it see the secret rather than use it.
        plain: bool,
    ) -> Result<String> {
        if plain {
            helper::sees(&secret).await
        } else {
            helper::uses(image::pull(image), &secret).await
        }
    }

    /// What a step of the helper's sees of a container that has everything.
    pub async fn hands_container(image: String, secret: Secret, script: String) -> Result<String> {
        let container = image::pull(image)
            .with_mounted_secret("/secret", &secret)
            .with_secret_variable("SECRET", &secret)
            .with_mounted_cache("/cache", &CacheVolume::new("shared-name"))
            .with_network(Network::All)
            .with_exec(["sh", "-c", "echo caller > /cache/who; echo made > /made"]);
        let theirs = helper::looks(&container, script.clone()).await?;
        let own = container.with_exec(["sh", "-c", &script]).stdout().await?;
        Ok(format!("theirs: {theirs}own: {own}"))
    }

    /// What a step of its own sees of a container that the helper has furnished, and the helper's again afterwards.
    pub async fn takes_container(image: String, script: String) -> Result<String> {
        let furnished = helper::furnished(image::pull(image)).await?;
        let own = furnished.with_exec(["sh", "-c", &script]).stdout().await?;
        let theirs = helper::looks(&furnished, script).await?;
        Ok(format!("own: {own}theirs: {theirs}"))
    }

    /// What a step of its own says that has a secret, in a container that the helper has furnished.
    pub async fn exposes(image: String, secret: Secret, script: String) -> Result<String> {
        let furnished = helper::furnished(image::pull(image)).await?;
        let step = furnished.with_secret_variable("OWN", &secret).with_exec(["sh", "-c", &script]);
        step.stdout().await
    }

    /// What the helper finds in its cache of a name under which this module keeps one, too.
    pub async fn caches(image: String) -> Result<String> {
        let base = image::pull(image);
        let own = base.with_mounted_cache("/own", &CacheVolume::new("other"));
        own.with_exec(["sh", "-c", "echo caller > /own/who"]).sync().await?;
        let theirs = helper::cached(&base, "other".to_owned()).await?;
        Ok(format!("[{theirs}]"))
    }

    /// A module that was made without the SDK.
    pub async fn foreign(image: String) -> Result<String> {
        let loud = raw::shout("ahoy".to_owned(), raw::Level::High).await?;
        let sum = raw::plain(2, 3).await?;
        let report = raw::both(image.clone()).await?;
        let source = Directory::new().with_new_file("hello", "hello");
        let put = raw::put(&source, image).await?;
        let hello = put.file("/source/hello").contents().await?;
        Ok(format!("{loud} {sum} {:?} {} {hello}", report.lines, report.code))
    }
}
