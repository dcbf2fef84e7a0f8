use std::{collections::HashMap, path::PathBuf};

use wharf_sdk::Type;

#[derive(Type)]
struct Generic<T> {
    value: T,
}

#[derive(Type)]
struct Borrowed {
    name: &'static str,
}

#[derive(Type)]
struct Report {
    count: usize,
    files: HashMap<String, String>,
    place: PathBuf,
    outcome: Result<String, String>,
}

fn main() {}
