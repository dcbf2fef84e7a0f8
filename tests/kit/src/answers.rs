//! Cases where Docker defines the answer: asked of a real daemon, or read from what one answered earlier.
//!
//! Each case is a file, `NAME.json`, that holds the question (image, arguments, settings) and Docker's answer. With a
//! daemon the question is asked again and must be answered the same; `WHARF_RECORD=1` writes the answer down.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::docker::Daemon;
use crate::{Error, Result, fixtures, paths, process, shared};

/// A question and Docker's answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is asked.
    pub question: Question,
    /// What Docker answers; absent in a case that was never recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// What `docker run` is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// One of the base images.
    pub image: String,
    /// The arguments after the image.
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// `--user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `--workdir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// `--entrypoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<String>,
}

/// What `docker run` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The exit code of `docker run`.
    pub code: i32,
    /// The process's standard output. The host name, which Docker makes up, is `CONTAINER`.
    pub stdout: String,
}

impl Question {
    /// Whether two answers are the same. Variables come out of a map: where all of them are shown, Docker's order is
    /// another each time.
    pub fn same(&self, one: &Answer, other: &Answer) -> bool {
        if self.args != ["env"] {
            return one == other;
        }
        let variables = |answer: &Answer| {
            let mut lines: Vec<String> = answer.stdout.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        one.code == other.code && variables(one) == variables(other)
    }
}

/// Where the cases lie.
pub fn recorded() -> PathBuf {
    paths::workspace().join("tests/e2e/recorded")
}

/// The case of that name with Docker's answer: just given where there is a daemon, recorded otherwise.
pub fn docker_answers(name: &str) -> Result<(Question, Answer)> {
    answer_from(&recorded(), name, Daemon::existing().as_ref())
}

/// The same from another directory, and of a daemon that the caller chooses.
pub fn answer_from(dir: &Path, name: &str, daemon: Option<&Daemon>) -> Result<(Question, Answer)> {
    let path = dir.join(name).with_extension("json");
    let wrong = |why: String| Error::Answer {
        name: name.into(),
        why,
    };
    let text = fs::read(&path).map_err(Error::io("reading", &path))?;
    let mut case: Case = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let Some(daemon) = daemon else {
        let answer = case
            .answer
            .ok_or_else(|| wrong("was never recorded, and there is no daemon to ask".into()))?;
        return Ok((case.question, answer));
    };
    let answer = ask(daemon, &case.question)?;
    let same = |recorded| case.question.same(recorded, &answer);
    if !case.answer.as_ref().is_some_and(same) {
        if shared::get("WHARF_RECORD").is_none() {
            let why = format!(
                "Docker now says {answer:?}, recorded is {:?}; WHARF_RECORD=1 records",
                case.answer
            );
            return Err(wrong(why));
        }
        case.answer = Some(answer.clone());
        let mut text = serde_json::to_vec_pretty(&case).map_err(|error| wrong(error.to_string()))?;
        text.push(b'\n');
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
    }
    Ok((case.question, answer))
}

/// Asks a daemon.
pub fn ask(daemon: &Daemon, question: &Question) -> Result<Answer> {
    for image in fixtures::all()? {
        if image.name == question.image {
            daemon.load(&image)?;
        }
    }
    let mut command = daemon.docker();
    command.args(["run", "--rm", "--network=none", "--hostname=CONTAINER"]);
    for (variable, value) in &question.env {
        command.arg("--env").arg(format!("{variable}={value}"));
    }
    let settings = [
        ("--user", &question.user),
        ("--workdir", &question.workdir),
        ("--entrypoint", &question.entrypoint),
    ];
    for (option, value) in settings {
        if let Some(value) = value {
            command.arg(format!("{option}={value}"));
        }
    }
    command.arg(&question.image).args(&question.args);
    let failed = |why: String| Error::Command {
        command: "docker run".into(),
        why,
    };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    let code = output
        .status
        .code()
        .ok_or_else(|| failed(process::tail(&output.stderr)))?;
    let stdout = String::from_utf8(output.stdout).map_err(|error| failed(error.to_string()))?;
    Ok(Answer { code, stdout })
}
