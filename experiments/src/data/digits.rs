//! Handwritten digits, 8 x 8 pixels, 1,797 samples, compiled in (57 KB).
//!
//! Source and licence: `experiments/data/SOURCES.md`.

use std::io::Read;

use flate2::read::GzDecoder;

use super::{DataError, Dataset, Samples};

static ARCHIVE: &[u8] = include_bytes!("../../data/digits/digits.csv.gz");
const PIXELS: usize = 64;
const CLASSES: u32 = 10;
const BRIGHTEST: f32 = 16.0;
/// Most bytes of text accepted; the set needs about 260 KB.
const TEXT_LIMIT: u64 = 16 << 20;

/// Loads the compiled-in digits.
///
/// Inputs have shape `[64]`, row by row, scaled to 0..=1. The rows come writer after writer, so the
/// first three quarters train and the last quarter tests: mostly on writers that training never saw.
/// The set has no natural users: the writers' numbers were not kept.
///
/// # Errors
/// None with the data compiled in; the type leaves room for other archives.
pub fn load() -> Result<Dataset, DataError> {
    from_csv_gz("digits", ARCHIVE)
}

/// As [`load`], from gzip bytes of rows with 64 pixels (0 to 16) and the class (0 to 9).
///
/// # Errors
/// [`DataError`] for damaged compression, a row of another length, or a value out of range.
pub fn from_csv_gz(name: &str, bytes: &[u8]) -> Result<Dataset, DataError> {
    let text = decompressed(name, bytes)?;
    let mut all = Samples::default();
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    for (index, row) in rows.records().enumerate() {
        let row = row.map_err(|error| foreign(name, error.to_string()))?;
        push_row(name, index + 1, &row, &mut all)?;
    }
    let boundary = all.len() * 3 / 4;
    let test = Samples {
        inputs: all.inputs.split_off(boundary * PIXELS),
        labels: all.labels.split_off(boundary),
        users: Vec::new(),
    };
    Ok(Dataset {
        name: "digits".into(),
        shape: vec![PIXELS],
        classes: CLASSES as usize,
        users: Vec::new(),
        train: all,
        test,
    })
}

/// The text of an archive, as far as the limit allows.
fn decompressed(name: &str, bytes: &[u8]) -> Result<String, DataError> {
    let mut text = String::new();
    let mut limited = GzDecoder::new(bytes).take(TEXT_LIMIT + 1);
    limited
        .read_to_string(&mut text)
        .map_err(|error| foreign(name, error.to_string()))?;
    let announced = text.len() as u64;
    if announced > TEXT_LIMIT {
        return Err(DataError::TooLarge {
            what: name.into(),
            announced,
            limit: TEXT_LIMIT,
        });
    }
    Ok(text)
}

/// Appends one sample. `line` counts from 1.
fn push_row(
    name: &str,
    line: usize,
    row: &csv::StringRecord,
    samples: &mut Samples,
) -> Result<(), DataError> {
    if row.len() != PIXELS + 1 {
        return Err(foreign(
            name,
            format!("row {line} has {} fields", row.len()),
        ));
    }
    for (column, field) in row.iter().enumerate() {
        let is_pixel = column < PIXELS;
        let highest = if is_pixel {
            BRIGHTEST as u32
        } else {
            CLASSES - 1
        };
        let value = field.parse::<u32>().ok().filter(|&value| value <= highest);
        let value = value.ok_or_else(|| DataError::OutOfRange {
            what: format!("{name} row {line}"),
            position: column,
            value: field.chars().take(20).collect(),
            range: "0 to 16 for a pixel, 0 to 9 for the class",
        })?;
        if is_pixel {
            samples.inputs.push(value as f32 / BRIGHTEST);
        } else {
            samples.labels.push(value);
        }
    }
    Ok(())
}

/// Bytes that are no digits.
fn foreign(name: &str, reason: String) -> DataError {
    DataError::Foreign {
        what: name.into(),
        expected: "gzip rows of 64 pixels and a class",
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn all_1797_digits_are_there_and_within_range() {
        let digits = load().unwrap();
        assert_eq!((digits.train.len(), digits.test.len()), (1347, 450));
        assert_eq!(digits.train.inputs.len(), 1347 * 64);
        assert!(
            digits
                .train
                .inputs
                .iter()
                .all(|pixel| (0.0..=1.0).contains(pixel))
        );
        // the class counts documented by UCI for the test part
        let labels = || digits.train.labels.iter().chain(&digits.test.labels);
        let counts: Vec<usize> = (0..10)
            .map(|class| labels().filter(|&&label| label == class).count())
            .collect();
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }

    #[test]
    fn truncated_foreign_and_out_of_range_rows_are_typed_errors() {
        assert!(matches!(
            from_csv_gz("d", b"plain"),
            Err(DataError::Foreign { .. })
        ));
        assert!(matches!(
            from_csv_gz("d", &ARCHIVE[..9000]),
            Err(DataError::Foreign { .. })
        ));
        assert!(matches!(
            from_csv_gz("d", &gzip("1,2,3\n")),
            Err(DataError::Foreign { .. })
        ));
        let bright = format!("17{},3\n", ",0".repeat(63));
        assert!(matches!(
            from_csv_gz("d", &gzip(&bright)),
            Err(DataError::OutOfRange { position: 0, .. })
        ));
        let class = format!("0{},10\n", ",0".repeat(63));
        assert!(matches!(
            from_csv_gz("d", &gzip(&class)),
            Err(DataError::OutOfRange { position: 64, .. })
        ));
    }
}
