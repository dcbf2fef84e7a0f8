//! The graph that a module's calls build: pure data, and the keys derived from it.
