//! Words for the person who watches: `log`.

use wasmtime::component::Resource;

use crate::{
    bindings::wharf::pipeline::log,
    state::{Level, Said, State},
};

/// Words that belong together.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings export it")]
pub struct Group(String);

impl State {
    fn said(&self, level: Level, text: String) -> Said {
        Said {
            module: self.module.clone(),
            level,
            group: None,
            place: None,
            text,
        }
    }

    fn say(&self, level: Level, text: String) {
        self.pipeline.log(self.said(level, text));
    }
}

fn level(level: log::Level) -> Level {
    match level {
        log::Level::Info => Level::Info,
        log::Level::Warn => Level::Warn,
        log::Level::Error => Level::Error,
    }
}

impl log::Host for &mut State {
    fn info(&mut self, message: String) -> wasmtime::Result<()> {
        self.say(Level::Info, message);
        Ok(())
    }

    fn warn(&mut self, message: String) -> wasmtime::Result<()> {
        self.say(Level::Warn, message);
        Ok(())
    }

    fn error(&mut self, message: String) -> wasmtime::Result<()> {
        self.say(Level::Error, message);
        Ok(())
    }

    fn progress(&mut self, current: u64, total: u64) -> wasmtime::Result<()> {
        self.pipeline.progress(&self.module, current, total);
        Ok(())
    }

    fn annotate(
        &mut self,
        loud: log::Level,
        message: String,
        path: String,
        line: Option<u32>,
    ) -> wasmtime::Result<()> {
        self.pipeline.log(Said {
            place: Some((path, line)),
            ..self.said(level(loud), message)
        });
        Ok(())
    }
}

impl log::HostGroup for &mut State {
    fn new(&mut self, title: String) -> wasmtime::Result<Resource<Group>> {
        self.pipeline.log(self.said(Level::Info, title.clone()));
        Ok(self.table.push(Group(title))?)
    }

    fn say(&mut self, own: Resource<Group>, loud: log::Level, message: String) -> wasmtime::Result<()> {
        let group = self.table.get(&own)?.0.clone();
        self.pipeline.log(Said {
            group: Some(group),
            ..self.said(level(loud), message)
        });
        Ok(())
    }

    fn progress(&mut self, own: Resource<Group>, current: u64, total: u64) -> wasmtime::Result<()> {
        let who = format!("{}: {}", self.module, self.table.get(&own)?.0);
        self.pipeline.progress(&who, current, total);
        Ok(())
    }

    fn drop(&mut self, own: Resource<Group>) -> wasmtime::Result<()> {
        self.table.delete(own)?;
        Ok(())
    }
}
