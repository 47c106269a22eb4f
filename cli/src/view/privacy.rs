//! What was spent.

use serde::Serialize;
use tributary_proto::v1;

use super::{CapView, DecisionView, ReservationView};

/// A privacy statement. All parts belong together: an epsilon without them means nothing.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Spend {
    /// Epsilon by the conversion of zCDP to (epsilon, delta)-DP; null when it is infinite, as it is
    /// without noise.
    pub epsilon: f64,
    /// Delta of that epsilon.
    pub delta: f64,
    /// The account in zCDP.
    pub rho: f64,
    /// What one neighbour differs in.
    pub adjacency: String,
    /// The mechanism.
    pub mechanism: String,
    /// Epsilon by the curve of the continuous Gaussian at the same rho; null when infinite, and where
    /// noise of a few units lies on votes, for which it is no bound. Never the number to quote.
    pub epsilon_gaussian: Option<f64>,
    /// True without noise, or when the noise was seeded: nothing here is private.
    pub not_private: bool,
}

/// `privacy show`.
#[derive(Debug, Serialize)]
pub struct PrivacyView {
    /// The device that spent most over everything; null when nothing was spent.
    pub worst_device: Option<WorstDevice>,
    /// The worst device of each region.
    pub regions: Vec<RegionSpendView>,
    /// By run or monitor.
    pub accounts: Vec<AccountView>,
    /// The caps.
    pub caps: Vec<CapView>,
    /// What is set aside for charges to come.
    pub reservations: Vec<ReservationView>,
    /// Who changed a cap, or went on in spite of one; the newest 1,000, oldest first.
    pub decisions: Vec<DecisionView>,
}

/// The device that spent most.
#[derive(Debug, Serialize)]
pub struct WorstDevice {
    /// Its region.
    pub region: String,
    /// Its spend.
    pub spend: Spend,
}

/// The worst device of a region.
#[derive(Debug, Serialize)]
pub struct RegionSpendView {
    /// The region.
    pub region: String,
    /// Its spend.
    pub spend: Spend,
}

/// What the figures beside a spend hold under: the same as the spend.
#[derive(Debug, Serialize)]
pub struct Conditions {
    /// Delta of the epsilons.
    pub delta: f64,
    /// What may differ between the two data sets that can't be told apart.
    pub adjacency: String,
    /// What protects.
    pub mechanism: String,
}

impl From<&Spend> for Conditions {
    fn from(spend: &Spend) -> Self {
        Self {
            delta: spend.delta,
            adjacency: spend.adjacency.clone(),
            mechanism: spend.mechanism.clone(),
        }
    }
}

/// What one run or monitor spent.
#[derive(Debug, Serialize)]
pub struct AccountView {
    /// The run or monitor.
    pub id: String,
    /// `training`, `drift` or `calibration`.
    pub kind: String,
    /// Charges made.
    pub charges: u64,
    /// Spend of the device that spent most here, at the delta of the run.
    pub spend: Spend,
    /// Under which the figures below hold.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// The cap on all that a device spends, in zCDP; null when there is none.
    pub budget_rho: Option<f64>,
    /// What remains of the cap for the device that has least left of those that were charged here;
    /// null without a cap.
    pub remaining_rho: Option<f64>,
    /// The cap as an epsilon at the delta of `spend`; null when there is none.
    pub budget_epsilon: Option<f64>,
    /// By how much the epsilon of the device that has least left may still grow; null without a cap.
    pub remaining_epsilon: Option<f64>,
    /// By region, those of its devices that were charged here.
    pub regions: Vec<RegionAccountView>,
    /// `SEEDED` where its noise is known, `NO NOISE` where there was none, `RESTORED` where earlier spending
    /// was lost with a data folder, also in what it comes from.
    pub marks: Vec<String>,
}

/// The devices of one region in one account. Regions are disjoint: the loss of a region is that of
/// its worst device. A device is listed where it is now.
#[derive(Debug, Serialize)]
pub struct RegionAccountView {
    /// The region.
    pub region: String,
    /// Devices of it that were charged in this account.
    pub devices: u64,
    /// Spend in this account of the one that spent most.
    pub spend: Spend,
    /// Under which the figures below hold.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// What remains of the cap for the one that has least left; null without a cap.
    pub remaining_rho: Option<f64>,
    /// By how much its epsilon may still grow; null without a cap.
    pub remaining_epsilon: Option<f64>,
}

/// What a mechanism without noise is called.
const NO_NOISE: &str = "no noise";

impl Spend {
    /// Whether it protects nobody: no noise, or noise that can be predicted.
    pub fn is_not_private(&self) -> bool {
        self.not_private || self.has_no_noise()
    }

    /// Whether sums were released without noise.
    pub fn has_no_noise(&self) -> bool {
        self.mechanism.starts_with(NO_NOISE)
    }

    /// Whether a private mechanism has released nothing yet.
    pub fn is_nothing(&self) -> bool {
        self.rho == 0.0 && !self.is_not_private()
    }
}

