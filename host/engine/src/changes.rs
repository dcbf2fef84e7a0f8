//! Changesets: what differs between two directories, as paths, as lines, as a unified diff.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use wharf_graph::{
    Error,
    plan::{ChangesetPlan, absolute},
    read::{Answer, ChangeKind, Changes, DiffStat, Question, READ_LIMIT},
};
use wharf_store::{
    Snapshot, Store,
    tree::{Kind, Stat, View},
};

use crate::{
    answer::{text_name, too_large, wrong_question},
    audience::Audience,
    engine::{Engine, store_error},
    image::of_store,
    session::Session,
};

/// One side of a changeset: a tree and where in it the directory lies.
struct Side<'s> {
    view: View<'s>,
    root: String,
}

impl Side<'_> {
    fn at(&self, path: &str) -> String {
        absolute(&self.root, path)
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>, Error> {
        match self.view.stat(&self.at(path), false) {
            Ok(stat) => Ok(Some(stat)),
            Err(wharf_store::Error::NotFound(_) | wharf_store::Error::Invalid(_)) => Ok(None),
            Err(error) => Err(store_error(&error)),
        }
    }

    /// What a diff compares: a file's bytes, a link's target; none for anything else.
    fn content(&self, path: &str, stat: Option<&Stat>) -> Result<Option<Vec<u8>>, Error> {
        let at = self.at(path);
        match stat.map(|stat| (stat.kind, stat.size)) {
            Some((Kind::File, size)) if size > READ_LIMIT => Err(too_large(path, size)),
            Some((Kind::File, _)) => of_store(self.view.read_bytes(at.as_bytes())).map(Some),
            Some((Kind::Symlink, _)) => of_store(self.view.read_link(at.as_bytes())).map(Some),
            _ => Ok(None),
        }
    }
}

/// A path that changed.
struct Change {
    path: String,
    kind: ChangeKind,
    before: Option<Stat>,
    after: Option<Stat>,
}

impl Change {
    fn is_directory(&self) -> bool {
        self.after.or(self.before).is_some_and(|stat| stat.is_directory())
    }

    fn shown(&self) -> String {
        if self.is_directory() {
            format!("{}/", self.path)
        } else {
            self.path.clone()
        }
    }
}

impl Engine {
    /// Answers a question about a changeset.
    pub(crate) async fn answer_changeset(
        self: &Arc<Self>,
        session: &Arc<Session>,
        plan: &Arc<ChangesetPlan>,
        question: &Question,
    ) -> Result<Answer, Error> {
        let trees = [&plan.before, &plan.after, &plan.difference].map(|place| Arc::clone(&place.tree));
        let made = self.realize_all(&Audience::of(session), trees).await?;
        let (plan, question) = (Arc::clone(plan), question.clone());
        self.with_store(move |store| {
            let snapshots = [0, 1, 2].map(|at: usize| made[at].snapshot.clone());
            Ok(answer(store, &plan, &snapshots, &question))
        })
        .await?
    }
}

fn answer(
    store: &Store,
    plan: &ChangesetPlan,
    snapshots: &[Snapshot; 3],
    question: &Question,
) -> Result<Answer, Error> {
    let side = |snapshot, root: &str| {
        Ok::<_, Error>(Side {
            view: of_store(View::new(store, snapshot))?,
            root: root.to_owned(),
        })
    };
    let before = side(&snapshots[0], &plan.before.path)?;
    let after = side(&snapshots[1], &plan.after.path)?;
    let changes = changes(&before, &after, &of_store(View::new(store, &snapshots[2]))?)?;
    match question {
        Question::Sync => Ok(Answer::Done),
        Question::Changes => Ok(Answer::Changes(paths(&changes))),
        Question::DiffStats => stats(&before, &after, &changes).map(Answer::DiffStats),
        Question::AsPatch => patch(&before, &after, &changes).map(Answer::Text),
        other => Err(wrong_question("changeset", other)),
    }
}

/// The paths of `before` that are not in `after`, or are directories on one side alone.
pub(crate) fn gone(store: &Store, [before, after]: [(&Snapshot, &str); 2]) -> Result<Vec<String>, Error> {
    let view = of_store(View::new(store, before.0))?;
    let after = Side {
        view: of_store(View::new(store, after.0))?,
        root: after.1.to_owned(),
    };
    let mut gone: Vec<String> = Vec::new();
    for entry in of_store(view.walk(before.1))? {
        let entry = of_store(entry)?;
        let path = text_name(&entry.path, before.1)?;
        let below =
            |parent: &String| path.starts_with(parent.as_str()) && path[parent.len()..].starts_with('/');
        if gone.last().is_some_and(below) {
            continue;
        }
        let is_there = after
            .stat(&path)?
            .is_some_and(|stat| stat.is_directory() == entry.stat.is_directory());
        if !is_there {
            gone.push(path);
        }
    }
    Ok(gone)
}

