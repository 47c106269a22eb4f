//! Combinations of options whose guarantee would be void, refused before a run exists: each with the
//! reason and the nearest choice that is valid.

use tributary_aggregator::{RobustRule, RobustSpec, ServerOptimiser};
use tributary_model::{LocalAlgorithm, Personalisation};

use crate::compatibility::{Conflict, LocalOptions, MAX_EXAMPLES_CAP, is_momentum, is_plain};
use crate::error::{in_range, refuse_if};
use crate::{
    AggregationSpec, ModelSource, PrivacyMode, PrivacySpec, RoundSpec, RunSpec, ServerSpec,
    SpecError, TrainingSpec,
};

/// Most rounds that an update may be late.
const MAX_STALENESS: u32 = 1_000;

/// The sections that decide how a run learns.
pub(crate) struct Method<'s> {
    /// Where the sections stand in the recipe: empty, or `playbook.`.
    pub(crate) path: &'static str,
    pub(crate) rounds: &'s RoundSpec,
    pub(crate) training: &'s TrainingSpec,
    pub(crate) server: &'s ServerSpec,
    pub(crate) aggregation: &'s AggregationSpec,
    pub(crate) privacy: &'s PrivacySpec,
    pub(crate) regions: usize,
    pub(crate) seeded: bool,
}

impl RunSpec {
    /// Checks that what is asked for goes together, in the run and in its playbook.
    ///
    /// # Errors
    /// The first option that does not go with another.
    pub(crate) fn check_method(&self) -> Result<(), SpecError> {
        let run = Method {
            path: "",
            rounds: &self.rounds,
            training: &self.training,
            server: &self.server,
            aggregation: &self.aggregation,
            privacy: &self.privacy,
            regions: self.regions.len(),
            seeded: self.is_seeded(),
        };
        run.check()?;
        if let Some(Personalisation::Ifca { .. }) = self.training.personalisation {
            refuse_if(
                matches!(self.model, ModelSource::Version(_)),
                "training.personalisation",
                "is ifca, but the model is a registered version: all clusters would start alike",
                "name an architecture in [model]: its clusters start from different weights",
            )?;
        }
        self.check_monitored()?;
        refuse_if(
            self.privacy.mode == PrivacyMode::Local
                && (self.drift.is_some() || self.builds.is_some()),
            "privacy.mode",
            "is local, but [drift] and [builds] collect single votes whose noise the coordinator adds",
            "remove [drift], [playbook] and [builds], or set privacy.mode to dp",
        )?;
        let Some(playbook) = &self.playbook else {
            return Ok(());
        };
        refuse_if(
            !self.aggregation.is_mean(),
            "playbook",
            "would train on by the mean, which one lying device can move",
            "remove [playbook], or use aggregation.mode mean",
        )?;
        refuse_if(
            playbook.training.personalisation.is_some() || playbook.rounds.staleness_cap() > 0,
            "playbook.training.personalisation",
            "or playbook.rounds.staleness_cap is set: a playbook trains one region's model",
            "remove them",
        )?;
        let playbook = Method {
            path: "playbook.",
            rounds: &playbook.rounds,
            training: &playbook.training,
            server: &playbook.server,
            aggregation: &AggregationSpec::default(),
            privacy: &playbook.privacy,
            regions: 1,
            seeded: self.is_seeded(),
        };
        playbook.check()
    }
}

impl RunSpec {
    /// A model that is whole only on devices, or that devices choose, can't be watched or built.
    fn check_monitored(&self) -> Result<(), SpecError> {
        let Some(method) = &self.training.personalisation else {
            return Ok(());
        };
        let partial = matches!(
            method,
            Personalisation::FedPer { .. }
                | Personalisation::FedRep { .. }
                | Personalisation::Ifca { .. }
        );
        let asked = self.drift.is_some() || self.builds.is_some();
        refuse_if(
            partial && asked,
            "training.personalisation",
            format!(
                "is {}, but [drift] and [builds] need the model that every device of a region uses",
                method.name()
            ),
            "use region_heads, ditto or apfl, or remove [drift] and [builds]",
        )
    }
}

