//! What an image says of its process's life beside how it begins: whether it is healthy, and how it is asked to end. Steps do
//! without it; services live by it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{error::Error, image::ImageConfig, op::HealthCheckOptions};

/// Where an image's configuration has the check.
const HEALTH_CHECK: &str = "Healthcheck";

/// The signal by which a process is asked to end, unless its image names another: SIGTERM.
const TERMINATE: i32 = 15;
/// The first of the real-time signals, as C programs count them, and the last.
const REAL_TIME: [i32; 2] = [34, 64];
/// The others, from 1 on.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// What Docker takes where a check does not say.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;

/// A command that tells whether a service is healthy: an image's `HEALTHCHECK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Run beside the service; it is healthy when this exits with 0.
    pub args: Vec<String>,
    /// The time from one run to the next, at most.
    pub interval: Duration,
    /// A run that takes longer has failed.
    pub timeout: Duration,
    /// How long Docker would wait before it called the service unhealthy.
    pub patience: Duration,
}

/// The part of an image's configuration that this is about. Times are in nanoseconds, and 0 where nothing is said.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Said {
    healthcheck: Option<SaidCheck>,
    stop_signal: Option<String>,
    shell: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SaidCheck {
    test: Option<Vec<String>>,
    interval: u64,
    timeout: u64,
    start_period: u64,
    start_interval: u64,
    retries: u32,
}

impl Said {
    fn read(config: &ImageConfig) -> Result<Self, Error> {
        if config.rest.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(&config.rest).map_err(|error| {
            Error::Invalid(format!(
                "what the image says of its HEALTHCHECK, STOPSIGNAL or SHELL cannot be read: {error}"
            ))
        })
    }
}

/// The image's health check; none when it has none, or says that there is none.
pub(super) fn health_check(config: &ImageConfig) -> Result<Option<HealthCheck>, Error> {
    let said = Said::read(config)?;
    let Some(check) = said.healthcheck else {
        return Ok(None);
    };
    let test = check.test.unwrap_or_default();
    let args = match test.split_first().map(|(kind, rest)| (kind.as_str(), rest)) {
        None | Some(("NONE", _)) => return Ok(None),
        Some(("CMD", args @ [_, ..])) => args.to_vec(),
        Some(("CMD-SHELL", [command])) => {
            let shell = said.shell.filter(|shell| !shell.is_empty());
            let mut args = shell.unwrap_or_else(|| ["/bin/sh", "-c"].map(str::to_owned).to_vec());
            args.push(command.clone());
            args
        }
        Some(_) => {
            return Err(Error::Invalid(format!(
                "the image's HEALTHCHECK is {test:?}, which is none: it is NONE, CMD with a command, or CMD-SHELL with a line"
            )));
        }
    };
    let time = |nanoseconds, otherwise| match nanoseconds {
        0 => otherwise,
        nanoseconds => Duration::from_nanos(nanoseconds),
    };
    let interval = time(check.interval, INTERVAL);
    let retries = if check.retries == 0 {
        RETRIES
    } else {
        check.retries
    };
    Ok(Some(HealthCheck {
        args,
        interval: time(check.start_interval, interval),
        timeout: time(check.timeout, TIMEOUT),
        patience: Duration::from_nanos(check.start_period).saturating_add(interval.saturating_mul(retries)),
    }))
}

/// Sets the image's health check, written as Docker writes it.
pub(super) fn set_health_check(
    config: &mut ImageConfig,
    args: &[String],
    options: HealthCheckOptions,
) -> Result<(), Error> {
    if args.is_empty() {
        return Err(Error::Invalid(
            "a health check without a command: name the command, or remove the check".to_owned(),
        ));
    }
    let mut check = Map::new();
    let test: Vec<_> = ["CMD"]
        .into_iter()
        .chain(args.iter().map(String::as_str))
        .collect();
    check.insert("Test".to_owned(), json!(test));
    for (name, time) in [
        ("Interval", options.interval),
        ("Timeout", options.timeout),
        ("StartPeriod", options.start_period),
        ("StartInterval", options.start_interval),
    ] {
        if !time.is_zero() {
            // Docker has them in 63 bits.
            let nanoseconds = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
            check.insert(name.to_owned(), json!(nanoseconds));
        }
    }
    if options.retries > 0 {
        check.insert("Retries".to_owned(), json!(options.retries));
    }
    change(config, |rest| {
        rest.insert(HEALTH_CHECK.to_owned(), check.into());
    })
}

/// Removes the image's health check.
pub(super) fn unset_health_check(config: &mut ImageConfig) -> Result<(), Error> {
    change(config, |rest| {
        rest.remove(HEALTH_CHECK);
    })
}

/// Changes what is kept of the configuration.
fn change(config: &mut ImageConfig, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), Error> {
    let mut rest = if config.rest.is_empty() {
        Map::new()
    } else {
        serde_json::from_str(&config.rest).map_err(|error| {
            Error::Invalid(format!(
                "what the image's configuration says cannot be read: {error}"
            ))
        })?
    };
    change(&mut rest);
    config.rest = if rest.is_empty() {
        String::new()
    } else {
        Value::Object(rest).to_string()
    };
    Ok(())
}

/// The signal by which the image's process is asked to end.
pub(super) fn stop_signal(config: &ImageConfig) -> Result<i32, Error> {
    let Some(text) = Said::read(config)?.stop_signal.filter(|text| !text.is_empty()) else {
        return Ok(TERMINATE);
    };
    signal(&text).ok_or_else(|| {
        Error::Invalid(format!(
            "the image's STOPSIGNAL is {text}, which is no signal: write one such as SIGTERM or 15"
        ))
    })
}

