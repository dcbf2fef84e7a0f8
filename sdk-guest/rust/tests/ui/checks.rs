#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    #[check]
    pub fn lint(source: Directory) {}
}

fn main() {}
