//! The store itself: opening, layers, results.

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use wharf_digest::Digest;

use crate::{
    error::{Context, Error, Result},
    index::{Index, ResultRecord, Spent},
    layer::{LayerDraft, LayerId, Snapshot, Top},
    ordinary, partial,
    pins::{Pin, Pins},
    remove::{self, Remover},
    tree,
    volume::Volumes,
};

/// Version of the store's layout.
const VERSION: u32 = 1;
/// How often the store is looked after. What was made is synced to the disk when nothing was made between two looks:
/// a sync waits for all that is not on the disk, of others too, and steps that run meanwhile wait with it.
const UPKEEP_EVERY: Duration = Duration::from_secs(2);
/// At so many looks it is synced while more is being made.
const SYNC_AT_LATEST: u32 = 5;
/// Numbers of layers are set aside in blocks of so many, so that a new layer costs no write to the index.
const NUMBERS: u64 = 1024;
/// How long an open waits for the end of the engine that had the store before.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a store is opened.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// Results that were not used for longest go when there are more bytes than this.
    pub max_bytes: Option<u64>,
    /// Identity of the running system, to tell a restart of the machine; the kernel's when absent.
    pub boot_id: Option<String>,
}

/// One directory with everything that is remembered.
#[derive(Debug)]
pub struct Store {
    pub(crate) directory: PathBuf,
    pub(crate) index: Index,
    pub(crate) volumes: Volumes,
    pub(crate) pins: Pins,
    used: Mutex<Vec<Digest>>,
    /// How many results were made.
    made: AtomicU64,
    pub(crate) options: StoreOptions,
    numbers: Mutex<std::ops::Range<u64>>,
    remover: Remover,
    /// What stands in the roots of layers.
    pub(crate) tops: Mutex<HashMap<LayerId, Arc<Top>>>,
    /// Flat copies by name, with the layers that are in them.
    pub(crate) flat: Mutex<HashMap<String, Vec<LayerId>>>,
    /// Whoever takes something out holds it shared, whoever removes things alone.
    pub(crate) gate: RwLock<()>,
    /// Was anything added since the size was last looked at?
    pub(crate) grown: AtomicBool,
    stopping: Arc<AtomicBool>,
    /// Held for as long as the store is open.
    _lock: File,
}

/// Layers that were found in their place, by whoever keeps this for as long as it keeps them in use.
#[derive(Debug, Default)]
pub struct Seen(Mutex<HashSet<LayerId>>);

impl Store {
    /// Opens the store in `directory`, made when it is not there. What an earlier process left unfinished is removed.
    pub fn open(directory: &Path, options: StoreOptions) -> Result<Arc<Self>> {
        let said = || directory.display().to_string();
        std::fs::create_dir_all(directory).context(said)?;
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(directory, permissions).context(said)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"));
        let lock = lock.context(said)?;
        wait_for(&lock, directory)?;
        let is_new = !directory.join("version").exists();
        check_version(directory)?;
        check_ids(directory, is_new)?;
        for part in [
            "layers", "drafts", "received", "partial", "work", "blobs", "volumes", "flat", "trash",
        ] {
            std::fs::create_dir_all(directory.join(part)).context(said)?;
        }
        let index = Index::open(&directory.join("index.sqlite"))?;
        let mut store = Self {
            directory: directory.to_owned(),
            index,
            volumes: Volumes::default(),
            pins: Pins::default(),
            used: Mutex::default(),
            made: AtomicU64::default(),
            options,
            numbers: Mutex::default(),
            remover: Remover::start(),
            tops: Mutex::default(),
            flat: Mutex::default(),
            gate: RwLock::default(),
            grown: AtomicBool::new(true),
            stopping: Arc::default(),
            _lock: lock,
        };
        store.recover()?;
        let store = Arc::new(store);
        sync_behind(&store);
        Ok(store)
    }

    /// Brings the directory in order after whatever ended the last process.
    fn recover(&mut self) -> Result<()> {
        let boot_id = self.options.boot_id.clone().unwrap_or_else(|| {
            std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .unwrap_or_default()
                .trim()
                .to_owned()
        });
        let restarted = self.index.meta("boot")?.is_some_and(|before| before != boot_id);
        if restarted {
            let dropped = self.index.drop_unsynced()?;
            tracing::info!(
                "the machine was restarted: {dropped} results that were not on the disk yet are forgotten"
            );
        }
        self.index.set_meta("boot", &boot_id)?;
        for part in ["drafts", "work", "trash", "flat"] {
            self.empty_part(part)?;
        }
        self.drop_half_received()?;
        self.drop_partials(partial::KEPT)?;
        let highest = self
            .layer_ids()?
            .into_iter()
            .map(|LayerId(id)| id)
            .max()
            .unwrap_or(0);
        let reserved = self
            .index
            .meta("numbers")?
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let next = reserved.max(highest + 1);
        self.numbers = Mutex::new(next..next);
        // Files that are in no tree yet save sending them again, but after a power failure they may be empty.
        self.drop_orphans(restarted)
    }

