//! What the tests and developer commands share: a real registry, a real base image, a real Docker daemon.
