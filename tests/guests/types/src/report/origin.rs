//! Where things come from.

use wharf_sdk::{Directory, Type};

use super::Level;

/// Where something comes from.
#[derive(Debug, Type)]
pub enum Origin {
    /// From nowhere else.
    Here,
    /// A directory.
    Tree(Directory),
    /// A place and its weight.
    Weighed(String, u32),
    /// A repository.
    Git {
        /// Its address.
        url: String,
        /// How hard to try.
        level: Option<Level>,
    },
}
