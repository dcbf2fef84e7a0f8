//! `wharf check`: runs a module's checks, all at once, and says which hold.
//!
//! A check holds when its function returns: a `Result` that is an error fails it, and so does `false`. A container, directory or
//! file that it returns has to be made.

mod junit;

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;
use wharf_graph::read::Question;
use wharf_manifest::Rights;
use wharf_record::Work;
use wharf_wasm::{Function, Module, Value, args::Place};

use super::functions;
use crate::{
    args::CheckArgs,
    colour::{Colour, Paint},
    engine_choice::EngineSettings,
    error::{Ended, Report},
    flags::Flags,
    module::{self, Loaded},
    output,
    pins::Pins,
    progress::Style,
    registries::Reach,
    run::{self, Judged, RunOptions, Within},
    suggest::nearest,
    table::{columns, seconds},
    terminal,
};

/// One check that was run.
struct Checked {
    name: String,
    took: Duration,
    outcome: Result<(), Report>,
}

/// Runs the checks that are named, or all.
pub(crate) fn run(args: &CheckArgs) -> Result<(), Report> {
    let settings = EngineSettings::of(&args.engine)?;
    let style = Style::from(&args.loudness);
    terminal::needed(args.interactive)?;
    args.junit.as_deref().map(junit::needed).transpose()?;
    let reach = Reach::new(args.pinning, args.engine.ca_cert.as_deref()).by(&settings);
    let loaded = module::load_asking(
        &args.module.module,
        &settings.places,
        style,
        &reach,
        args.no_input,
    )?;
    let checks = chosen(&loaded.module, &args.names)?;
    if args.list {
        return list(&checks, args.json);
    }
    let place = Place {
        directory: &loaded.project,
        project: &loaded.project,
        scope: &loaded.scope,
    };
    let checks = checks
        .into_iter()
        .map(|check| Ok((Flags::default().arguments(&check, place)?, check)))
        .collect::<Result<Vec<_>, Report>>()?;
    let pins = Pins::of(&loaded, args.pin, args.pinning.locked)?;
    let options = RunOptions {
        no_cache: args.no_cache,
        explain: false,
        interactive: args.interactive,
        meanings: pins.meanings(),
        locked: pins.is_locked(),
        work: Work {
            command: "check".to_owned(),
            module: loaded.module.name().to_owned(),
            functions: checks.iter().map(|(_, check)| check.name.clone()).collect(),
        },
    };
    let module = loaded.module.name().to_owned();
    let loaded = Arc::new(loaded);
    let checked = run::run(settings, style, options, |within| async move {
        let session = within.session.clone();
        let running = checks.into_iter().map(|(arguments, check)| {
            // A task for each: one that computes must not hold up the others.
            let (loaded, within) = (Arc::clone(&loaded), within.clone());
            let name = check.name.clone();
            let started = Instant::now();
            let task = one(loaded, check, arguments, within, (args.strict, args.timeout));
            let task = AbortOnDropHandle::new(tokio::spawn(task));
            async move {
                Checked {
                    name,
                    outcome: task
                        .await
                        .unwrap_or_else(|error| Err(Report::failed(error.to_string()))),
                    took: started.elapsed(),
                }
            }
        });
        let checked = join_all(running).await;
        pins.note(session.found_meanings())?;
        Ok(checked)
    })?;
    if let Some(path) = &args.junit {
        junit::write(path, &module, &checked)?;
    }
    if args.json {
        output::json(&checked.iter().map(Checked::to_json).collect())?;
    } else {
        output::text(&text(&checked, Paint::of_stdout()))?;
    }
    failures(checked, style)
}

/// The checks of these names; all of the module when none is named.
fn chosen(module: &Module, names: &[String]) -> Result<Vec<Function>, Report> {
    let all: Vec<_> = module
        .functions()
        .iter()
        .filter(|function| function.is_check)
        .collect();
    if all.is_empty() {
        return Err(Report::usage(format!("{} has no checks", module.name()))
            .with_hint("write #[check] above a function whose parameters all have defaults"));
    }
    if names.is_empty() {
        return Ok(all.into_iter().cloned().collect());
    }
    let find = |name: &String| {
        let kebab = name.replace('_', "-");
        if let Some(check) = all.iter().find(|check| check.name == kebab) {
            return Ok((*check).clone());
        }
        if module.functions().iter().any(|function| function.name == kebab) {
            return Err(
                Report::usage(format!("{name} is a function of {} and no check", module.name()))
                    .with_hint(format!("`wharf call {kebab}` calls it")),
            );
        }
        let there = || all.iter().map(|check| check.name.as_str());
        let meant = nearest(&kebab, there())
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        Err(
            Report::usage(format!("{} has no check {name}{meant}", module.name()))
                .with_detail(format!("It has: {}", there().collect::<Vec<_>>().join(", "))),
        )
    };
    let mut found: Vec<Function> = Vec::new();
    for name in names {
        let check = find(name)?;
        if found.iter().all(|known| known.name != check.name) {
            found.push(check);
        }
    }
    Ok(found)
}

fn list(checks: &[Function], json: bool) -> Result<(), Report> {
    if json {
        return output::json(&checks.iter().map(functions::as_json).collect());
    }
    let row = |check: &Function| {
        let first_line = check.docs.lines().next().unwrap_or_default();
        [check.name.clone(), first_line.to_owned()]
    };
    output::text(&columns(&checks.iter().map(row).collect::<Vec<_>>()))
}

