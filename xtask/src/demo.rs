//! demo
use clap::Args;
#[derive(Debug, Args)]
pub(crate) struct Options {}
pub(crate) fn run(_: &Options) -> crate::shell::Done {
    Ok(())
}
