//! Removes what a killed process left behind in a local folder.
//!
//! object_store writes `NAME#1` and renames it to `NAME`. A process killed in between leaves the
//! first, which nothing reads and nothing would ever remove.

use std::fs;
use std::io;
use std::path::Path;

/// Deletes the unfinished files below `blobs` and says how many there were. Nobody may be writing.
pub(super) fn remove(blobs: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for shard in fs::read_dir(blobs)? {
        let shard = shard?;
        if !shard.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(shard.path())? {
            let file = file?;
            if is_unfinished(&file.file_name().to_string_lossy()) {
                fs::remove_file(file.path())?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// `NAME#N` where NAME is the rest of a digest after its first two digits.
fn is_unfinished(name: &str) -> bool {
    let Some((rest, number)) = name.split_once('#') else {
        return false;
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && rest.len() == 62 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
}
