//! Why a module broke, in words for the person who called it.

use std::time::Duration;

use wasmtime::{Trap, component::ResourceTableError};
use wasmtime_wasi::I32Exit;

use crate::limits::{Limits, TooMuchDescribed, size};

/// Bytes that a module can hand over in one call, in either direction's arguments and results.
pub(crate) const HANDED_OVER: usize = 32 * 1024 * 1024;

/// A trap in words: a panic's own message, or what bound was met. `panic` is what the module printed of a panic.
pub(crate) fn what_happened(
    error: &wasmtime::Error,
    panic: &str,
    memory_refused: Option<usize>,
    limits: &Limits,
) -> String {
    if let Some(message) = panic_message(panic) {
        return format!("panicked: {message}");
    }
    // These two errors of wasmtime have no public type.
    let cause = error.root_cause().to_string();
    if cause.contains("store handle limit exceeded")
        || matches!(
            error.downcast_ref::<ResourceTableError>(),
            Some(ResourceTableError::Full)
        )
    {
        return format!("held more than {} handles at once and was ended", limits.handles);
    }
    if cause.contains("fuel allocated for hostcalls") {
        return format!(
            "handed over more than {} in one call and was ended: pass large contents as files",
            size(HANDED_OVER)
        );
    }
    if let Some(too_much) = error.downcast_ref::<TooMuchDescribed>() {
        return format!("was ended: {too_much}");
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return format!("ended itself with exit code {} instead of returning", exit.0);
    }
    match (error.downcast_ref::<Trap>(), memory_refused) {
        (Some(Trap::StackOverflow), _) => "used up its stack: it recurses too deeply".to_owned(),
        (_, Some(limit)) => format!("needed more than {} of memory and was ended", size(limit)),
        (Some(Trap::UnreachableCodeReached), None) => "gave up without a word (unreachable code)".to_owned(),
        (Some(Trap::MemoryOutOfBounds), None) => {
            "reached outside its memory: it may recurse too deeply".to_owned()
        }
        (Some(trap), None) => format!("broke: {trap}"),
        (None, None) => format!("broke: {cause}"),
    }
}

/// A call that ran out of time.
pub(crate) fn too_long(limit: Duration) -> String {
    let seconds = limit.as_secs_f64();
    format!("took longer than {seconds} s and was ended")
}

/// What follows the line that tells of a panic, up to the note on backtraces.
fn panic_message(panic: &str) -> Option<String> {
    let (first, rest) = panic.split_once('\n')?;
    let place = first
        .split_once(" panicked at ")
        .map_or("", |(_, place)| place.trim_end_matches(':'));
    let message: Vec<_> = rest
        .lines()
        .take_while(|line| !line.starts_with("note: ") && !line.starts_with("stack backtrace:"))
        .collect();
    Some(format!("{} (at {place})", message.join("\n").trim()))
}

#[cfg(test)]
mod tests {
    use super::panic_message;

    #[test]
    fn a_panic_says_what_and_where() {
        let printed = "thread 'main' (1) panicked at src/lib.rs:7:5:\nno such tree\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(
            panic_message(printed).as_deref(),
            Some("no such tree (at src/lib.rs:7:5)")
        );
        assert_eq!(panic_message(""), None);
    }
}
