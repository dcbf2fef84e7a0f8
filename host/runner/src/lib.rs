//! Runs one step, described by an OCI runtime specification, in a container.
