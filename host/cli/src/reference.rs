//! The reference of the command line, as a page: written from the definition that reads it.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

use crate::args::Wharf;

/// The subcommand that prints the page, for whoever generates the documentation.
pub(crate) const COMMAND: &str = "__reference";

const HEAD: &str = "\
<!-- Written by `cargo xtask generate` from host/cli/src/args.rs. -->
# Command line

Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 the pipeline failed, 2 the command line
or wharf.toml is wrong, 3 a capability was denied, 4 an engine or a registry cannot be reached, 130 interrupted.

";

/// The page in Markdown.
pub(crate) fn page() -> String {
    let mut wharf = Wharf::command().term_width(0);
    wharf.build();
    let mut page = HEAD.to_owned();
    for command in shown(&wharf) {
        let summary = command.get_about().map(ToString::to_string).unwrap_or_default();
        let name = format!("wharf {}", command.get_name());
        let _ = writeln!(page, "- [`{name}`](#{}): {summary}", name.replace(' ', "-"));
    }
    for command in shown(&wharf) {
        describe(&mut page, command, "wharf", 2);
    }
    page
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn describe(page: &mut String, command: &Command, before: &str, level: usize) {
    let name = format!("{before} {}", command.get_name());
    let _ = writeln!(page, "\n{} {name}\n", "#".repeat(level));
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        let _ = writeln!(page, "{about}.\n");
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let _ = writeln!(page, "```text\n{usage}\n```\n");
    if let Some(after) = command.get_after_help() {
        let _ = writeln!(page, "{after}\n");
    }
    let (positionals, options): (Vec<_>, Vec<_>) = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.get_id() != "help" && arg.get_id() != "version")
        .partition(|arg| arg.is_positional());
    for arg in positionals.into_iter().chain(options) {
        let _ = writeln!(page, "- `{}`: {}", signature(arg), explanation(arg));
    }
    for inner in shown(command) {
        describe(page, inner, &name, level + 1);
    }
}

/// As in `-m, --module <DIR>`.
fn signature(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let values: Vec<_> = names.iter().map(|name| format!("<{name}>")).collect();
    let takes = arg.get_action().takes_values() || arg.is_positional();
    let values = if takes { values.join(" ") } else { String::new() };
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<_> = [short, long].into_iter().flatten().collect();
    format!("{} {values}", flags.join(", ")).trim().to_owned()
}

fn explanation(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let mut text = help
        .map(|help| help.to_string().replace('\n', " "))
        .unwrap_or_default();
    let values: Vec<_> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set() && arg.get_action().takes_values())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !values.is_empty() {
        let _ = write!(text, ": {}", values.join(", "));
    }
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        let _ = write!(text, "; {} by default", defaults.join(", "));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(text, "; `{}` says it, too", variable.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_definition_says() {
        let page_on_disk = include_str!("../../../docs/reference/cli.md");
        assert!(
            page_on_disk == page(),
            "docs/reference/cli.md is not what `cargo xtask generate` writes"
        );
    }
}
