//! When a request is made again: after a while that grows, or after as long as the server asks for.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use reqwest::{Response, StatusCode, header::RETRY_AFTER};

/// The longest wait that a server may ask for.
const LONGEST: Duration = Duration::from_secs(60);

/// The attempts that are left for one piece of work.
#[derive(Debug)]
pub struct Patience(ExponentialBackoff);

impl Default for Patience {
    /// Four more attempts after 0.1 s, 0.3 s, 0.9 s, 2.7 s, each a little longer by chance so that clients part.
    fn default() -> Self {
        let builder = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_factor(3.0)
            .with_max_times(4)
            .with_jitter();
        Self(builder.build())
    }
}

impl Patience {
    /// Waits until the next attempt may be made, as long as the server asked for where it did.
    ///
    /// # Errors
    /// When no attempt is left or the server asks for too much: `why`, with that.
    pub async fn wait(&mut self, why: String, asked: Option<Duration>) -> Result<(), String> {
        let Some(delay) = self.0.next() else {
            return Err(why);
        };
        if let Some(asked) = asked.filter(|asked| *asked > LONGEST) {
            return Err(format!(
                "{why}; it wants to be left alone for {} s",
                asked.as_secs()
            ));
        }
        tokio::time::sleep(asked.unwrap_or(delay)).await;
        Ok(())
    }
}

/// Does this answer say that another attempt may do better?
pub fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429) || status.is_server_error()
}

/// `Retry-After`: seconds or a date.
pub fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let until = || {
        httpdate::parse_http_date(text)
            .ok()?
            .duration_since(SystemTime::now())
            .ok()
    };
    text.parse().map(Duration::from_secs).ok().or_else(until)
}
