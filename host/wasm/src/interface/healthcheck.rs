//! How an image's health check is run: options that are set one by one.

use std::time::Duration;

use wasmtime::component::Resource;
use wharf_graph::op::HealthCheckOptions;

use crate::{bindings::wharf::pipeline::container, state::State};

type Own = Resource<HealthCheckOptions>;

impl container::HostHealthcheckOptions for &mut State {
    fn new(&mut self) -> wasmtime::Result<Own> {
        Ok(self.table.push(HealthCheckOptions::default())?)
    }

    fn set_interval(&mut self, own: Own, milliseconds: u64) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.interval = Duration::from_millis(milliseconds);
        Ok(())
    }

    fn set_timeout(&mut self, own: Own, milliseconds: u64) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.timeout = Duration::from_millis(milliseconds);
        Ok(())
    }

    fn set_start_period(&mut self, own: Own, milliseconds: u64) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.start_period = Duration::from_millis(milliseconds);
        Ok(())
    }

    fn set_start_interval(&mut self, own: Own, milliseconds: u64) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.start_interval = Duration::from_millis(milliseconds);
        Ok(())
    }

    fn set_retries(&mut self, own: Own, count: u32) -> wasmtime::Result<()> {
        self.table.get_mut(&own)?.retries = count;
        Ok(())
    }

    fn drop(&mut self, own: Own) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}
