//! Fetching a model or a build into a file: resumed when the connection breaks, verified, and only
//! then given its name.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use sha2::{Digest, Sha256};
use tonic::{Code, Status};
use tributary_experiments::output::OutputFile;
use tributary_proto::v1::{DownloadRequest, DownloadResponse};

use super::lookup::get;
use crate::client::{Coordinator, is_unreachable};
use crate::exit::{Exit, Failure};
use crate::output::{Output, Tone, bytes};
use crate::signals::stop_signal;
use crate::text;

/// Attempts without a single new byte before the fetch is given up.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// Fetches what `digest` names into `out`.
pub async fn export(
    coordinator: &Coordinator,
    digest: &str,
    out: &Path,
    output: Output,
) -> Result<()> {
    let (digest, marks) = resolve(coordinator, digest).await?;
    let mut partial = Partial::create(out)?;
    let bar = bar(output);
    tokio::select! {
        fetched = fetch(coordinator, &digest, &mut partial, &bar) => fetched?,
        // what has no name yet is gone with it
        signal = stop_signal() => {
            signal?;
            let sentence = format!("interrupted: {} was not written", out.display());
            return Err(Failure::new(Exit::Incomplete, sentence).into());
        }
    }
    bar.finish_and_clear();
    let length = partial.length;
    let is_stdout = names_stdout(out);
    partial.finish(&digest, out)?;
    if is_stdout {
        return Ok(()); // the bytes are the answer
    }
    let answer = json!({ "digest": digest, "file": out, "bytes": length, "marks": marks });
    output.answer(&answer, |_, colours| {
        let file = colours.paint(Tone::Strong, &out.display().to_string());
        let marked = match marks.is_empty() {
            true => String::new(),
            false => format!("; marked {}", text::model::marks(&marks, colours)),
        };
        format!("wrote {file} ({}, SHA-256 {digest}){marked}", bytes(length))
    })
}

/// The whole digest, of a model by its beginning, or as given when no model has it (a build); and the
/// model's marks.
async fn resolve(coordinator: &Coordinator, digest: &str) -> Result<(String, Vec<String>)> {
    let digest = digest.to_ascii_lowercase();
    let found = get(coordinator, &digest).await;
    let is_whole = digest.len() == 64 && digest.bytes().all(|letter| letter.is_ascii_hexdigit());
    match found {
        Ok(model) => Ok((model.digest, model.marks)),
        Err(error) => match error.downcast_ref::<Failure>() {
            Some(failure) if failure.exit == Exit::Refused && is_whole => Ok((digest, Vec::new())),
            _ => Err(error),
        },
    }
}

async fn fetch(
    coordinator: &Coordinator,
    digest: &str,
    partial: &mut Partial,
    bar: &ProgressBar,
) -> Result<()> {
    let mut attempts = 0;
    loop {
        let before = partial.length;
        let status = match stream(coordinator, digest, partial, bar).await? {
            None => return Ok(()),
            Some(status) => status,
        };
        attempts = if partial.length > before {
            1
        } else {
            attempts + 1
        };
        if !is_unreachable(&status) || attempts >= ATTEMPTS {
            return Err(coordinator.failure(&status).into());
        }
        tokio::time::sleep(PAUSE * attempts).await;
    }
}

/// One attempt from where the last one ended; gives the status that broke it, if any.
async fn stream(
    coordinator: &Coordinator,
    digest: &str,
    partial: &mut Partial,
    bar: &ProgressBar,
) -> Result<Option<Status>> {
    let request = DownloadRequest {
        credentials: None,
        digest: digest.to_owned(),
        offset: partial.length,
    };
    let mut pieces = match coordinator.transfer().download(request).await {
        Ok(pieces) => pieces.into_inner(),
        Err(status) => return Ok(Some(status)),
    };
    loop {
        match pieces.message().await {
            Ok(Some(piece)) => {
                bar.set_length(piece.total);
                partial.add(&piece)?;
                bar.set_position(partial.length);
            }
            Ok(None) if partial.is_whole() => return Ok(None),
            Ok(None) => {
                return Ok(Some(Status::new(
                    Code::Unavailable,
                    "the stream ended early",
                )));
            }
            Err(status) => return Ok(Some(status)),
        }
    }
}

/// Whether a path leads to where the answer would be printed.
fn names_stdout(path: &Path) -> bool {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;
    let stdout = std::io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map(File::from);
    let stdout = stdout.and_then(|stdout| stdout.metadata());
    // a path that is not there yet is no standard output
    match (stdout, std::fs::metadata(path)) {
        (Ok(stdout), Ok(named)) => (stdout.dev(), stdout.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// A file that has no name yet.
struct Partial {
    file: OutputFile,
    hash: Sha256,
    length: u64,
    total: Option<u64>,
}

impl Partial {
    fn create(out: &Path) -> Result<Self> {
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let sentence = format!(
                "--out {}: there is no folder {}: make it first",
                out.display(),
                folder.display()
            );
            return Err(Failure::new(Exit::Failed, sentence).into());
        }
        let file = OutputFile::create(out)
            .with_context(|| format!("--out {}: it can't be written", out.display()))?;
        Ok(Self {
            file,
            hash: Sha256::new(),
            length: 0,
            total: None,
        })
    }

    fn add(&mut self, piece: &DownloadResponse) -> Result<()> {
        ensure!(
            piece.offset == self.length && self.total.is_none_or(|total| total == piece.total),
            "the coordinator sent bytes from {} of {} where {} of {:?} belong: try again",
            piece.offset,
            piece.total,
            self.length,
            self.total,
        );
        self.file
            .write_all(&piece.data)
            .context("writing the file")?;
        self.hash.update(&piece.data);
        self.length += piece.data.len() as u64;
        self.total = Some(piece.total);
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.total == Some(self.length)
    }

    fn finish(self, digest: &str, out: &Path) -> Result<()> {
        let found = hex::encode(self.hash.finalize());
        ensure!(
            found == digest,
            "the bytes have SHA-256 {found}, not {digest}: try again"
        );
        let finished = self.file.finish();
        finished.with_context(|| format!("--out {}: it can't be written", out.display()))
    }
}

fn bar(output: Output) -> ProgressBar {
    if !output.shows_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:28} {bytes} of {total_bytes}") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u64, total: u64, data: &'static [u8]) -> DownloadResponse {
        DownloadResponse {
            offset,
            total,
            data: data.into(),
        }
    }

    #[test]
    fn a_file_appears_only_when_its_digest_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("model");
        let fetched = || {
            let mut partial = Partial::create(&out).unwrap();
            partial.add(&piece(0, 4, b"ab")).unwrap();
            assert!(!partial.is_whole());
            partial.add(&piece(2, 4, b"cd")).unwrap();
            assert!(partial.is_whole());
            partial
        };
        assert!(fetched().finish(&"0".repeat(64), &out).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        fetched()
            .finish(&hex::encode(Sha256::digest(b"abcd")), &out)
            .unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), b"abcd");
    }

    #[test]
    fn pieces_out_of_order_and_totals_that_change_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut partial = Partial::create(&folder.path().join("model")).unwrap();
        assert!(partial.add(&piece(1, 4, b"ab")).is_err());
        partial.add(&piece(0, 4, b"ab")).unwrap();
        assert!(partial.add(&piece(2, 5, b"c")).is_err());
    }
}
