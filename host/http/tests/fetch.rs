//! Files from a server that serves well, and from servers that do not.

#![allow(clippy::unwrap_used, reason = "a test: a failure may panic")]

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use wharf_http::{Error, Fetched, Fetcher, Kept, Partial, Request, Secret, Sink, Validators};
use wharf_testkit::{
    HttpServer,
    http::{Asked, Reply},
};

/// Bytes that look like no others, a multiple of no part's size.
const LARGE: usize = (40 << 20) + 12_345;

#[derive(Default)]
struct Bytes(Vec<u8>);

impl Sink for Bytes {
    fn restart(&mut self) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn content(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    (0..size.div_ceil(4)).flat_map(|_| next()).take(size).collect()
}

fn request(url: &str) -> Request {
    Request::new(url, "that file").unwrap()
}

async fn fetch(request: &Request) -> Result<(Vec<u8>, Fetched), Error> {
    let fetcher = Fetcher::new(None).unwrap();
    let (fetched, bytes) = fetcher.fetch(request, Bytes::default()).await?;
    Ok((bytes.0, fetched))
}

fn serve(rule: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> HttpServer {
    HttpServer::start(rule).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_comes_in_parts() {
    let file = content(LARGE);
    let served = file.clone();
    let server = serve(move |asked| Reply::file(asked, &served, "one"));
    let (bytes, fetched) = fetch(&request(&server.url("/file"))).await.unwrap();
    assert!(bytes == file);
    assert!(matches!(fetched, Fetched::Whole(validators) if validators.etag.as_deref() == Some("\"one\"")));
    let asked = server.asked();
    assert!(asked.len() > 4, "{}", asked.len());
    assert!(
        asked[1..]
            .iter()
            .all(|asked| asked.header("if-range") == "\"one\"")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_cut_off_are_taken_up_again() {
    let file = content(LARGE);
    let served = file.clone();
    let server = serve(move |asked| {
        let reply = Reply::file(asked, &served, "one");
        if asked.before < 7 {
            reply.cut_after(3_000_000)
        } else {
            reply
        }
    });
    assert!(fetch(&request(&server.url("/file"))).await.unwrap().0 == file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_that_is_cut_off_is_taken_up_where_it_ended() {
    let file = content(200_000);
    let served = file.clone();
    let server = serve(move |asked| {
        let reply = Reply::file(asked, &served, "one");
        if asked.before == 0 {
            reply.cut_after(150_000)
        } else {
            reply
        }
    });
    assert!(fetch(&request(&server.url("/file"))).await.unwrap().0 == file);
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].header("range"), "bytes=150000-");
    assert_eq!(asked[1].header("if-range"), "\"one\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_parts_sends_all_again() {
    let file = content(LARGE);
    let served = file.clone();
    let server = serve(move |asked| {
        let reply = Reply::whole(served.clone());
        if asked.before == 0 {
            reply.cut_after(5_000_000)
        } else {
            reply
        }
    });
    assert!(fetch(&request(&server.url("/file"))).await.unwrap().0 == file);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_promises_parts_and_sends_all_is_borne() {
    let file = content(LARGE);
    let served = file.clone();
    let server = serve(move |_| {
        Reply::whole(served.clone())
            .with("ETag", "\"one\"")
            .with("Accept-Ranges", "bytes")
    });
    assert!(fetch(&request(&server.url("/file"))).await.unwrap().0 == file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_fetched_is_never_a_mixture() {
    for size in [200_000, LARGE] {
        let (old, new) = (content(size), vec![7; size]);
        let served = (old.clone(), new.clone());
        let server = serve(move |asked| match asked.before {
            0 => Reply::file(asked, &served.0, "old").cut_after(100_000),
            _ => Reply::file(asked, &served.1, "new"),
        });
        let (bytes, fetched) = fetch(&request(&server.url("/file"))).await.unwrap();
        assert!(bytes == new, "{size}");
        assert!(
            matches!(fetched, Fetched::Whole(validators) if validators.etag.as_deref() == Some("\"new\""))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_not_sent_again() {
    let server = serve(|asked| Reply::file(asked, b"text", "one"));
    let mut request = request(&server.url("/file"));
    request.unless(Validators {
        etag: Some("\"one\"".to_owned()),
        last_modified: None,
    });
    let (bytes, fetched) = fetch(&request).await.unwrap();
    assert!(bytes.is_empty() && fetched == Fetched::Unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_digest_is_an_error_with_both() {
    let server = serve(|asked| Reply::file(asked, b"abc", "one"));
    let right = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let mut good = request(&server.url("/file"));
    good.expect(right.parse().unwrap());
    assert_eq!(fetch(&good).await.unwrap().0, b"abc");
    let wrong = format!("sha256:{}", "0".repeat(64));
    let mut bad = request(&server.url("/file"));
    bad.expect(wrong.parse().unwrap());
    let error = fetch(&bad).await.unwrap_err().to_string();
    assert!(
        error.contains(right) && error.contains(&wrong) && error.contains("3 bytes"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_trouble_is_waited_out_and_lasting_trouble_is_named() {
    let server = serve(|asked| match (asked.path.as_str(), asked.before) {
        ("/busy", 0) => Reply::status(503),
        ("/busy", 1) => Reply::status(429).with("Retry-After", "0"),
        ("/busy", _) => Reply::whole("at last"),
        ("/patience", _) => Reply::status(429).with("Retry-After", "3600"),
        ("/secret", _) => Reply::status(401),
        ("/circle", _) => Reply::redirect("/circle"),
        ("/teapot", _) => Reply::status(418),
        _ => Reply::status(404),
    });
    let at = |path: &str| request(&server.url(path));
    assert_eq!(fetch(&at("/busy")).await.unwrap().0, b"at last");
    for (path, said) in [
        ("/patience", "left alone for 3600 s"),
        ("/circle", "redirects in circles"),
        ("/teapot", "it answered 418"),
    ] {
        let error = fetch(&at(path)).await.unwrap_err();
        assert!(
            matches!(&error, Error::Unavailable { .. }) && error.to_string().contains(said),
            "{error}"
        );
    }
    let missing = fetch(&at("/none")).await.unwrap_err();
    assert!(
        matches!(&missing, Error::NotFound { .. }) && missing.to_string().contains("that file"),
        "{missing}"
    );
    let mut refused = at("/secret");
    refused.secret(&Secret::Basic("ann", b"opensesame")).unwrap();
    let refused = fetch(&refused).await.unwrap_err().to_string();
    assert!(
        refused.contains("user ann") && !refused.contains("opensesame"),
        "{refused}"
    );
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let unreachable = fetch(&request(&format!("http://{closed}/"))).await.unwrap_err();
    assert!(matches!(unreachable, Error::Unavailable { .. }), "{unreachable}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_go_to_the_server_that_was_asked_and_to_no_other() {
    let other = serve(|asked| Reply::file(asked, b"from the other", "one"));
    let there = other.url("/there");
    let server = serve(move |asked| match asked.path.as_str() {
        "/start" => Reply::redirect("/next"),
        _ => Reply::redirect(&there),
    });
    let mut request = request(&server.url("/start"));
    request.secret(&Secret::Bearer(b"opensesame")).unwrap();
    request.secret(&Secret::Header("x-token", b"openbarley")).unwrap();
    request.header("x-plain", "seen").unwrap();
    assert_eq!(fetch(&request).await.unwrap().0, b"from the other");
    for asked in server.asked() {
        assert_eq!(
            (asked.header("authorization"), asked.header("x-token")),
            ("Bearer opensesame", "openbarley")
        );
    }
    let asked = &other.asked()[0];
    assert_eq!(
        (
            asked.header("authorization"),
            asked.header("x-token"),
            asked.header("x-plain")
        ),
        ("", "", "seen")
    );
}

/// A request for a file with this content.
fn expecting(url: &str, file: &[u8]) -> Request {
    let mut request = request(url);
    let digest = wharf_digest::Digest::of(file).to_hex();
    request.expect(format!("blake3:{digest}").parse().unwrap());
    request
}

async fn keep(request: &Request, directory: &Path) -> Result<Vec<u8>, Error> {
    let partial = Partial::open(directory).unwrap().expect("nobody else has it");
    let kept = Fetcher::new(None).unwrap().fetch_kept(request, &partial).await?;
    assert!(matches!(kept, Kept::Whole(_)), "{kept:?}");
    Ok(fs::read(partial.data()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_of_a_file_is_not_asked_for_again() {
    let place = tempfile::tempdir().unwrap();
    let file = content(200_000);
    let (served, heals) = (file.clone(), Arc::new(AtomicBool::default()));
    let is_healed = Arc::clone(&heals);
    let server = serve(
        move |asked| match (is_healed.load(Ordering::SeqCst), asked.before) {
            (false, 0) => Reply::file(asked, &served, "one").cut_after(150_000),
            (false, _) => Reply::status(404),
            // Another tag for the same content: what is kept is told by its digest.
            (true, _) => Reply::file(asked, &served, "two"),
        },
    );
    let request = expecting(&server.url("/file"), &file);
    let failed = keep(&request, place.path()).await.unwrap_err();
    assert!(matches!(failed, Error::NotFound { .. }), "{failed}");
    heals.store(true, Ordering::SeqCst);
    assert!(keep(&request, place.path()).await.unwrap() == file);
    assert_eq!(server.sent("/"), 200_000);
    let asked = server.asked();
    assert_eq!(asked.last().unwrap().header("range"), "bytes=150000-199999");
    // All of it is there: nothing is asked.
    assert!(keep(&request, place.path()).await.unwrap() == file);
    assert_eq!(server.asked().len(), asked.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_files_come_in_parts_that_are_cut_off_and_from_servers_that_have_none() {
    let file = content(LARGE);
    for (has_parts, size) in [(true, LARGE), (false, LARGE), (true, 0), (false, 1)] {
        let place = tempfile::tempdir().unwrap();
        let served = file[..size].to_vec();
        let server = serve(move |asked| {
            let reply = if has_parts {
                Reply::file(asked, &served, "one")
            } else {
                Reply::whole(served.clone())
            };
            if asked.before % 3 == 0 && size > 1 {
                reply.cut_after(3_000_000)
            } else {
                reply
            }
        });
        let request = expecting(&server.url("/file"), &file[..size]);
        let came = keep(&request, place.path()).await.unwrap();
        assert!(came == file[..size], "{has_parts} {size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_was_expected_is_not_kept() {
    let place = tempfile::tempdir().unwrap();
    let file = content(100_000);
    let served = file.clone();
    let server = serve(move |asked| Reply::file(asked, &served, "one"));
    let other = expecting(&server.url("/file"), b"another one");
    let error = keep(&other, place.path()).await.unwrap_err();
    assert!(matches!(error, Error::Digest { size: 100_000, .. }), "{error}");
    assert_eq!(fs::metadata(place.path().join("data")).unwrap().len(), 0);
    // What was damaged meanwhile is fetched once more.
    let right = expecting(&server.url("/file"), &file);
    assert!(keep(&right, place.path()).await.unwrap() == file);
    let data = place.path().join("data");
    File::options()
        .write(true)
        .open(data)
        .unwrap()
        .write_all(b"damage")
        .unwrap();
    let asked = server.asked().len();
    assert!(keep(&right, place.path()).await.unwrap() == file);
    assert_eq!(server.asked().len(), asked + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_checked_against_gits_digest() {
    let server = serve(|asked| Reply::file(asked, b"abc", "one"));
    for (digest, is_right) in [
        ("gitoid:blob:sha1:f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", true),
        ("gitoid:blob:sha1:0000000000000000000000000000000000000000", false),
    ] {
        let place = tempfile::tempdir().unwrap();
        let mut request = request(&server.url("/file"));
        request.expect(digest.parse().unwrap());
        assert_eq!(keep(&request, place.path()).await.is_ok(), is_right);
        assert_eq!(fetch(&request).await.is_ok(), is_right);
    }
}
