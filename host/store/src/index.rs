//! The index: which result is where. SQLite in WAL mode, without a sync per entry: it survives the death of the process,
//! and what a power failure takes is dropped on the next start.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use wharf_digest::Digest;

use crate::{
    error::Result,
    layer::{LayerId, Snapshot},
};

/// How many results of one operation are compared by content.
const CANDIDATES: usize = 16;

/// How many read at once; more wait. SQLite keeps the files of closed connections open for as long as another connection has
/// a lock, so what was once open stays open.
const READERS: usize = 16;

/// A remembered result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRecord {
    /// The definition key.
    pub key: Digest,
    /// The key of the operation alone, the same on other inputs.
    pub op_key: Digest,
    /// What it worked on, for comparison by content; may be empty.
    pub inputs: Vec<Snapshot>,
    /// What it made.
    pub output: Snapshot,
    /// Of a step: its exit code.
    pub exit_code: Option<i32>,
    /// Of a step: the blob with its standard output.
    pub stdout: Option<Digest>,
    /// Of a step: the blob with its standard error.
    pub stderr: Option<Digest>,
    /// Of a step: the blob with both, in the order of their arrival.
    pub log: Option<Digest>,
    /// What it took to make it.
    pub spent: Spent,
}

/// What it took to make a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Of a step: processor time in microseconds, where it was counted.
    pub cpu_us: Option<u64>,
    /// Of a step: the most memory it had at once, in bytes, where it was counted.
    pub peak_memory: Option<u64>,
    /// Of a step: how many GPUs it had for all of that time.
    pub gpus: u32,
}

/// What of a record is looked at only when it is found: one column.
#[derive(Serialize, Deserialize)]
struct Body {
    inputs: Vec<Snapshot>,
    output: Snapshot,
    exit_code: Option<i32>,
    stdout: Option<Digest>,
    stderr: Option<Digest>,
    log: Option<Digest>,
    duration_us: u64,
}

/// The index's tables.
const SCHEMA: &str = "
create table if not exists meta (name text primary key, value text not null) strict;
create table if not exists results (
    key blob primary key, op_key blob not null, body blob not null, synced integer not null default 0,
    created integer not null, used integer not null
) strict, without rowid;
create index if not exists results_op on results (op_key, created);
create index if not exists results_unsynced on results (key) where synced = 0;
create table if not exists digests (
    place blob primary key, top integer not null, digest blob not null
) strict, without rowid;
create index if not exists digests_top on digests (top);
create table if not exists sizes (layer integer primary key, bytes integer not null) strict;
create table if not exists notes (name blob primary key, body blob not null) strict, without rowid;
create table if not exists files (
    digest blob primary key, layer integer not null, path blob not null, size integer not null
) strict, without rowid;
create table if not exists spent (key blob primary key, body blob not null) strict, without rowid;
create trigger if not exists spent_goes_along after delete on results begin
    delete from spent where key = old.key;
end;
";

/// Connections to the index.
#[derive(Debug)]
pub(crate) struct Index {
    writer: Mutex<Connection>,
    readers: Mutex<Readers>,
    /// Told when a reader is done.
    done: Condvar,
    path: std::path::PathBuf,
}

#[derive(Debug, Default)]
struct Readers {
    idle: Vec<Connection>,
    busy: usize,
}

/// A place among those who read; given back however the reading ends.
struct Place<'i>(&'i Index);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.readers().busy -= 1;
        self.0.done.notify_one();
    }
}

