//! Write Wharf pipeline modules in Rust.
