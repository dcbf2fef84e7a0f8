//! A server in front of a real registry: it passes requests on, unless a test has it do otherwise.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};

/// What was asked.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// How often this path was asked before.
    pub(crate) before: usize,
}

impl Asked {
    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub(crate) fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }
}

/// What the server does.
pub(crate) enum Does {
    /// What the registry behind it does.
    Passes,
    Answers(Response),
    /// Sends so many bytes of what the registry sends, then closes the connection.
    Cuts(usize),
    /// Sends another byte somewhere.
    Lies,
    /// Sends all of a blob whatever part was asked for, and so many bytes of it.
    IgnoresRanges(usize),
}

/// A running server. It ends with the test's runtime.
pub(crate) struct Front {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

pub(crate) fn answer(status: StatusCode, headers: &[(header::HeaderName, &str)], text: &str) -> Does {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, *value);
    }
    Does::Answers(response.body(Body::from(text.to_owned())).unwrap())
}

impl Front {
    pub(crate) async fn start(
        behind: &str,
        rule: impl Fn(&Asked, &str) -> Does + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (seen, own, behind, rule) = (
            Arc::clone(&asked),
            address.clone(),
            behind.to_owned(),
            Arc::new(rule),
        );
        let handle = move |request: Request| {
            let (seen, own, behind, rule) =
                (Arc::clone(&seen), own.clone(), behind.clone(), Arc::clone(&rule));
            async move {
                let path = request.uri().to_string();
                let does = {
                    let mut seen = seen.lock().unwrap();
                    let before = seen.iter().filter(|other| other.path == path).count();
                    let one = Asked {
                        path: path.clone(),
                        headers: request.headers().clone(),
                        before,
                    };
                    seen.push(one.clone());
                    rule(&one, &own)
                };
                serve(&behind, &path, request.headers(), does).await
            }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handle)).await });
        Self { address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(behind: &str, path: &str, headers: &HeaderMap, does: Does) -> Response {
    let (mut cut, mut lie, mut whole) = (None, false, false);
    match does {
        Does::Passes => {}
        Does::Answers(response) => return response,
        Does::Cuts(count) => cut = Some(count),
        Does::Lies => lie = true,
        Does::IgnoresRanges(count) => (cut, whole) = (Some(count), true),
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.get(format!("{behind}{path}"));
    for name in [header::ACCEPT, header::RANGE] {
        if let Some(value) = headers.get(&name).filter(|_| !(whole && name == header::RANGE)) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for name in [
        "content-type",
        "content-length",
        "content-range",
        "docker-content-digest",
    ] {
        if let Some(value) = answer.headers().get(name) {
            response = response.header(name, value);
        }
    }
    let mut bytes = answer.bytes().await.unwrap().to_vec();
    if lie {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }
    let cut = cut.filter(|count| *count < bytes.len());
    bytes.truncate(cut.unwrap_or(bytes.len()));
    let end = cut.map(|_| {
        // The bytes before the cut are to leave first.
        async {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            Err(std::io::Error::other("cut"))
        }
    });
    let start = futures::stream::iter([Ok(Bytes::from(bytes))]);
    let body = match end {
        Some(end) => Body::from_stream(futures::StreamExt::chain(start, futures::stream::once(end))),
        None => Body::from_stream(start),
    };
    response.body(body).unwrap()
}
