//! Users of a root file system, as its own files name them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use wharf_graph::Error;
use wharf_runner::passwd::{self, User};
use wharf_store::{
    Snapshot, Store,
    tree::{Kind, View},
};

use crate::session::lock;

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";
/// How many trees' files are held; then they are read again.
const MOST: usize = 64;

/// What was read last. Steps of a chain stand on ever more layers, few of which touch these files.
#[derive(Default)]
pub(crate) struct Users(Mutex<HashMap<Snapshot, Arc<Files>>>);

/// The files' text; empty where there is none.
struct Files {
    users: String,
    groups: String,
}

impl Users {
    /// The user that a step of this tree names.
    pub(crate) fn find(
        &self,
        store: &Store,
        root: &Snapshot,
        user: &str,
    ) -> Result<Result<User, Error>, wharf_store::Error> {
        let files = self.files(store, root)?;
        let user = passwd::resolve(user, &files.users, &files.groups);
        Ok(user.map_err(|error| Error::Invalid(error.to_string())))
    }

    fn files(&self, store: &Store, root: &Snapshot) -> Result<Arc<Files>, wharf_store::Error> {
        let deciding = store.deciding(root, "etc")?;
        if let Some(files) = lock(&self.0).get(&deciding) {
            return Ok(Arc::clone(files));
        }
        let view = View::new(store, &deciding)?;
        if !is_plain(&view) {
            // A link leads to where other layers decide.
            return read(&View::new(store, root)?);
        }
        let files = read(&view)?;
        let mut held = lock(&self.0);
        if held.len() >= MOST {
            held.clear();
        }
        held.insert(deciding, Arc::clone(&files));
        Ok(files)
    }
}

/// Do the files lie where their names say, or nowhere?
fn is_plain(view: &View<'_>) -> bool {
    ["/etc", USERS, GROUPS]
        .iter()
        .all(|path| !matches!(view.stat(path, false), Ok(stat) if stat.kind == Kind::Symlink))
}

fn read(view: &View<'_>) -> Result<Arc<Files>, wharf_store::Error> {
    let text = |path| view.read_text(path).map(Option::unwrap_or_default);
    Ok(Arc::new(Files {
        users: text(USERS)?,
        groups: text(GROUPS)?,
    }))
}
