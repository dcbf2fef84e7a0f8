//! Changesets and what searches look for.

use wasmtime::component::Resource;
use wharf_graph::{Changeset, Directory, read::SearchOptions};

use crate::{bindings::wharf::pipeline::filesystem, state::State};

impl filesystem::HostChangeset for &mut State {
    fn new(
        &mut self,
        before: Resource<Directory>,
        after: Resource<Directory>,
    ) -> wasmtime::Result<Resource<Changeset>> {
        let changes = Changeset::new(self.table.get(&before)?, self.table.get(&after)?);
        self.meter.describe(changes.node().encoding().len())?;
        Ok(self.table.push(changes)?)
    }

    fn before(&mut self, own: Resource<Changeset>) -> wasmtime::Result<Resource<Directory>> {
        let before = self.table.get(&own)?.before().clone();
        Ok(self.table.push(before)?)
    }

    fn after(&mut self, own: Resource<Changeset>) -> wasmtime::Result<Resource<Directory>> {
        let after = self.table.get(&own)?.after().clone();
        Ok(self.table.push(after)?)
    }

    fn drop(&mut self, own: Resource<Changeset>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}

impl filesystem::HostSearchOptions for &mut State {
    fn new(&mut self) -> wasmtime::Result<Resource<SearchOptions>> {
        Ok(self.table.push(SearchOptions::default())?)
    }

    fn set_literal(&mut self, own: Resource<SearchOptions>, enabled: bool) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.literal = enabled;
        Ok(())
    }

    fn set_ignore_case(&mut self, own: Resource<SearchOptions>, enabled: bool) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.ignore_case = enabled;
        Ok(())
    }

    fn set_include(&mut self, own: Resource<SearchOptions>, patterns: Vec<String>) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.include = patterns;
        Ok(())
    }

    fn set_limit(&mut self, own: Resource<SearchOptions>, lines: u32) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.limit = Some(lines);
        Ok(())
    }

    fn drop(&mut self, own: Resource<SearchOptions>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}
