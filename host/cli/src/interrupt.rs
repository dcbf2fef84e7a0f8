//! Ctrl-C and its kin: the first ends the run in order, the second at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled at the first SIGINT, SIGTERM or SIGHUP; a second one ends the process.
pub(crate) fn watch() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        let mut signals = signal(kind)?;
        let token = token.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                crate::terminal::restore();
                if token.is_cancelled() {
                    std::process::exit(130);
                }
                token.cancel();
            }
        });
    }
    Ok(token)
}
