//! Loads pipeline modules, WebAssembly components, and gives them the wharf:pipeline interface.
