//! Starts an engine in a container of a Docker daemon.
