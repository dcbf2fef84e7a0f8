//! What operating systems do in different ways, in one place. The engine runs on Linux and asks nothing here; its clients run on
//! Linux and macOS alike, and on Windows as far as that has what they need: where it has not, there is an error that says so.

pub mod file;
pub mod path;
pub mod process;
pub mod socket;
pub mod terminal;

/// Of what this system does not have.
#[cfg(not(unix))]
fn missing(what: &str) -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        format!("{what}, which this system does not have: WSL has it"),
    )
}
