//! Which combination bears how many bad devices.

use super::{PreAggregator, RobustError, RobustRule, RobustSpec};

/// Most steps of an iterative rule.
const MAX_ITERATIONS: u32 = 1000;

impl RobustSpec {
    /// Refuses what voids the guarantee when `vectors` devices contribute to a round: call it when a
    /// run is created, with the fewest devices that close a round.
    ///
    /// Besides the counts that each rule names it refuses the plain mean against any bad device;
    /// nearest-neighbour mixing alone from f/n = 0.3 on, where sign flips break it (attack
    /// laboratory, skewed data: 56 % accuracy against 86 % with ARC before it); a stage named twice;
    /// and any stage after `nnm`, because clipping or grouping mixtures protects nothing.
    ///
    /// # Errors
    /// [`RobustError`] with the reason and the nearest valid choice.
    pub fn check(&self, vectors: usize) -> Result<(), RobustError> {
        self.check_counts(vectors)?;
        if vectors < 2 {
            return Err(RobustError::TooManyByzantine {
                what: "a robust rule",
                byzantine: self.byzantine,
                vectors,
                needs: "two devices to compare",
                nearest: "let the region have more devices, or use the mean".into(),
            });
        }
        self.check_mean()?;
        self.check_mixing(vectors)
    }

    /// Constants, order and counts: what [`RobustSpec::aggregate`] itself relies on.
    pub(super) fn check_counts(&self, vectors: usize) -> Result<(), RobustError> {
        self.rule.check_constants()?;
        self.check_stages()?;
        let byzantine = self.byzantine as usize;
        if vectors == 0 {
            return Err(RobustError::Empty);
        }
        let Some(needed) = self.rule.needed(byzantine) else {
            return Ok(());
        };
        if vectors < needed {
            return Err(self.too_many(self.rule.name(), vectors));
        }
        let reaching = self.reaching(vectors);
        if reaching < needed {
            return Err(self.buckets_too_large(vectors, reaching, needed));
        }
        Ok(())
    }

    /// Vectors that reach the rule when `vectors` come in.
    pub(super) fn reaching(&self, vectors: usize) -> usize {
        let shrink = |count: usize, stage: &PreAggregator| match stage {
            PreAggregator::Bucketing { size } => count.div_ceil((*size).max(1) as usize),
            PreAggregator::Arc | PreAggregator::Nnm => count,
        };
        self.pre.iter().fold(vectors, shrink)
    }

    fn check_stages(&self) -> Result<(), RobustError> {
        for (position, stage) in self.pre.iter().enumerate() {
            if let PreAggregator::Bucketing { size: 0 | 1 } = stage {
                return Err(RobustError::Void {
                    field: "pre.size",
                    problem: "leaves every vector in a bucket of its own".into(),
                    remedy: "use at least 2, or leave bucketing out".into(),
                });
            }
            let earlier = &self.pre[..position];
            if earlier.iter().any(|other| other.name() == stage.name()) {
                return Err(RobustError::Void {
                    field: "pre",
                    problem: format!("names {} twice", stage.name()),
                    remedy: "name each stage once".into(),
                });
            }
            if earlier.contains(&PreAggregator::Nnm) {
                return Err(RobustError::Void {
                    field: "pre",
                    problem: format!("has {} after nnm", stage.name()),
                    remedy: "let nnm be the last stage".into(),
                });
            }
        }
        Ok(())
    }

    fn check_mean(&self) -> Result<(), RobustError> {
        if self.byzantine == 0 || !matches!(self.rule, RobustRule::Mean {}) {
            return Ok(());
        }
        Err(RobustError::Void {
            field: "rule",
            problem: format!(
                "is mean, which bears none of {} bad devices",
                self.byzantine
            ),
            remedy: "use geometric_median, or byzantine = 0".into(),
        })
    }

    fn check_mixing(&self, vectors: usize) -> Result<(), RobustError> {
        let has = |stage: PreAggregator| self.pre.contains(&stage);
        let many = 10 * self.byzantine as usize >= 3 * self.reaching(vectors);
        if has(PreAggregator::Nnm) && !has(PreAggregator::Arc) && many && self.byzantine > 0 {
            return Err(RobustError::Void {
                field: "pre",
                problem: "has nnm without arc, which breaks from 30 % bad devices on".into(),
                remedy: "use pre = [\"arc\", \"nnm\"]".into(),
            });
        }
        Ok(())
    }

