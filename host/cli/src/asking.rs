//! What dependencies ask for is shown and asked once, when they are loaded, on a terminal.
//!
//! What was asked for stands in wharf.lock, so that a version that asks for more is noticed before any of it runs. Where nobody
//! can be asked, what is not granted is refused when it is used, with the line that grants it.

use std::{
    io::{self, BufRead, IsTerminal},
    path::Path,
};

use wharf_manifest::{Capability, Rights};
use wharf_registry::{Lock, ManifestText};

use crate::{composition::lock_file, error::Report, module::Loaded, output, printable};

/// A dependency that asks for what it was not granted, and was not refused before.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    name: String,
    version: String,
    /// All that it asks for, as lines of wharf.toml.
    asks: Vec<String>,
    /// What of it is to be decided.
    open: Vec<Open>,
    /// Was it asked about before?
    is_known: bool,
}

/// A right, how much of it, and what that lets a module do.
#[derive(Debug, PartialEq, Eq)]
struct Open {
    right: String,
    amount: String,
    meaning: &'static str,
}

/// Shows what the module's dependencies ask for beyond what they have, and asks whether they get it. True: wharf.toml has
/// changed, and the module has to be loaded again.
pub(crate) fn settle(loaded: &Loaded, no_input: bool) -> Result<bool, Report> {
    let Some(directory) = loaded.source.as_deref() else {
        return Ok(false);
    };
    if loaded.composition.root().edges.is_empty() {
        return Ok(false);
    }
    let file = lock_file(directory);
    let mut lock = Lock::load(&file)?.unwrap_or_default();
    let requests = requests(loaded, &lock);
    if requests.is_empty() {
        return Ok(false);
    }
    let is_asked = !no_input
        && std::env::var_os("CI").is_none()
        && io::stdin().is_terminal()
        && io::stderr().is_terminal();
    let mut granted = Vec::new();
    for request in &requests {
        if is_asked || request.is_known {
            output::aside(&printable::lines(&shown(request)));
        }
        if is_asked {
            if yes("grant it that, in wharf.toml? [y/N] ")? {
                granted.push(request);
            }
            lock.asked.insert(request.name.clone(), request.asks.clone());
        }
    }
    if is_asked {
        lock.save(&file)?;
    }
    grant(&directory.join("wharf.toml"), &granted)?;
    Ok(!granted.is_empty())
}

fn requests(loaded: &Loaded, lock: &Lock) -> Vec<Request> {
    let composition = &loaded.composition;
    let request = |edge: &wharf_manifest::Edge| {
        let part = &composition.parts()[edge.to];
        let name = edge.name.to_string();
        let granted = edge.grants.or(&edge.explicit);
        let before = lock.asked.get(&name);
        let asks: Vec<_> = part
            .asks
            .iter()
            .map(|(right, amount)| format!("{right} = {amount}"))
            .collect();
        let open = part.asks.iter().zip(&asks).filter(|((right, _), line)| {
            let is_new = before.is_none_or(|before| !before.contains(line));
            is_new && !is_granted(*right, &part.asks, &granted)
        });
        let open: Vec<_> = open
            .map(|((right, amount), _)| Open {
                right: right.to_string(),
                amount: amount.to_string(),
                meaning: right.meaning(),
            })
            .collect();
        (!open.is_empty()).then(|| Request {
            version: part.version.clone().unwrap_or_default(),
            is_known: before.is_some(),
            name,
            asks,
            open,
        })
    };
    composition.root().edges.iter().filter_map(request).collect()
}

/// Is all granted that is asked of a right?
fn is_granted(right: Capability, asks: &Rights, granted: &Rights) -> bool {
    asks.and(granted).of(right) == asks.of(right)
}

fn shown(request: &Request) -> String {
    let Request {
        name, version, open, ..
    } = request;
    let more = if request.is_known {
        "more than before"
    } else {
        "this"
    };
    let lines = open
        .iter()
        .map(|open| format!("  {} = {}: to {}\n", open.right, open.amount, open.meaning));
    format!(
        "{name} {version} asks for {more}, which wharf.toml does not grant:\n{}",
        lines.collect::<String>()
    )
}

fn yes(question: &str) -> Result<bool, Report> {
    output::aside(question);
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Report::usage(format!("standard input cannot be read: {error}")))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Writes what was granted.
fn grant(manifest: &Path, granted: &[&Request]) -> Result<(), Report> {
    if granted.is_empty() {
        return Ok(());
    }
    let wrong = |why: String| Report::failed(format!("{}: {why}", manifest.display()));
    let text = std::fs::read_to_string(manifest).map_err(|error| wrong(error.to_string()))?;
    let mut text = ManifestText::read(&text).map_err(wrong)?;
    for request in granted {
        for open in &request.open {
            text.grant(&request.name, &open.right, &open.amount)
                .map_err(wrong)?;
        }
    }
    std::fs::write(manifest, text.text()).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_granted_when_all_that_is_asked_of_it_is() {
        let rights = |text: &str| Rights::parse(text).unwrap();
        let network = Capability::Network;
        assert!(is_granted(
            network,
            &rights("network=a.example"),
            &rights("network")
        ));
        assert!(is_granted(
            network,
            &rights("network=a.example"),
            &rights("network=*.example")
        ));
        assert!(!is_granted(
            network,
            &rights("network"),
            &rights("network=a.example")
        ));
        assert!(!is_granted(network, &rights("network"), &Rights::none()));
    }
}
