//! `wharf runs` and `wharf report`: what was run, what it used and what was saved.

use serde_json::{Value, json};
use wharf_record::{Amount, Kind, Listing, Prices, PricesError, Record, RecordError, Records, Step};

use crate::{
    args::{ReportArgs, RunsArgs},
    error::Report,
    output,
    places::Places,
    printable::{self, Keep},
    table::{bytes, columns, microseconds},
};

/// Letters of a step's title in a row.
const TITLE: usize = 100;
/// What stands where there is nothing to tell.
const NOTHING: &str = "-";

/// Lists runs, or shows one.
pub(crate) fn runs(args: &RunsArgs) -> Result<(), Report> {
    let (records, prices) = kept()?;
    if let Some(run) = &args.run {
        return show(&records.find(run)?, prices.as_ref(), args.json);
    }
    let listing = records.newest(if args.all { None } else { Some(args.count) })?;
    tell_broken(&listing);
    if args.json {
        let rows = listing.records.iter().map(|record| {
            let mut row = as_json(record, prices.as_ref());
            if let Some(row) = row.as_object_mut() {
                row.remove("steps");
                row.remove("steps-left-out");
            }
            row
        });
        return output::json(&rows.collect());
    }
    if listing.records.is_empty() {
        output::aside("nothing has been run yet: `wharf call` and `wharf check` leave a record each\n");
        return Ok(());
    }
    output::text(&table(&listing.records, prices.as_ref()))?;
    if listing.more > 0 {
        output::aside(&format!("and {} more: --all lists them\n", listing.more));
    }
    Ok(())
}

/// Shows one run.
pub(crate) fn report(args: &ReportArgs) -> Result<(), Report> {
    let (records, prices) = kept()?;
    let record = match &args.run {
        Some(run) => records.find(run)?,
        None => {
            let mut listing = records.newest(Some(1))?;
            tell_broken(&listing);
            listing.records.pop().ok_or_else(|| {
                Report::failed("nothing has been run yet")
                    .with_hint("`wharf call` and `wharf check` leave a record each")
            })?
        }
    };
    show(&record, prices.as_ref(), args.json)
}

fn kept() -> Result<(Records, Option<Prices>), Report> {
    let places = Places::find()?;
    Ok((Records::at(places.runs()), Prices::load(&places.prices())?))
}

/// What cannot be read is told and left out.
fn tell_broken(listing: &Listing) {
    for error in &listing.broken {
        output::aside(&format!(
            "wharf: left out: {}\n",
            printable::lines(&error.to_string())
        ));
    }
}

fn show(record: &Record, prices: Option<&Prices>, json: bool) -> Result<(), Report> {
    if json {
        output::json(&as_json(record, prices))
    } else {
        output::text(&text(record, prices))
    }
}

/// The record, with what it cost.
fn as_json(record: &Record, prices: Option<&Prices>) -> Value {
    let mut value = serde_json::to_value(record).expect("records always encode");
    if let Some(prices) = prices {
        value["cost"] = json!({
            "currency": prices.currency,
            "used": prices.of(record.totals.used),
            "saved": prices.of(record.totals.saved),
        });
    }
    value
}

fn table(records: &[Record], prices: Option<&Prices>) -> String {
    let header = [
        "RUN", "WHEN", "RESULT", "TIME", "STEPS", "HITS", "CPU", "GPU", "COST", "SAVED", "WHAT",
    ];
    let row = |record: &Record| {
        let totals = &record.totals;
        let saved = match (totals.saved, prices) {
            (saved, _) if saved == Amount::default() => NOTHING.to_owned(),
            (saved, None) => microseconds(saved.microseconds),
            (saved, Some(prices)) => format!("{}, {}", microseconds(saved.microseconds), prices.show(saved)),
        };
        [
            clean(&record.id),
            when(record.began),
            record.result.word().to_owned(),
            microseconds(record.milliseconds.saturating_mul(1000)),
            totals.steps().to_string(),
            totals.remembered.to_string(),
            some(totals.used.cpu_microseconds),
            some(totals.used.gpu_microseconds),
            cost(totals.used, prices),
            saved,
            clean(&record.what()),
        ]
    };
    let rows = std::iter::once(header.map(str::to_owned)).chain(records.iter().map(row));
    columns(&rows.collect::<Vec<_>>())
}

fn text(record: &Record, prices: Option<&Prices>) -> String {
    let totals = &record.totals;
    let row = |name: &str, value: String| [name.to_owned(), value];
    let amount = |amount: Amount| {
        let mut parts = vec![
            format!("{} of steps", microseconds(amount.microseconds)),
            format!("{} of CPU", microseconds(amount.cpu_microseconds)),
        ];
        if amount.gpu_microseconds > 0 {
            parts.push(format!("{} of GPU", microseconds(amount.gpu_microseconds)));
        }
        parts.extend(prices.map(|prices| prices.show(amount)));
        parts.join(", ")
    };
    let mut rows = vec![
        row("run", clean(&record.id)),
        row(
            "what",
            format!(
                "wharf {} of {}",
                clean(&record.work.command),
                clean(&record.what())
            ),
        ),
        row("when", when(record.began)),
        row("took", microseconds(record.milliseconds.saturating_mul(1000))),
        row("result", record.result.word().to_owned()),
    ];
    rows.extend(record.error.as_deref().map(|error| row("why", clean(error))));
    rows.extend([
        row(
            "steps",
            format!(
                "{}: {} remembered, {} run, {} failed, {} stopped",
                totals.steps() + totals.stopped,
                totals.remembered,
                totals.run,
                totals.failed,
                totals.stopped
            ),
        ),
        row("used", amount(totals.used)),
        row("saved", amount(totals.saved)),
    ]);
    let mut text = columns(&rows);
    if record.steps.is_empty() {
        return text;
    }
    let header = ["", "TIME", "CPU", "MEMORY", "GPUS", "COST", "STEP"].map(str::to_owned);
    let steps = record.steps.iter().map(|step| step_row(step, prices));
    text.push('\n');
    text.push_str(&columns(
        &std::iter::once(header).chain(steps).collect::<Vec<_>>(),
    ));
    if record.steps_left_out > 0 {
        text.push_str(&format!("… and {} that were shorter\n", record.steps_left_out));
    }
    text
}

