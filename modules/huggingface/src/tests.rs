//! What the functions ask and plan.

use wharf_sdk::{
    Directory, Result,
    testing::{self, Plan, Planner},
};

use super::functions::{commit, files, snapshot};

const COMMIT: &str = "c5f93f70e8f4d6e4e4dbd7d5b1d0f4a4b2a2a1a0";
const HUB: &str = "https://huggingface.co";

/// A hub that has this of the revision that is asked for.
fn hub(more: &str) -> Planner {
    let (one, two, git) = ("1".repeat(64), "2".repeat(64), "6".repeat(40));
    let lfs = |digest: &str| {
        format!(r#""size": 9, "lfs": {{"sha256": "{digest}", "size": 9, "pointerSize": 134}}"#)
    };
    Planner::new().answer(
        "contents",
        format!(
            r#"{{"sha": "{COMMIT}", {more} "siblings": [
                {{"rfilename": "model.safetensors", {}}},
                {{"rfilename": "copy/model.safetensors", {}}},
                {{"rfilename": "a file.bin", {}}},
                {{"rfilename": "config.json", "size": 3, "blobId": "{git}"}}
            ]}}"#,
            lfs(&one),
            lfs(&one),
            lfs(&two)
        ),
    )
}

fn taken(planner: Planner, exclude: &[&str], with_token: bool) -> Plan<Result<Directory>> {
    planner.plan(async {
        let token = with_token.then(|| testing::secret("TOKEN"));
        let exclude = exclude.iter().map(|text| (*text).to_owned()).collect();
        snapshot(
            "acme/model".to_owned(),
            "refs/pr/1".to_owned(),
            vec![],
            exclude,
            token,
            HUB.to_owned(),
        )
        .await
    })
}

#[test]
fn a_snapshot_is_of_the_commit_with_each_content_once() {
    let plan = taken(hub(""), &["*.md"], false);
    assert!(plan.returned.is_ok());
    assert_eq!(plan.to_string(), include_str!("tests/snapshot.txt"));
}

#[test]
fn the_token_is_sent_for_files_only_where_it_takes_one() {
    let open = taken(hub(""), &[], true).to_string();
    let private = taken(hub(r#""private": true,"#), &[], true).to_string();
    let tokens = |plan: &str| plan.matches("bearer_auth").count();
    assert_eq!(tokens(&open), 1, "{open}");
    assert_eq!(tokens(&private), 4, "{private}");
}

#[test]
fn files_and_the_commit_are_told_without_fetching_any() {
    let args = || ("acme/model".to_owned(), "main".to_owned(), HUB.to_owned());
    let (repository, revision, endpoint) = args();
    let plan = hub("").plan(files(
        repository,
        revision,
        vec!["*.json".to_owned()],
        vec![],
        None,
        endpoint,
    ));
    let listed = plan.returned.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].path.as_str(), listed[0].size), ("config.json", 3));
    let (repository, revision, endpoint) = args();
    let plan = hub("").plan(commit(repository, revision, None, endpoint));
    assert_eq!(plan.returned, Ok(COMMIT.to_owned()));
}

#[test]
fn what_is_no_repository_or_hub_is_refused_before_anything_is_asked() {
    for (repository, endpoint, said) in [
        ("a/b/c", HUB, "is no model repository"),
        ("a b", HUB, "is no model repository"),
        ("../a", HUB, "is no model repository"),
        ("", HUB, "is no model repository"),
        ("acme/model", "hub.example", "is no address of a hub"),
    ] {
        let plan = Planner::new().plan(commit(
            repository.to_owned(),
            "main".to_owned(),
            None,
            endpoint.to_owned(),
        ));
        let error = plan.returned.as_ref().unwrap_err().to_string();
        assert!(error.contains(said), "{repository}: {error}");
        assert_eq!(plan.to_string(), "", "{repository}");
    }
}