async fn one(
    loaded: Arc<Loaded>,
    check: Function,
    arguments: Vec<Value>,
    within: Within,
    (strict, time): (bool, Duration),
) -> Result<(), Report> {
    let context = within.context(&loaded, &Rights::none(), strict, time);
    let value = loaded.module.call(&check, arguments, context).await?;
    if let Value::Bool(false) = value {
        return Err(Report::failed(format!("{} returned false", check.name)));
    }
    make(&within, &value).await
}

/// Makes what a value stands for.
fn make<'a>(within: &'a Within, value: &'a Value) -> BoxFuture<'a, Result<(), Report>> {
    async move {
        let node = match value {
            Value::Container(container) => container.node(),
            Value::Directory(directory) => directory.node(),
            Value::File(file) => file.node(),
            Value::List(items) | Value::Tuple(items) => {
                let made = join_all(items.iter().map(|item| make(within, item))).await;
                return made.into_iter().collect();
            }
            Value::Record(fields) => {
                let made = join_all(fields.iter().map(|(_, value)| make(within, value))).await;
                return made.into_iter().collect();
            }
            Value::Option(Some(value)) | Value::Variant(_, Some(value)) => return make(within, value).await,
            _ => return Ok(()),
        };
        within.session.read(node, Question::Sync).await?;
        Ok(())
    }
    .boxed()
}

impl Judged for Vec<Checked> {
    fn failure(&self) -> Option<(Ended, String)> {
        let failed = self.iter().filter_map(|check| {
            let report = check.outcome.as_ref().err()?;
            Some((report.ended(), check.name.as_str()))
        });
        let failed: Vec<_> = failed.collect();
        let (ended, _) = *failed.first()?;
        let names: Vec<_> = failed.iter().map(|(_, name)| *name).collect();
        Some((ended, format!("failed: {}", names.join(", "))))
    }
}

impl Checked {
    fn to_json(&self) -> serde_json::Value {
        json!({
            "name": self.name,
            "passed": self.outcome.is_ok(),
            "milliseconds": self.took.as_millis() as u64,
            "error": self.outcome.as_ref().err().map(|report| report.words().trim_end().to_owned()),
        })
    }
}

/// A row for each check, and the sum.
fn text(checked: &[Checked], paint: Paint) -> String {
    let width = checked.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checked {
        let (colour, word) = match check.outcome {
            Ok(()) => (Colour::Green, "passed"),
            Err(_) => (Colour::Red, "failed"),
        };
        let word = paint.paint(colour, word);
        let _ = writeln!(text, "{word}  {:width$}  {}", check.name, seconds(check.took));
    }
    text
}

/// What is said of those that failed, each as a call of it would be.
fn failures(checked: Vec<Checked>, style: Style) -> Result<(), Report> {
    let (all, mut failed) = (checked.len(), Vec::new());
    let mut ended = None;
    for Checked { name, outcome, .. } in checked {
        let Err(report) = outcome else { continue };
        // One code for all of them when they agree; a failed pipeline otherwise.
        ended = match ended {
            None => Some(report.ended()),
            Some(before) if before == report.ended() => ended,
            Some(_) => Some(Ended::Failed),
        };
        let report = if style.is_live() {
            report.without_log()
        } else {
            report
        };
        failed.push(format!("{name}: {}", report.words()));
    }
    let Some(ended) = ended else { return Ok(()) };
    let plural = if all == 1 { "" } else { "s" };
    let message = format!("{} of {all} check{plural} failed:", failed.len());
    Err(Report::new(ended, message).with_detail(failed.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, outcome: Result<(), Report>) -> Checked {
        Checked {
            name: name.to_owned(),
            took: Duration::from_millis(1200),
            outcome,
        }
    }

    #[test]
    fn each_check_has_a_row_and_failures_their_words() {
        let all = vec![
            checked("lint", Ok(())),
            checked(
                "unit-tests",
                Err(Report::failed("two of them fail").with_hint("look")),
            ),
        ];
        insta::assert_snapshot!(text(&all, Paint::NONE), @r"
        passed  lint        1.2 s
        failed  unit-tests  1.2 s
        ");
        let style = Style {
            kind: crate::args::ProgressKind::Plain,
            quiet: false,
            verbose: false,
        };
        let report = failures(all, style).unwrap_err();
        assert_eq!(report.ended(), Ended::Failed);
        insta::assert_snapshot!(report.text(), @r"
        wharf: 1 of 2 checks failed:
        unit-tests: two of them fail
          hint: look
        ");
    }

    #[test]
    fn checks_that_fail_alike_end_alike() {
        let style = Style {
            kind: crate::args::ProgressKind::Plain,
            quiet: false,
            verbose: false,
        };
        let ended = |all: Vec<Ended>| {
            let all = all
                .into_iter()
                .map(|ended| checked("one", Err(Report::new(ended, "why"))));
            failures(all.collect(), style).unwrap_err().ended()
        };
        assert_eq!(ended(vec![Ended::Denied, Ended::Denied]), Ended::Denied);
        assert_eq!(ended(vec![Ended::Denied, Ended::Unreachable]), Ended::Failed);
    }
}
