//! The watch set: a wrist sensor during seven shoulder exercises, ten people, both arms.
//!
//! The recordings are compiled in (2.7 MB). A model trained on right arms scores about a third on left
//! arms, which makes the set a real case of covariate shift. Source and licence:
//! `experiments/data/SOURCES.md`; data described in arXiv 1802.01489.

use serde::{Deserialize, Serialize};

pub use super::normalisation::CHANNELS;
use super::normalisation::{ChannelScale, Normalisation};
use super::npz::NpzArchive;
use super::windowing::Windowing;
use super::{DataError, Dataset, Samples, Side, User};

static ARCHIVE: &[u8] = include_bytes!("../../data/watch/watch_i16.npz");
/// Most bytes that one array of the archive may take; the largest needs 2.9 MB.
const ARRAY_LIMIT: u64 = 16 << 20;
/// Exercises told apart.
pub const CLASSES: usize = 7;
const SUBJECTS: i64 = 10;

/// How recordings become inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchOptions {
    /// Window length, stride, and split.
    pub windowing: Windowing,
    /// Steps averaged into one; must divide the window length. 1 keeps every step.
    pub pool: usize,
    /// What channels are shifted and scaled by.
    pub normalisation: Normalisation,
}

impl Default for WatchOptions {
    /// Windows of 100 steps averaged over groups of 4: inputs of shape `[6, 25]`.
    fn default() -> Self {
        WatchOptions {
            windowing: Windowing::default(),
            pool: 4,
            normalisation: Normalisation::Training,
        }
    }
}

/// Loads the compiled-in recordings.
///
/// Inputs have shape `[6, length / pool]`, channel by channel. Each channel is shifted and scaled as
/// [`Normalisation`] says, for all users alike, so that the shift between arms stays in the data. Users are ordered by subject, right arm before left:
/// index `2 * (subject - 1) + (0 right | 1 left)`.
///
/// # Errors
/// [`DataError::Option`] for options that can't be used.
pub fn load(options: &WatchOptions) -> Result<Dataset, DataError> {
    from_npz(ARCHIVE, options)
}

/// As [`load`], from the bytes of an archive with the arrays listed in `experiments/data/SOURCES.md`.
///
/// # Errors
/// Also any error about the archive or its arrays.
pub fn from_npz(bytes: &[u8], options: &WatchOptions) -> Result<Dataset, DataError> {
    options.windowing.check()?;
    if options.pool == 0 || !options.windowing.length.is_multiple_of(options.pool) {
        return Err(DataError::Option {
            option: "pool",
            value: options.pool.to_string(),
            remedy: format!(
                "choose a divisor of the window length {}",
                options.windowing.length
            ),
        });
    }
    let recordings = Recordings::read(bytes)?;
    let scale = channel_scale(&recordings, options)?;
    let mut dataset = Dataset {
        name: "watch".into(),
        shape: vec![CHANNELS, options.windowing.length / options.pool],
        classes: CLASSES,
        users: users(),
        train: Samples::default(),
        test: Samples::default(),
    };
    for recording in &recordings.list {
        let split = options.windowing.split(recording.steps.len() / CHANNELS)?;
        for (windows, samples) in [
            (split.train, &mut dataset.train),
            (split.test, &mut dataset.test),
        ] {
            for window in windows {
                let range = options.windowing.steps(window);
                let steps = &recording.steps[range.start * CHANNELS..range.end * CHANNELS];
                scale.push_window(steps, options.pool, &mut samples.inputs);
                samples.labels.push(recording.label);
                samples.users.push(recording.user);
            }
        }
    }
    Ok(dataset)
}

fn users() -> Vec<User> {
    let subjects = 1..=SUBJECTS as u32;
    subjects
        .flat_map(|subject| [Side::Right, Side::Left].map(|side| User { subject, side }))
        .collect()
}

/// One recording: `steps` is row major, `[n, CHANNELS]`.
struct Recording {
    steps: Vec<f32>,
    label: u32,
    user: u32,
    side: Side,
}

struct Recordings {
    list: Vec<Recording>,
}

