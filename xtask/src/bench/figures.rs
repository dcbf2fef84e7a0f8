//! Figures: what was measured, how it is summed up, and what it is held against.

use serde_json::{Value, json};

/// What a row is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Milliseconds,
    /// Per file.
    Microseconds,
    Mebibytes,
}

impl Unit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs a file",
            Self::Mebibytes => "MiB",
        }
    }
}

/// What a row should not exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Budget {
    /// The median, in the row's unit.
    Median(f64),
    /// The 95th percentile, in the row's unit.
    Tail(f64),
    /// The median, as a share of the peer's.
    OfPeer(f64),
}

/// One thing measured several times.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figures {
    /// In the order in which they were taken.
    samples: Vec<f64>,
    pub(super) median: f64,
    /// The 95th percentile.
    pub(super) tail: f64,
}

impl Figures {
    /// Of at least one sample.
    pub(super) fn of(samples: Vec<f64>) -> Self {
        Self {
            median: percentile(&samples, 50),
            tail: percentile(&samples, 95),
            samples,
        }
    }

    /// The same, with the 95th percentile of finer samples than those that give the median.
    pub(super) fn with_tail_of(self, finer: &[f64]) -> Self {
        Self {
            tail: percentile(finer, 95),
            ..self
        }
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "p95": self.tail, "samples": self.samples })
    }
}

/// The smallest sample that so many percent of all do not exceed.
fn percentile(samples: &[f64], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// What was measured in one row.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// Wharf's.
    pub(super) ours: Figures,
    /// The peer's, when it took part.
    pub(super) peers: Option<Figures>,
    /// What a reader should know beside the figures.
    pub(super) note: Option<String>,
}

impl From<(Figures, Option<Figures>)> for Measured {
    fn from((ours, peers): (Figures, Option<Figures>)) -> Self {
        Self {
            ours,
            peers,
            note: None,
        }
    }
}

impl From<Figures> for Measured {
    fn from(ours: Figures) -> Self {
        (ours, None).into()
    }
}

impl Measured {
    /// How many times the peer's figure is ours.
    pub(super) fn ratio(&self) -> Option<f64> {
        Some(self.peers.as_ref()?.median / self.ours.median)
    }

    /// Nothing where it takes a peer that did not take part.
    pub(super) fn is_within(&self, budget: Budget) -> Option<bool> {
        Some(match budget {
            Budget::Median(limit) => self.ours.median <= limit,
            Budget::Tail(limit) => self.ours.tail <= limit,
            Budget::OfPeer(share) => self.ours.median <= share * self.peers.as_ref()?.median,
        })
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "wharf": self.ours.json(),
            "peer": self.peers.as_ref().map(Figures::json),
            "ratio": self.ratio(),
            "note": self.note,
        })
    }
}

/// What became of a row.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Measured(Measured),
    /// Why it cannot be measured here.
    Skipped(String),
    /// What went wrong.
    Failed(String),
}

impl<M: Into<Measured>> From<M> for Outcome {
    fn from(measured: M) -> Self {
        Self::Measured(measured.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up_samples_in_any_order() {
        let figures = Figures::of(vec![9.0, 1.0, 5.0]);
        assert_eq!((figures.median, figures.tail), (5.0, 9.0));
        let hundred: Vec<_> = (1..=100).rev().map(f64::from).collect();
        let figures = Figures::of(vec![3.0]).with_tail_of(&hundred);
        assert_eq!((figures.median, figures.tail), (3.0, 95.0));
    }

    #[test]
    fn holds_figures_against_budgets() {
        let alone = Measured::from(Figures::of(vec![4.0, 4.0, 8.0]));
        assert_eq!(alone.is_within(Budget::Median(4.0)), Some(true));
        assert_eq!(alone.is_within(Budget::Tail(7.9)), Some(false));
        assert_eq!(alone.is_within(Budget::OfPeer(0.6)), None);
        let beside = Measured::from((Figures::of(vec![5.0]), Some(Figures::of(vec![8.0]))));
        assert_eq!(beside.ratio(), Some(1.6));
        assert_eq!(beside.is_within(Budget::OfPeer(0.6)), Some(false));
        assert_eq!(beside.is_within(Budget::OfPeer(0.625)), Some(true));
    }
}
