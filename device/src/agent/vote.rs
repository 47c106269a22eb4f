//! Answering a window: what is checked before the device looks at its data, and the votes.

use std::sync::Arc;

use prost::Message as _;
use tokio::time::Instant;
use tributary_model::Digest;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::{SummaryDeclined, SummaryReport, SummaryRequest, Vote};

use crate::agent::abandoned::{Abandoned, failed, unfit};
use crate::agent::core::Core;
use crate::agent::in_time::Slot;
use crate::agent::models::FILE_OVERHEAD;
use crate::agent::recent::Recent;
use crate::state::ticket::{self, Place};
use crate::training::compute::Scratch;
use crate::training::data::Purpose;
use crate::training::fit::{Misfit, check_model};
use crate::training::quantities::check_quantities;
use crate::training::summary::SummaryJob;

impl Core {
    pub(crate) async fn summary(
        self: &Arc<Self>,
        request: SummaryRequest,
        received: Instant,
        recent: &mut Recent,
    ) {
        let ordered = ticket::Order::of_window(&request);
        let standing = match self.check_order(&ordered).await {
            Ok(standing) => standing,
            Err(abandoned) => {
                self.environment.tally.count("summary", abandoned.because);
                return;
            }
        };
        let same = |(place, votes): &&(Place, SummaryReport)| {
            votes.monitor_id == request.monitor_id && *place == ordered.place
        };
        // asked again after a break: the same votes, never a second example
        if let Some((_, votes)) = recent.votes.as_ref().filter(same) {
            self.tell(Event::SummaryReport(votes.clone()));
            return;
        }
        if request.answer_window.is_some() {
            let unanswered = self.check_unanswered(standing, &request.simulation_seed);
            if let Err(abandoned) = unanswered {
                self.environment.tally.count("summary", abandoned.because);
                return;
            }
        }
        let (monitor_id, window) = (request.monitor_id.clone(), request.window);
        match self
            .stand_by_votes(request, &ordered, received, recent)
            .await
        {
            Ok(report) => {
                recent.votes = Some((ordered.place, report.clone()));
                self.step('s');
                self.environment.tally.count("summary", "voted");
                self.tell(Event::SummaryReport(report));
            }
            Err(abandoned) => {
                self.step('!');
                self.environment.tally.count("summary", abandoned.because);
                if let Some(detail) = abandoned.detail {
                    self.tell(Event::SummaryDeclined(SummaryDeclined {
                        monitor_id,
                        window,
                        reason: abandoned.reason.to_owned(),
                        detail,
                    }));
                }
            }
        }
        self.finish_shape();
    }

    /// Votes, and makes durable what is sent.
    async fn stand_by_votes(
        self: &Arc<Self>,
        request: SummaryRequest,
        ordered: &ticket::Order,
        received: Instant,
        recent: &mut Recent,
    ) -> Result<SummaryReport, Abandoned> {
        let (monitor_id, window) = (request.monitor_id.clone(), request.window);
        let votes = self.vote(request, received, recent).await?;
        let report = SummaryReport {
            monitor_id,
            window,
            votes,
        };
        let digest = Digest::of(&report.encode_to_vec());
        self.stand_by(ordered, digest).await?;
        Ok(report)
    }

    /// The votes of a window. What comes after the job is made looks at the data: under privacy none of
    /// it decides whether, when or at what length the device answers.
    async fn vote(
        self: &Arc<Self>,
        request: SummaryRequest,
        received: Instant,
        recent: &mut Recent,
    ) -> Result<Vec<Vote>, Abandoned> {
        let lease = self.lease(received, request.deadline_ms, &request.simulation_seed);
        let deadline = lease.until;
        let window = request.answer_window;
        let job = Arc::new(self.summary_job(request, deadline, recent).await?);
        let moment = self.draw_moment(window, &job.request.simulation_seed);
        let core = Arc::clone(self);
        let looking = Arc::clone(&job);
        let voted = self
            .in_time(moment, |slot| core.look_and_vote(looking, slot))
            .await;
        // before anything that was found is looked at
        if Instant::now() >= deadline {
            return Err(silent("late"));
        }
        match (voted, window) {
            (Some(Ok(votes)), _) => Ok(votes),
            (failed, Some(_)) => {
                let because = failed.and_then(Result::err).unwrap_or("late");
                self.environment.tally.count("blank", because);
                Ok(job.blank())
            }
            (failed, None) => Err(silent(failed.and_then(Result::err).unwrap_or("crashed"))),
        }
    }

    /// A job that the device is made for.
    async fn summary_job(
        &self,
        request: SummaryRequest,
        deadline: Instant,
        recent: &mut Recent,
    ) -> Result<SummaryJob, Abandoned> {
        let misfit = |error: Misfit| unfit(error.reason(), error.to_string());
        let form = self.data.form(&request.task);
        let form = form.map_err(|error| misfit(error.into()))?;
        let limit = tributary_model::MAX_PARAMETERS as u64 * 4 + FILE_OVERHEAD;
        let model = self
            .model(&request.model_digest, limit, deadline, recent)
            .await?;
        check_model(&model.graph, form).map_err(misfit)?;
        let asked = check_quantities(&request.quantities, &model.graph);
        let asked = asked.map_err(|error| unfit(error.reason(), error.to_string()))?;
        Ok(SummaryJob {
            device_id: self.identity.device_id.as_str().to_owned(),
            request,
            asked,
            model,
        })
    }

    /// Reads the data and votes.
    async fn look_and_vote(
        self: Arc<Self>,
        job: Arc<SummaryJob>,
        slot: Slot,
    ) -> Result<Vec<Vote>, &'static str> {
        let purpose = Purpose::Summary {
            window: job.request.window,
        };
        let look = self.look().await;
        let core = Arc::clone(&self);
        // one piece of work, whatever is found
        let work = move |bench: &mut Scratch| {
            let _held = look;
            slot.begin();
            let examples = core.read(&job.request.task, &purpose)?;
            job.run(&examples, bench).map_err(|error| {
                tracing::debug!(device = core.identity.hashed_id(), %error, "no vote");
                error.reason()
            })
        };
        let voted = self.environment.compute.run(work).await;
        voted.map_err(|_| "crashed")?
    }
}

/// No vote, and no word about it.
const fn silent(because: &'static str) -> Abandoned {
    failed(because)
}
