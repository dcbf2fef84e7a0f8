//! `wharf login` and `logout`: who registries are told that this user is.

use std::io::{self, BufRead, IsTerminal, Read};

use wharf_oci::{Credential, Error, Logins};

use crate::{
    args::{LoginArgs, LogoutArgs},
    error::{Ended, Report},
    output,
    registries::client,
};

/// Keeps a login that the registry accepts.
pub(crate) fn login(args: &LoginArgs) -> Result<(), Report> {
    let user = match &args.username {
        Some(user) => user.clone(),
        None => asked("User name: ", "--username")?,
    };
    let password = if args.password_stdin { piped()? } else { unseen()? };
    if user.is_empty() || password.is_empty() {
        return Err(Report::usage(
            "a login has a user name and a password, and one of them is empty",
        ));
    }
    let registry = client(args.certificates.ca_cert.as_deref())?;
    let credential = Credential::Password {
        user: user.clone(),
        password: password.clone(),
    };
    super::runtime()?
        .block_on(registry.check_login(&args.registry, &credential))
        .map_err(|error| match error {
            Error::Refused { registry, .. } => {
                Report::failed(format!("{registry} refuses the login of {user}")).with_hint(
                    "check the user name and the password; many registries want an access token in its place",
                )
            }
            error => report(error),
        })?;
    let kept = Logins::of_docker().and_then(|logins| logins.keep(&args.registry, &user, &password));
    let place = kept.map_err(report)?;
    output::aside(&format!(
        "{} knows you as {user}; kept in {place}\n",
        args.registry
    ));
    Ok(())
}

/// Forgets a login.
pub(crate) fn logout(args: &LogoutArgs) -> Result<(), Report> {
    let forgotten = Logins::of_docker().and_then(|logins| logins.forget(&args.registry));
    let text = if forgotten.map_err(report)? {
        format!("the login to {} is forgotten\n", args.registry)
    } else {
        format!("there was no login to {}\n", args.registry)
    };
    output::aside(&text);
    Ok(())
}

fn report(error: Error) -> Report {
    let message = error.to_string();
    match error {
        Error::Unavailable { .. } => Report::new(Ended::Unreachable, message),
        Error::Reference { .. } | Error::Settings(_) => Report::usage(message),
        _ => Report::failed(message),
    }
}

/// A line from a person.
fn asked(question: &str, option: &str) -> Result<String, Report> {
    if !io::stdin().is_terminal() {
        return Err(Report::usage(format!(
            "{option} is missing, and there is nobody to ask"
        )));
    }
    output::aside(question);
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A password from a person, not shown while it is typed.
fn unseen() -> Result<String, Report> {
    let line = wharf_platform::terminal::unseen(|| asked("Password: ", "--password-stdin"));
    let line = line.ok_or_else(|| {
        Report::usage("there is nobody to ask for the password")
            .with_hint("pipe it in: wharf login --username NAME --password-stdin REGISTRY")
    })?;
    output::aside("\n");
    line.map_err(unreadable)?
}

/// A password from a pipe, without the line's end.
fn piped() -> Result<String, Report> {
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text).map_err(unreadable)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn unreadable(error: io::Error) -> Report {
    Report::usage(format!("standard input cannot be read: {error}"))
}