impl From<Option<v1::PrivacySpend>> for Spend {
    fn from(spend: Option<v1::PrivacySpend>) -> Self {
        let spend = spend.unwrap_or_default();
        Self {
            epsilon: spend.epsilon,
            delta: spend.delta,
            rho: spend.rho,
            adjacency: spend.adjacency,
            mechanism: spend.mechanism,
            epsilon_gaussian: spend.epsilon_gaussian,
            not_private: spend.not_private,
        }
    }
}

impl From<v1::PrivacyAccount> for AccountView {
    fn from(account: v1::PrivacyAccount) -> Self {
        let is_capped = account.budget_rho > 0.0;
        let region = |at: v1::RegionAccount| {
            let spend = Spend::from(at.spend);
            RegionAccountView {
                region: at.region,
                devices: at.devices,
                conditions: Conditions::from(&spend),
                spend,
                remaining_rho: is_capped.then_some(at.remaining_rho),
                remaining_epsilon: is_capped.then_some(at.remaining_epsilon),
            }
        };
        let spend = Spend::from(account.spend);
        Self {
            id: account.id,
            kind: account.kind,
            charges: account.charges,
            conditions: Conditions::from(&spend),
            spend,
            budget_rho: is_capped.then_some(account.budget_rho),
            remaining_rho: is_capped.then_some(account.remaining_rho),
            budget_epsilon: is_capped.then_some(account.budget_epsilon),
            remaining_epsilon: is_capped.then_some(account.remaining_epsilon),
            regions: account.regions.into_iter().map(region).collect(),
            marks: account.marks,
        }
    }
}

impl From<v1::GetPrivacyResponse> for PrivacyView {
    fn from(ledger: v1::GetPrivacyResponse) -> Self {
        let region = ledger.worst_region;
        let worst = |spend| WorstDevice {
            region,
            spend: Some(spend).into(),
        };
        let worst_device = ledger.worst_device.map(worst);
        let by_region = |spent: v1::RegionSpend| RegionSpendView {
            region: spent.region,
            spend: spent.spend.into(),
        };
        Self {
            worst_device: worst_device.filter(|worst| !worst.spend.is_nothing()),
            regions: ledger.regions.into_iter().map(by_region).collect(),
            accounts: ledger.accounts.into_iter().map(AccountView::from).collect(),
            caps: ledger.caps.into_iter().map(CapView::from).collect(),
            reservations: ledger
                .reservations
                .into_iter()
                .map(ReservationView::from)
                .collect(),
            decisions: ledger
                .decisions
                .into_iter()
                .map(DecisionView::from)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(spend: v1::PrivacySpend) -> serde_json::Value {
        let answer = v1::GetPrivacyResponse {
            worst_device: Some(spend),
            ..Default::default()
        };
        serde_json::to_value(PrivacyView::from(answer)).unwrap()
    }

    #[test]
    fn an_account_keeps_its_keys_and_lists_its_regions() {
        let region = v1::RegionAccount {
            region: "eu".into(),
            devices: 3,
            remaining_rho: 0.4,
            ..Default::default()
        };
        let account = v1::PrivacyAccount {
            id: "run-1".into(),
            budget_rho: 0.5,
            remaining_rho: 0.4,
            regions: vec![region],
            ..Default::default()
        };
        let keys = |value: &serde_json::Value| -> Vec<String> {
            let fields = value.as_object().unwrap();
            fields.keys().cloned().collect()
        };
        let capped = serde_json::to_value(AccountView::from(account.clone())).unwrap();
        let mut expected = vec![
            "adjacency",
            "budget_epsilon",
            "budget_rho",
            "charges",
            "delta",
            "id",
            "kind",
            "marks",
            "mechanism",
            "regions",
            "remaining_epsilon",
            "remaining_rho",
            "spend",
        ];
        let mut found = keys(&capped);
        found.sort();
        assert_eq!(found, expected);
        expected = vec![
            "adjacency",
            "delta",
            "devices",
            "mechanism",
            "region",
            "remaining_epsilon",
            "remaining_rho",
            "spend",
        ];
        let mut found = keys(&capped["regions"][0]);
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(capped["regions"][0]["remaining_rho"], 0.4);
        let free = v1::PrivacyAccount {
            budget_rho: 0.0,
            ..account
        };
        let free = serde_json::to_value(AccountView::from(free)).unwrap();
        assert!(free["remaining_rho"].is_null() && free["regions"][0]["remaining_rho"].is_null());
    }

    #[test]
    fn the_worst_device_is_null_before_anything_is_spent_and_never_without_noise() {
        let private = v1::PrivacySpend {
            mechanism: "discrete Gaussian, zCDP composition, no amplification".into(),
            ..Default::default()
        };
        assert!(ledger(private.clone())["worst_device"].is_null());
        let spent = v1::PrivacySpend {
            rho: 0.1,
            ..private
        };
        assert_eq!(ledger(spent)["worst_device"]["spend"]["rho"], 0.1);
        let unnoised = v1::PrivacySpend {
            epsilon: f64::INFINITY,
            mechanism: "no noise: NOT PRIVATE".into(),
            not_private: true,
            ..Default::default()
        };
        let spend = &ledger(unnoised)["worst_device"]["spend"];
        assert!(
            spend["epsilon"].is_null() && spend["not_private"] == true,
            "{spend}"
        );
    }
}
