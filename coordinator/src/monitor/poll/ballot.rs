//! The votes of one poll: all of a device's, once, or none.

use crate::votes::Votes;
use std::collections::BTreeMap;

use tributary_proto::DeviceId;
use tributary_proto::v1::{SummaryReport, SummaryRequest, Vote};

use super::Question;

/// A vote that is counted and adds to no bin.
pub(super) const BLANK: u32 = u32::MAX;

/// The votes of one window as they come in.
pub(super) struct Poll {
    pub(super) requests: Vec<SummaryRequest>,
    /// Group of each device that has not answered.
    pub(super) waiting: BTreeMap<DeviceId, usize>,
    pub(super) votes: Vec<Votes>,
}

impl Poll {
    /// The open poll of these groups.
    pub(super) fn new(groups: &[Question]) -> Self {
        let empty = |group: &Question| Votes {
            sums: group
                .request
                .quantities
                .iter()
                .map(|q| vec![0; q.bins as usize])
                .collect(),
            voters: Vec::new(),
        };
        let waiting = groups
            .iter()
            .enumerate()
            .flat_map(|(index, group)| group.devices.iter().map(move |id| (id.clone(), index)));
        Self {
            requests: groups.iter().map(|group| group.request.clone()).collect(),
            waiting: waiting.collect(),
            votes: groups.iter().map(empty).collect(),
        }
    }

    /// Counts a report; true when it was the last one.
    pub(super) fn vote(
        &mut self,
        device: &DeviceId,
        report: &SummaryReport,
    ) -> Result<bool, String> {
        let Some(&group) = self.waiting.get(device) else {
            return Err("the device was not asked, or has voted already".to_owned());
        };
        let asked = &self.requests[group].quantities;
        if asked.len() != report.votes.len() {
            return Err(format!(
                "{} votes for {} quantities",
                report.votes.len(),
                asked.len()
            ));
        }
        // under privacy a bin that is not there is a blank vote: whatever is found in an answer of the
        // right form is told to nobody
        let is_private = self.requests[group].answer_window.is_some();
        for (quantity, vote) in asked.iter().zip(&report.votes) {
            let there = bin(vote).is_none_or(|bin| bin < quantity.bins);
            if quantity.quantity_id != vote.quantity_id || !(there || is_private) {
                return Err("a vote names another quantity or a bin that is not there".to_owned());
            }
        }
        self.waiting.remove(device);
        let votes = &mut self.votes[group];
        for (sums, vote) in votes.sums.iter_mut().zip(&report.votes) {
            let chosen = bin(vote).and_then(|bin| sums.get_mut(bin as usize));
            if let Some(sum) = chosen {
                *sum += 1;
            }
        }
        votes.voters.push(device.clone());
        Ok(self.waiting.is_empty())
    }
}

/// The bin of a vote; none of a blank one.
fn bin(vote: &Vote) -> Option<u32> {
    match vote.ballot {
        0 => Some(vote.bin),
        BLANK => None,
        ballot => Some(ballot - 1),
    }
}