/// A signal as people write it: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
fn signal(text: &str) -> Option<i32> {
    let [first, last] = REAL_TIME;
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = if let Ok(number) = name.parse() {
        number
    } else if let Some(at) = SIGNALS.iter().position(|signal| *signal == name) {
        at as i32 + 1
    } else if let Some(offset) = name.strip_prefix("RTMIN") {
        first
            + if offset.is_empty() {
                0
            } else {
                offset.strip_prefix('+')?.parse().ok()?
            }
    } else {
        let offset = name.strip_prefix("RTMAX")?;
        last - if offset.is_empty() {
            0
        } else {
            offset.strip_prefix('-')?.parse().ok()?
        }
    };
    (1..=last).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{HealthCheck, health_check, set_health_check, signal, stop_signal, unset_health_check};
    use crate::{error::Error, image::ImageConfig, op::HealthCheckOptions};

    fn image(rest: &str) -> ImageConfig {
        ImageConfig {
            rest: rest.to_owned(),
            ..ImageConfig::default()
        }
    }

    #[test]
    fn signals_are_read_as_people_write_them() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGQUIT", Some(3)),
            ("SIGWINCH", Some(28)),
            ("SIGSYS", Some(31)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("SIGRTMIN-3", None),
            ("0", None),
            ("65", None),
            ("SIGNAL", None),
        ] {
            assert_eq!(signal(text), number, "{text}");
        }
        assert_eq!(stop_signal(&image("")).unwrap(), 15);
        assert_eq!(stop_signal(&image(r#"{"StopSignal":"SIGINT"}"#)).unwrap(), 2);
        let wrong = stop_signal(&image(r#"{"StopSignal":"SIGNAL"}"#));
        assert!(matches!(wrong, Err(Error::Invalid(message)) if message.contains("SIGNAL")));
    }

    #[test]
    fn a_check_is_read_as_docker_writes_it() {
        let check = |rest: &str| health_check(&image(rest));
        let expected = |args: &[&str], [interval, timeout, patience]: [u64; 3]| HealthCheck {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            interval: Duration::from_secs(interval),
            timeout: Duration::from_secs(timeout),
            patience: Duration::from_secs(patience),
        };
        for none in [
            "",
            "{}",
            r#"{"Healthcheck":null}"#,
            r#"{"Healthcheck":{}}"#,
            r#"{"Healthcheck":{"Test":["NONE"]}}"#,
        ] {
            assert_eq!(check(none).unwrap(), None, "{none}");
        }
        assert_eq!(
            check(r#"{"Healthcheck":{"Test":["CMD","curl","-f"]}}"#).unwrap(),
            Some(expected(&["curl", "-f"], [30, 30, 90]))
        );
        let said = r#"{"Shell":["/bin/ash","-ec"],"Volumes":{},"Healthcheck":{"Test":["CMD-SHELL","a | b"],
            "Interval":2000000000,"Timeout":5000000000,"StartPeriod":10000000000,"StartInterval":1000000000,"Retries":4}}"#;
        assert_eq!(
            check(said).unwrap(),
            Some(expected(&["/bin/ash", "-ec", "a | b"], [1, 5, 18]))
        );
        for wrong in [
            r#"{"Healthcheck":{"Test":["CMD"]}}"#,
            r#"{"Healthcheck":{"Test":["SHELL","a"]}}"#,
            r#"{"Healthcheck":{"Test":"a"}}"#,
        ] {
            let refused = check(wrong);
            assert!(
                matches!(&refused, Err(Error::Invalid(message)) if message.contains("HEALTHCHECK")),
                "{refused:?}"
            );
        }
    }
    #[test]
    fn a_check_is_written_as_docker_reads_it_and_the_rest_stays() {
        let mut config = image(r#"{"Healthcheck":{"Test":["NONE"]},"StopSignal":"SIGINT"}"#);
        let options = HealthCheckOptions {
            interval: Duration::from_secs(5),
            start_period: Duration::MAX,
            retries: 2,
            ..HealthCheckOptions::default()
        };
        let args = ["curl", "-f", "http://localhost"].map(str::to_owned);
        set_health_check(&mut config, &args, options).unwrap();
        assert_eq!(
            config.rest,
            r#"{"Healthcheck":{"Interval":5000000000,"Retries":2,"StartPeriod":9223372036854775807,"Test":["CMD","curl","-f","http://localhost"]},"StopSignal":"SIGINT"}"#
        );
        let read = health_check(&config).unwrap().unwrap();
        assert_eq!(
            (read.args.as_slice(), read.interval),
            (&args[..], options.interval)
        );
        unset_health_check(&mut config).unwrap();
        assert_eq!(config.rest, r#"{"StopSignal":"SIGINT"}"#);
        let mut empty = image("");
        unset_health_check(&mut empty).unwrap();
        set_health_check(&mut empty, &args[..1], HealthCheckOptions::default()).unwrap();
        assert_eq!(empty.rest, r#"{"Healthcheck":{"Test":["CMD","curl"]}}"#);
        unset_health_check(&mut empty).unwrap();
        assert_eq!(empty.rest, "");
        let refused = set_health_check(&mut empty, &[], options);
        assert!(matches!(&refused, Err(Error::Invalid(message)) if message.contains("without a command")));
    }
}
