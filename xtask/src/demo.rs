//! `cargo xtask demo`: a model goes from a hub to a registry, three times, and what was remembered each time.
//!
//! The weights are real, the hub and the registry are this command's own. Nothing else than package registries is asked.

mod by_hand;
mod stage;
mod table;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use wharf_testkit::paths;

use crate::machine::Machine;
use crate::shell::{self, Done, Failure};
use crate::{fixtures, setup};
use by_hand::ByHand;
use stage::Stage;

/// The three runs.
const RUNS: [&str; 3] = ["first run", "again", "app changed"];

/// Letters of a line that are shown of what the pipeline says.
const WIDTH: usize = 160;

/// How to run the demo.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The engine to run on, as `wharf --engine` takes it, or rootless: a local one of an ordinary user.
    #[arg(long, default_value = "auto")]
    engine: String,
    /// Leave what an earlier demo has made in the store.
    #[arg(long)]
    keep: bool,
    /// Run the same pipeline as a shell script beside it, examples/llm-deploy/by-hand, and compare how long each takes.
    #[arg(long, conflicts_with = "keep")]
    beside_shell: bool,
    /// Write the comparison into docs/performance.md.
    #[arg(long, requires = "beside_shell")]
    write: bool,
}

/// One run of the pipeline.
struct Run {
    took: Duration,
    remembered: usize,
    executed: usize,
    /// Bytes of weights that the hub sent, and blobs that the registry was sent.
    fetched: u64,
    uploads: usize,
}

/// Tells the story of three runs.
pub(crate) fn run(options: &Options) -> Done {
    setup::run()?;
    shell::build_wharf()?;
    // Ctrl-C ends what runs at that moment; that fails, and everything is cleaned up on the way out.
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let told = prepare_and_tell(options, &interrupted);
    if interrupted.load(Ordering::Relaxed) {
        return Err("interrupted; nothing of the demo runs any more".into());
    }
    told
}

fn prepare_and_tell(options: &Options, interrupted: &AtomicBool) -> Done {
    println!("\nexamples/llm-deploy is a pipeline in one file. It");
    println!("  - downloads a sentence model from a hub, and checks that its files are whole,");
    println!("  - tries it with 32, 16, 8 and 4 bits at once, and takes the smallest that does well enough,");
    println!("  - packages it behind an API: dependencies, weights and application in a layer each,");
    println!("  - starts the image, asks it something, and publishes it with a password that it never sees.");
    println!("The weights are real: all-MiniLM-L6-v2, 90 MB, from a package of the Python registry.");
    println!("Hub and registry are this command's own and end with it. Ctrl-C stops all of it.");
    let mut by_hand = if options.beside_shell {
        Some(ByHand::new()?)
    } else {
        None
    };
    let mut stage = Stage::set(&options.engine)?;
    // Keeps the registry alive until the demo is over.
    let mut mirror = None;
    if !public_registry_answers() {
        say(
            "The public registry cannot be reached: its images are made from Debian's packages and served here.",
        );
        let serving = fixtures::serve(stage.daemon())?;
        stage.set_variable("WHARF_REGISTRY_MIRRORS", &serving.setting());
        mirror = Some(serving);
    }
    let base = mirror.as_ref().and_then(|mirror| mirror.registry());
    if let (Some(by_hand), Some(base)) = (&mut by_hand, base) {
        by_hand.pull_from(base.address());
    }
    let told = tell(&stage, by_hand.as_ref(), options, interrupted);
    // The engine would go by itself after a while; the demo leaves nothing running.
    let _ = stage.command(["engine", "stop"]).stderr(Stdio::null()).status();
    drop(mirror);
    // A daemon of the demo's own goes last.
    drop(stage);
    told
}

fn tell(stage: &Stage, by_hand: Option<&ByHand>, options: &Options, interrupted: &AtomicBool) -> Done {
    if !options.keep {
        // An engine of an earlier demo may hold the store that is emptied here.
        let _ = stage.command(["engine", "stop"]).stderr(Stdio::null()).status();
        shell::run(&mut stage.command(["cache", "prune", "--all"]))?;
    }
    say("Building the pipeline and the three modules that it calls.");
    shell::run(stage.module_command(["functions"]).stdout(Stdio::null()))?;
    let (mut runs, mut beside) = (Vec::new(), Vec::new());
    for (number, what) in RUNS.iter().enumerate() {
        if interrupted.load(Ordering::Relaxed) {
            return Ok(());
        }
        say(&match number {
            0 => "1. The first time: everything has to be done.".to_owned(),
            1 => "2. The same again: nothing has changed.".to_owned(),
            _ => format!("3. One line of {} is another.", stage.shown(&stage.handler())),
        });
        if number == 2 {
            touch(&stage.handler())?;
            by_hand.map_or(Ok(()), |by_hand| touch(&by_hand.handler()))?;
        }
        runs.push(deploy(stage)?);
        if let Some(by_hand) = by_hand {
            say(&format!("The same by hand ({what}):"));
            beside.push(by_hand.run()?);
        }
    }
    println!();
    for (what, run) in RUNS.iter().zip(&runs) {
        println!("{what:>11}: {}", line(run));
    }
    check(&runs)?;
    if let Some(by_hand) = by_hand {
        let machine = Machine::look(&place(), "local", Some(by_hand.daemon()));
        let table = table::markdown(&RUNS, &runs, &beside, &machine);
        println!("\n{table}");
        if options.write {
            table::write(&table)?;
        }
    }
    Ok(())
}

fn line(run: &Run) -> String {
    format!(
        "{:6.2} s, {:2} steps run, {:2} remembered, {:4.1} MB from the hub, {} blobs sent to the registry",
        run.took.as_secs_f64(),
        run.executed,
        run.remembered,
        run.fetched as f64 / 1e6,
        run.uploads
    )
}

/// What the three runs have to show.
fn check(runs: &[Run]) -> Done {
    let [_, again, changed] = runs else { return Ok(()) };
    if again.executed > 0 || again.fetched > 0 || again.uploads > 0 {
        return Err("the second run should have been remembered as a whole".into());
    }
    if changed.executed == 0 || changed.remembered == 0 || changed.fetched > 0 {
        return Err("the third run should have run what depends on the application, and nothing else".into());
    }
    Ok(())
}

/// A change of the application: another word in what it says of a wrong request.
fn touch(handler: &Path) -> Done {
    let mut file = OpenOptions::new().append(true).open(handler)?;
    Ok(writeln!(file, "\n# A changed source file.")?)
}

/// Calls the pipeline and shows what it says.
fn deploy(stage: &Stage) -> Result<Run, Failure> {
    let (fetched, uploads) = (stage.hub.sent(), stage.uploads());
    let mut command = stage.deploy();
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
        println!("  {}", shortened(&line));
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
        fetched: stage.hub.sent() - fetched,
        uploads: stage.uploads() - uploads,
    })
}

/// As much of a line as says what it is: vectors are long.
fn shortened(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
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

/// A directory that is empty.
fn emptied(directory: &Path) -> Done {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    Ok(fs::create_dir_all(directory)?)
}

/// A place below the target directory for what the demo makes.
fn place() -> PathBuf {
    paths::target().join("demo")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_between_letters() {
        assert_eq!(shortened("ends"), "ends");
        assert_eq!(shortened(&"é".repeat(500)), format!("{}…", "é".repeat(WIDTH)));
    }

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
