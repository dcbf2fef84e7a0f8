//! Builds modules: from Rust source to one component that carries its own documentation.
