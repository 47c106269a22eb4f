//! The checks of a recipe: every refusal names the field and the remedy.

use tributary_aggregator::Codec;
use tributary_model::ModelError;
use tributary_proto::RunId;

use crate::check_monitor::{check_builds, check_drift, check_features};
use crate::error::{in_range, refuse_if};
use crate::{
    ModelSource, PlaybookSpec, PrivacyMode, PrivacySpec, RoundSpec, RunSpec, ServerSpec, SpecError,
    TrainingSpec,
};

/// Devices that one commit can charge.
pub(crate) const MAX_CHARGED: u32 = 12_000;
const MAX_REGIONS: usize = 1_000;

impl RunSpec {
    /// Checks what the types alone can't say.
    ///
    /// # Errors
    /// The first field that is wrong, with the remedy.
    pub fn check(&self) -> Result<(), SpecError> {
        refuse_if(
            self.name.len() > 40 || self.name.parse::<RunId>().is_err(),
            "name",
            "is no name",
            "use 1 to 40 characters of a-z A-Z 0-9 . _ -",
        )?;
        refuse_if(
            self.task.is_empty() || self.task.len() > 64 || self.task.contains(char::is_control),
            "task",
            "is empty, longer than 64 bytes, or has control characters",
            "name the data that devices hold",
        )?;
        self.check_regions()?;
        self.check_model()?;
        check_rounds("rounds", &self.rounds, self.is_seeded())?;
        check_training("training", &self.training)?;
        check_server("server", &self.server)?;
        check_privacy("privacy", &self.privacy)?;
        self.check_method()?;
        if let Some(drift) = &self.drift {
            check_drift(drift, self.privacy.mode)?;
        }
        if let Some(playbook) = &self.playbook {
            self.check_playbook(playbook)?;
        }
        if let Some(builds) = &self.builds {
            check_builds(builds, self.privacy.mode)?;
        }
        self.check_answers()
    }

    fn check_regions(&self) -> Result<(), SpecError> {
        let count = self.regions.len();
        refuse_if(
            count == 0 || count > MAX_REGIONS,
            "regions",
            format!("names {count} regions"),
            "name 1 to 1000",
        )?;
        let distinct: std::collections::BTreeSet<_> = self.regions.iter().collect();
        refuse_if(
            distinct.len() != count,
            "regions",
            "names one twice",
            "name each once",
        )
    }

    fn check_model(&self) -> Result<(), SpecError> {
        match &self.model {
            ModelSource::Architecture(spec) => {
                let invalid = |field: &str, error: ModelError, remedy: &str| SpecError::Invalid {
                    field: field.to_owned(),
                    problem: error.to_string(),
                    remedy: remedy.to_owned(),
                };
                let graph = spec
                    .graph()
                    .map_err(|error| invalid("model", error, "mend the architecture"))?;
                if let Some(drift) = &self.drift {
                    check_features(drift, graph.shapes()[0].iter().product())?;
                }
                let personalisation = self.training.personalisation.as_ref();
                personalisation.map_or(Ok(()), |method| {
                    method.check(&graph).map_err(|error| match error {
                        ModelError::Training { field, rule, value } => SpecError::Invalid {
                            field: format!("training.{field}"),
                            problem: format!("{rule}, got {value}"),
                            remedy: "mend the value".to_owned(),
                        },
                        error => invalid("training.personalisation", error, "mend the value"),
                    })
                })
            }
            ModelSource::Version(source) => refuse_if(
                !(6..=64).contains(&source.version.len())
                    || !source.version.bytes().all(|b| b.is_ascii_hexdigit()),
                "model.version",
                format!("is {:?}, which is no digest", source.version),
                "use the 64 hex characters of a version, or its beginning as `tributary model ls` \
                 prints it, at least 6",
            ),
        }
    }

    fn check_playbook(&self, playbook: &PlaybookSpec) -> Result<(), SpecError> {
        refuse_if(
            self.drift.is_none(),
            "playbook",
            "has no monitor that could trigger it",
            "add a [drift] section or remove [playbook]",
        )?;
        let most_runs = f64::from(playbook.most_runs);
        in_range("playbook.most_runs", most_runs, 1.0, 1_000.0)?;
        check_rounds("playbook.rounds", &playbook.rounds, self.is_seeded())?;
        check_training("playbook.training", &playbook.training)?;
        check_server("playbook.server", &playbook.server)?;
        check_privacy("playbook.privacy", &playbook.privacy)?;
        let larger = |(own, cap): (f64, f64)| own > cap;
        let (own, cap) = (playbook.privacy.epsilon, self.privacy.epsilon);
        refuse_if(
            own.zip(cap).is_some_and(larger) || playbook.privacy.delta != self.privacy.delta,
            "playbook.privacy",
            "has a larger epsilon or another delta than privacy",
            "leave epsilon out to share the run's budget, and use one delta",
        )?;
        refuse_if(
            playbook.privacy.mode != self.privacy.mode,
            "playbook.privacy.mode",
            "differs from privacy.mode",
            "use one mode for both: the guarantee is the weaker one",
        )
    }
}

