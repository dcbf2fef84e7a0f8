//! Changes of trees that no process makes: copies, new files, removals, owners, times.

use std::sync::Arc;

use wharf_graph::{
    Error,
    op::{CopyOptions, TreeEdit},
    plan::Location,
};
use wharf_runner::passwd;
use wharf_store::{
    Snapshot, Store,
    edit::{self, Copy, Owner},
    tree::View,
};

use crate::{
    engine::{Engine, store_error},
    evaluate::Made,
};

impl Engine {
    /// The tree that `edit` makes of the first of `inputs`; the others are its sources, in order.
    pub(crate) async fn edit(
        self: &Arc<Self>,
        edit: &TreeEdit<Location>,
        inputs: &[Arc<Made>],
    ) -> Result<Snapshot, Error> {
        let snapshots: Vec<_> = inputs.iter().map(|made| made.snapshot.clone()).collect();
        let edit = edit.try_map(|place| Ok::<_, Error>(place.path.clone()), str::to_owned)?;
        self.with_store(move |store| Ok(apply(store, &edit, &snapshots))).await?
    }

    /// The tree of what `upper` has and `lower` has not.
    pub(crate) async fn difference(
        self: &Arc<Self>,
        lower: &Location,
        upper: &Location,
        inputs: &[Arc<Made>],
    ) -> Result<Snapshot, Error> {
        let (lower, upper) = ((inputs[0].snapshot.clone(), lower.path.clone()), (inputs[1].snapshot.clone(), upper.path.clone()));
        self.with_store(move |store| {
            let lower = edit::subtree(store, &lower.0, &lower.1)?;
            let upper = edit::subtree(store, &upper.0, &upper.1)?;
            edit::diff(store, &lower, &upper)
        })
        .await
    }
}
