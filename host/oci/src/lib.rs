//! Images: references, registries, manifests, layers.
