//! What `cargo xtask bench` calls: steps one after the other, and steps beside each other.

/// Steps to measure the engine by.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    /// Runs steps one after the other, each adding its line to a file, and returns the file.
    pub async fn chain(
        /// How many steps.
        steps: u32,
        /// Makes the steps unlike those of an earlier call.
        nonce: String,
        /// Whether the steps have a network.
        network: bool,
    ) -> Result<String> {
        let mode = if network { Network::All } else { Network::None };
        let mut container = image::pull("busybox:latest").with_network(mode);
        for step in 0..steps {
            let command = format!("echo {nonce}-{step} >> /chain");
            container = container.with_exec(["sh", "-c", command.as_str()]);
        }
        container.file("/chain").contents().await
    }

    /// Runs steps beside each other that sleep a second, and returns what they printed, in order.
    pub async fn sleeps(
        /// How many steps.
        count: u32,
        /// Makes the steps unlike those of an earlier call.
        nonce: String,
    ) -> Result<String> {
        let base = image::pull("busybox:latest");
        let steps: Vec<_> = (0..count)
            .map(|index| {
                let command = format!("sleep 1; echo {nonce}-{index}");
                base.with_exec(["sh", "-c", command.as_str()])
            })
            .collect();
        let outputs = join_all(steps.iter().map(Container::stdout)).await;
        Ok(outputs.into_iter().collect::<Result<Vec<_>>>()?.concat())
    }
}
