//! Evaluates graphs in containers and remembers every result.
