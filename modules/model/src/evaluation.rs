//! Levels, how well a model does at each of them, and which one is chosen.

use std::fmt::{self, Write as _};

use serde::Deserialize;
use wharf_sdk::{module, prelude::*};

const QUANTIZE: &str = include_str!("python/quantize.py");
const WEIGHTS: &str = include_str!("python/wharf_weights.py");

/// Where things lie in the containers of steps.
const LIBRARY: &str = "/wharf/python";
const MODEL: &str = "/wharf/model";
const MADE: &str = "/wharf/made";
const EVALUATION: &str = "/wharf/evaluation";
const DATA: &str = "/wharf/data";

/// How many bits weights have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, wharf_sdk::Type)]
pub enum Level {
    /// As many as the model came with.
    Original,
    /// Floating-point numbers of 16 bits.
    Fp16,
    /// Whole numbers of 8 bits, a scale for each matrix.
    Int8,
    /// Whole numbers of 4 bits, a scale for each matrix.
    Int4,
}

const ALL: [Level; 4] = [Level::Original, Level::Fp16, Level::Int8, Level::Int4];

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Original => "original",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        })
    }
}

/// A model at one level.
#[derive(wharf_sdk::Type)]
pub struct Candidate {
    /// How many bits its weights have.
    pub level: Level,
    /// Bytes of all its files.
    pub bytes: u64,
    /// How well it does.
    pub score: f64,
    /// Is that enough?
    pub passed: bool,
    /// What it was tried on: `cpu`, or a GPU's name.
    pub device: String,
    /// The model.
    pub model: Directory,
}

/// Where evaluations run.
pub(crate) enum Place {
    Cpu,
    /// On a GPU of this name.
    Gpu(String),
    /// On a GPU of another engine, which the user calls so.
    Target(String, String),
}

impl Place {
    /// What computes there.
    fn device(&self) -> &str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu(device) | Self::Target(_, device) => device,
        }
    }
}

/// What a script says.
#[derive(Debug, Deserialize)]
pub(crate) struct Score {
    pub(crate) score: f64,
    /// What it computed on, when it knows.
    device: Option<String>,
}

/// A GPU, when this module was granted them and one is free: of the engine that it runs on, or else of a target.
pub(crate) async fn place() -> Result<Place> {
    if !module::granted("gpu") {
        return Ok(Place::Cpu);
    }
    if let Some(device) = free(gpu::devices().await?) {
        return Ok(Place::Gpu(device));
    }
    for target in gpu::targets().await? {
        if let Some(device) = free(target.devices) {
            return Ok(Place::Target(target.name, device));
        }
    }
    Ok(Place::Cpu)
}

/// The name of one that a step can have now.
fn free(devices: Vec<gpu::Device>) -> Option<String> {
    let mut devices = devices.into_iter();
    devices.find(|device| device.is_free && device.is_usable).map(|device| device.name)
}

pub(crate) fn loader() -> File {
    File::new("wharf_weights.py", WEIGHTS)
}

/// The container with what the scripts import.
fn with_library(python: &Container) -> Container {
    let library = Directory::new()
        .with_new_file("quantize.py", QUANTIZE)
        .with_file("wharf_weights.py", &loader());
    python
        .with_env_variable("PYTHONDONTWRITEBYTECODE", "1")
        .with_env_variable("PYTHONPATH", LIBRARY)
        .with_mounted_directory(LIBRARY, &library)
}

pub(crate) fn quantized(model: &Directory, level: Level, python: &Container) -> Directory {
    if level == Level::Original {
        return model.directory("/");
    }
    let script = format!("{LIBRARY}/quantize.py");
    let level = level.to_string();
    with_library(python)
        .with_mounted_directory(MODEL, model)
        .with_exec_opts(
            ["python3", &script, MODEL, MADE, &level],
            &ExecOptions::new().reason(format!("quantize to {level}")),
        )
        .directory(MADE)
}

pub(crate) async fn scored(
    model: &Directory,
    evaluation: &Directory,
    data: &File,
    python: &Container,
    place: &Place,
) -> Result<Score> {
    let ready = with_library(python)
        .with_mounted_directory(MODEL, model)
        .with_mounted_directory(EVALUATION, evaluation)
        .with_mounted_file(DATA, data);
    let (ready, device) = match place {
        Place::Cpu => (ready, "cpu"),
        Place::Gpu(_) | Place::Target(..) => (ready.with_gpu(&gpu::Request::new()), "cuda"),
    };
    let script = format!("{EVALUATION}/evaluate.py");
    let run = ready.with_env_variable("WHARF_DEVICE", device).with_exec_opts(
        ["python3", &script, MODEL, DATA],
        &ExecOptions::new().reason(format!(
            "evaluate on the {}",
            if device == "cpu" { "CPU" } else { "GPU" }
        )),
    );
    let said = match place {
        Place::Cpu | Place::Gpu(_) => run.stdout().await?,
        Place::Target(target, _) => {
            let said = Directory::new().with_file("said", &run.stdout_file());
            said.on_target(target).file("said").contents().await?
        }
    };
    read(&said)
}

