//! Writing a file that a user names, whatever stands there already.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file under construction. A regular file appears whole under its name, by renaming, with the
/// permissions of any new file; a named pipe, a device, or what a link names is opened and written to,
/// and stays what it is.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    written: Written,
}

#[derive(Debug)]
enum Written {
    /// In the same folder, so that naming it is atomic.
    Beside(NamedTempFile),
    /// Nameless, to be copied.
    Apart(File),
}

impl OutputFile {
    /// Begins a file; nothing is seen under `path` before [`OutputFile::finish`].
    ///
    /// # Errors
    /// When `path` is a folder, or nothing can be written beside it.
    pub fn create(path: &Path) -> io::Result<Self> {
        let stands_there = std::fs::symlink_metadata(path).ok();
        let written = match stands_there {
            Some(there) if there.is_dir() => {
                return Err(io::Error::new(
                    io::ErrorKind::IsADirectory,
                    "it is a folder",
                ));
            }
            Some(there) if !there.is_file() => Written::Apart(tempfile::tempfile()?),
            there => match beside(path) {
                Ok(file) => Written::Beside(file),
                // a file may be writable where its folder is not
                Err(error)
                    if error.kind() == io::ErrorKind::PermissionDenied && there.is_some() =>
                {
                    Written::Apart(tempfile::tempfile()?)
                }
                Err(error) => return Err(error),
            },
        };
        Ok(Self {
            path: path.to_owned(),
            written,
        })
    }

    /// Writes a whole file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = Self::create(path)?;
        file.write_all(bytes)?;
        file.finish()
    }

    /// Gives the file its name, or its bytes to what has the name.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(self) -> io::Result<()> {
        match self.written {
            Written::Beside(file) => {
                file.as_file().sync_all()?;
                file.persist(&self.path).map_err(|error| error.error)?;
                Ok(())
            }
            Written::Apart(mut file) => {
                file.rewind()?;
                let mut options = OpenOptions::new();
                let named = options.write(true).create(true).truncate(true);
                let mut named = named.open(&self.path)?;
                io::copy(&mut file, &mut named)?;
                named.flush()
            }
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.written {
            Written::Beside(file) => file.write(bytes),
            Written::Apart(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.written {
            Written::Beside(file) => file.flush(),
            Written::Apart(file) => file.flush(),
        }
    }
}

fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tributary-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // the process's umask takes away from these, as for any new file
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_regular_file_has_the_mode_of_any_new_file_and_appears_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (usual, ours) = (folder.path().join("usual"), folder.path().join("ours"));
        std::fs::write(&usual, b"x").unwrap();
        std::fs::write(&ours, b"before").unwrap();
        let mut file = OutputFile::create(&ours).unwrap();
        file.write_all(b"after").unwrap();
        assert_eq!(std::fs::read(&ours).unwrap(), b"before", "not yet");
        file.finish().unwrap();
        assert_eq!(std::fs::read(&ours).unwrap(), b"after");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&usual));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_stays_a_link_and_what_it_names_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        std::fs::write(&target, b"a long text before").unwrap();
        symlink(&target, &link).unwrap();
        OutputFile::write(&link, b"short").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&target).unwrap(), b"short");
        let dangling = folder.path().join("dangling");
        symlink(folder.path().join("new"), &dangling).unwrap();
        OutputFile::write(&dangling, b"made").unwrap();
        assert_eq!(std::fs::read(folder.path().join("new")).unwrap(), b"made");
    }

    #[test]
    fn a_named_pipe_is_written_to_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut read = Vec::new();
                File::open(pipe).unwrap().read_to_end(&mut read).unwrap();
                read
            }
        });
        OutputFile::write(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    }

    #[test]
    fn a_folder_is_refused_and_an_unfinished_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(OutputFile::create(folder.path()).is_err());
        let mut file = OutputFile::create(&folder.path().join("never")).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
