//! The one set of bindings to `wit/`, as generated. Authors see it through the types of this crate; the module macro maps
//! its own world onto it.

#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, clippy::pedantic)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "wharf:pipeline/imports",
    generate_all,
    additional_derives: [PartialEq],
    generate_unused_types: true,
});
