//! MNIST and Fashion-MNIST: images and labels in IDX files, plain or gzip.
//!
//! Format (Y. LeCun, C. Cortes, C. Burges, "The MNIST database"): two zero bytes, the element type, the
//! number of axes, each axis as a big-endian `u32`, then the elements in C order.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{DataError, Dataset, Samples};

const EXPECTED: &str = "an IDX file";
const UNSIGNED_BYTE: u8 = 0x08;
/// Most bytes of one decompressed file: four times MNIST's largest.
const FILE_LIMIT: u64 = 256 << 20;
const BRIGHTEST: f32 = 255.0;

/// An array of bytes with its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdxArray {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// Elements in C order.
    pub values: Vec<u8>,
}

impl IdxArray {
    /// Parses a whole IDX file; `name` is used in errors.
    ///
    /// # Errors
    /// [`DataError::Foreign`] for a wrong magic, [`DataError::WrongType`] unless the elements are
    /// unsigned bytes, [`DataError::WrongLength`] when shape and data disagree.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<IdxArray, DataError> {
        let foreign = |reason: &str| DataError::Foreign {
            what: name.into(),
            expected: EXPECTED,
            reason: reason.into(),
        };
        let (kind, axes, rest) = match bytes {
            [0, 0, kind, axes, rest @ ..] => (*kind, usize::from(*axes), rest),
            _ => return Err(foreign("the first two bytes are not zero")),
        };
        if kind != UNSIGNED_BYTE {
            let found = format!("code 0x{kind:02x}");
            let expected = "unsigned bytes (code 0x08)";
            return Err(DataError::WrongType {
                what: name.into(),
                expected,
                found,
            });
        }
        let (header, data) = rest
            .split_at_checked(axes * 4)
            .ok_or_else(|| foreign("it ends inside the header"))?;
        let sizes = header.as_chunks::<4>().0.iter();
        let shape: Vec<usize> = sizes
            .map(|&size| u32::from_be_bytes(size) as usize)
            .collect();
        let expected = shape
            .iter()
            .try_fold(1usize, |total, &axis| total.checked_mul(axis));
        if expected != Some(data.len()) {
            return Err(DataError::WrongLength {
                what: name.into(),
                expected: expected.map_or(u64::MAX, |bytes| bytes as u64),
                found: data.len() as u64,
            });
        }
        Ok(IdxArray {
            shape,
            values: data.to_vec(),
        })
    }

    /// Reads a file, decompressing it when it is gzip.
    ///
    /// # Errors
    /// Also [`DataError::Io`], and [`DataError::TooLarge`] past 256 MiB.
    pub fn read(path: &Path) -> Result<IdxArray, DataError> {
        let name = path.display().to_string();
        let failed = |source| DataError::Io {
            path: path.to_owned(),
            source,
        };
        let raw = read_limited(File::open(path).map_err(failed)?, &name)?.map_err(failed)?;
        if !raw.starts_with(&[0x1f, 0x8b]) {
            return IdxArray::parse(&name, &raw);
        }
        let plain = read_limited(MultiGzDecoder::new(raw.as_slice()), &name)?;
        let plain = plain.map_err(|error| DataError::Foreign {
            what: name.clone(),
            expected: "an intact gzip file",
            reason: error.to_string(),
        })?;
        IdxArray::parse(&name, &plain)
    }
}

/// Reads to the end, but never more than [`FILE_LIMIT`].
fn read_limited(
    reader: impl Read,
    name: &str,
) -> Result<Result<Vec<u8>, std::io::Error>, DataError> {
    let mut bytes = Vec::new();
    let outcome = reader.take(FILE_LIMIT + 1).read_to_end(&mut bytes);
    if bytes.len() as u64 > FILE_LIMIT {
        let announced = bytes.len() as u64;
        return Err(DataError::TooLarge {
            what: name.into(),
            announced,
            limit: FILE_LIMIT,
        });
    }
    Ok(outcome.map(|_| bytes))
}

/// Loads a folder with the four files of MNIST or Fashion-MNIST under their usual names
/// (`train-images-idx3-ubyte`, `t10k-labels.idx1-ubyte` and so on, with or without `.gz`).
///
/// Inputs have shape `[rows * columns]`, scaled to 0..=1. There are no natural users.
///
/// # Errors
/// [`DataError`] when a file is missing, damaged, or does not fit the others.
pub fn load(folder: &Path, name: &str) -> Result<Dataset, DataError> {
    let (train, train_shape) = pair(folder, "train")?;
    let (test, test_shape) = pair(folder, "t10k")?;
    if train_shape != test_shape {
        let what = format!("{} (t10k images)", folder.display());
        let expected = format!("{train_shape:?} per image, as in training");
        return Err(DataError::WrongShape {
            what,
            expected,
            found: test_shape,
        });
    }
    let classes = train
        .labels
        .iter()
        .max()
        .map_or(0, |&label| label as usize + 1);
    if let Some(position) = test
        .labels
        .iter()
        .position(|&label| label as usize >= classes)
    {
        return Err(DataError::OutOfRange {
            what: format!("{} (t10k labels)", folder.display()),
            position,
            value: test.labels[position].to_string(),
            range: "the classes seen in training",
        });
    }
    let shape = vec![train_shape.iter().product()];
    Ok(Dataset {
        name: name.into(),
        shape,
        classes,
        users: Vec::new(),
        train,
        test,
    })
}

/// Images and labels of one part, and the shape of one image.
fn pair(folder: &Path, part: &str) -> Result<(Samples, Vec<usize>), DataError> {
    let images = IdxArray::read(&find(folder, part, "images", 3)?)?;
    let labels = IdxArray::read(&find(folder, part, "labels", 1)?)?;
    let what = |kind: &str| format!("{} ({part} {kind})", folder.display());
    let [count, rows, columns] = images.shape[..] else {
        let expected = "[images, rows, columns]".into();
        return Err(DataError::WrongShape {
            what: what("images"),
            expected,
            found: images.shape,
        });
    };
    if count == 0 || rows * columns == 0 {
        return Err(DataError::WrongShape {
            what: what("images"),
            expected: "at least one image of at least one pixel".into(),
            found: images.shape,
        });
    }
    if labels.shape != [count] {
        let expected = format!("[{count}], one per image");
        return Err(DataError::WrongShape {
            what: what("labels"),
            expected,
            found: labels.shape,
        });
    }
    let samples = Samples {
        inputs: images
            .values
            .iter()
            .map(|&pixel| f32::from(pixel) / BRIGHTEST)
            .collect(),
        labels: labels.values.iter().map(|&label| label.into()).collect(),
        users: Vec::new(),
    };
    Ok((samples, vec![rows, columns]))
}

/// The first existing file among the usual names.
fn find(folder: &Path, part: &str, kind: &str, axes: u8) -> Result<PathBuf, DataError> {
    let stems = [
        format!("{part}-{kind}-idx{axes}-ubyte"),
        format!("{part}-{kind}.idx{axes}-ubyte"),
    ];
    let names = stems
        .iter()
        .flat_map(|stem| [stem.clone(), format!("{stem}.gz")]);
    let found = names
        .map(|name| folder.join(name))
        .find(|path| path.is_file());
    found.ok_or_else(|| DataError::Missing {
        what: format!("{part} {kind}"),
        looked_for: format!("{} and .gz in {}", stems.join(", "), folder.display()),
    })
}

#[cfg(test)]
#[path = "idx_tests.rs"]
mod tests;