/// What the last line that a script printed says.
fn read(text: &str) -> Result<Score> {
    let line = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let score: Score = serde_json::from_str(line).map_err(|error| {
        let shown: String = line.chars().take(200).collect();
        Error::with_code(
            "no-score",
            format!("the last line that evaluate.py printed is no JSON object with a number `score`: {shown:?} ({error})"),
        )
    })?;
    if !score.score.is_finite() {
        return Err(Error::with_code(
            "no-score",
            format!("evaluate.py says that the score is {}", score.score),
        ));
    }
    Ok(score)
}

/// Each level, largest first; all at once.
pub(crate) async fn compared(
    model: &Directory,
    evaluation: &Directory,
    data: &File,
    threshold: f64,
    levels: &[Level],
    python: &Container,
) -> Result<Vec<Candidate>> {
    let mut levels = if levels.is_empty() {
        ALL.to_vec()
    } else {
        levels.to_vec()
    };
    levels.sort_by_key(|level| *level as u8);
    levels.dedup();
    let place = &place().await?;
    let tries = levels.iter().map(|level| async move {
        let model = quantized(model, *level, python);
        let (score, bytes) = join!(scored(&model, evaluation, data, python, place), model.size());
        let Score { score, device } = score?;
        let device = device.unwrap_or_else(|| place.device().to_owned());
        Ok(Candidate {
            level: *level,
            bytes: bytes?,
            score,
            passed: score >= threshold,
            device,
            model,
        })
    });
    let candidates: Vec<Candidate> = join_all(tries).await.into_iter().collect::<Result<_>>()?;
    let report = log::Group::new(format!("levels, of which {threshold} is enough"));
    for candidate in &candidates {
        report.info(line(candidate));
    }
    Ok(candidates)
}

/// The smallest that is enough.
pub(crate) fn chosen(candidates: Vec<Candidate>, threshold: f64) -> Result<Candidate> {
    let mut text = format!("no level reaches {threshold}:");
    for candidate in &candidates {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {}", line(candidate));
    }
    let passed = candidates.into_iter().filter(|candidate| candidate.passed);
    passed
        .min_by_key(|candidate| candidate.bytes)
        .ok_or_else(|| Error::with_code("no-level-passes", text))
}

fn line(candidate: &Candidate) -> String {
    let Candidate {
        level,
        bytes,
        score,
        passed,
        device,
        ..
    } = candidate;
    let passed = if *passed { "passes" } else { "fails" };
    format!(
        "{level:<8} {:>8.1} MB  {score:.4}  {passed}  on {device}",
        *bytes as f64 / 1e6
    )
}

#[cfg(test)]
mod tests {
    use wharf_sdk::testing;

    use super::*;

    fn candidate(level: Level, bytes: u64, score: f64) -> Candidate {
        Candidate {
            level,
            bytes,
            score,
            passed: score >= 0.8,
            device: "cpu".to_owned(),
            model: testing::directory("model"),
        }
    }

    #[test]
    fn the_smallest_that_is_enough_is_chosen() {
        testing::plan(async {
            let all = || {
                vec![
                    candidate(Level::Original, 90, 0.9),
                    candidate(Level::Fp16, 45, 0.9),
                    candidate(Level::Int8, 23, 0.85),
                    candidate(Level::Int4, 12, 0.3),
                ]
            };
            assert_eq!(chosen(all(), 0.8).unwrap().level, Level::Int8);
            let mut none = all();
            none.iter_mut().for_each(|candidate| candidate.passed = false);
            let error = chosen(none, 0.95).err().unwrap().to_string();
            assert!(error.starts_with("no level reaches 0.95:\n  original"), "{error}");
            assert!(
                error.contains("int4") && error.contains("0.3000  fails  on cpu"),
                "{error}"
            );
        });
    }

    #[test]
    fn a_score_is_in_the_last_line() {
        assert_eq!(
            read("loading\n{\"score\": 0.5, \"pairs\": 3}\n\n").unwrap().score,
            0.5
        );
        for text in ["", "0.5", "{\"score\": \"high\"}", "{\"accuracy\": 1}"] {
            let error = read(text).unwrap_err().to_string();
            assert!(
                error.contains("no JSON object with a number `score`"),
                "{text}: {error}"
            );
        }
    }
}
