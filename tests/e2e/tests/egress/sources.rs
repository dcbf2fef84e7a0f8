//! Lists of hosts for what the engine fetches itself: files by URL and git repositories.

use wharf_e2e::{TestEngine, engine::How};
use wharf_graph::{
    Error, File,
    build::GitRepository,
    read::Question,
    source::{Access, FetchRequest, Reference},
};
use wharf_hosts::Hosts;
use wharf_testkit::http::{HttpServer, Reply};

use crate::Setting;

fn fetched(url: &str, hosts: &[&str]) -> File {
    File::fetch(FetchRequest {
        hosts: Some(Hosts::parse(hosts).unwrap()),
        ..FetchRequest::new(url)
    })
}

fn denied<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Denied(denial)) => denial.grant,
        other => panic!("{other:?} was not denied"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_comes_from_servers_of_the_list_wherever_they_lead() {
    let setting = Setting::new(How::default());
    let [allowed, evil] = [10, 11].map(|last| setting.internet.address(last).to_string());
    let run = setting.engine.run();
    let url = format!("http://{allowed}/x");
    let text = run.contents(&fetched(&url, &[&allowed])).await.unwrap();
    assert_eq!(text, format!("this is {allowed}"));
    // Another server, and the same one on another port.
    for to in [format!("http://{evil}/"), format!("http://{allowed}:8080/")] {
        let url = format!("http://{allowed}/to/{to}");
        let within = format!("{allowed}:80");
        let grant = denied(run.contents(&fetched(&url, &[&within])).await);
        assert!(grant.contains("in its list for http"), "{grant}");
    }
    let seen = setting.internet.seen();
    assert!(
        seen.connections
            .iter()
            .all(|place| *place == (setting.internet.address(10), 80).into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_this_machine_is_not_fetched_from_unless_the_address_is_named() {
    let engine = TestEngine::start();
    let server = HttpServer::start(|_| Reply::whole("inside")).unwrap();
    let url = format!("http://localhost:{}/", server.port());
    let run = engine.run();
    let refused = run.contents(&fetched(&url, &["localhost"])).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("has to be in the list of hosts, too"),
        "{refused}"
    );
    assert_eq!(server.asked().len(), 0);
    let named = run
        .contents(&fetched(&url, &["localhost", "127.0.0.1", "[::1]"]))
        .await;
    assert_eq!(named.unwrap(), "inside");
}

#[tokio::test(flavor = "multi_thread")]
async fn git_asks_servers_of_the_list_alone_and_follows_nobody_out_of_it() {
    let engine = TestEngine::start();
    let other = HttpServer::start(|_| Reply::status(404)).unwrap();
    let elsewhere = other.url("/x.git/info/refs?service=git-upload-pack");
    let server = HttpServer::start(move |_| Reply::redirect(&elsewhere)).unwrap();
    let head = |url: &str, hosts: &[&str]| {
        let hosts = Hosts::parse(hosts).unwrap();
        GitRepository::at(url, Access::Open, "")
            .only_from(Some(hosts))
            .reference(Reference::Head)
            .tree(Default::default())
    };
    let run = engine.run();
    let within = format!("127.0.0.1:{}", server.port());
    let entries = || Question::Entries("/".to_owned());
    let led = run
        .ask(head(&server.url("/x.git"), &[&within]).node(), entries())
        .await;
    assert!(led.is_err(), "{led:?}");
    let grant = denied(
        run.ask(head(&other.url("/x.git"), &[&within]).node(), entries())
            .await,
    );
    assert!(grant.contains("in its list for git"), "{grant}");
    assert!(!server.asked().is_empty());
    assert_eq!(other.asked().len(), 0);
}