fn step_row(step: &Step, prices: Option<&Prices>) -> [String; 7] {
    let title: String = clean(&step.title).chars().take(TITLE).collect();
    let title = match step.kind {
        Kind::Service => format!("service: {title}"),
        _ => title,
    };
    [
        step.outcome.word().to_owned(),
        microseconds(step.microseconds),
        step.cpu_microseconds
            .map_or_else(|| NOTHING.to_owned(), microseconds),
        step.peak_memory.map_or_else(|| NOTHING.to_owned(), bytes),
        if step.gpus == 0 {
            NOTHING.to_owned()
        } else {
            step.gpus.to_string()
        },
        cost(Amount::of(step), prices),
        title,
    ]
}

fn cost(amount: Amount, prices: Option<&Prices>) -> String {
    match prices {
        Some(prices) if amount != Amount::default() => prices.show(amount),
        _ => NOTHING.to_owned(),
    }
}

fn some(count: u64) -> String {
    if count == 0 {
        NOTHING.to_owned()
    } else {
        microseconds(count)
    }
}

/// Steps and modules have their say in a record, and files may come from anywhere.
fn clean(text: &str) -> String {
    printable::line(text, Keep::Nothing)
}

/// A time for people, where they are.
fn when(milliseconds: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(milliseconds).unwrap_or(i64::MAX));
    match time {
        Ok(time) => time
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string(),
        Err(_) => NOTHING.to_owned(),
    }
}

impl From<RecordError> for Report {
    fn from(error: RecordError) -> Self {
        let message = error.to_string();
        match error {
            RecordError::Missing(_) | RecordError::Ambiguous { .. } => {
                Self::usage(message).with_hint("`wharf runs` lists them")
            }
            RecordError::Broken { .. } => {
                Self::failed(message).with_hint("it can be removed: no run needs it")
            }
            RecordError::Io { .. } => Self::failed(message),
        }
    }
}

impl From<PricesError> for Report {
    fn from(error: PricesError) -> Self {
        Self::usage(error.to_string())
            .with_hint("it holds currency = \"EUR\", cpu-hour = 0.04 and gpu-hour = 2.1, or some of them")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wharf_record::{Collector, Ended, Outcome, Result as Ending, Work};

    use super::*;

    fn record() -> Record {
        let mut run = Collector::default();
        for (key, outcome, gpus) in [(1, Outcome::Remembered, 0), (2, Outcome::Done, 1)] {
            run.begin(&[key], Kind::Step, "make \x1b[2J all");
            let ended = Ended {
                outcome,
                microseconds: 3_600_000_000,
                cpu_microseconds: Some(7_200_000_000),
                peak_memory: Some(12_000_000),
                gpus,
            };
            run.end(&[key], ended);
        }
        let work = Work {
            command: "call".to_owned(),
            module: "my:app".to_owned(),
            functions: vec!["build".to_owned(), "export".to_owned()],
        };
        Record {
            id: "3f2a9c51".to_owned(),
            ..run.record(work, Duration::from_secs(90), Ending::Failed, Some("it broke"))
        }
    }

    fn prices() -> Prices {
        Prices {
            currency: "EUR".to_owned(),
            cpu_hour: 0.04,
            gpu_hour: 2.5,
        }
    }

    /// What is of this moment and place is left out.
    fn timeless(text: &str) -> String {
        let is_time = |line: &&str| !line.starts_with("when");
        text.lines()
            .filter(is_time)
            .map(|line| format!("{line}\n"))
            .collect()
    }

    #[test]
    fn a_run_is_shown_step_by_step() {
        insta::assert_snapshot!(timeless(&text(&record(), Some(&prices()))), @r"
        run     3f2a9c51
        what    wharf call of my:app build export
        took    90.0 s
        result  failed
        why     it broke
        steps   2: 1 remembered, 1 run, 0 failed, 0 stopped
        used    60 min 0 s of steps, 120 min 0 s of CPU, 60 min 0 s of GPU, 2.58 EUR
        saved   60 min 0 s of steps, 120 min 0 s of CPU, 0.0800 EUR

                    TIME        CPU          MEMORY   GPUS  COST        STEP
        remembered  60 min 0 s  120 min 0 s  12.0 MB  -     0.0800 EUR  make  all
        done        60 min 0 s  120 min 0 s  12.0 MB  1     2.58 EUR    make  all
        ");
    }

    #[test]
    fn runs_are_a_row_each() {
        let shown = table(&[record()], None);
        let row = shown.lines().nth(1).unwrap();
        assert!(row.starts_with("3f2a9c51  "), "{row}");
        let rest =
            "  failed  90.0 s  2      1     120 min 0 s  60 min 0 s  -     60 min 0 s  my:app build export";
        assert!(row.ends_with(rest), "{row}");
        assert_eq!(as_json(&record(), Some(&prices()))["cost"]["used"], 2.58);
    }
}
