//! Counts what a run did, used and saved.

use std::{fmt, time::Duration};

use wharf_client::proto::{self, Event, Finished, event::What};
use wharf_record::{Amount, Collector, Ended, Kind, Outcome, Prices, Totals};

/// Less than this is not worth a word in the sum.
const WORTH_A_WORD: u64 = 50_000;

/// What happened in a run, and what it was worth.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// All of it, for the run's record.
    pub(crate) run: Collector,
    /// What an hour costs, where the user has said so.
    pub(crate) prices: Option<Prices>,
    /// How long the run took.
    pub(crate) took: Duration,
}

impl Tally {
    /// Takes an event into account.
    pub(crate) fn count(&mut self, event: &Event) {
        match &event.what {
            Some(What::Started(started)) => {
                self.run.begin(&event.key, kind(started.kind()), &started.title);
            }
            Some(What::Finished(finished)) => self.run.end(&event.key, ended(finished)),
            _ => {}
        }
    }

    /// The sums.
    pub(crate) fn totals(&self) -> &Totals {
        self.run.totals()
    }

    /// Titles of the steps and services that did not end by themselves.
    pub(crate) fn cut_short(&self) -> Vec<String> {
        let running = self.run.running().filter_map(|(kind, title)| match kind {
            Kind::Step => Some(title.to_owned()),
            Kind::Service => Some(format!("service: {title}")),
            _ => None,
        });
        let mut titles: Vec<_> = self.run.stopped().map(str::to_owned).chain(running).collect();
        titles.sort_unstable();
        titles
    }
}

/// How long a step had GPUs, those of it together. What is remembered has used none.
pub(super) fn gpu_seconds(finished: &Finished) -> f64 {
    match finished.outcome() {
        proto::Outcome::Hit => 0.0,
        _ => f64::from(finished.gpus) * finished.microseconds as f64 / 1e6,
    }
}

fn kind(kind: proto::Kind) -> Kind {
    match kind {
        proto::Kind::Step => Kind::Step,
        proto::Kind::Service => Kind::Service,
        proto::Kind::Pull => Kind::Pull,
        proto::Kind::Upload => Kind::Upload,
        proto::Kind::Files => Kind::Files,
        proto::Kind::Push => Kind::Push,
    }
}

fn ended(finished: &Finished) -> Ended {
    Ended {
        outcome: match finished.outcome() {
            proto::Outcome::Done => Outcome::Done,
            proto::Outcome::Hit => Outcome::Remembered,
            proto::Outcome::Failed => Outcome::Failed,
            proto::Outcome::Cancelled => Outcome::Stopped,
        },
        microseconds: finished.microseconds,
        cpu_microseconds: finished.cpu_microseconds,
        peak_memory: finished.peak_memory,
        gpus: finished.gpus,
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = self.totals();
        let Totals {
            remembered,
            run,
            failed,
            used,
            saved,
            ..
        } = totals;
        let steps = totals.steps();
        let plural = if steps == 1 { "" } else { "s" };
        let took = self.took.as_secs_f64();
        write!(
            f,
            "{steps} step{plural}: {remembered} remembered, {run} run, {failed} failed in {took:.1}s"
        )?;
        let seconds = |microseconds: u64| microseconds as f64 / 1e6;
        if used.cpu_microseconds >= WORTH_A_WORD {
            write!(f, ", {:.1} CPU seconds", seconds(used.cpu_microseconds))?;
        }
        if used.gpu_microseconds > 0 {
            write!(f, ", {:.1} GPU seconds", seconds(used.gpu_microseconds))?;
        }
        let money = |amount: Amount| {
            let prices = self.prices.as_ref().filter(|_| amount != Amount::default());
            prices.map(|prices| prices.show(amount))
        };
        if let Some(cost) = money(*used) {
            write!(f, ", {cost}")?;
        }
        if saved.microseconds >= WORTH_A_WORD {
            write!(f, "; saved {:.1}s", seconds(saved.microseconds))?;
            if let Some(cost) = money(*saved) {
                write!(f, ", {cost}")?;
            }
        }
        if steps > 0 && *remembered == steps {
            write!(f, " (all remembered)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wharf_client::proto::{Kind, Outcome, Started};

    use super::*;

    fn start(tally: &mut Tally, key: u8, kind: Kind) {
        let started = What::Started(Started {
            title: format!("step {key}"),
            kind: kind.into(),
        });
        tally.count(&Event {
            key: vec![key],
            what: Some(started),
        });
    }

    fn finish(tally: &mut Tally, key: u8, finished: Finished) {
        tally.count(&Event {
            key: vec![key],
            what: Some(What::Finished(finished)),
        });
    }

    fn tell(tally: &mut Tally, key: u8, kind: Kind, outcome: Outcome) {
        start(tally, key, kind);
        let finished = Finished {
            outcome: outcome.into(),
            microseconds: 1,
            ..Finished::default()
        };
        finish(tally, key, finished);
    }

    #[test]
    fn counts_steps_only() {
        let mut tally = Tally::default();
        tell(&mut tally, 1, Kind::Step, Outcome::Hit);
        tell(&mut tally, 2, Kind::Pull, Outcome::Done);
        assert_eq!(
            tally.to_string(),
            "1 step: 1 remembered, 0 run, 0 failed in 0.0s (all remembered)"
        );
        tell(&mut tally, 3, Kind::Step, Outcome::Done);
        assert_eq!(
            tally.to_string(),
            "2 steps: 1 remembered, 1 run, 0 failed in 0.0s"
        );
    }

    #[test]
    fn says_what_was_used_and_what_was_saved() {
        let mut tally = Tally::default();
        for (key, outcome, gpus) in [(1, Outcome::Done, 2), (2, Outcome::Done, 0), (3, Outcome::Hit, 1)] {
            start(&mut tally, key, Kind::Step);
            let finished = Finished {
                outcome: outcome.into(),
                microseconds: 1_500_000,
                gpus,
                cpu_microseconds: Some(900_000),
                ..Finished::default()
            };
            finish(&mut tally, key, finished);
        }
        assert_eq!(
            tally.to_string(),
            "3 steps: 1 remembered, 2 run, 0 failed in 0.0s, 1.8 CPU seconds, 3.0 GPU seconds; saved 1.5s"
        );
        tally.prices = Some(Prices {
            currency: "EUR".to_owned(),
            cpu_hour: 1.0,
            gpu_hour: 3600.0,
        });
        assert_eq!(
            tally.to_string(),
            "3 steps: 1 remembered, 2 run, 0 failed in 0.0s, 1.8 CPU seconds, 3.0 GPU seconds, 3.00 EUR; \
             saved 1.5s, 1.50 EUR"
        );
    }

    #[test]
    fn knows_what_was_cut_short() {
        let mut tally = Tally::default();
        start(&mut tally, 2, Kind::Step);
        start(&mut tally, 3, Kind::Service);
        start(&mut tally, 4, Kind::Upload);
        tell(&mut tally, 1, Kind::Step, Outcome::Cancelled);
        assert_eq!(tally.cut_short(), ["service: step 3", "step 1", "step 2"]);
    }
}
