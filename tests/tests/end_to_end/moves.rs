//! A device that moves to another region keeps its account, its participations and its token.

use tonic::{Code, Status};
use tributary_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use tributary_proto::v1::{GetPrivacyResponse, MoveDeviceRequest, MoveDeviceResponse};

use crate::harness::hand::{enrolment, hands, update};
use crate::harness::operator::assert_refusal;
use crate::harness::{Coordinator, Operator, Recipe};

async fn moved(
    operator: &Operator,
    device: &str,
    region: &str,
) -> Result<MoveDeviceResponse, Status> {
    let request = MoveDeviceRequest {
        device_id: device.to_owned(),
        region: region.to_owned(),
    };
    let answer = operator.control.clone().move_device(request).await?;
    Ok(answer.into_inner())
}

/// A number by region.
type ByRegion<'r, N> = Vec<(&'r str, N)>;

/// Regions of the first account with the devices that it charged, and of everything with their rho.
fn by_region(privacy: &GetPrivacyResponse) -> (ByRegion<'_, u64>, ByRegion<'_, f64>) {
    let charged = privacy.accounts[0].regions.iter();
    let spent = privacy.regions.iter();
    (
        charged.map(|at| (at.region.as_str(), at.devices)).collect(),
        spent
            .map(|at| (at.region.as_str(), at.spend.as_ref().unwrap().rho.round()))
            .collect(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_moves_region_takes_its_account_along_once_its_round_is_over() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 2).await;
    // z = 0.5 costs rho 2 a round
    let run = operator.start(&Recipe::private().rounds(1, 2)).await;
    let mut orders = Vec::new();
    for (_, session) in &mut devices {
        orders.push(session.assignment().await);
    }
    let refused = moved(&operator, "d-0", "us").await.unwrap_err();
    let words = ["d-0", "lease", "when the round is over"];
    assert_refusal(&refused, Code::FailedPrecondition, "TRB-0212", &words);
    for (number, (hand, _)) in devices.iter().enumerate() {
        hand.counted(&orders[number], &update(number as u64)).await;
    }
    operator.completed(&run).await;
    let before = operator.privacy(&run).await;
    let both = [("eu", 1), ("us", 1)];
    assert_eq!(
        by_region(&before),
        (both.to_vec(), vec![("eu", 2.0), ("us", 2.0)])
    );

    let unknown = moved(&operator, "d-7", "us").await.unwrap_err();
    assert_refusal(&unknown, Code::NotFound, "TRB-0200", &["d-7", "fleet ls"]);
    for (device, region, field) in [("d 0", "us", "device_id"), ("d-0", "", "region")] {
        let refused = moved(&operator, device, region).await.unwrap_err();
        assert_refusal(&refused, Code::InvalidArgument, "TRB-0101", &[field]);
    }
    let answer = moved(&operator, "d-0", "us").await.unwrap();
    assert_eq!(
        (answer.from_region.as_str(), answer.region.as_str()),
        ("eu", "us")
    );
    let again = moved(&operator, "d-0", "us").await.unwrap();
    assert_eq!(again.from_region, "us", "it is there already");

    // both are of one region now, and the next run is for it alone
    let next = Recipe::private().rounds(1, 2).set("regions", vec!["us"]);
    let next = operator.start(&next).await;
    for (number, (hand, session)) in devices.iter_mut().enumerate() {
        let order = session.assignment().await;
        assert_eq!(order.run_id, next);
        hand.counted(&order, &update(number as u64)).await;
    }
    operator.completed(&next).await;

    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    let after = operator.privacy("").await;
    assert_eq!(by_region(&after), (vec![("us", 2)], vec![("us", 4.0)]));
    assert_eq!(after.worst_region, "us");
    // the device does not know that it was moved
    let mut client = EnrolmentServiceClient::new(coordinator.channel().await);
    let enrolled = client.enrol(enrolment("d-0", "eu")).await.unwrap();
    assert_eq!(enrolled.into_inner().region, "us");
}
