//! `cargo xtask demo`: a real library through a real pipeline, three times, and what was remembered each time.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use flate2::read::GzDecoder;
use wharf_testkit::{ordinary::User, paths, shared};

use crate::shell::{self, Done, Failure};
use crate::{fixtures, ordinary, setup};

/// A pure Python library whose source distribution has its own tests, which need nothing but pytest.
const LIBRARY: &str = "pathspec";
/// Pinned, so that the demo shows the same today and tomorrow.
const VERSION: &str = "0.12.1";
/// The source file that the third run finds changed.
const TOUCHED: &str = "pathspec/util.py";

/// How to run the demo.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The engine to run on, as `wharf --engine` takes it, or rootless: a local one of an ordinary user.
    #[arg(long, default_value = "auto")]
    engine: String,
    /// Leave what an earlier demo has made in the store.
    #[arg(long)]
    keep: bool,
}

/// One run of the pipeline.
struct Run {
    took: Duration,
    remembered: usize,
    executed: usize,
}

/// The demo's places and settings.
struct Stage {
    wharf: PathBuf,
    source: PathBuf,
    out: PathBuf,
    variables: Vec<(&'static str, String)>,
    /// Who runs it, when that is another user.
    user: Option<User>,
}

/// Tells the story of three runs.
pub(crate) fn run(options: &Options) -> Done {
    setup::run()?;
    shell::run(shell::cargo().args(["build", "--package", "wharf-cli"]))?;
    let stage_dir = paths::target().join("demo");
    fs::create_dir_all(&stage_dir)?;
    let is_rootless = options.engine == shared::ROOTLESS;
    let engine = if is_rootless { "local" } else { &options.engine };
    let mut stage = Stage {
        user: if is_rootless { ordinary::user()? } else { None },
        wharf: paths::target().join("debug/wharf"),
        source: library(&stage_dir)?,
        out: stage_dir.join("out"),
        variables: vec![
            ("WHARF_HOME", stage_dir.join("wharf").display().to_string()),
            ("WHARF_ENGINE", engine.to_owned()),
        ],
    };
    // Keeps the registry alive until the demo is over.
    let mut mirror = None;
    if !public_registry_answers() {
        say(
            "The public registry cannot be reached: its images are made from Debian's packages and served here.",
        );
        let serving = fixtures::serve()?;
        stage
            .variables
            .push(("WHARF_REGISTRY_MIRRORS", serving.setting()));
        mirror = Some(serving);
    }
    let told = tell(&stage, options.keep);
    // The engine would go by itself after a while; the demo leaves nothing running.
    let _ = stage.command(["engine", "stop"]).status();
    drop(mirror);
    told
}

fn tell(stage: &Stage, keep: bool) -> Done {
    if !keep {
        // An engine of an earlier demo may hold the store that is emptied here.
        let _ = stage.command(["engine", "stop"]).stderr(Stdio::null()).status();
        shell::run(&mut stage.command(["cache", "prune", "--all"]))?;
    }
    say(&format!(
        "1. {LIBRARY} {VERSION}: install what its tests need, test under three settings, build the wheel."
    ));
    let first = stage.release()?;
    say("2. The same again: nothing has changed.");
    let second = stage.release()?;
    say(&format!("3. One line more in {TOUCHED}."));
    let touched = stage.source.join(TOUCHED);
    writeln!(
        OpenOptions::new().append(true).open(&touched)?,
        "\n# A changed source file."
    )?;
    let third = stage.release()?;

    println!("\nWhat the pipeline made, in {}:", stage.out.display());
    for entry in fs::read_dir(&stage.out)? {
        println!("  {}", entry?.file_name().to_string_lossy());
    }
    println!();
    for (what, run) in [
        ("first run", &first),
        ("again", &second),
        ("one file changed", &third),
    ] {
        let seconds = run.took.as_secs_f64();
        println!(
            "{what:>17}: {seconds:6.2} s, {} steps run, {} remembered",
            run.executed, run.remembered
        );
    }
    if second.executed > 0 {
        return Err("the second run should have been remembered as a whole".into());
    }
    if third.executed == 0 || third.remembered == 0 {
        return Err(
            "the third run should have run what depends on the changed file, and nothing else".into(),
        );
    }
    Ok(())
}

impl Stage {
    fn command<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = ordinary::command(self.user.as_ref(), &self.wharf);
        command
            .args(args)
            .envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command.current_dir(paths::workspace()).stdin(Stdio::null());
        command
    }

    /// Calls the example module's `release` and shows what it says.
    fn release(&self) -> Result<Run, Failure> {
        if self.out.exists() {
            fs::remove_dir_all(&self.out)?;
        }
        let module = "examples/python-library";
        let mut command = self.command(["call", "--progress", "plain", "-m", module, "release", "--source"]);
        command.arg(&self.source).arg("-o").arg(&self.out);
        println!("$ {}", shell::line_of(&command));
        let start = Instant::now();
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut counts = None;
        for line in child
            .stderr
            .take()
            .into_iter()
            .flat_map(|stderr| BufReader::new(stderr).lines())
        {
            let line = line?;
            println!("  {line}");
            counts = count(&line).or(counts);
        }
        let status = child.wait()?;
        let took = start.elapsed();
        if !status.success() {
            return Err(format!("the pipeline failed ({status})").into());
        }
        let (remembered, executed) = counts.ok_or("the run did not say how many steps were remembered")?;
        Ok(Run {
            took,
            remembered,
            executed,
        })
    }
}

/// Reads the numbers of steps that were remembered and run from a run's last line.
fn count(line: &str) -> Option<(usize, usize)> {
    let number_before = |word: &str| {
        let (before, _) = line.split_once(word)?;
        before
            .rsplit(|letter: char| !letter.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    Some((number_before(" remembered")?, number_before(" run")?))
}

/// The library's unpacked source distribution, as its authors have published it.
fn library(stage: &Path) -> Result<PathBuf, Failure> {
    let archive = stage.join(format!("{LIBRARY}-{VERSION}.tar.gz"));
    if !archive.is_file() {
        let wanted = format!("{LIBRARY}=={VERSION}");
        let pip = paths::program("pip3")
            .or_else(|| paths::program("pip"))
            .ok_or("pip is not installed")?;
        let download = ["download", "--quiet", "--no-binary", ":all:", "--no-deps"];
        shell::run(
            Command::new(pip)
                .args(download)
                .arg("--dest")
                .arg(stage)
                .arg(wanted),
        )?;
    }
    let source = stage.join(format!("{LIBRARY}-{VERSION}"));
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    tar::Archive::new(GzDecoder::new(File::open(&archive)?)).unpack(stage)?;
    Ok(source)
}

/// Whether images can be pulled from where their names say they are.
fn public_registry_answers() -> bool {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--output",
        "/dev/null",
        "--max-time",
        "5",
        "--write-out",
        "%{http_code}",
    ]);
    command.arg("https://registry-1.docker.io/v2/");
    // It asks for a token, so this is what an open way to it looks like.
    command.output().is_ok_and(|output| output.stdout == b"401")
}

fn say(text: &str) {
    println!("\n{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_how_much_was_remembered() {
        assert_eq!(
            count("12 steps: 9 remembered, 3 run, 0 failed in 1.2s"),
            Some((9, 3))
        );
        assert_eq!(
            count("12 steps: 12 remembered, 0 run, 0 failed in 0.0s (all remembered)"),
            Some((12, 0))
        );
        assert_eq!(count("#4 pip install"), None);
    }
}
