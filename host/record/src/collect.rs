//! From work that begins and ends to a record.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::record::{Amount, FORMAT, Kind, Outcome, Record, Result, Step, Totals, Work};

/// Steps that a record lists.
const MOST_STEPS: usize = 2000;
/// Bytes of a key that are kept.
const KEY: usize = 6;

/// How a piece of work ended, and what it used.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took; of what was remembered, when it was made.
    pub microseconds: u64,
    /// Processor time, where it was counted.
    pub cpu_microseconds: Option<u64>,
    /// The most memory at once, in bytes, where it was counted.
    pub peak_memory: Option<u64>,
    /// How many GPUs it had for all of that time.
    pub gpus: u32,
}

/// Takes in what happens in a run.
#[derive(Clone, Debug)]
pub struct Collector {
    id: String,
    began: SystemTime,
    running: HashMap<Vec<u8>, (Kind, String)>,
    steps: Vec<Step>,
    totals: Totals,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            id: new_id(),
            began: SystemTime::now(),
            running: HashMap::new(),
            steps: Vec::new(),
            totals: Totals::default(),
        }
    }
}

impl Collector {
    /// What the record will be called.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A piece of work has begun.
    pub fn begin(&mut self, key: &[u8], kind: Kind, title: &str) {
        self.running.insert(key.to_vec(), (kind, title.to_owned()));
    }

    /// It has ended. What was not seen to begin is not counted.
    pub fn end(&mut self, key: &[u8], ended: Ended) {
        let Some((kind, title)) = self.running.remove(key) else {
            return;
        };
        let step = Step {
            key: key.iter().take(KEY).map(|byte| format!("{byte:02x}")).collect(),
            title,
            kind,
            outcome: ended.outcome,
            microseconds: ended.microseconds,
            cpu_microseconds: ended.cpu_microseconds,
            peak_memory: ended.peak_memory,
            gpus: ended.gpus,
        };
        self.sum(&step);
        self.steps.push(step);
    }

    fn sum(&mut self, step: &Step) {
        let totals = &mut self.totals;
        if step.kind == Kind::Step {
            match step.outcome {
                Outcome::Remembered => totals.remembered += 1,
                Outcome::Done => totals.run += 1,
                Outcome::Failed => totals.failed += 1,
                Outcome::Stopped => totals.stopped += 1,
            }
        }
        match (step.kind, step.outcome) {
            (Kind::Step, Outcome::Remembered) => totals.saved = totals.saved.and(Amount::of(step)),
            // What was remembered has used nothing, and transfers wait more than they work.
            (Kind::Step | Kind::Service, Outcome::Done | Outcome::Failed | Outcome::Stopped) => {
                totals.used = totals.used.and(Amount::of(step));
            }
            _ => {}
        }
    }

    /// The sums so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What began and has not ended: kinds and titles.
    pub fn running(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.running.values().map(|(kind, title)| (*kind, title.as_str()))
    }

    /// Titles of steps that were ended before their end.
    pub fn stopped(&self) -> impl Iterator<Item = &str> {
        let stopped = |step: &&Step| step.kind == Kind::Step && step.outcome == Outcome::Stopped;
        self.steps.iter().filter(stopped).map(|step| step.title.as_str())
    }

    /// The record of a run that took this long and ended so.
    ///
    /// Its texts are whole: [`Record::mask`] and [`Record::shorten`] make them fit to be kept, in this order.
    pub fn record(&self, work: Work, took: Duration, result: Result, error: Option<&str>) -> Record {
        let mut steps = self.steps.clone();
        let left_out = steps.len().saturating_sub(MOST_STEPS);
        if left_out > 0 {
            let mut times: Vec<u64> = steps.iter().map(|step| step.microseconds).collect();
            times.sort_unstable_by(|one, other| other.cmp(one));
            let least = times[MOST_STEPS - 1];
            steps.retain(|step| step.microseconds >= least);
            steps.truncate(MOST_STEPS);
        }
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        Record {
            format: FORMAT,
            id: self.id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            began: began.as_millis() as u64,
            milliseconds: took.as_millis() as u64,
            work,
            result,
            error: error.map(str::to_owned),
            totals: self.totals.clone(),
            steps,
            steps_left_out: left_out,
        }
    }
}

/// The standard library's maps have a random key in each process.
fn new_id() -> String {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("{:08x}", hasher.finish() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(outcome: Outcome, milliseconds: u64, gpus: u32) -> Ended {
        Ended {
            outcome,
            microseconds: milliseconds * 1000,
            cpu_microseconds: Some(milliseconds * 500),
            peak_memory: None,
            gpus,
        }
    }

    #[test]
    fn what_was_remembered_is_saved_and_what_ran_was_used() {
        let mut run = Collector::default();
        for (key, kind, outcome, milliseconds, gpus) in [
            (1, Kind::Step, Outcome::Done, 1000, 2),
            (2, Kind::Step, Outcome::Failed, 500, 0),
            (3, Kind::Step, Outcome::Remembered, 4000, 1),
            (4, Kind::Service, Outcome::Done, 100, 1),
            (5, Kind::Pull, Outcome::Done, 9000, 0),
        ] {
            run.begin(&[key], kind, "make");
            run.end(&[key], ended(outcome, milliseconds, gpus));
        }
        // Whoever joined late was told of the end alone.
        run.end(&[9], ended(Outcome::Done, 1, 0));
        let totals = run.totals();
        assert_eq!(totals.steps(), 3);
        assert_eq!((totals.remembered, totals.run, totals.failed), (1, 1, 1));
        let amount = |milliseconds: u64, gpu: u64| Amount {
            microseconds: milliseconds * 1000,
            cpu_microseconds: milliseconds * 500,
            gpu_microseconds: gpu * 1000,
        };
        assert_eq!(totals.used, amount(1600, 2100));
        assert_eq!(totals.saved, amount(4000, 4000));
    }

    #[test]
    fn of_very_many_steps_the_longest_are_kept_and_all_are_counted() {
        let mut run = Collector::default();
        for at in 0..MOST_STEPS as u64 + 10 {
            run.begin(&at.to_le_bytes(), Kind::Step, "true");
            run.end(&at.to_le_bytes(), ended(Outcome::Done, at, 0));
        }
        let record = run.record(Work::default(), Duration::ZERO, Result::Done, None);
        assert_eq!((record.steps.len(), record.steps_left_out), (MOST_STEPS, 10));
        assert_eq!(record.steps[0].microseconds, 10_000);
        assert_eq!(record.totals.run, MOST_STEPS + 10);
    }

    #[test]
    fn what_is_masked_is_nowhere_in_the_record() {
        let mut run = Collector::default();
        run.begin(&[1], Kind::Step, "login hunter22");
        run.end(&[1], ended(Outcome::Failed, 1, 0));
        let mut record = run.record(
            Work::default(),
            Duration::ZERO,
            Result::Failed,
            Some("no hunter22"),
        );
        record.mask(|text| text.replace("hunter22", "***"));
        record.shorten();
        assert!(!serde_json::to_string(&record).unwrap().contains("hunter22"));
        assert_eq!(record.error.as_deref(), Some("no ***"));
    }
}