    /// A number that no layer ever had: what the index knows of removed layers is never said of another.
    fn next_layer(&self) -> Result<LayerId> {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if numbers.is_empty() {
            let end = numbers.end + NUMBERS;
            self.index.set_meta("numbers", &end.to_string())?;
            numbers.end = end;
        }
        let id = LayerId(numbers.start);
        numbers.start += 1;
        Ok(id)
    }

    /// While it is held, nothing is removed.
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn empty_part(&self, part: &str) -> Result<()> {
        let directory = self.directory.join(part);
        for entry in std::fs::read_dir(&directory).context(|| directory.display().to_string())? {
            let entry = entry.context(|| directory.display().to_string())?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove::tree(&entry.path());
            } else {
                std::fs::remove_file(entry.path()).ok();
            }
        }
        Ok(())
    }

    pub(crate) fn layer_ids(&self) -> Result<Vec<LayerId>> {
        let directory = self.directory.join("layers");
        let entries = std::fs::read_dir(&directory).context(|| directory.display().to_string())?;
        Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(LayerId))
            .collect())
    }

    /// A new layer over `base`, whose root has the attributes of the root below it.
    pub fn new_layer(&self, base: &Snapshot) -> Result<LayerDraft> {
        let below = base.layers().last().map(|top| self.layer_path(*top));
        self.new_layer_over(below.as_deref())
    }

    /// A new layer whose root has the attributes of this directory.
    pub fn new_layer_over(&self, below: Option<&Path>) -> Result<LayerDraft> {
        let id = self.next_layer()?;
        let draft = LayerDraft::create(&self.directory, id, &self.remover)?;
        let said = || format!("new layer {id}");
        if let Some(below) = below {
            let below = std::fs::File::open(below).context(said)?;
            let root = std::fs::File::open(draft.path()).context(said)?;
            crate::edit::copy_root(&below, &root).context(said)?;
        } else {
            // Whatever this process's own mask is: the root of a step's tree is made of it.
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(draft.path(), mode).context(said)?;
        }
        Ok(draft)
    }

    /// Makes a draft a layer: from now on it is whole and never changes.
    pub fn publish(&self, mut draft: LayerDraft) -> Result<LayerId> {
        let id = draft.id;
        let said = || format!("layer {id}");
        self.pins.made_layer(id);
        std::fs::rename(&draft.directory, self.layer_directory(id)).context(said)?;
        draft.published = true;
        self.grown.store(true, Ordering::Relaxed);
        Ok(id)
    }

    pub(crate) fn layer_directory(&self, id: LayerId) -> PathBuf {
        self.directory.join("layers").join(id.to_string())
    }

    /// Where a layer's tree is.
    pub fn layer_path(&self, id: LayerId) -> PathBuf {
        self.layer_directory(id).join("diff")
    }

    /// A remembered result. One whose layers are gone or damaged is forgotten, and said.
    pub fn result(&self, key: &Digest) -> Result<Option<ResultRecord>> {
        self.result_beside(key, &Seen::default())
    }

    /// A remembered result. Layers that were seen before are not looked at again: in a chain each step has nearly all layers
    /// of the one before it.
    pub fn result_beside(&self, key: &Digest, seen: &Seen) -> Result<Option<ResultRecord>> {
        let _stay = self.enter();
        let Some(record) = self.index.result(key)? else {
            return Ok(None);
        };
        self.pins.watch_record(&record);
        if self.is_whole(&record, seen) {
            self.used
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(*key);
            return Ok(Some(record));
        }
        self.forget(&record)?;
        Ok(None)
    }

    fn forget(&self, record: &ResultRecord) -> Result<()> {
        let key = record.key;
        tracing::warn!("the result {key} is damaged: it is forgotten and will be made again");
        self.index.remove_results(&[key])
    }

    pub(crate) fn is_whole(&self, record: &ResultRecord, seen: &Seen) -> bool {
        let layers = {
            let mut seen = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut layers = record.output.layers().iter();
            layers.all(|id| seen.contains(id) || (self.layer_path(*id).is_dir() && seen.insert(*id)))
        };
        layers
            && [record.stdout, record.stderr, record.log]
                .iter()
                .flatten()
                .all(|blob| self.has_blob(blob))
    }

    /// Keeps a snapshot's layers for as long as the pin lives.
    pub fn pin(&self, snapshot: &Snapshot) -> Pin {
        self.pins.hold(snapshot)
    }

    /// Remembers a result.
    pub fn put_result(&self, record: &ResultRecord) -> Result<()> {
        self.pins.watch_record(record);
        self.index.put_result(record)?;
        self.made.fetch_add(1, Ordering::Relaxed);
        self.pins.recorded(record);
        Ok(())
    }

    /// What it took to make each of these results, in their order; nothing of what is not there.
    pub fn spent(&self, keys: &[Digest]) -> Result<Vec<Spent>> {
        self.index.spent(keys)
    }

    /// Is there any result of this operation, whole or not? Quicker than to get them.
    pub fn has_results_with_op(&self, op_key: &Digest) -> Result<bool> {
        self.index.has_results_with_op(op_key)
    }

    /// Results of the same operation, the newest first; a bounded number.
    pub fn results_with_op(&self, op_key: &Digest) -> Result<Vec<ResultRecord>> {
        let _stay = self.enter();
        let (mut whole, seen) = (Vec::new(), Seen::default());
        for record in self.index.results_with_op(op_key)? {
            self.pins.watch_record(&record);
            if self.is_whole(&record, &seen) {
                whole.push(record);
            } else {
                self.forget(&record)?;
            }
        }
        Ok(whole)
    }

    /// Something small that was kept under a name.
    pub fn note(&self, name: &Digest) -> Result<Option<Vec<u8>>> {
        self.index.note(name)
    }

    /// Keeps something small under a name.
    pub fn put_note(&self, name: &Digest, body: &[u8]) -> Result<()> {
        self.index.put_note(name, body)
    }

    /// Notes many names at once, of which there is nothing more to say.
    pub fn put_notes(&self, names: impl IntoIterator<Item = Digest>) -> Result<()> {
        self.index.put_notes(names.into_iter().collect())
    }

    /// Syncs what was made to the disk and notes that it was.
    pub fn sync(&self) -> Result<()> {
        self.note_use()?;
        let keys = self.index.unsynced()?;
        if keys.is_empty() {
            return Ok(());
        }
        let directory = tree::open_directory(&self.directory)?;
        rustix::fs::syncfs(&directory).context(|| "syncing the store".to_owned())?;
        self.index.mark_synced(&keys)
    }

    /// Writes down which results were used since the last time.
    pub(crate) fn note_use(&self) -> Result<()> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return Ok(());
        }
        self.index.touch(&used)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Err(error) = self.sync() {
            tracing::warn!("the last results are not synced: {error}");
        }
    }
}