/// Everything that differs, by path. `difference` holds what is new or another, and the directories on the way there.
fn changes(before: &Side<'_>, after: &Side<'_>, difference: &View<'_>) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for entry in of_store(difference.walk("/"))? {
        let path = text_name(&of_store(entry)?.path, "/")?;
        let (old, new) = (before.stat(&path)?, after.stat(&path)?);
        let kind = match (&old, &new) {
            (None, _) => ChangeKind::Added,
            (Some(old), Some(new)) if old.is_directory() && new.is_directory() && same(old, new) => continue,
            _ => ChangeKind::Modified,
        };
        changes.push(Change {
            path,
            kind,
            before: old,
            after: new,
        });
    }
    for entry in of_store(before.view.walk(&before.root))? {
        let entry = of_store(entry)?;
        let path = text_name(&entry.path, &before.root)?;
        if after.stat(&path)?.is_none() {
            changes.push(Change {
                path,
                kind: ChangeKind::Removed,
                before: Some(entry.stat),
                after: None,
            });
        }
    }
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(changes)
}

fn same(one: &Stat, other: &Stat) -> bool {
    (one.mode, one.uid, one.gid) == (other.mode, other.uid, other.gid)
}

fn paths(changes: &[Change]) -> Changes {
    let of = |kind| {
        let paths: BTreeSet<_> = changes
            .iter()
            .filter(|change| change.kind == kind)
            .map(Change::shown)
            .collect();
        paths.into_iter().collect()
    };
    Changes {
        added: of(ChangeKind::Added),
        modified: of(ChangeKind::Modified),
        removed: of(ChangeKind::Removed),
    }
}

/// Both sides of a change as text; none where one is not.
fn texts(before: &Side<'_>, after: &Side<'_>, change: &Change) -> Result<Option<[String; 2]>, Error> {
    let text = |bytes: Option<Vec<u8>>| {
        String::from_utf8(bytes.unwrap_or_default())
            .ok()
            .filter(|text| !text.contains('\0'))
    };
    let old = text(before.content(&change.path, change.before.as_ref())?);
    let new = text(after.content(&change.path, change.after.as_ref())?);
    Ok(old.zip(new).map(|(old, new)| [old, new]))
}

fn stats(before: &Side<'_>, after: &Side<'_>, changes: &[Change]) -> Result<Vec<DiffStat>, Error> {
    let mut stats = Vec::new();
    for change in changes.iter().filter(|change| !change.is_directory()) {
        let (mut added_lines, mut removed_lines) = (0, 0);
        if let Some([old, new]) = texts(before, after, change)? {
            let patch = diffy::create_patch(&old, &new);
            for line in patch.hunks().iter().flat_map(|hunk| hunk.lines()) {
                match line {
                    diffy::Line::Insert(_) => added_lines += 1,
                    diffy::Line::Delete(_) => removed_lines += 1,
                    diffy::Line::Context(_) => {}
                }
            }
        }
        stats.push(DiffStat {
            path: change.path.clone(),
            change: change.kind,
            added_lines,
            removed_lines,
        });
    }
    Ok(stats)
}

/// The changes as git writes them, without directories, which git does not know.
fn patch(before: &Side<'_>, after: &Side<'_>, changes: &[Change]) -> Result<String, Error> {
    let mut out = String::new();
    for change in changes.iter().filter(|change| !change.is_directory()) {
        let mode = |stat: Option<Stat>| stat.map(|stat| git_mode(&change.path, &stat)).transpose();
        let modes = (mode(change.before)?, mode(change.after)?);
        let (old_name, new_name) = (name("a", &change.path), name("b", &change.path));
        if let (Some(old), Some(new)) = modes
            && old[..3] != new[..3]
        {
            // A file that becomes a link, or back: git takes one away and adds the other.
            let [old_text, new_text] = texts(before, after, change)?.ok_or_else(|| not_text(&change.path))?;
            file(
                &mut out,
                (&old_name, &new_name),
                (Some(old), None),
                Some([old_text.as_str(), ""]),
            );
            file(
                &mut out,
                (&old_name, &new_name),
                (None, Some(new)),
                Some(["", new_text.as_str()]),
            );
            continue;
        }
        let texts = texts(before, after, change)?;
        let texts = texts.as_ref().map(|[old, new]| [old.as_str(), new.as_str()]);
        file(&mut out, (&old_name, &new_name), modes, texts);
        if out.len() as u64 > READ_LIMIT {
            return Err(too_large("the patch", out.len() as u64));
        }
    }
    Ok(out)
}

