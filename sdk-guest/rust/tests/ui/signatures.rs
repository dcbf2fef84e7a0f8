#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    pub async fn build(source: &str, jobs: usize) -> Result<Vec<String>> {
        todo!()
    }

    pub fn generic<T>(value: T) {}

    pub fn fails() -> Result<String, u32> {
        todo!()
    }

    pub fn help(help: String) {}
}

fn main() {}
