//! `wharf completions`.

use crate::{args::CompletionsArgs, complete, error::Report, output};

/// Prints what a shell reads to complete `wharf`.
pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Report> {
    let name = args.shell.name();
    let script = complete::script(name)
        .ok_or_else(|| Report::usage(format!("there are no completions for {name}")))?;
    output::bytes(&script)
}
