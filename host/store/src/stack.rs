//! What is mounted of a stack of layers: the directories that an overlay merges.

use std::{
    collections::hash_map::Entry,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::{Arc, PoisonError},
};

use wharf_digest::Digest;

use crate::{
    error::{Context, Error, Result},
    layer::{LayerId, Snapshot, Top},
    store::Store,
    tree::{self, Merged, View},
};

/// Stacks of more layers than this are mounted from one flat copy; the kernel takes 500.
const FLATTEN_FROM: usize = 100;

impl Store {
    /// The directories that an overlay of the snapshot takes as lower ones, the highest first. A long stack is flattened:
    /// what is mounted and what the layers are is not the same.
    pub fn lower_paths(&self, snapshot: &Snapshot) -> Result<Vec<PathBuf>> {
        // The kernel merges the roots of all lower directories, whatever is marked: what is hidden is not given to it.
        let layers = self.visible(snapshot.layers())?;
        let flat_count = layers.len() / FLATTEN_FROM * FLATTEN_FROM;
        let mut paths: Vec<PathBuf> = layers[flat_count..]
            .iter()
            .rev()
            .map(|id| self.layer_path(*id))
            .collect();
        if flat_count > 0 {
            paths.push(self.flattened(&layers[..flat_count])?);
        }
        Ok(paths)
    }

    /// The layers that show: those from the highest one that hides what is below it.
    fn visible<'l>(&self, layers: &'l [LayerId]) -> Result<&'l [LayerId]> {
        for (at, layer) in layers.iter().enumerate().rev() {
            if self.top(*layer)?.hides {
                return Ok(&layers[at..]);
            }
        }
        Ok(layers)
    }

    /// The lower part of the stack that alone decides what is at this name of the root: what lies above does not have it.
    pub fn deciding(&self, snapshot: &Snapshot, name: &str) -> Result<Snapshot> {
        let layers = snapshot.layers();
        for (at, layer) in layers.iter().enumerate().rev() {
            let top = self.top(*layer)?;
            if top.hides || top.names.iter().any(|own| own == name.as_bytes()) {
                return Ok(Snapshot::new(&layers[..=at]));
            }
        }
        Ok(Snapshot::default())
    }

    /// What stands in a layer's root. Layers never change, so it is read once.
    fn top(&self, id: LayerId) -> Result<Arc<Top>> {
        let known = || self.tops.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(top) = known().get(&id) {
            return Ok(Arc::clone(top));
        }
        let top = Arc::new(Top::read(&self.layer_path(id))?);
        known().insert(id, Arc::clone(&top));
        Ok(top)
    }

    /// Forgets what was read of layers that are gone.
    pub(crate) fn forget_tops(&self, gone: &[LayerId]) {
        let mut tops = self.tops.lock().unwrap_or_else(PoisonError::into_inner);
        for layer in gone {
            tops.remove(layer);
        }
    }

    /// One directory with the merged tree of many layers: a whole number of parts, each made from the one before it.
    fn flattened(&self, layers: &[LayerId]) -> Result<PathBuf> {
        let mut flat = self.flat.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lower: Option<PathBuf> = None;
        for end in (FLATTEN_FROM..=layers.len()).step_by(FLATTEN_FROM) {
            let name =
                Digest::of(&postcard::to_stdvec(&layers[..end]).expect("layers always encode")).to_hex();
            let path = self.directory.join("flat").join(&name);
            if let Entry::Vacant(missing) = flat.entry(name) {
                let own = layers[end - FLATTEN_FROM..end]
                    .iter()
                    .rev()
                    .map(|id| self.layer_path(*id));
                let parts: Vec<PathBuf> = own.chain(lower).collect();
                let mut draft = self.new_layer(&Snapshot::default())?;
                crate::edit::flatten(&Merged::of_paths(&parts)?, &draft.path())?;
                std::fs::rename(&draft.directory, &path).context(|| path.display().to_string())?;
                draft.published = true;
                missing.insert(layers[..end].to_vec());
            }
            lower = Some(path.join("diff"));
        }
        lower.ok_or_else(|| Error::Invalid("nothing to flatten".to_owned()))
    }

    /// The directories that an overlay of the directory at `path` takes as lower ones, the highest first; links on the way
    /// are followed inside the root. Nothing is copied, however much is in it.
    pub fn lower_paths_at(&self, snapshot: &Snapshot, path: &str) -> Result<Vec<PathBuf>> {
        let real = View::new(self, snapshot)?.resolve(path)?;
        let names: Vec<&[u8]> = real
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
            .collect();
        let mut lowers = Vec::new();
        for layer in self.lower_paths(snapshot)? {
            let (part, rest_shows) = part_of(layer, &names)?;
            lowers.extend(part);
            if !rest_shows {
                break;
            }
        }
        if lowers.is_empty() && !names.is_empty() {
            return Err(Error::NotFound(format!("{path} is not a directory")));
        }
        Ok(lowers)
    }
}

/// The directory at these names in one layer, if it has one, and whether what lower layers have there shows, too.
fn part_of(layer: PathBuf, names: &[&[u8]]) -> Result<(Option<PathBuf>, bool)> {
    let mut path = layer;
    let mut here = tree::open_directory(&path)?;
    let mut rest_shows = !tree::is_opaque(&here);
    for name in names {
        match tree::stat_at(&here, name)? {
            None => return Ok((None, rest_shows)),
            Some(stat) if !tree::Stat::of(&stat).is_directory() => return Ok((None, false)),
            Some(_) => here = tree::open_child(&here, name)?,
        }
        path.push(OsStr::from_bytes(name));
        rest_shows &= !tree::is_opaque(&here);
    }
    Ok((Some(path), rest_shows))
}