fn not_text(path: &str) -> Error {
    Error::Invalid(format!(
        "{path} became a link and was no text, which a patch cannot say"
    ))
}

/// The part of a patch about one file.
fn file(
    out: &mut String,
    (old_name, new_name): (&str, &str),
    modes: (Option<&str>, Option<&str>),
    texts: Option<[&str; 2]>,
) {
    let is_same_text = texts.is_some_and(|[old, new]| old == new);
    if is_same_text && modes.0.is_some() && modes.0 == modes.1 {
        // Another owner, which a patch cannot say.
        return;
    }
    let _ = writeln!(out, "diff --git {old_name} {new_name}");
    match modes {
        (None, Some(new)) => {
            let _ = writeln!(out, "new file mode {new}");
        }
        (Some(old), None) => {
            let _ = writeln!(out, "deleted file mode {old}");
        }
        (Some(old), Some(new)) if old != new => {
            let _ = writeln!(out, "old mode {old}\nnew mode {new}");
        }
        _ => {}
    }
    let side = |name: &str, is_there: bool| {
        match (is_there, name.contains(' ') && !name.starts_with('"')) {
            (false, _) => "/dev/null".to_owned(),
            // Where the name ends, when it holds spaces.
            (true, true) => format!("{name}\t"),
            (true, false) => name.to_owned(),
        }
    };
    let (old_side, new_side) = (
        side(old_name, modes.0.is_some()),
        side(new_name, modes.1.is_some()),
    );
    match texts {
        None => {
            let _ = writeln!(out, "Binary files {old_side} and {new_side} differ");
        }
        Some(_) if is_same_text => {}
        Some([old, new]) => {
            let text = diffy::create_patch(old, new).to_string();
            // The library's own names are not the files'.
            let hunks = text.find("@@").map_or("", |at| &text[at..]);
            let _ = write!(out, "--- {old_side}\n+++ {new_side}\n{hunks}");
        }
    }
}

fn git_mode(path: &str, stat: &Stat) -> Result<&'static str, Error> {
    match stat.kind {
        Kind::File if stat.mode & 0o100 != 0 => Ok("100755"),
        Kind::File => Ok("100644"),
        Kind::Symlink => Ok("120000"),
        _ => Err(Error::Invalid(format!(
            "{path} is neither a file nor a link: a patch cannot hold it"
        ))),
    }
}

/// A path as git writes it: in quotes where it holds what would be read otherwise.
fn name(side: &str, path: &str) -> String {
    let path = format!("{side}/{path}");
    if !path.contains(['"', '\\']) && !path.chars().any(char::is_control) {
        return path;
    }
    let mut quoted = String::from("\"");
    for c in path.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                for byte in c.to_string().bytes() {
                    let _ = write!(quoted, "\\{byte:03o}");
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{file, name};

    #[test]
    fn names_are_quoted_as_git_quotes_them() {
        assert_eq!(name("a", "src/a b.rs"), "a/src/a b.rs");
        assert_eq!(name("b", "a\"b\\c\n\u{1}"), "\"b/a\\\"b\\\\c\\n\\001\"");
    }

    #[test]
    fn a_file_is_written_as_git_writes_it() {
        let mut out = String::new();
        let modes = (Some("100644"), Some("100755"));
        file(
            &mut out,
            ("a/x", "b/x"),
            modes,
            Some(["one\ntwo\n", "one\nthree"]),
        );
        file(&mut out, ("a/y", "b/y"), (None, Some("100644")), None);
        insta::assert_snapshot!(out, @r"
        diff --git a/x b/x
        old mode 100644
        new mode 100755
        --- a/x
        +++ b/x
        @@ -1,2 +1,2 @@
         one
        -two
        +three
        \ No newline at end of file
        diff --git a/y b/y
        new file mode 100644
        Binary files /dev/null and b/y differ
        ");
    }
}
