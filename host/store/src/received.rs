//! Files that clients send. Each is received under its digest, moves into the tree that it was sent for, and is found there by
//! its digest from then on: its bytes are on the disk once.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use rusqlite::{OptionalExtension, params};
use wharf_digest::Digest;

use crate::{
    blob::LogDraft,
    error::{Context, Error, Result},
    index::Index,
    layer::{LayerId, Snapshot},
    pins::Pin,
    store::Store,
};

/// Permission bits of a file that is being received.
const ARRIVING: u32 = 0o200;
/// Permission bits of one that is whole.
const WHOLE: u32 = 0o400;

/// Where a tree has a file that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) digest: Digest,
    pub(crate) layer: LayerId,
    /// In the layer's tree.
    pub(crate) path: Vec<u8>,
    pub(crate) size: u64,
}

impl Store {
    /// Which of these files have to be sent: the others were received, and are still there.
    pub fn lacking(&self, files: impl IntoIterator<Item = Digest>) -> Result<Vec<Digest>> {
        let mut lacking = Vec::new();
        for file in files {
            let in_place = || -> Result<bool> {
                let placed = self.index.placed(&file)?;
                Ok(placed.is_some_and(|placed| self.is_in_place(&placed)))
            };
            if !is_there(&self.received_path(&file)) && !in_place()? {
                lacking.push(file);
            }
        }
        Ok(lacking)
    }

    /// Keeps a file that came in one piece.
    pub fn receive(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        self.pins.received(digest);
        self.grown.store(true, Ordering::Relaxed);
        let path = self.received_path(&digest);
        let said = || "a file that was sent".to_owned();
        match create(&path) {
            Ok(mut file) => {
                file.write_all(bytes).context(said)?;
                finish(&file).context(said)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_there(&path) => {}
            // Somebody else receives it just now, and may not come to the end.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let mut draft = self.new_log();
                draft.write_all(bytes).context(said)?;
                self.put_in_place(draft, &path).context(said)?;
            }
            Err(error) => return Err(Error::io(said(), error)),
        }
        Ok(digest)
    }

    /// Keeps a file that came piece by piece.
    pub fn receive_draft(&self, draft: LogDraft) -> Result<Digest> {
        let said = || "a file that was sent".to_owned();
        let (digest, draft) = draft.digest().context(said)?;
        self.pins.received(digest);
        self.grown.store(true, Ordering::Relaxed);
        let path = self.received_path(&digest);
        if !is_there(&path) {
            self.put_in_place(draft, &path).context(said)?;
        }
        Ok(digest)
    }

    fn put_in_place(&self, mut draft: LogDraft, path: &Path) -> io::Result<()> {
        finish(&draft.file()?)?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        draft.persist(path)
    }

    pub(crate) fn received_path(&self, digest: &Digest) -> PathBuf {
        self.digest_path("received", digest)
    }

    /// A file that was received and is in no tree yet.
    pub(crate) fn open_received(&self, digest: &Digest) -> Result<Option<File>> {
        let path = self.received_path(digest);
        if !is_there(&path) {
            return Ok(None);
        }
        match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(digest.to_string(), error)),
        }
    }

    /// A file in a tree that was received earlier, which stays for as long as the pin lives.
    pub(crate) fn open_placed(&self, digest: &Digest) -> Result<Option<(File, Placed, Pin)>> {
        let _stay = self.enter();
        let Some(placed) = self.index.placed(digest)? else {
            return Ok(None);
        };
        if !self.is_in_place(&placed) {
            return Ok(None);
        }
        let pin = self.pin(&Snapshot::new([placed.layer]));
        let file = File::open(self.placed_path(&placed)).context(|| digest.to_string())?;
        Ok(Some((file, placed, pin)))
    }

    pub(crate) fn placed_path(&self, placed: &Placed) -> PathBuf {
        self.layer_path(placed.layer)
            .join(std::ffi::OsStr::from_bytes(&placed.path))
    }

    /// Is the file where it was put, and as long as it was?
    fn is_in_place(&self, placed: &Placed) -> bool {
        let metadata = self.placed_path(placed).symlink_metadata();
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.len() == placed.size)
    }

    /// Removes what was being received when the last process ended.
    pub(crate) fn drop_half_received(&self) -> Result<()> {
        for (digest, _) in self.digests_in("received")? {
            let path = self.received_path(&digest);
            if !is_there(&path) {
                std::fs::remove_file(&path).context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }
}

/// A new file that is not whole yet.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true).mode(ARRIVING);
    options
        .open(path)
        .or_else(|error| match (error.kind(), path.parent()) {
            (io::ErrorKind::NotFound, Some(parent)) => {
                std::fs::create_dir_all(parent)?;
                options.open(path)
            }
            _ => Err(error),
        })
}

fn finish(file: &File) -> io::Result<()> {
    file.set_permissions(PermissionsExt::from_mode(WHOLE))
}

/// Does a received file with this mode have all its bytes?
pub(crate) fn is_whole(mode: u32) -> bool {
    mode & 0o777 == WHOLE
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| is_whole(metadata.mode()))
}

impl Index {
    pub(crate) fn placed(&self, digest: &Digest) -> Result<Option<Placed>> {
        self.read(|index| {
            let mut query =
                index.prepare_cached("select digest, layer, path, size from files where digest = ?1")?;
            Ok(query
                .query_row([digest.as_bytes().as_slice()], placed)
                .optional()?
                .flatten())
        })
    }

    /// Notes where files are, in place of where they were known to be.
    pub(crate) fn put_placed(&self, files: &[Placed]) -> Result<()> {
        self.write(|index| {
            let transaction = index.transaction()?;
            {
                let mut insert = transaction.prepare_cached(
                    "insert or replace into files (digest, layer, path, size) values (?1, ?2, ?3, ?4)",
                )?;
                for file in files {
                    insert.execute(params![
                        file.digest.as_bytes().as_slice(),
                        file.layer.0 as i64,
                        file.path,
                        file.size as i64
                    ])?;
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// Forgets the files of these trees.
    pub(crate) fn forget_placed(&self, layers: &HashSet<LayerId>) -> Result<()> {
        // Few layers are uploaded trees, and looking through all files once for each that is gone would take long.
        let with_files: Vec<u64> = self.read(|index| {
            let mut query = index.prepare_cached("select distinct layer from files")?;
            let rows = query.query_map([], |row| row.get::<_, i64>(0))?;
            Ok(rows.map(|row| Ok(row? as u64)).collect::<rusqlite::Result<_>>()?)
        })?;
        self.write(|index| {
            let transaction = index.transaction()?;
            for layer in with_files.into_iter().filter(|id| layers.contains(&LayerId(*id))) {
                transaction
                    .prepare_cached("delete from files where layer = ?1")?
                    .execute([layer as i64])?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    pub(crate) fn all_placed(&self) -> Result<Vec<Placed>> {
        self.read(|index| {
            let mut query = index.prepare("select digest, layer, path, size from files")?;
            let rows = query.query_map([], placed)?;
            let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            Ok(rows.into_iter().flatten().collect())
        })
    }
}

fn placed(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Placed>> {
    let Ok(digest) = Digest::try_from(row.get_ref(0)?.as_blob()?) else {
        return Ok(None);
    };
    Ok(Some(Placed {
        digest,
        layer: LayerId(row.get::<_, i64>(1)? as u64),
        path: row.get(2)?,
        size: row.get::<_, i64>(3)? as u64,
    }))
}
