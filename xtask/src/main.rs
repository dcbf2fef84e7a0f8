//! Developer commands: setup, fixtures, demo, test, bench.
fn main() {}
