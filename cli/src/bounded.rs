//! Reading files that somebody names: regular ones, within a number of bytes. A pipe may never say anything,
//! and a device never end.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::exit::{Exit, Failure};

/// Most bytes of a file with settings or a recipe.
pub const MOST_TEXT: u64 = 1024 * 1024;

/// The bytes of a file; `what` names it in refusals (`--config`).
///
/// # Errors
/// When it is no regular file, can't be read, or has more than `most` bytes.
pub fn read(what: &str, path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let failure =
        |why: String| Failure::new(Exit::Failed, format!("{what} {}: {why}", path.display()));
    let unreadable = |error: std::io::Error| failure(format!("it can't be read: {error}"));
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(failure("it is no regular file: name one".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(failure(format!(
            "it has more than {most} bytes, which is the limit"
        )));
    }
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// Also when it is none.
pub fn read_text(what: &str, path: &Path, most: u64) -> Result<String, Failure> {
    String::from_utf8(read(what, path, most)?).map_err(|_| {
        let sentence = format!("{what} {}: it is no text in UTF-8", path.display());
        Failure::new(Exit::Failed, sentence)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_files_pipes_folders_and_long_files_are_refused_by_name_and_reason() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("long");
        std::fs::write(&long, [b'x'; 11]).unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for (path, words) in [
            (Path::new("/dev/zero"), "no regular file"),
            (&pipe, "no regular file"),
            (folder.path(), "no regular file"),
            (&long, "more than 10 bytes"),
            (Path::new("/nowhere/at/all"), "can't be read"),
        ] {
            let told = read("--config", path, 10).unwrap_err().to_string();
            let name = format!("--config {}", path.display());
            assert!(told.starts_with(&name) && told.contains(words), "{told}");
        }
        assert_eq!(read("model", &long, 11).unwrap(), [b'x'; 11]);
        std::fs::write(&long, [0xff]).unwrap();
        let told = read_text("recipe", &long, 11).unwrap_err().to_string();
        assert!(told.contains("no text"), "{told}");
    }
}
