//! A server in front of a real registry: it passes requests on, unless a test has it do otherwise.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    response::Response,
};

/// What was asked.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// How often this path was asked before, by this method.
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
    /// Takes so many bytes of what it is sent and passes them on, then fails.
    Takes(usize),
    /// Passes on, and sends this header in place of the registry's own.
    Says(header::HeaderName, Rewrite),
    /// Passes on, and loses the answer.
    Forgets,
    /// Sends all of a blob whatever part was asked for, and so many bytes of it.
    IgnoresRanges(usize),
}

/// Makes another header's value of the registry's own.
pub(crate) type Rewrite = Box<dyn Fn(&str) -> String + Send>;

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
        let moved: Moved = Arc::default();
        let handle = move |request: Request| {
            let (seen, own, behind, rule) =
                (Arc::clone(&seen), own.clone(), behind.clone(), Arc::clone(&rule));
            let moved = Arc::clone(&moved);
            async move {
                let path = request.uri().to_string();
                let does = {
                    let mut seen = seen.lock().unwrap();
                    let method = request.method().clone();
                    let is_same = |other: &&Asked| other.path == path && other.method == method;
                    let before = seen.iter().filter(is_same).count();
                    let one = Asked {
                        method,
                        path: path.clone(),
                        headers: request.headers().clone(),
                        before,
                    };
                    seen.push(one.clone());
                    rule(&one, &own)
                };
                let behind = Behind {
                    url: behind,
                    own: format!("http://{own}"),
                    moved,
                };
                behind.serve(&path, request, does).await
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

fn failed(why: &str) -> Response {
    let response = Response::builder().status(StatusCode::BAD_GATEWAY);
    response.body(Body::from(why.to_owned())).unwrap()
}

/// Where uploads go on that were cut here: the registry says so in an answer that its client does not get.
type Moved = Arc<Mutex<std::collections::HashMap<String, String>>>;

/// The registry behind a front.
struct Behind {
    url: String,
    own: String,
    moved: Moved,
}

impl Behind {
    async fn serve(&self, path: &str, request: Request, does: Does) -> Response {
        let (mut cut, mut lie, mut whole, mut taken, mut rewrite) = (None, false, false, None, None);
        match does {
            Does::Passes => {}
            Does::Answers(response) => return response,
            Does::Cuts(count) => cut = Some(count),
            Does::Lies => lie = true,
            Does::Takes(count) => taken = Some(count),
            Does::Forgets => taken = Some(usize::MAX),
            Does::Says(name, value) => rewrite = Some((name, value)),
            Does::IgnoresRanges(count) => (cut, whole) = (Some(count), true),
        }
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let there = self
            .moved
            .lock()
            .unwrap()
            .get(path)
            .cloned()
            .unwrap_or_else(|| path.to_owned());
        let mut passed = client.request(request.method().clone(), format!("{}{there}", self.url));
        for name in [
            header::ACCEPT,
            header::RANGE,
            header::CONTENT_TYPE,
            header::CONTENT_RANGE,
        ] {
            // A part of what was sent has a range of its own.
            let is_changed =
                (whole && name == header::RANGE) || (taken.is_some() && name == header::CONTENT_RANGE);
            if let Some(value) = request.headers().get(&name).filter(|_| !is_changed) {
                passed = passed.header(name, value);
            }
        }
        let mut sent = match axum::body::to_bytes(request.into_body(), 64 << 20).await {
            Ok(sent) => sent,
            Err(error) => return failed(&error.to_string()),
        };
        sent.truncate(taken.unwrap_or(usize::MAX));
        let answer = passed.body(sent).send().await.unwrap();
        if taken.is_some() {
            if let Some(location) = answer.headers().get(header::LOCATION) {
                let location = location.to_str().unwrap().replace(&self.url, "");
                self.moved.lock().unwrap().insert(path.to_owned(), location);
            }
            return failed("the connection to the storage was lost");
        }
        let mut response = Response::builder().status(answer.status());
        for name in [
            "content-type",
            "content-length",
            "content-range",
            "docker-content-digest",
            "location",
            "range",
        ] {
            if let Some(value) = answer.headers().get(name) {
                // The registry names itself: whoever asks here goes on here.
                let value = value.to_str().unwrap().replace(&self.url, &self.own);
                let value = match &rewrite {
                    Some((other, rewrite)) if other == name => rewrite(&value),
                    _ => value,
                };
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
}
