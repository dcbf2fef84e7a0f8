//! End-to-end tests: each behaviour by its number.
