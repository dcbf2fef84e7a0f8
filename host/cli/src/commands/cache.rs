//! `wharf cache`: what the engine remembers.

use std::time::Duration;

use wharf_client::proto::{PruneRequest, UsageRequest};

use crate::{
    args::{CacheAction, CacheCommand},
    engine_choice::EngineSettings,
    error::Report,
    output,
    table::{bytes, columns},
};

/// What has not been used for this long is pruned when nothing else is said.
const KEEP: Duration = Duration::from_secs(7 * 86_400);

/// Runs one of its subcommands.
pub(crate) fn run(command: CacheCommand) -> Result<(), Report> {
    let runtime = super::runtime()?;
    match command.action {
        CacheAction::Usage { engine, json } => runtime.block_on(usage(&EngineSettings::of(&engine)?, json)),
        CacheAction::Prune {
            engine,
            keep,
            volumes,
            all,
        } => {
            let request = PruneRequest {
                keep_seconds: if all { 0 } else { keep.unwrap_or(KEEP).as_secs() },
                volumes: volumes || all,
            };
            runtime.block_on(prune(&EngineSettings::of(&engine)?, request))
        }
    }
}

async fn usage(settings: &EngineSettings, json: bool) -> Result<(), Report> {
    let connection = settings.connect().await?;
    let rows = connection
        .client()
        .usage(UsageRequest {})
        .await?
        .into_inner()
        .rows;
    if json {
        let row = |row: &wharf_client::proto::UsageRow| serde_json::json!({"kind": row.kind, "count": row.count, "bytes": row.bytes});
        return output::json(&rows.iter().map(row).collect());
    }
    let header = ["WHAT", "COUNT", "SIZE"].map(str::to_owned);
    let rows = rows
        .iter()
        .map(|row| [row.kind.clone(), row.count.to_string(), bytes(row.bytes)]);
    output::text(&columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>()))
}

async fn prune(settings: &EngineSettings, request: PruneRequest) -> Result<(), Report> {
    let connection = settings.connect().await?;
    let freed = connection.client().prune(request).await?.into_inner();
    output::line(&format!(
        "removed {} entries, {}",
        freed.count,
        bytes(freed.bytes)
    ))
}
