//! Files and folders that only their owner reads, and that are on the disk when we say so.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::disk::anchor::AnchorFile;

/// Permissions of folders: the owner only.
pub(crate) const FOLDER_MODE: u32 = 0o700;
/// Permissions of files: the owner only.
pub(crate) const FILE_MODE: u32 = 0o600;

/// Creates a folder and its parents if needed; the folder itself belongs to its owner alone,
/// whatever the umask.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path)?;
    set_mode(path, FOLDER_MODE)
}

/// Refuses what is there in the place of a file and is none: to open a pipe may wait for ever.
pub(crate) fn must_be_file(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} is no regular file: move it away, and put the file back from a backup",
                path.display()
            ),
        )),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens a file for reading and writing, created if needed, that belongs to its owner alone.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    must_be_file(path)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)?;
    set_mode(path, FILE_MODE)?;
    Ok(file)
}

/// Sets the permissions unless they are that already.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let found = fs::metadata(path)?.permissions().mode() & 0o7777;
    if found == mode {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Gives a folder and all below it to their owner alone. Links are left as they are.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        set_mode(path, FOLDER_MODE)?;
        for entry in fs::read_dir(path)? {
            match make_private(&entry?.path()) {
                // removed meanwhile
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome?,
            }
        }
    } else if kind.is_file() {
        set_mode(path, FILE_MODE)?;
    }
    Ok(())
}

/// Waits until the entries of a folder (not the files) are on the disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Waits until the folders above `path`, two of them, name what lies below them. One that may not be
/// read was there before.
pub(crate) fn sync_above(path: &Path) -> io::Result<()> {
    let above = path.ancestors().skip(1).take(2);
    for folder in above.filter(|above| above.is_dir()) {
        match sync_folder(folder) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Waits until a folder and everything below it are on the disk.
pub(crate) fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    sync_folder(path)
}

/// Copies a folder with all below it. Not synced.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    private_folder(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            must_be_file(&entry.path())?;
            fs::copy(entry.path(), &target)?;
            set_mode(&target, FILE_MODE)?;
        }
    }
    Ok(())
}

/// Removes a folder with all below it, if it is there.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Replaces a small file: its old or its new contents are on the disk whatever happens.
pub(crate) fn replace_file(folder: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!("{name}.new"));
    let file = private_file(&temporary)?;
    file.set_len(0)?;
    file.write_all_at(contents, 0)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(name))?;
    sync_folder(folder)
}

/// An anchor in a file. The file is made by the first write.
#[derive(Debug)]
pub(crate) struct LocalAnchor {
    path: PathBuf,
    file: OnceLock<File>,
}

impl LocalAnchor {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: OnceLock::new(),
        }
    }

    fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let is_new = !self.path.exists();
        let file = private_file(&self.path)?;
        if is_new && let Some(folder) = self.path.parent() {
            sync_folder(folder)?;
        }
        Ok(self.file.get_or_init(|| file))
    }
}

impl AnchorFile for LocalAnchor {
    fn read(&self) -> io::Result<Vec<u8>> {
        must_be_file(&self.path)?;
        match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            outcome => outcome,
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file()?.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file()?.sync_data()
    }
}
