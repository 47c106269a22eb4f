//! Blobs as files: in folders that their owner alone reads, and on the disk when we say so.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::disk::files::{self, FILE_MODE, FOLDER_MODE};

/// Makes `blobs` in `folder` with its 256 shards. All of them beforehand: a folder that two writers
/// make at once would be on the disk for one of them only.
pub(super) fn prepare(folder: &Path, blobs: &Path) -> io::Result<()> {
    files::private_folder(folder)?;
    files::private_folder(blobs)?;
    let mut is_new = false;
    for shard in 0..=u8::MAX {
        let shard = blobs.join(hex::encode([shard]));
        if shard.is_dir() {
            files::set_mode(&shard, FOLDER_MODE)?;
        } else {
            files::private_folder(&shard)?;
            is_new = true;
        }
    }
    if is_new {
        files::sync_folder(blobs)?;
        files::sync_folder(folder)?;
        if let Some(above) = folder.parent().filter(|above| above.is_dir()) {
            files::sync_folder(above)?;
        }
    }
    Ok(())
}

/// Whether any shard holds a file.
pub(super) fn has_files(blobs: &Path) -> io::Result<bool> {
    let shards = match fs::read_dir(blobs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        shards => shards?,
    };
    for shard in shards {
        let shard = shard?.path();
        if shard.is_dir() && fs::read_dir(shard)?.next().is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until a blob and its name are on the disk.
pub(super) fn sync(file: &Path) -> io::Result<()> {
    make_private(file)?;
    File::open(file)?.sync_all()?;
    file.parent().map_or(Ok(()), files::sync_folder)
}

/// Gives a blob to its owner alone.
pub(super) fn make_private(file: &Path) -> io::Result<()> {
    files::set_mode(file, FILE_MODE)
}
