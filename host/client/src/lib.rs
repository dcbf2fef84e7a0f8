//! Speaks to an engine: sends graphs and files, receives values, logs and progress.
