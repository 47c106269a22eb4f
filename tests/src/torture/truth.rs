//! What the parent knows from the child's marks.

use std::fmt;
use std::str::FromStr;

use super::workload::WRITERS;

/// For each writer the last batch that was acknowledged and the last that was begun, and the highest
/// version that any receipt named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Last acknowledged batch of each writer; 0 for none.
    pub acknowledged: [u64; WRITERS],
    /// Last batch of each writer that was handed to the store; its outcome may be unknown.
    pub begun: [u64; WRITERS],
    /// Highest commit number of a receipt.
    pub version: u64,
    /// Batches acknowledged in all.
    pub total: u64,
}

/// One line of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// `open`: the store is open, nothing is verified yet.
    Open,
    /// `verified`: all that was expected is there.
    Verified,
    /// `b WRITER BATCH`: a batch is handed to the store.
    Begun(usize, u64),
    /// `a WRITER BATCH VERSION`: the store gave a receipt for it.
    Acknowledged(usize, u64, u64),
    /// `h WRITER BATCH VERSION`: the head that was found.
    Head(usize, u64, u64),
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split(' ');
        let kind = words.next().ok_or(())?;
        let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or(());
        match kind {
            "open" => Ok(Self::Open),
            "verified" => Ok(Self::Verified),
            "b" => Ok(Self::Begun(number()? as usize, number()?)),
            "a" => Ok(Self::Acknowledged(number()? as usize, number()?, number()?)),
            "h" => Ok(Self::Head(number()? as usize, number()?, number()?)),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => write!(formatter, "open"),
            Self::Verified => write!(formatter, "verified"),
            Self::Begun(writer, batch) => write!(formatter, "b {writer} {batch}"),
            Self::Acknowledged(writer, batch, version) => {
                write!(formatter, "a {writer} {batch} {version}")
            }
            Self::Head(writer, batch, version) => write!(formatter, "h {writer} {batch} {version}"),
        }
    }
}

impl Truth {
    /// Takes a mark in.
    pub fn learn(&mut self, mark: Mark) {
        match mark {
            Mark::Begun(writer, batch) => self.begun[writer] = self.begun[writer].max(batch),
            Mark::Acknowledged(writer, batch, version) => {
                self.acknowledged[writer] = self.acknowledged[writer].max(batch);
                self.version = self.version.max(version);
                self.total += 1;
            }
            Mark::Open | Mark::Verified | Mark::Head(..) => {}
        }
    }

    /// What is known once heads were read from a store: no more and no less than they say.
    pub fn found(heads: &[Mark]) -> Self {
        let mut truth = Self::default();
        for mark in heads {
            if let Mark::Head(writer, batch, version) = *mark {
                truth.acknowledged[writer] = batch;
                truth.begun[writer] = batch;
                truth.version = truth.version.max(version);
            }
        }
        truth
    }
}

/// `ACKNOWLEDGED-BEGUN,...,VERSION`, for a command line.
impl fmt::Display for Truth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (acknowledged, begun) in self.acknowledged.iter().zip(&self.begun) {
            write!(formatter, "{acknowledged}-{begun},")?;
        }
        write!(formatter, "{}", self.version)
    }
}

impl FromStr for Truth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: ACKNOWLEDGED-BEGUN for each writer, then VERSION");
        let mut truth = Self::default();
        let mut parts = text.split(',');
        for writer in 0..WRITERS {
            let (acknowledged, begun) = parts
                .next()
                .and_then(|part| part.split_once('-'))
                .ok_or_else(wrong)?;
            truth.acknowledged[writer] = acknowledged.parse().map_err(|_| wrong())?;
            truth.begun[writer] = begun.parse().map_err(|_| wrong())?;
        }
        let version = parts.next().ok_or_else(wrong)?;
        truth.version = version.parse().map_err(|_| wrong())?;
        Ok(truth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truth_and_its_marks_read_back() {
        let mut truth = Truth::default();
        for mark in [
            Mark::Begun(2, 7),
            Mark::Acknowledged(2, 6, 40),
            Mark::Begun(0, 1),
        ] {
            assert_eq!(mark.to_string().parse(), Ok(mark));
            truth.learn(mark);
        }
        assert_eq!(truth.to_string(), "0-1,0-0,6-7,0-0,40");
        let read: Truth = truth.to_string().parse().unwrap();
        assert_eq!(
            (read.acknowledged, read.begun),
            (truth.acknowledged, truth.begun)
        );
        assert!("1-2,3".parse::<Truth>().is_err());
        assert!("a 1".parse::<Mark>().is_err());
    }
}
