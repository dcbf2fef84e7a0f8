//! A pipeline in three functions. `wharf functions` lists them; `wharf call FUNCTION --help` explains one.

/// My first pipeline.
// The macro makes a component of this module: each `pub async fn` becomes a function that `wharf call` knows, its
// parameters become flags, and the comments become help.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    /// Greets someone. Plain Rust: no container is involved.
    pub async fn hello(
        /// Who is greeted.
        #[default("world")]
        name: String,
    ) -> String {
        super::greeting(&name)
    }

    /// Counts the lines of the files in a directory, in a container, and returns the report.
    pub async fn count(
        /// The files to count; give a path, as in `--source .`.
        source: Directory,
        /// Which files count, as a pattern.
        #[default("*")]
        pattern: String,
    ) -> Result<String> {
        // Nothing runs here: `with_…` describes a container and returns at once.
        let counted = image::pull("busybox:latest")
            .with_directory("/src", &source)
            .with_workdir("/src")
            .with_exec(["sh", "-c", "find . -type f -name \"$1\" | sort | xargs wc -l", "count", &pattern]);
        // Here it runs, unless the same files were counted before: then the answer is remembered.
        counted.stdout().await
    }

    /// Compresses each file of a directory and returns the directory; `-o out` writes it.
    pub async fn compress(
        /// The files to compress.
        source: Directory,
    ) -> Directory {
        image::pull("busybox:latest")
            .with_directory("/src", &source)
            .with_exec(["sh", "-c", "find /src -type f -exec gzip -n {} +"])
            .directory("/src")
    }
}

// What is plain Rust is tested as plain Rust: `cargo test`.
fn greeting(name: &str) -> String {
    format!("Hello, {name}!")
}

#[cfg(test)]
mod tests {
    use wharf_sdk::testing;

    #[test]
    fn a_greeting_has_the_name() {
        assert_eq!(super::greeting("Ada"), "Hello, Ada!");
    }

    // What a function plans is compared as text; nothing runs, and reads are answered here.
    #[test]
    fn files_are_counted_in_a_container() {
        let source = testing::directory("source");
        let plan = testing::Planner::new()
            .answer("stdout", "3 total\n")
            .plan(super::functions::count(source, "*.txt".to_owned()));
        assert_eq!(plan.returned, Ok("3 total\n".to_owned()));
        let planned = r#"
container 1
  image::pull("busybox:latest")
  .with_directory("/src", source)
  .with_workdir("/src")
  .with_exec(["sh", "-c", "find . -type f -name \"$1\" | sort | xargs wc -l", "count", "*.txt"])
container 1.stdout() -> "3 total\n"
"#;
        assert_eq!(plan.to_string(), planned.trim_start());
    }
}
