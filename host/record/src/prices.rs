//! What an hour of a processor core or a GPU costs: the user's own figures.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::record::Amount;

/// Microseconds of an hour.
const HOUR: f64 = 3.6e9;

/// Prices of an hour.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Prices {
    /// What the figures are in, as it is to be shown.
    #[serde(default)]
    pub currency: String,
    /// One processor core.
    #[serde(default)]
    pub cpu_hour: f64,
    /// One GPU.
    #[serde(default)]
    pub gpu_hour: f64,
}

/// Why there are no prices.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct PricesError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl Prices {
    /// The prices in a file; none when it is not there.
    pub fn load(path: &Path) -> Result<Option<Self>, PricesError> {
        let wrong = |why: String| PricesError {
            path: path.to_owned(),
            why,
        };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let prices: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        for (name, price) in [("cpu-hour", prices.cpu_hour), ("gpu-hour", prices.gpu_hour)] {
            if !price.is_finite() || price < 0.0 {
                return Err(wrong(format!(
                    "{name} is {price}: write what an hour costs, as in 0.04"
                )));
            }
        }
        if prices.currency.chars().any(char::is_control) || prices.currency.chars().count() > 12 {
            return Err(wrong("currency is a short word, as in EUR".to_owned()));
        }
        Ok(Some(prices))
    }

    /// What this costs.
    pub fn of(&self, amount: Amount) -> f64 {
        (amount.cpu_microseconds as f64 * self.cpu_hour + amount.gpu_microseconds as f64 * self.gpu_hour)
            / HOUR
    }

    /// What this costs, for people: cents, and parts of them where there is no more.
    pub fn show(&self, amount: Amount) -> String {
        let cost = self.of(amount);
        let figure = match cost {
            cost if cost == 0.0 || cost >= 1.0 => format!("{cost:.2}"),
            cost if cost < 0.0001 => "<0.0001".to_owned(),
            cost => format!("{cost:.4}"),
        };
        format!("{figure} {}", self.currency).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Option<Prices>, PricesError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("prices.toml");
        fs::write(&path, text).unwrap();
        Prices::load(&path)
    }

    #[test]
    fn hours_of_cores_and_gpus_become_money() {
        let prices = load("currency = \"EUR\"\ncpu-hour = 0.04\ngpu-hour = 2.5\n")
            .unwrap()
            .unwrap();
        let amount = |cpu_seconds: u64, gpu_seconds: u64| Amount {
            microseconds: 0,
            cpu_microseconds: cpu_seconds * 1_000_000,
            gpu_microseconds: gpu_seconds * 1_000_000,
        };
        assert_eq!(prices.show(amount(2 * 3600, 3600)), "2.58 EUR");
        assert_eq!(prices.show(amount(60, 0)), "0.0007 EUR");
        assert_eq!(prices.show(amount(1, 0)), "<0.0001 EUR");
        assert_eq!(prices.show(amount(0, 0)), "0.00 EUR");
    }

    #[test]
    fn what_is_no_price_is_said() {
        assert_eq!(Prices::load(Path::new("/nowhere/prices.toml")).unwrap(), None);
        for (text, says) in [
            ("cpu-hour = -1.0", "cpu-hour is -1"),
            ("gpu-hour = inf", "gpu-hour is inf"),
            ("gpu = 1.0", "unknown field `gpu`"),
            ("cpu-hour = \"much\"", "cpu-hour"),
            ("currency = \"\\u001b[31m\"", "a short word"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains("prices.toml") && error.contains(says), "{error}");
        }
    }
}