/// Takes the lock. An engine that was just told to end gets a moment for it.
fn wait_for(lock: &File, directory: &Path) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(std::fs::TryLockError::WouldBlock) => return Err(Error::Locked(directory.to_owned())),
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(Error::io(directory.display().to_string(), error));
            }
        }
    }
}

/// Whose ids the files of a store have: those of one kind mean nothing to an engine of another.
fn check_ids(directory: &Path, is_new: bool) -> Result<()> {
    let file = directory.join("ids");
    let own = ordinary::kind();
    let found = match std::fs::read_to_string(&file) {
        Ok(text) => text.trim().to_owned(),
        // Older ones were root's.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_new => ordinary::ROOTS.to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return std::fs::write(&file, format!("{own}\n")).context(|| file.display().to_string());
        }
        Err(error) => return Err(Error::io(file.display().to_string(), error)),
    };
    if found == own {
        return Ok(());
    }
    Err(Error::OtherIds {
        path: directory.to_owned(),
        found,
        own,
    })
}

fn check_version(directory: &Path) -> Result<()> {
    let file = directory.join("version");
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let found = text.trim().parse().unwrap_or(u32::MAX);
            if found > VERSION {
                return Err(Error::Newer {
                    path: directory.to_owned(),
                    found,
                    known: VERSION,
                });
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::write(&file, format!("{VERSION}\n")).context(|| file.display().to_string())
        }
        Err(error) => Err(Error::io(file.display().to_string(), error)),
    }
}

/// Syncs in groups, behind the run, until the store is dropped.
fn sync_behind(store: &Arc<Store>) {
    let (weak, stopping) = (Arc::downgrade(store), Arc::clone(&store.stopping));
    std::thread::spawn(move || {
        let (mut seen, mut looks) = (0, 0);
        while !stopping.load(Ordering::Relaxed) {
            std::thread::sleep(UPKEEP_EVERY);
            let Some(store) = weak.upgrade() else { return };
            let made = store.made.load(Ordering::Relaxed);
            looks += 1;
            let synced = if made == seen || looks >= SYNC_AT_LATEST {
                looks = 0;
                store.sync()
            } else {
                Ok(())
            };
            seen = made;
            if let Err(error) = synced.and_then(|()| store.keep_to_limit()) {
                tracing::warn!("upkeep of the store: {error}");
            }
        }
    });
}
