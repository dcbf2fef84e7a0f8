#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    #[derive(Type)]
    pub enum Level {
        Fast,
        Slow,
    }

    pub fn build(
        #[default("four")] jobs: u32,
        #[default(Level::Medium)] level: Level,
        #[default(".")] source: Directory,
        #[default("env:TOKEN")] token: Secret,
        #[default_path("../other")] other: Directory,
    ) {
    }
}

fn main() {}
