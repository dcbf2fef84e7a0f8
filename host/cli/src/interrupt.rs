//! Ctrl-C and its kin: the first ends the run in order, the second at once.

use tokio_util::sync::CancellationToken;
use wharf_platform::process::Endings;

/// A token that is cancelled at the first Ctrl-C, SIGTERM or SIGHUP; a second one ends the process.
pub(crate) fn watch() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut endings = Endings::new()?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            endings.next().await;
            crate::terminal::restore();
            if cancelled.is_cancelled() {
                std::process::exit(130);
            }
            cancelled.cancel();
        }
    });
    Ok(token)
}
