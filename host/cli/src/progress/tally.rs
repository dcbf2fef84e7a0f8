//! Counts what a run did.

use std::{collections::HashMap, fmt, time::Duration};

use wharf_client::proto::{Event, Finished, Kind, Outcome, event::What};

/// How many steps were remembered, run and failed, and which were cut short.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) remembered: usize,
    pub(crate) run: usize,
    pub(crate) failed: usize,
    /// Titles of steps that an interruption ended.
    pub(crate) stopped: Vec<String>,
    /// How long steps and services had GPUs: each counts by itself.
    pub(crate) gpu_seconds: f64,
    /// How long the run took.
    pub(crate) took: Duration,
    /// Steps that have started and not ended.
    running: HashMap<Vec<u8>, String>,
    /// Services that have started and not ended.
    serving: HashMap<Vec<u8>, String>,
}

impl Tally {
    /// Takes an event into account.
    pub(crate) fn count(&mut self, event: &Event) {
        match &event.what {
            Some(What::Started(started)) if started.kind() == Kind::Step => {
                self.running.insert(event.key.clone(), started.title.clone());
            }
            Some(What::Started(started)) if started.kind() == Kind::Service => {
                let title = format!("service: {}", started.title);
                self.serving.insert(event.key.clone(), title);
            }
            Some(What::Finished(finished)) => {
                self.gpu_seconds += gpu_seconds(finished);
                self.serving.remove(&event.key);
                let Some(title) = self.running.remove(&event.key) else {
                    return;
                };
                match finished.outcome() {
                    Outcome::Hit => self.remembered += 1,
                    Outcome::Done => self.run += 1,
                    Outcome::Failed => self.failed += 1,
                    Outcome::Cancelled => self.stopped.push(title),
                }
            }
            _ => {}
        }
    }

    /// All steps that came to an end.
    pub(crate) fn steps(&self) -> usize {
        self.remembered + self.run + self.failed
    }

    /// Titles of the steps and services that did not end by themselves.
    pub(crate) fn cut_short(&self) -> Vec<&str> {
        let mut titles: Vec<_> = self
            .stopped
            .iter()
            .chain(self.running.values())
            .chain(self.serving.values())
            .map(String::as_str)
            .collect();
        titles.sort_unstable();
        titles
    }
}

/// How long a step had GPUs, those of it together. What is remembered has used none.
pub(super) fn gpu_seconds(finished: &Finished) -> f64 {
    f64::from(finished.gpus) * finished.microseconds as f64 / 1e6
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            remembered,
            run,
            failed,
            ..
        } = self;
        let steps = self.steps();
        let plural = if steps == 1 { "" } else { "s" };
        let seconds = self.took.as_secs_f64();
        write!(
            f,
            "{steps} step{plural}: {remembered} remembered, {run} run, {failed} failed in {seconds:.1}s"
        )?;
        if self.gpu_seconds > 0.0 {
            write!(f, ", {:.1} GPU seconds", self.gpu_seconds)?;
        }
        if steps > 0 && *remembered == steps {
            write!(f, " (all remembered)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wharf_client::proto::Started;

    use super::*;

    fn tell(tally: &mut Tally, key: u8, kind: Kind, outcome: Option<Outcome>) {
        let started = What::Started(Started {
            title: format!("step {key}"),
            kind: kind.into(),
        });
        tally.count(&Event {
            key: vec![key],
            what: Some(started),
        });
        if let Some(outcome) = outcome {
            let finished = Finished {
                outcome: outcome.into(),
                microseconds: 1,
                error: String::new(),
                gpus: 0,
            };
            tally.count(&Event {
                key: vec![key],
                what: Some(What::Finished(finished)),
            });
        }
    }

    #[test]
    fn counts_steps_only() {
        let mut tally = Tally::default();
        tell(&mut tally, 1, Kind::Step, Some(Outcome::Hit));
        tell(&mut tally, 2, Kind::Pull, Some(Outcome::Done));
        assert_eq!(
            tally.to_string(),
            "1 step: 1 remembered, 0 run, 0 failed in 0.0s (all remembered)"
        );
        tell(&mut tally, 3, Kind::Step, Some(Outcome::Done));
        assert_eq!(
            tally.to_string(),
            "2 steps: 1 remembered, 1 run, 0 failed in 0.0s"
        );
    }

    #[test]
    fn counts_how_long_steps_had_gpus() {
        let mut tally = Tally::default();
        for (key, gpus) in [(1, 2), (2, 0), (3, 1)] {
            tell(&mut tally, key, Kind::Step, None);
            let finished = Finished {
                microseconds: 1_500_000,
                gpus,
                ..Finished::default()
            };
            tally.count(&Event {
                key: vec![key],
                what: Some(What::Finished(finished)),
            });
        }
        assert_eq!(
            tally.to_string(),
            "3 steps: 0 remembered, 3 run, 0 failed in 0.0s, 4.5 GPU seconds"
        );
    }

    #[test]
    fn knows_what_was_cut_short() {
        let mut tally = Tally::default();
        tell(&mut tally, 2, Kind::Step, None);
        tell(&mut tally, 1, Kind::Step, Some(Outcome::Cancelled));
        assert_eq!(tally.cut_short(), ["step 1", "step 2"]);
    }
}
