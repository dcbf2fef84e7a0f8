//! `wharf build`.

use crate::{
    args::BuildArgs, error::Report, module, output, places::Places, progress::Style, registries::Reach,
};

/// Builds a module and prints where its component is.
pub(crate) fn run(args: &BuildArgs) -> Result<(), Report> {
    let style = Style::from(&args.loudness);
    let path = &args.module.module;
    if path.is_file() {
        return Err(Report::usage(format!("{} is built already", path.display()))
            .with_hint("`wharf build` takes a module's directory"));
    }
    let built = module::build(path, &Places::find()?, style, &Reach::new(args.pinning, None))?.built;
    if !style.quiet {
        let word = if built.fresh { "unchanged" } else { "built" };
        output::aside(&format!("{word}: {}\n", built.digest));
    }
    output::line(&built.path.display().to_string())
}
