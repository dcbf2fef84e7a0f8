//! Jobs and reports.

mod origin;

use wharf_sdk::prelude::*;

pub use origin::Origin;

/// How hard to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Type)]
pub enum Level {
    /// As it comes.
    Fast,
    /// With patience.
    VerySlow,
}

/// What is to be done.
#[derive(Debug, wharf_sdk::Type)]
pub struct Job {
    /// What is written.
    text: String,
    /// How hard to try.
    level: Level,
    /// Where to begin.
    source: Option<Directory>,
    r#type: Option<(u8, char)>,
}

/// What came out.
#[derive(Type)]
pub struct Report {
    /// The files.
    tree: Directory,
    /// The file that was written.
    file: File,
    /// How many letters it has.
    letters: u64,
    /// How hard it was.
    level: Level,
    /// Where it comes from.
    origins: Vec<Origin>,
}

impl Job {
    pub async fn work(self) -> Result<Report> {
        let tree = self
            .source
            .unwrap_or_default()
            .with_new_file("out.txt", &self.text);
        let file = tree.file("out.txt");
        Ok(Report {
            letters: file.size().await?,
            origins: vec![Origin::Here, Origin::Tree(tree.directory("."))],
            level: self.level,
            file,
            tree,
        })
    }
}

impl Report {
    pub async fn open(self) -> Result<Vec<String>> {
        let mut lines = self.tree.entries("/").await?;
        lines.push(self.file.contents().await?);
        lines.push(format!(
            "{:?} {} {}",
            self.level,
            self.letters,
            self.origins.len()
        ));
        Ok(lines)
    }
}
