//! Keeps the record of a run.

use wharf_client::SecretsRead;
use wharf_record::{Prices, Records, Result as Outcome, Work};

use crate::{
    error::{Ended, Report},
    github, output,
    places::Places,
    progress::Tally,
};

/// What the work of a run comes to.
pub(crate) trait Judged {
    /// How the run counts as ended, and why, although its work was done.
    fn failure(&self) -> Option<(Ended, String)> {
        None
    }
}

/// What is needed to keep a run's record.
pub(super) struct Keeper {
    records: Records,
    work: Work,
    prices: Option<Prices>,
    masks: Option<SecretsRead>,
}

impl Keeper {
    pub(super) fn new(places: &Places, work: Work) -> Self {
        let prices = Prices::load(&places.prices()).unwrap_or_else(|error| {
            // Nothing that a run should fail for.
            output::aside(&format!("wharf: nothing is said of costs: {error}\n"));
            None
        });
        Self {
            records: Records::at(places.runs()),
            work,
            prices,
            masks: None,
        }
    }

    pub(super) fn prices(&self) -> Option<Prices> {
        self.prices.clone()
    }

    /// What must not be in the record.
    pub(super) fn masks(&mut self, secrets: SecretsRead) {
        self.masks = Some(secrets);
    }

    /// Keeps the record. That it cannot be kept is said, and no failure of the run.
    pub(super) fn keep<T: Judged>(self, tally: &Tally, outcome: &Result<T, Report>) {
        let failure = match outcome {
            Ok(value) => value.failure(),
            Err(report) => Some((report.ended(), report.words())),
        };
        let (result, error) = match failure {
            None => (Outcome::Done, None),
            Some((ended, why)) => (of_exit(ended), Some(why)),
        };
        let mut record = tally.run.record(self.work, tally.took, result, None);
        // The whole text is scrubbed before it is cut: half of a secret is not known as one.
        record.error = error;
        if let Some(masks) = self.masks {
            let scrubber = masks.scrubber();
            record.mask(|text| scrubber.text(text));
        }
        record.shorten();
        if let Err(error) = self.records.keep(&record) {
            output::aside(&format!("wharf: this run leaves no record: {error}\n"));
        }
        github::summarize(&record, self.prices.as_ref());
    }
}

fn of_exit(ended: Ended) -> Outcome {
    match ended {
        Ended::Failed => Outcome::Failed,
        Ended::Usage => Outcome::Wrong,
        Ended::Denied => Outcome::Denied,
        Ended::Unreachable => Outcome::Unreachable,
        Ended::Interrupted => Outcome::Interrupted,
    }
}
