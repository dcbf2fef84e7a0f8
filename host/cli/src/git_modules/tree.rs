//! The files of a commit, made safe to work in: nothing in them leads this program elsewhere.

use std::{fs, io, path::Path};

/// Removes what this program keeps beside a module, which is not the repository's to give, and links out of the tree.
pub(super) fn make_safe(tree: &Path) -> io::Result<()> {
    let root = fs::canonicalize(tree)?;
    clean(&root, &root)
}

fn clean(directory: &Path, root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            if entry.file_name() == ".wharf" {
                fs::remove_dir_all(&path)?;
            } else {
                clean(&path, root)?;
            }
        } else if kind.is_symlink() {
            let inside = fs::canonicalize(&path).is_ok_and(|real| real.starts_with(root));
            if !inside || entry.file_name() == ".wharf" {
                fs::remove_file(&path)?;
            }
        } else if entry.file_name() == ".wharf" {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_out_and_nothing_of_ours_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, outside) = (directory.path().join("tree"), directory.path().join("outside"));
        for path in ["tree/tool/.wharf", "tree/base", "outside"] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        fs::write(outside.join("file"), "kept").unwrap();
        fs::write(tree.join("base/file"), "own").unwrap();
        fs::write(tree.join("tool/.wharf/module.wasm"), "theirs").unwrap();
        symlink("../base", tree.join("tool/base")).unwrap();
        symlink("../../outside", tree.join("tool/out")).unwrap();
        symlink(&outside, tree.join("base/.wharf")).unwrap();
        symlink("base/out", tree.join("late")).unwrap();
        symlink("/no/such/place", tree.join("base/out")).unwrap();
        make_safe(&tree).unwrap();
        for gone in ["tool/.wharf", "tool/out", "base/.wharf", "late", "base/out"] {
            assert!(tree.join(gone).symlink_metadata().is_err(), "{gone}");
        }
        assert_eq!(fs::read_to_string(tree.join("tool/base/file")).unwrap(), "own");
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept");
    }
}
