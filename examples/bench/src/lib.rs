//! What `cargo xtask bench` calls: steps in chains and side by side, directories that come in and are handed on, images.
//!
//! Every function takes a nonce and returns what the steps have made of it, so that a caller can tell that they ran.

/// Work to measure the engine by.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    /// Greets, without an engine.
    pub async fn hello(
        /// Whom.
        name: String,
    ) -> Result<String> {
        Ok(format!("Hello, {name}!"))
    }

    /// Runs steps one after the other, each adding its line to a file, and returns the file.
    pub async fn chain(
        /// How many steps.
        steps: u32,
        /// Makes the steps unlike those of an earlier call.
        nonce: String,
        /// Whether the steps have a network.
        network: bool,
    ) -> Result<String> {
        let mut container = base().with_network(mode(network));
        for step in 0..steps {
            container = container.with_exec(["sh", "-c", &line(&nonce, step)]);
        }
        container.file("/chain").contents().await
    }

    /// Runs the commands of a chain, all in one step, and returns the file.
    pub async fn together(
        /// How many commands.
        steps: u32,
        /// Makes the step unlike that of an earlier call.
        nonce: String,
        /// Whether the step has a network.
        network: bool,
    ) -> Result<String> {
        let commands: Vec<_> = (0..steps)
            .map(|step| format!("sh -c '{}'", line(&nonce, step)))
            .collect();
        let container = base()
            .with_network(mode(network))
            .with_exec(["sh", "-c", &commands.join("\n")]);
        container.file("/chain").contents().await
    }

    /// Runs a chain whose settings are made in another order for each `order`, and returns the file.
    pub async fn shuffled(
        /// How many steps.
        steps: u32,
        /// Makes the steps unlike those of an earlier call.
        nonce: String,
        /// Decides the order.
        order: u64,
    ) -> Result<String> {
        let mut container = base();
        let mut random = order;
        for step in 0..steps {
            let mut settings = [0, 1, 2, 3, 4];
            for last in (1..settings.len()).rev() {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                settings.swap(last, (random >> 33) as usize % (last + 1));
            }
            for setting in settings {
                container = match setting {
                    0 => container.with_env_variable("STEP", step.to_string()),
                    1 => container.with_env_variable(format!("SEEN_{step}"), &nonce),
                    2 => container.with_label("step", step.to_string()),
                    3 => container.with_workdir(if step % 2 == 0 { "/tmp" } else { "/root" }),
                    _ => container.with_user("root"),
                };
            }
            container = container.with_exec(["sh", "-c", &line(&nonce, step)]);
        }
        container.file("/chain").contents().await
    }

    /// Runs a chain and waits for what each step prints before it adds the next.
    pub async fn reads(
        /// How many steps.
        steps: u32,
        /// Makes the steps unlike those of an earlier call.
        nonce: String,
    ) -> Result<String> {
        let mut container = base();
        let mut printed = String::new();
        for step in 0..steps {
            container = container.with_exec(["echo", &format!("{nonce}-{step}")]);
            printed += &container.stdout().await?;
        }
        Ok(printed)
    }

    /// Makes a graph of settings and steps, runs nothing of it, and returns the last setting.
    pub async fn graph(
        /// How many nodes.
        nodes: u32,
        /// Makes the nodes unlike those of an earlier call.
        nonce: String,
    ) -> Result<String> {
        let mut container = base();
        for node in 0..nodes / 2 {
            container = container
                .with_env_variable("NODE", format!("{nonce}-{node}"))
                .with_exec(["sh", "-c", &line(&nonce, node)]);
        }
        Ok(container.env_variable("NODE").await?.unwrap_or_default())
    }

    /// Runs steps beside each other that sleep a second, and returns what they printed, in order.
    pub async fn sleeps(
        /// How many steps.
        count: u32,
        /// Makes the steps unlike those of an earlier call.
        nonce: String,
    ) -> Result<String> {
        let base = base();
        let steps: Vec<_> = (0..count)
            .map(|index| base.with_exec(["sh", "-c", &format!("sleep 1; echo {nonce}-{index}")]))
            .collect();
        let outputs = join_all(steps.iter().map(Container::stdout)).await;
        Ok(outputs.into_iter().collect::<Result<Vec<_>>>()?.concat())
    }

    /// Puts a directory into a container; a step prints its file `nonce` and how many files there are.
    pub async fn take(
        /// The directory.
        source: Directory,
    ) -> Result<String> {
        base()
            .with_directory("/in", &source)
            .with_exec(["sh", "-c", "cat /in/nonce; find /in -type f | wc -l"])
            .stdout()
            .await
    }

    /// Makes a large directory in a step and copies it into the container of another, which looks at it.
    pub async fn copied(
        /// How many files it has.
        files: u32,
        /// How large it is.
        megabytes: u32,
        /// Makes the second step unlike that of an earlier call.
        nonce: String,
    ) -> Result<String> {
        let large = large(files, megabytes);
        // The file makes the tree that is copied onto another one each time.
        let onto = base()
            .with_new_file("/nonce", &nonce)
            .with_directory("/in", &large);
        look(&onto, &nonce).await
    }

    /// Makes a large directory in a step and mounts it in another, which looks at it.
    pub async fn mounted(
        /// How many files it has.
        files: u32,
        /// How large it is.
        megabytes: u32,
        /// Makes the second step unlike that of an earlier call.
        nonce: String,
    ) -> Result<String> {
        let large = large(files, megabytes);
        look(&base().with_mounted_directory("/in", &large), &nonce).await
    }

    /// Makes a large directory in a step and has `cp` copy it in another.
    pub async fn copied_by_program(
        /// How many files it has.
        files: u32,
        /// How large it is.
        megabytes: u32,
        /// Makes the second step unlike that of an earlier call.
        nonce: String,
    ) -> Result<String> {
        let large = large(files, megabytes);
        let copied = base().with_mounted_directory("/large", &large).with_exec([
            "sh",
            "-c",
            &format!("echo {nonce} > /nonce; cp -a /large /in"),
        ]);
        look(&copied, &nonce).await
    }

    /// Counts the files and the bytes of a large directory.
    pub async fn counted(
        /// How many files it has.
        files: u32,
        /// How large it is.
        megabytes: u32,
    ) -> Result<String> {
        let count = "find /in -type f | wc -l; du -sm /in | cut -f 1";
        base()
            .with_mounted_directory("/in", &large(files, megabytes))
            .with_exec(["sh", "-c", count])
            .stdout()
            .await
    }

    /// Pulls an image and prints its file `nonce` in a step.
    pub async fn pulled(
        /// The image.
        reference: String,
    ) -> Result<String> {
        image::pull(reference).with_exec(["cat", "/nonce"]).stdout().await
    }

    /// Changes an image by one layer of random bytes, and publishes nothing.
    pub async fn changed(
        /// The image.
        base: String,
        /// How large the layer is.
        megabytes: u32,
        /// Makes the layer unlike that of an earlier call.
        nonce: String,
    ) -> Result<String> {
        change(base, megabytes, &nonce).file("/nonce").contents().await
    }

    /// Publishes what `changed` makes, and prints its reference.
    pub async fn published(
        /// The image.
        base: String,
        /// How large the layer is.
        megabytes: u32,
        /// Makes the layer unlike that of an earlier call.
        nonce: String,
        /// Where it goes.
        reference: String,
    ) -> Result<String> {
        change(base, megabytes, &nonce).publish(reference).await
    }

    /// Fetches a file; a step prints how long it is, its last line, and the digest of the 64 KiB from `block` times that on.
    pub async fn fetched(
        /// Where it is.
        url: String,
        /// Which of its parts.
        block: u32,
    ) -> Result<String> {
        let script = format!(
            "stat -c %s /file; tail -c 100 /file | tail -n 1; dd if=/file bs=65536 skip={block} count=1 2>/dev/null | sha256sum | cut -d ' ' -f 1"
        );
        base()
            .with_file("/file", &http::fetch(url).file())
            .with_exec(["sh", "-c", &script])
            .stdout()
            .await
    }

    fn change(base: String, megabytes: u32, nonce: &str) -> Container {
        let script = format!("echo {nonce} > /nonce; head -c {megabytes}m /dev/urandom > /changed");
        image::pull(base)
            .with_network(Network::None)
            .with_exec(["sh", "-c", &script])
    }

    fn base() -> Container {
        image::pull("busybox:latest").with_network(Network::None)
    }

    fn mode(network: bool) -> Network {
        if network { Network::All } else { Network::None }
    }

    fn line(nonce: &str, step: u32) -> String {
        format!("echo {nonce}-{step} >> /chain")
    }

    /// A directory of random bytes in up to a hundred directories of equal content.
    fn large(files: u32, megabytes: u32) -> Directory {
        let directories = files.min(100);
        let each = files / directories;
        let bytes = u64::from(megabytes) * 1024 * 1024 / u64::from(files);
        let script = format!(
            "mkdir -p /large/1 && cd /large/1\n\
             for file in $(seq {each}); do head -c {bytes} /dev/urandom > $file; done\n\
             for directory in $(seq 2 {directories}); do cp -r /large/1 /large/$directory; done"
        );
        base().with_exec(["sh", "-ec", &script]).directory("/large")
    }

    /// Prints a nonce, how many directories `/in` has, and how many files the last of them.
    async fn look(container: &Container, nonce: &str) -> Result<String> {
        let script = format!("echo {nonce}; cd /in; ls | wc -l; ls $(ls | tail -n 1) | wc -l");
        container.with_exec(["sh", "-c", &script]).stdout().await
    }
}