impl Recordings {
    fn read(bytes: &[u8]) -> Result<Recordings, DataError> {
        let mut npz = NpzArchive::open("watch", bytes, ARRAY_LIMIT)?;
        let readings = npz.array("q")?;
        let scale = npz.array("scale")?.to_f64()?;
        let lengths = npz.array("length")?.to_i64()?;
        let total = match readings.shape[..] {
            [total, CHANNELS] => total,
            _ => return Err(wrong_shape("q", "[steps, 6]", &readings.shape)),
        };
        if scale.len() != CHANNELS {
            return Err(wrong_shape("scale", "[6]", &[scale.len()]));
        }
        let count = lengths.len();
        let labels = ranged(&mut npz, "y", count, 0, CLASSES as i64 - 1, "0 to 6")?;
        let subjects = ranged(&mut npz, "subject", count, 1, SUBJECTS, "1 to 10")?;
        let sides = ranged(&mut npz, "side", count, 0, 1, "0 or 1")?;
        let lengths = checked_lengths(&lengths, total)?;

        let mut rest = readings.as_i16()?;
        let mut list = Vec::with_capacity(count);
        for (index, length) in lengths.into_iter().enumerate() {
            let (own, others) = rest.split_at(length * CHANNELS);
            rest = others;
            let scaled = own.iter().zip(scale.iter().cycle());
            list.push(Recording {
                steps: scaled
                    .map(|(&raw, scale)| (f64::from(raw) * scale) as f32)
                    .collect(),
                label: labels[index],
                user: 2 * (subjects[index] - 1) + (1 - sides[index]),
                side: if sides[index] == 1 {
                    Side::Right
                } else {
                    Side::Left
                },
            });
        }
        Ok(Recordings { list })
    }
}

fn wrong_shape(array: &str, expected: &str, found: &[usize]) -> DataError {
    let what = format!("watch/{array}");
    DataError::WrongShape {
        what,
        expected: expected.into(),
        found: found.to_vec(),
    }
}

/// Lengths as `usize`, checked to add up to `total` steps.
fn checked_lengths(lengths: &[i64], total: usize) -> Result<Vec<usize>, DataError> {
    let mut sum = 0usize;
    let mut checked = Vec::with_capacity(lengths.len());
    for (position, &length) in lengths.iter().enumerate() {
        let valid = usize::try_from(length)
            .ok()
            .filter(|&length| length <= total - sum);
        let Some(length) = valid else {
            return Err(DataError::OutOfRange {
                what: "watch/length".into(),
                position,
                value: length.to_string(),
                range: "the steps that are left",
            });
        };
        sum += length;
        checked.push(length);
    }
    if sum != total {
        return Err(wrong_shape(
            "q",
            &format!("[{sum}, 6], the sum of length"),
            &[total, CHANNELS],
        ));
    }
    Ok(checked)
}

/// One small integer per recording, each within `lowest..=highest`.
fn ranged(
    npz: &mut NpzArchive<'_>,
    array: &str,
    count: usize,
    lowest: i64,
    highest: i64,
    range: &'static str,
) -> Result<Vec<u32>, DataError> {
    let values = npz.array(array)?.to_i64()?;
    if values.len() != count {
        return Err(wrong_shape(
            array,
            &format!("[{count}], one per recording"),
            &[values.len()],
        ));
    }
    let checked = values.iter().enumerate().map(|(position, &value)| {
        let valid = (lowest..=highest).contains(&value).then_some(value as u32);
        valid.ok_or_else(|| DataError::OutOfRange {
            what: format!("watch/{array}"),
            position,
            value: value.to_string(),
            range,
        })
    });
    checked.collect()
}

/// Shift and scale of the channels under `options`.
fn channel_scale(
    recordings: &Recordings,
    options: &WatchOptions,
) -> Result<ChannelScale, DataError> {
    if options.normalisation == Normalisation::Public {
        return Ok(ChannelScale::public());
    }
    let windowing = &options.windowing;
    let mut windows = Vec::new();
    for recording in recordings
        .list
        .iter()
        .filter(|recording| recording.side == Side::Right)
    {
        for window in windowing.split(recording.steps.len() / CHANNELS)?.train {
            let range = windowing.steps(window);
            windows.push(&recording.steps[range.start * CHANNELS..range.end * CHANNELS]);
        }
    }
    Ok(ChannelScale::of(windows.into_iter()))
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
