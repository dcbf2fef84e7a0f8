//! Changes of trees that no process makes: copies, new files, removals, owners, times.

use std::sync::Arc;

use wharf_graph::{
    Error,
    op::{CopyOptions, Filter, TreeEdit},
    plan::{Location, Make, Tree, absolute},
    read::READ_LIMIT,
};
use wharf_runner::passwd;
use wharf_store::{
    Snapshot, Store,
    edit::{self, Copy, Owner},
    tree::View,
};

use crate::{
    answer::too_large,
    changes,
    engine::{Engine, store_error},
    evaluate::Made,
    image::of_store,
    patch,
};

impl Engine {
    /// The tree that an edit makes of the first of `inputs`; the others are its sources, in order.
    pub(crate) async fn edit(
        self: &Arc<Self>,
        tree: &Tree,
        edit: &TreeEdit<Location>,
        inputs: &[Arc<Made>],
    ) -> Result<Snapshot, Error> {
        let snapshots: Vec<_> = inputs.iter().map(|made| made.snapshot.clone()).collect();
        let edit = edit.try_map(|place| Ok::<_, Error>(place.path.clone()), str::to_owned)?;
        let on_nothing = matches!(&tree.make, Make::Edit { base, .. } if matches!(base.make, Make::Empty));
        self.with_store(move |store| Ok(apply(store, &edit, &snapshots, on_nothing)))
            .await?
    }

    /// The tree of what a file holds as an archive.
    pub(crate) async fn unpack(
        self: &Arc<Self>,
        source: &Location,
        inputs: &[Arc<Made>],
    ) -> Result<Snapshot, Error> {
        let (path, snapshot) = (source.path.clone(), inputs[0].snapshot.clone());
        self.with_store(move |store| store.unpack(&snapshot, &path)).await
    }

    /// The tree of what `upper` has and `lower` has not.
    pub(crate) async fn difference(
        self: &Arc<Self>,
        lower: &Location,
        upper: &Location,
        inputs: &[Arc<Made>],
    ) -> Result<Snapshot, Error> {
        let places = [lower, upper].map(|place| place.path.clone());
        let snapshots = [inputs[0].snapshot.clone(), inputs[1].snapshot.clone()];
        self.with_store(move |store| {
            let lower = edit::subtree(store, &snapshots[0], &places[0])?;
            let upper = edit::subtree(store, &snapshots[1], &places[1])?;
            edit::diff(store, &lower, &upper)
        })
        .await
    }
}

fn apply(
    store: &Store,
    edit: &TreeEdit<String>,
    snapshots: &[Snapshot],
    on_nothing: bool,
) -> Result<Snapshot, Error> {
    let base = &snapshots[0];
    let owner_of = |owner: &Option<String>| {
        owner
            .as_deref()
            .map(|owner| resolve_owner(store, base, owner))
            .transpose()
    };
    match edit {
        TreeEdit::CopyDirectory {
            path,
            source,
            options,
        } => {
            // A whole directory as a tree of its own keeps its root's attributes, too.
            if on_nothing && path == "/" && *options == CopyOptions::default() {
                return of_store(edit::subtree(store, &snapshots[1], source));
            }
            let options = copy_options(options, owner_of(&options.owner)?);
            of_store(edit::copy_directory(
                store,
                base,
                path,
                &snapshots[1],
                source,
                &options,
            ))
        }
        TreeEdit::CopyFiles {
            path,
            sources,
            into_directory,
            options,
        } => {
            let options = copy_options(options, owner_of(&options.owner)?);
            let mut snapshot = base.clone();
            for (source, from) in sources.iter().zip(&snapshots[1..]) {
                snapshot = of_store(edit::copy_file(
                    store,
                    &snapshot,
                    path,
                    *into_directory,
                    from,
                    source,
                    &options,
                ))?;
            }
            Ok(snapshot)
        }
        TreeEdit::NewFile {
            path,
            contents,
            mode,
            owner,
        } => {
            let owner = owner_of(owner)?.unwrap_or_default();
            of_store(edit::write_file(
                store,
                base,
                path,
                &mut contents.as_slice(),
                *mode,
                owner,
            ))
        }
        TreeEdit::NewDirectory { path, mode, owner } => {
            let owner = owner_of(owner)?.unwrap_or_default();
            of_store(edit::make_directory(store, base, path, *mode, owner))
        }
        TreeEdit::Symlink { target, path } => of_store(edit::symlink(store, base, target, path)),
        TreeEdit::Remove { paths } => of_store(edit::remove(store, base, paths)),
        TreeEdit::Chown { path, owner } => {
            let owner = resolve_owner(store, base, owner)?;
            of_store(edit::chown(store, base, path, owner))
        }
        TreeEdit::Timestamps { seconds } => of_store(edit::set_timestamps(store, base, *seconds)),
        TreeEdit::RemoveGone {
            between: [before, after],
        } => {
            let gone = changes::gone(store, [(&snapshots[1], before), (&snapshots[2], after)])?;
            let gone: Vec<_> = gone.iter().map(|path| absolute("/", path)).collect();
            of_store(edit::remove(store, base, &gone))
        }
        TreeEdit::Patch(text) => patch::apply(store, base, text),
        TreeEdit::Replace {
            path,
            text,
            replacement,
            all,
        } => replace(store, base, path, (text, replacement), *all),
    }
}

/// Other text in a file, which keeps its owner and mode.
fn replace(
    store: &Store,
    base: &Snapshot,
    path: &str,
    (text, replacement): (&str, &str),
    all: bool,
) -> Result<Snapshot, Error> {
    let view = of_store(View::new(store, base))?;
    let stat = of_store(view.stat(path, true))?;
    let name = path.trim_start_matches('/');
    if stat.size > READ_LIMIT {
        return Err(too_large(name, stat.size));
    }
    let old = String::from_utf8(of_store(view.read_bytes(path.as_bytes()))?)
        .map_err(|_| Error::Invalid(format!("{name} is not UTF-8 text")))?;
    let places = match text {
        "" => return Err(Error::Invalid("with-replaced looks for an empty text".to_owned())),
        text => old.matches(text).count(),
    };
    match places {
        0 => return Err(Error::Invalid(format!("{name} does not hold {text:?}"))),
        1 => {}
        _ if all => {}
        count => {
            return Err(Error::Invalid(format!(
                "{name} holds {text:?} in {count} places: name more of it, or replace all"
            )));
        }
    }
    let new = old.replace(text, replacement).into_bytes();
    of_store(edit::write_file(
        store,
        base,
        path,
        &mut new.as_slice(),
        stat.mode,
        (stat.uid, stat.gid),
    ))
}

fn copy_options(options: &CopyOptions, owner: Option<Owner>) -> Copy {
    let Filter {
        include,
        exclude,
        gitignore,
    } = options.filter.clone();
    Copy {
        filter: edit::Filter {
            include,
            exclude,
            gitignore,
        },
        owner,
        mode: options.mode,
    }
}

/// Owner and group by number; names are looked up in the tree's own files.
pub(crate) fn resolve_owner(store: &Store, snapshot: &Snapshot, owner: &str) -> Result<Owner, Error> {
    let view = View::new(store, snapshot).map_err(|error| store_error(&error))?;
    let read = |path: &str| of_store(view.read_text(path)).map(Option::unwrap_or_default);
    let (users, groups) = (read("/etc/passwd")?, read("/etc/group")?);
    passwd::owner(owner, &users, &groups).map_err(|error| Error::Invalid(error.to_string()))
}
