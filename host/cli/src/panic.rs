//! What a user sees when this program is at fault.

use std::panic;

/// Replaces the panic message by an apology that can be reported. Panics in the background are apologised for, too.
#[allow(clippy::print_stderr)]
pub(crate) fn install() {
    panic::set_hook(Box::new(|info| {
        crate::terminal::restore();
        let what = info.payload_as_str().unwrap_or("no message");
        let place = info
            .location()
            .map(|place| format!(" ({}:{})", place.file(), place.line()))
            .unwrap_or_default();
        eprintln!(
            "wharf: sorry, this is a defect of Wharf itself, not of your pipeline: {what}{place}\n\
             Please report it to the project's issue tracker, with this message, the command and `wharf version`."
        );
        std::process::exit(101);
    }));
}
