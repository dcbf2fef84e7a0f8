//! `wharf cache`: what the engine remembers.

use std::time::Duration;

use wharf_client::proto::{PruneRequest, UsageRequest, VerifyReply, VerifyRequest};

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
        CacheAction::Verify { engine, json } => runtime.block_on(verify(&EngineSettings::of(&engine)?, json)),
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

/// Fails when something was damaged, although that is forgotten by then: whoever asks wants to hear of it.
async fn verify(settings: &EngineSettings, json: bool) -> Result<(), Report> {
    let connection = settings.connect().await?;
    let VerifyReply {
        results,
        files,
        damaged,
    } = connection.client().verify(VerifyRequest {}).await?.into_inner();
    if json {
        output::json(&serde_json::json!({"results": results, "files": files, "damaged": damaged}))?;
    } else {
        output::line(&format!(
            "{results} results and {files} files: {}",
            if damaged.is_empty() {
                "all whole".to_owned()
            } else {
                format!("{} damaged", damaged.len())
            }
        ))?;
    }
    if damaged.is_empty() {
        return Ok(());
    }
    let list: String = damaged.iter().map(|what| format!("  {what}\n")).collect();
    Err(
        Report::failed("these were damaged or missing, and are forgotten:")
            .with_detail(list)
            .with_hint("nothing is lost: they are made again when they are asked for"),
    )
}