impl Method<'_> {
    fn check(&self) -> Result<(), SpecError> {
        self.check_values()?;
        self.check_algorithm()?;
        self.check_personalisation()?;
        self.check_privacy()?;
        self.check_buffers()?;
        if self.aggregation.is_mean() {
            self.check_mean()
        } else {
            self.check_robust()
        }
    }

    pub(crate) fn refuse(
        &self,
        wrong: bool,
        field: &str,
        problem: impl Into<String>,
        remedy: &str,
    ) -> Result<(), SpecError> {
        refuse_if(wrong, &format!("{}{field}", self.path), problem, remedy)
    }

    /// The options of local training that may exclude each other.
    pub(crate) fn options(&self) -> LocalOptions<'_> {
        LocalOptions {
            algorithm: self.training.algorithm,
            personalisation: self.training.personalisation.as_ref(),
            momentum: self.training.momentum,
            sparse: self.training.codec.starts_with("topk"),
            capped: self.training.examples_cap.is_some(),
        }
    }

    fn check_values(&self) -> Result<(), SpecError> {
        let training = self.training;
        let field = |name: &str| format!("{}training.{name}", self.path);
        in_range(&field("max_steps"), training.max_steps.into(), 0.0, 1e6)?;
        self.refuse(
            !is_momentum(training.momentum),
            "training.momentum",
            format!("is {}", training.momentum),
            "use a number at least 0 and below 1",
        )?;
        if let Some(cap) = training.examples_cap {
            let most = MAX_EXAMPLES_CAP as f64;
            in_range(&field("examples_cap"), cap as f64, 1.0, most)?;
        }
        training
            .algorithm
            .check()
            .map_err(|error| SpecError::Invalid {
                field: field("algorithm"),
                problem: error.to_string(),
                remedy: "mend the value".to_owned(),
            })
    }

    fn check_algorithm(&self) -> Result<(), SpecError> {
        let client = matches!(self.training.algorithm, LocalAlgorithm::FedDyn { .. });
        let server = matches!(self.server.optimiser, ServerOptimiser::FedDyn { .. });
        self.refuse(
            client != server,
            "server.optimiser",
            "and training.algorithm are two halves of feddyn, but only one is set",
            "set server.optimiser = { kind = \"feddyn\", participation = .. } and \
             training.algorithm = { kind = \"feddyn\", alpha = .. } together",
        )?;
        let options = self.options();
        self.refuse(
            options.has(Conflict::StateAndMomentum),
            "training.momentum",
            format!(
                "mixes updates of several rounds, but {} needs each by itself",
                self.training.algorithm.name()
            ),
            "set it to 0, or use algorithm fedavg or fedprox",
        )?;
        self.refuse(
            options.has(Conflict::StateAndCap),
            "training.examples_cap",
            format!(
                "weights by examples, but {} keeps the same state on devices and server, which \
                 weights would drive apart",
                self.training.algorithm.name()
            ),
            "remove it, or use algorithm fedavg or fedprox",
        )?;
        self.refuse(
            self.training.algorithm == LocalAlgorithm::Scaffold && self.rounds.population.is_none(),
            "rounds.population",
            "is missing: scaffold's control variate is the mean over all devices",
            "say how many devices there are",
        )?;
        self.refuse(
            options.has(Conflict::LossesAndCap),
            "training.examples_cap",
            "weights by examples, but qfedavg weights by losses",
            "remove it, or use algorithm fedavg",
        )
    }

    fn check_personalisation(&self) -> Result<(), SpecError> {
        let Some(personalisation) = &self.training.personalisation else {
            return Ok(());
        };
        let options = self.options();
        self.refuse(
            options.has(Conflict::StateAndPersonalisation),
            "training.personalisation",
            format!(
                "is {}, which does not go with training.algorithm {}: its state belongs to the \
                 whole shared model",
                personalisation.name(),
                self.training.algorithm.name()
            ),
            "use algorithm fedavg or fedprox (feddyn goes with ditto and apfl), or remove \
             personalisation",
        )?;
        let heads = matches!(personalisation, Personalisation::RegionHeads { .. });
        self.refuse(
            heads && self.regions < 2,
            "training.personalisation",
            "is region_heads, but the run has one region",
            "name more regions, or use fedper",
        )?;
        self.refuse(
            options.has(Conflict::ClustersAndSparse),
            "training.codec",
            "is topk, which adds what one cluster's update left out to another's",
            "use int8, int4 or eden:2 with ifca",
        )?;
        self.refuse(
            options.has(Conflict::ModelsAndMomentum),
            "training.momentum",
            "mixes updates of different models",
            "set it to 0, or remove personalisation",
        )
    }

    fn check_buffers(&self) -> Result<(), SpecError> {
        let cap = self.rounds.staleness_cap();
        let (low, high) = (0.0, f64::from(MAX_STALENESS));
        let field = format!("{}rounds.staleness_cap", self.path);
        in_range(&field, cap.into(), low, high)?;
        if cap == 0 {
            return Ok(());
        }
        self.refuse(
            self.seeded,
            "rounds.staleness_cap",
            "makes the outcome depend on who arrives first, which no seed repeats",
            "remove the seed, or set it to 0",
        )?;
        self.refuse(
            !is_plain(self.training.algorithm),
            "training.algorithm",
            format!(
                "is {}, whose server state belongs to one round, but rounds.staleness_cap lets \
                 them overlap",
                self.training.algorithm.name()
            ),
            "use fedavg or fedprox, or set rounds.staleness_cap to 0",
        )?;
        let several = matches!(
            self.training.personalisation,
            Some(Personalisation::Ifca { .. } | Personalisation::RegionHeads { .. })
        );
        self.refuse(
            several,
            "training.personalisation",
            "keeps several models in step by rounds, but rounds.staleness_cap lets them overlap",
            "use fedper, ditto or apfl, or set rounds.staleness_cap to 0",
        )
    }

    fn check_mean(&self) -> Result<(), SpecError> {
        let given = self.aggregation;
        let names = [
            ("aggregation.byzantine", given.byzantine.is_some()),
            ("aggregation.pre", given.pre.is_some()),
            ("aggregation.rule", given.rule.is_some()),
            ("aggregation.trusted", given.trusted.is_some()),
        ];
        let set = names.iter().find(|(_, is_set)| *is_set);
        set.map_or(Ok(()), |(name, _)| {
            let remedy = "set aggregation.mode to robust, or remove it";
            self.refuse(true, name, "is set, but the mode is mean", remedy)
        })
    }

    fn check_robust(&self) -> Result<(), SpecError> {
        let minimum = self.rounds.minimum();
        let Some(spec) = self.aggregation.robust(minimum) else {
            return Ok(());
        };
        self.refuse(
            self.privacy.mode == PrivacyMode::Local,
            "aggregation.mode",
            "is robust under privacy.mode local: with its own noise every honest update is as far from \
             the others as a hostile one",
            "use mode mean, or privacy.mode none",
        )?;
        self.refuse(
            self.privacy.mode == PrivacyMode::Dp,
            "aggregation.mode",
            "is robust under privacy.mode dp: one device can move a robust rule by the whole clip, \
             not by clip / n, so the noise would guarantee nothing",
            "use mode mean, where clip and noise bound what any device does, or privacy.mode none",
        )?;
        self.refuse(
            self.rounds.staleness_cap() > 0,
            "aggregation.mode",
            "is robust, but rounds.staleness_cap mixes updates of different models, whose distances \
             mean nothing",
            "set rounds.staleness_cap to 0, or use mode mean",
        )?;
        let weighted = matches!(
            self.training.algorithm,
            LocalAlgorithm::FedNova | LocalAlgorithm::QFedAvg { .. } | LocalAlgorithm::Scaffold
        ) || self.training.examples_cap.is_some();
        self.refuse(
            weighted,
            "aggregation.mode",
            "is robust, but training.algorithm or training.examples_cap lets a device choose its own \
             weight or a second vector",
            "use algorithm fedavg, fedprox or feddyn without examples_cap, or mode mean",
        )?;
        let several = matches!(
            self.training.personalisation,
            Some(Personalisation::Ifca { .. } | Personalisation::RegionHeads { .. })
        );
        self.refuse(
            several,
            "training.personalisation",
            "splits a round into groups, and hostile devices may all choose one",
            "use fedper, or a run for each region",
        )?;
        self.check_trusted(&spec)
    }

    /// FLTrust's device, and whether every round has enough devices for the rule.
    fn check_trusted(&self, spec: &RobustSpec) -> Result<(), SpecError> {
        let trusts = matches!(spec.rule, RobustRule::FlTrust {});
        self.refuse(
            trusts != self.aggregation.trusted.is_some(),
            "aggregation.trusted",
            "and the rule fltrust go together, but only one is set",
            "name the device that holds clean data, or choose another rule",
        )?;
        let often =
            self.rounds.min_separation == 1 && self.rounds.max_participations >= self.rounds.count;
        self.refuse(
            trusts && !often,
            "aggregation.trusted",
            "takes part in every round, but rounds.min_separation or rounds.max_participations \
             forbids that",
            "set min_separation to 1 and remove max_participations",
        )?;
        let rounds = self.rounds;
        for n in [rounds.minimum(), rounds.cohort, rounds.to_select()] {
            let n = n as usize - usize::from(trusts);
            spec.check(n).map_err(|error| SpecError::Invalid {
                field: "aggregation".to_owned(),
                problem: format!("can't bear a round of {n} contributions: {error}"),
                remedy: "raise rounds.minimum, lower aggregation.byzantine, or choose another rule"
                    .to_owned(),
            })?;
        }
        Ok(())
    }
}