    fn too_many(&self, what: &'static str, vectors: usize) -> RobustError {
        let most = self.rule.most_byzantine(vectors);
        let needed = self.rule.needed(self.byzantine as usize).unwrap_or(0);
        let nearest = match most {
            Some(0) | None => format!("let at least {needed} devices contribute"),
            Some(most) => {
                format!("use byzantine = {most}, or let at least {needed} devices contribute")
            }
        };
        RobustError::TooManyByzantine {
            what,
            byzantine: self.byzantine,
            vectors,
            needs: self.rule.needs(),
            nearest,
        }
    }

    /// f bad devices spoil up to f buckets.
    fn buckets_too_large(&self, vectors: usize, buckets: usize, needed: usize) -> RobustError {
        let largest = (2..vectors)
            .take_while(|&size| vectors.div_ceil(size) >= needed)
            .last();
        let nearest = match largest {
            Some(size) => format!("use buckets of at most {size}"),
            None => "leave bucketing out".into(),
        };
        RobustError::TooManyByzantine {
            what: "bucketing",
            byzantine: self.byzantine,
            vectors: buckets,
            needs: self.rule.needs(),
            nearest,
        }
    }
}

impl RobustRule {
    /// Fewest vectors with which the rule bears `byzantine` bad ones; `None` when any number does.
    fn needed(&self, byzantine: usize) -> Option<usize> {
        match self {
            Self::Krum {} | Self::MultiKrum {} => Some(2 * byzantine + 3),
            Self::Bulyan {} => Some(4 * byzantine + 3),
            Self::FlTrust {} => Some(byzantine + 1),
            Self::NormBounding { median: false, .. } => Some(byzantine + 1),
            Self::Mean {} => None,
            _ => Some(2 * byzantine + 1),
        }
    }

    fn needs(&self) -> &'static str {
        match self {
            Self::Krum {} | Self::MultiKrum {} => "n >= 2f + 3",
            Self::Bulyan {} => "n >= 4f + 3",
            Self::FlTrust {} | Self::NormBounding { median: false, .. } => "n > f",
            Self::Mean {} => "no bad device",
            _ => "n > 2f",
        }
    }

    /// Most bad vectors that the rule bears among `vectors`; `None` when it bears no number.
    fn most_byzantine(&self, vectors: usize) -> Option<usize> {
        match self {
            Self::Krum {} | Self::MultiKrum {} => vectors.checked_sub(3).map(|spare| spare / 2),
            Self::Bulyan {} => vectors.checked_sub(3).map(|spare| spare / 4),
            Self::FlTrust {} | Self::NormBounding { median: false, .. } => vectors.checked_sub(1),
            Self::Mean {} => Some(0),
            _ => vectors.checked_sub(1).map(|spare| spare / 2),
        }
    }

    fn check_constants(&self) -> Result<(), RobustError> {
        match *self {
            Self::GeometricMedian { nu, iterations } => {
                if !(nu > 0.0 && nu <= 1.0) {
                    return Err(RobustError::BadConstant {
                        field: "rule.nu",
                        value: nu,
                        range: "above 0 and at most 1",
                    });
                }
                check_iterations(iterations)
            }
            Self::CenteredClipping { tau, iterations } => {
                check_length("rule.tau", tau)?;
                check_iterations(iterations)
            }
            Self::NormBounding { median, bound } => match bound {
                Some(bound) => check_length("rule.bound", bound),
                None if median => Ok(()),
                None => Err(RobustError::Void {
                    field: "rule.median",
                    problem: "is false and no bound is given".into(),
                    remedy: "leave median on or give a bound".into(),
                }),
            },
            _ => Ok(()),
        }
    }
}

fn check_length(field: &'static str, value: f64) -> Result<(), RobustError> {
    // the range in which f32 vectors have a norm
    if (1e-30..=1e30).contains(&value) {
        return Ok(());
    }
    Err(RobustError::BadConstant {
        field,
        value,
        range: "from 1e-30 to 1e30",
    })
}

fn check_iterations(iterations: u32) -> Result<(), RobustError> {
    if (1..=MAX_ITERATIONS).contains(&iterations) {
        return Ok(());
    }
    Err(RobustError::BadConstant {
        field: "rule.iterations",
        value: f64::from(iterations),
        range: "from 1 to 1000",
    })
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
