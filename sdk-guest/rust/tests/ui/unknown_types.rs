#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    pub struct Mine;

    pub async fn build(jobs: Option<Mine>) -> Result<Vec<Mine>> {
        todo!()
    }
}

fn main() {}