impl Index {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let writer = connect(path)?;
        writer.execute_batch(SCHEMA)?;
        Ok(Self {
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            done: Condvar::new(),
            path: path.to_owned(),
        })
    }

    pub(crate) fn write<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        work(&mut self.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let (_place, idle) = self.place();
        let reader = idle.map_or_else(|| connect(&self.path), Ok)?;
        let found = work(&reader)?;
        self.readers().idle.push(reader);
        Ok(found)
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place among those who read, and takes a connection that nobody uses along.
    fn place(&self) -> (Place<'_>, Option<Connection>) {
        let mut readers = self
            .done
            .wait_while(self.readers(), |readers| readers.busy >= READERS)
            .unwrap_or_else(PoisonError::into_inner);
        readers.busy += 1;
        (Place(self), readers.idle.pop())
    }

    pub(crate) fn meta(&self, name: &str) -> Result<Option<String>> {
        self.read(|index| {
            Ok(index
                .query_row("select value from meta where name = ?1", [name], |row| row.get(0))
                .optional()?)
        })
    }

    pub(crate) fn set_meta(&self, name: &str, value: &str) -> Result<()> {
        self.write(|index| {
            index.execute(
                "insert or replace into meta (name, value) values (?1, ?2)",
                [name, value],
            )?;
            Ok(())
        })
    }

    pub(crate) fn result(&self, key: &Digest) -> Result<Option<ResultRecord>> {
        self.read(|index| {
            let mut query = index.prepare_cached(
                "select results.key, op_key, results.body, spent.body from results left join spent using (key) \
                 where results.key = ?1",
            )?;
            Ok(query
                .query_row([key.as_bytes().as_slice()], record)
                .optional()?
                .flatten())
        })
    }

    pub(crate) fn results_with_op(&self, op_key: &Digest) -> Result<Vec<ResultRecord>> {
        self.read(|index| {
            let mut query = index.prepare_cached(
                "select results.key, op_key, results.body, spent.body from results left join spent using (key) \
                 where op_key = ?1 order by created desc limit ?2",
            )?;
            let rows = query.query_map(params![op_key.as_bytes().as_slice(), CANDIDATES as i64], record)?;
            Ok(rows
                .collect::<std::result::Result<Vec<_>, _>>()?
                .into_iter()
                .flatten()
                .collect())
        })
    }

    pub(crate) fn has_results_with_op(&self, op_key: &Digest) -> Result<bool> {
        self.read(|index| {
            let mut query = index.prepare_cached("select 1 from results where op_key = ?1 limit 1")?;
            Ok(query.exists([op_key.as_bytes().as_slice()])?)
        })
    }

    pub(crate) fn put_result(&self, record: &ResultRecord) -> Result<()> {
        let body = Body {
            inputs: record.inputs.clone(),
            output: record.output.clone(),
            exit_code: record.exit_code,
            stdout: record.stdout,
            stderr: record.stderr,
            log: record.log,
            duration_us: record.spent.duration_us,
        };
        let body = postcard::to_stdvec(&body).expect("records always encode");
        let spent = postcard::to_stdvec(&record.spent).expect("numbers always encode");
        let now = now();
        self.write(|index| {
            let transaction = index.transaction()?;
            transaction
                .prepare_cached(
                    "insert or replace into results (key, op_key, body, synced, created, used) values (?1, ?2, ?3, 0, ?4, ?4)",
                )?
                .execute(params![
                    record.key.as_bytes().as_slice(),
                    record.op_key.as_bytes().as_slice(),
                    body,
                    now
                ])?;
            transaction
                .prepare_cached("insert or replace into spent (key, body) values (?1, ?2)")?
                .execute(params![record.key.as_bytes().as_slice(), spent])?;
            transaction.commit()?;
            Ok(())
        })
    }

    /// What it took to make each of these; nothing is said of what is not there.
    pub(crate) fn spent(&self, keys: &[Digest]) -> Result<Vec<Spent>> {
        self.read(|index| {
            let mut query = index.prepare_cached("select body from spent where key = ?1")?;
            let mut all = Vec::with_capacity(keys.len());
            for key in keys {
                let spent = query
                    .query_row([key.as_bytes().as_slice()], |row| {
                        Ok(postcard::from_bytes(row.get_ref(0)?.as_blob()?).ok())
                    })
                    .optional()?;
                all.push(spent.flatten().unwrap_or_default());
            }
            Ok(all)
        })
    }

    /// Notes that results were used just now.
    pub(crate) fn touch(&self, keys: &[Digest]) -> Result<()> {
        let now = now();
        self.write(|index| {
            let transaction = index.transaction()?;
            {
                let mut update = transaction.prepare_cached("update results set used = ?2 where key = ?1")?;
                for key in keys {
                    update.execute(params![key.as_bytes().as_slice(), now])?;
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    pub(crate) fn remove_results(&self, keys: &[Digest]) -> Result<()> {
        self.write(|index| {
            let transaction = index.transaction()?;
            for key in keys {
                transaction.execute("delete from results where key = ?1", [key.as_bytes().as_slice()])?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// All results with the time of their last use in milliseconds since 1970, the longest unused first.
    pub(crate) fn all_results(&self) -> Result<Vec<(ResultRecord, i64)>> {
        self.read(|index| {
            let mut query = index.prepare(
                "select results.key, op_key, results.body, spent.body, used \
                     from results left join spent using (key) order by used, created",
            )?;
            let rows = query.query_map([], |row| Ok((record(row)?, row.get(4)?)))?;
            let rows = rows.collect::<std::result::Result<Vec<_>, _>>()?;
            Ok(rows
                .into_iter()
                .filter_map(|(record, used)| Some((record?, used)))
                .collect())
        })
    }

    /// Drops what was not known to be on the disk.
    pub(crate) fn drop_unsynced(&self) -> Result<usize> {
        self.write(|index| Ok(index.execute("delete from results where synced = 0", [])?))
    }

    /// Results that are not known to be on the disk.
    pub(crate) fn unsynced(&self) -> Result<Vec<Vec<u8>>> {
        self.read(|index| {
            let mut query = index.prepare_cached("select key from results where synced = 0")?;
            let rows = query.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<std::result::Result<_, _>>()?)
        })
    }

    pub(crate) fn mark_synced(&self, keys: &[Vec<u8>]) -> Result<()> {
        self.write(|index| {
            let transaction = index.transaction()?;
            {
                let mut update =
                    transaction.prepare_cached("update results set synced = 1 where key = ?1")?;
                for key in keys {
                    update.execute([key])?;
                }
            }
            transaction.commit()?;
            index.execute_batch("pragma wal_checkpoint(passive)")?;
            Ok(())
        })
    }

    pub(crate) fn content(&self, place: &Digest) -> Result<Option<Digest>> {
        self.read(|index| {
            let mut query = index.prepare_cached("select digest from digests where place = ?1")?;
            let bytes: Option<Vec<u8>> = query
                .query_row([place.as_bytes().as_slice()], |row| row.get(0))
                .optional()?;
            Ok(bytes.and_then(|bytes| Digest::try_from(bytes.as_slice()).ok()))
        })
    }

    /// Keeps a digest for as long as the layer `top` is there.
    pub(crate) fn put_content(&self, place: &Digest, top: LayerId, digest: &Digest) -> Result<()> {
        self.write(|index| {
            index
                .prepare_cached("insert or replace into digests (place, top, digest) values (?1, ?2, ?3)")?
                .execute(params![
                    place.as_bytes().as_slice(),
                    top.0 as i64,
                    digest.as_bytes().as_slice()
                ])?;
            Ok(())
        })
    }

    /// Bytes of the layers that were measured.
    pub(crate) fn sizes(&self) -> Result<HashMap<LayerId, u64>> {
        self.read(|index| {
            let mut query = index.prepare_cached("select layer, bytes from sizes")?;
            let rows = query.query_map([], |row| {
                Ok((
                    LayerId(row.get::<_, i64>(0)? as u64),
                    row.get::<_, i64>(1)? as u64,
                ))
            })?;
            Ok(rows.collect::<std::result::Result<_, _>>()?)
        })
    }

    pub(crate) fn put_sizes(&self, sizes: &[(LayerId, u64)]) -> Result<()> {
        self.write(|index| {
            let transaction = index.transaction()?;
            for (layer, bytes) in sizes {
                transaction
                    .prepare_cached("insert or replace into sizes (layer, bytes) values (?1, ?2)")?
                    .execute([layer.0 as i64, *bytes as i64])?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// Forgets what was learned about layers that are gone.
    pub(crate) fn forget_layers(&self, layers: &[LayerId]) -> Result<()> {
        self.write(|index| {
            let transaction = index.transaction()?;
            for layer in layers {
                for table in [
                    "delete from digests where top = ?1",
                    "delete from sizes where layer = ?1",
                ] {
                    transaction.prepare_cached(table)?.execute([layer.0 as i64])?;
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    pub(crate) fn note(&self, name: &Digest) -> Result<Option<Vec<u8>>> {
        self.read(|index| {
            let mut query = index.prepare_cached("select body from notes where name = ?1")?;
            Ok(query
                .query_row([name.as_bytes().as_slice()], |row| row.get(0))
                .optional()?)
        })
    }

    pub(crate) fn put_note(&self, name: &Digest, body: &[u8]) -> Result<()> {
        self.write(|index| {
            index
                .prepare_cached("insert or replace into notes (name, body) values (?1, ?2)")?
                .execute(params![name.as_bytes().as_slice(), body])?;
            Ok(())
        })
    }

    pub(crate) fn put_notes(&self, names: Vec<Digest>) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        self.write(|index| {
            let transaction = index.transaction()?;
            {
                let mut insert = transaction
                    .prepare_cached("insert or ignore into notes (name, body) values (?1, x'')")?;
                for name in &names {
                    insert.execute([name.as_bytes().as_slice()])?;
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(30))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    Ok(connection)
}

/// A row as a record; none when its body is of another version.
fn record(row: &Row<'_>) -> rusqlite::Result<Option<ResultRecord>> {
    let digest =
        |at| -> rusqlite::Result<Option<Digest>> { Ok(Digest::try_from(row.get_ref(at)?.as_blob()?).ok()) };
    let (Some(key), Some(op_key)) = (digest(0)?, digest(1)?) else {
        return Ok(None);
    };
    let Ok(body) = postcard::from_bytes::<Body>(row.get_ref(2)?.as_blob()?) else {
        return Ok(None);
    };
    let Body {
        inputs,
        output,
        exit_code,
        stdout,
        stderr,
        log,
        duration_us,
    } = body;
    let spent = row.get_ref(3)?.as_blob_or_null()?;
    // What an earlier version remembered has its time alone.
    let spent = spent
        .and_then(|body| postcard::from_bytes(body).ok())
        .unwrap_or(Spent {
            duration_us,
            ..Spent::default()
        });
    Ok(Some(ResultRecord {
        key,
        op_key,
        inputs,
        output,
        exit_code,
        stdout,
        stderr,
        log,
        spent,
    }))
}

/// Layers that a record needs: its output's and, for comparison, its inputs'.
pub(crate) fn layers_of(record: &ResultRecord) -> impl Iterator<Item = LayerId> + '_ {
    record
        .output
        .layers()
        .iter()
        .chain(record.inputs.iter().flat_map(Snapshot::layers))
        .copied()
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as i64
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{Index, READERS};

    #[test]
    fn a_read_that_panics_gives_its_place_back() {
        let directory = tempfile::tempdir().unwrap();
        let index = Index::open(&directory.path().join("index")).unwrap();
        for _ in 0..READERS {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                index.read(|_| -> super::Result<()> { panic!() })
            }));
            assert!(panicked.is_err());
        }
        assert_eq!(index.readers().busy, 0);
        assert_eq!(index.meta("name").unwrap(), None);
    }
}
