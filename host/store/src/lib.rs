//! Where layers, results and logs live: one directory owned by one engine.
