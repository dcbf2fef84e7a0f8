//! `wharf completions`.

use clap::CommandFactory;

use crate::{
    args::{CompletionsArgs, Wharf},
    error::Report,
    output,
};

/// Prints a shell's completions.
pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Report> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Wharf::command(), "wharf", &mut script);
    output::bytes(&script)
}
