//! A stop on the caller's terminal, to look around in the middle of a run. The caller has to allow it, with
//! `wharf call --allow debug`; otherwise it is a `denied` error.

use crate::bindings::wharf::pipeline::debug;
use crate::{Container, Directory, Result, text::owned};

impl Container {
    /// Open a shell (`sh`) on the caller's terminal, as a step of this container would run; the function goes on when it ends.
    /// What is written there is thrown away. Returns the shell's exit code. Where there is no terminal it is an error with the
    /// code "no-terminal".
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing};
    /// async fn build(source: Directory) -> Result<Container> {
    ///     let prepared = image::pull("rust:1-slim").with_directory("/src", &source).with_workdir("/src");
    ///     prepared.terminal().await?;
    ///     Ok(prepared.with_exec(["cargo", "build"]))
    /// }
    /// # let plan = testing::Planner::new().answer("terminal", 0).plan(build(testing::directory("source")));
    /// # assert!(plan.to_string().contains(".terminal([]) -> 0"), "{plan}");
    /// ```
    pub async fn terminal(&self) -> Result<i32> {
        Ok(debug::terminal(&self.0, Vec::new()).await?)
    }

    /// As [`terminal`](Self::terminal), with another program than the shell.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing};
    /// async fn explore(data: Directory) -> Result<i32> {
    ///     let python = image::pull("python:3.11-slim").with_mounted_directory("/data", &data);
    ///     python.terminal_with(["python", "-i"]).await
    /// }
    /// # let plan = testing::Planner::new().answer("terminal", 0).plan(explore(testing::directory("data")));
    /// # assert_eq!(plan.returned, Ok(0));
    /// ```
    pub async fn terminal_with(&self, command: impl IntoIterator<Item: Into<String>>) -> Result<i32> {
        Ok(debug::terminal(&self.0, owned(command)).await?)
    }
}

impl Directory {
    /// Open a shell (`sh`) on the caller's terminal in a copy of the directory, which is at `/work` of the container `tools`. What
    /// is written there is thrown away. Returns the shell's exit code.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing};
    /// async fn look(built: Directory) -> Result<i32> {
    ///     built.terminal(&image::pull("busybox")).await
    /// }
    /// # let plan = testing::Planner::new().answer("terminal", 0).plan(look(testing::directory("built")));
    /// # assert_eq!(plan.returned, Ok(0));
    /// ```
    pub async fn terminal(&self, tools: &Container) -> Result<i32> {
        Ok(debug::directory_terminal(&self.0, &tools.0, Vec::new()).await?)
    }

    /// As [`terminal`](Self::terminal), with another program than the shell.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing};
    /// async fn page(logs: Directory) -> Result<i32> {
    ///     logs.terminal_with(&image::pull("busybox"), ["vi", "build.log"]).await
    /// }
    /// # let plan = testing::Planner::new().answer("terminal", 0).plan(page(testing::directory("logs")));
    /// # assert_eq!(plan.returned, Ok(0));
    /// ```
    pub async fn terminal_with(
        &self,
        tools: &Container,
        command: impl IntoIterator<Item: Into<String>>,
    ) -> Result<i32> {
        Ok(debug::directory_terminal(&self.0, &tools.0, owned(command)).await?)
    }
}