fn check_rounds(path: &str, rounds: &RoundSpec, seeded: bool) -> Result<(), SpecError> {
    let field = |name: &str| format!("{path}.{name}");
    in_range(&field("count"), f64::from(rounds.count), 1.0, 100_000.0)?;
    in_range(
        &field("cohort"),
        f64::from(rounds.cohort),
        1.0,
        f64::from(MAX_CHARGED),
    )?;
    in_range(&field("over_selection"), rounds.over_selection, 1.0, 4.0)?;
    refuse_if(
        seeded && rounds.to_select() > MAX_CHARGED,
        &field("over_selection"),
        format!("makes a seeded round count {} devices", rounds.to_select()),
        "lower it or the cohort: one round can charge 12000 devices",
    )?;
    in_range(
        &field("deadline_ms"),
        rounds.deadline_ms as f64,
        100.0,
        604_800_000.0,
    )?;
    in_range(
        &field("min_separation"),
        f64::from(rounds.min_separation),
        1.0,
        100_000.0,
    )?;
    in_range(
        &field("min_interval_ms"),
        rounds.min_interval_ms as f64,
        0.0,
        31_536_000_000.0,
    )?;
    refuse_if(
        rounds.max_participations == 0,
        &field("max_participations"),
        "is 0",
        "use at least 1",
    )?;
    refuse_if(
        rounds.minimum() == 0 || rounds.minimum() > rounds.cohort,
        &field("minimum"),
        format!("is {}", rounds.minimum()),
        "use 1 to the cohort",
    )?;
    check_population(path, rounds)
}

/// A goal that the stated population can't reach, in one round or over all of them.
fn check_population(path: &str, rounds: &RoundSpec) -> Result<(), SpecError> {
    let population = rounds.population();
    refuse_if(
        population < rounds.cohort,
        &format!("{path}.cohort"),
        format!(
            "is {}, larger than the population of {population}",
            rounds.cohort
        ),
        "lower the cohort or raise rounds.population",
    )?;
    let Some(population) = rounds.population else {
        return Ok(());
    };
    let most = rounds
        .count
        .div_ceil(rounds.min_separation)
        .min(rounds.max_participations);
    let available = u64::from(population) * u64::from(most);
    let wanted = u64::from(rounds.minimum()) * u64::from(rounds.count);
    refuse_if(
        available < wanted,
        &format!("{path}.max_participations"),
        format!(
            "allows {available} contributions of {population} devices, but {} rounds want at \
             least {wanted}",
            rounds.count
        ),
        "raise it, lower the cohort, or plan fewer rounds",
    )
}

fn check_training(path: &str, training: &TrainingSpec) -> Result<(), SpecError> {
    in_range(
        &format!("{path}.epochs"),
        f64::from(training.epochs),
        1.0,
        1_000.0,
    )?;
    in_range(
        &format!("{path}.batch_size"),
        f64::from(training.batch_size),
        1.0,
        65_536.0,
    )?;
    let rate = f64::from(training.learning_rate);
    in_range(&format!("{path}.learning_rate"), rate, 1e-9, 1e3)?;
    refuse_if(
        training.codec.parse::<Codec>().is_err(),
        &format!("{path}.codec"),
        format!("is {:?}", training.codec),
        "use f32, f16, bf16, int8, int4, topk:SHARE, drive or eden:BITS, with +zstd to compress it",
    )
}

fn check_server(path: &str, server: &ServerSpec) -> Result<(), SpecError> {
    server
        .optimiser
        .validate()
        .map_err(|error| SpecError::Invalid {
            field: format!("{path}.optimiser"),
            problem: error.to_string(),
            remedy: "mend the value".to_owned(),
        })
}

fn check_privacy(path: &str, privacy: &PrivacySpec) -> Result<(), SpecError> {
    in_range(&format!("{path}.clip"), f64::from(privacy.clip), 1e-6, 1e6)?;
    refuse_if(
        !(privacy.delta > 0.0 && privacy.delta < 1.0),
        &format!("{path}.delta"),
        format!("is {}", privacy.delta),
        "use a number above 0 and below 1, well below one over the number of devices",
    )?;
    if let Some(epsilon) = privacy.epsilon {
        in_range(&format!("{path}.epsilon"), epsilon, 1e-3, 1e3)?;
    }
    let field = format!("{path}.noise_multiplier");
    match privacy.mode {
        PrivacyMode::Dp | PrivacyMode::Local => {
            in_range(&field, privacy.noise_multiplier, 1e-3, 1e4)
        }
        PrivacyMode::None => refuse_if(
            privacy.noise_multiplier != 0.0 || privacy.epsilon.is_some(),
            &field,
            "or an epsilon is set although privacy.mode is none",
            "remove them, or set privacy.mode to dp",
        ),
    }
}
