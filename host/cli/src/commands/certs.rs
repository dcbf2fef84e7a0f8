//! `wharf engine certs`: what an engine that other machines reach and its clients know each other by.

use crate::{args::CertsArgs, error::Report, output, places::Places};

/// Makes certificates, and says which.
pub(crate) fn run(args: CertsArgs) -> Result<(), Report> {
    let directory = match args.directory {
        Some(directory) => directory,
        None => Places::find()?.engine_certificates(),
    };
    let wanted = wharf_tls::Wanted {
        directory,
        hosts: args.hosts,
        clients: args.clients,
        days: args.days,
    };
    let made = wharf_tls::make(&wanted).map_err(|error| {
        let report = Report::usage(error.to_string());
        match error {
            wharf_tls::Error::Exists(path) => report.with_hint(format!(
                "remove {} first, or make it in another directory",
                path.display()
            )),
            wharf_tls::Error::Nothing(_) => {
                report.with_hint("--client NAME makes one for a client, --host HOST the engine's own")
            }
            wharf_tls::Error::Half { .. } => {
                report.with_hint("bring the other one back, or begin with another directory")
            }
            _ => report,
        }
    })?;
    for path in made {
        output::line(&path.display().to_string())?;
    }
    Ok(())
}
