//! Marks follow whatever comes from a seeded run or from one without noise.

use tributary_model::{Marks, ModelFile};
use tributary_proto::v1::Model;

use crate::harness::hand::{Hand, Session, hands, update};
use crate::harness::operator::of;
use crate::harness::{Coordinator, Operator, Recipe};

/// Plays a run of one round to its end; the digest of the version that it made.
pub async fn play(
    operator: &Operator,
    devices: &mut [(Hand, Session)],
    recipe: &Recipe,
) -> (String, Vec<String>) {
    let run = operator.start(recipe).await;
    for (number, (hand, session)) in devices.iter_mut().enumerate() {
        let order = session.assignment().await;
        hand.counted(&order, &update(number as u64)).await;
    }
    let shown = operator.completed(&run).await;
    let accounts = operator.privacy(&run).await.accounts;
    let marks = of(&shown).marks.clone();
    assert!(accounts.iter().all(|account| account.marks == marks));
    (of(&shown).model_digest.clone(), marks)
}

pub async fn version(operator: &Operator, digest: &str) -> Model {
    operator.try_model(digest).await.unwrap().model.unwrap()
}

/// The recipe, starting from a version.
pub fn from(recipe: Recipe, version: &str) -> Recipe {
    let mut model = toml::Table::new();
    model.insert("version".to_owned(), version.into());
    recipe.set("model", model)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_follow_every_version_and_run_that_starts_from_one_over_restarts_and_exports() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 2).await;
    let private = || Recipe::private().rounds(1, 2);
    let (clean, none) = play(&operator, &mut devices, &private()).await;
    assert!(none.is_empty() && version(&operator, &clean).await.marks.is_empty());
    let first = version(&operator, &clean).await.parent;

    // two branches: seeded noise, and none
    let (seeded, marks) = play(&operator, &mut devices, &from(private().seeded(3), &clean)).await;
    assert_eq!(marks, ["SEEDED"]);
    let bare = Recipe::new().rounds(1, 2);
    let (bare, marks) = play(&operator, &mut devices, &from(bare, &seeded)).await;
    assert_eq!(marks, ["SEEDED", "NO NOISE"]);
    // noise on top does not take back what was released without
    let (again, marks) = play(&operator, &mut devices, &from(private(), &bare)).await;
    assert_eq!(marks, ["SEEDED", "NO NOISE"]);

    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    let expected: [(&str, &[&str]); 5] = [
        (&first, &[]),
        (&clean, &[]),
        (&seeded, &["SEEDED"]),
        (&bare, &["SEEDED", "NO NOISE"]),
        (&again, &["SEEDED", "NO NOISE"]),
    ];
    for (digest, marks) in expected {
        assert_eq!(version(&operator, digest).await.marks, marks, "{digest}");
        let listed = operator.models().await;
        let listed = listed.iter().find(|model| model.digest == digest).unwrap();
        assert_eq!(listed.marks, marks);
        let bytes = operator.download(digest, 0).await.unwrap();
        assert_eq!(ModelFile::marks_of(&bytes).unwrap().names(), marks);
    }

    // another coordinator knows it from the file alone, and so does whatever is trained on there
    let exported = operator.download(&again, 0).await.unwrap();
    let elsewhere = Coordinator::start().await;
    let operator = elsewhere.operator().await;
    let imported = operator.import(exported).await.unwrap();
    assert_eq!(
        (imported.digest.as_str(), imported.marks.len()),
        (again.as_str(), 2)
    );
    let mut devices = hands(&elsewhere.channel().await, 2).await;
    let (_, marks) = play(&operator, &mut devices, &from(private(), &again)).await;
    assert_eq!(marks, ["SEEDED", "NO NOISE"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_registered_again_keeps_its_marks() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 2).await;
    let bare = Recipe::new().rounds(1, 2);
    let (digest, _) = play(&operator, &mut devices, &bare).await;
    let bytes = operator.download(&digest, 0).await.unwrap();
    let known = operator.import(bytes.clone()).await.unwrap();
    assert_eq!(known.marks, ["NO NOISE"]);
    // the same weights without the mark in the file are another version
    let file = ModelFile::from_bytes(&bytes).unwrap();
    assert_ne!(file.to_bytes().unwrap(), bytes);
    let marks = Marks {
        seeded: false,
        no_noise: true,
        ..Marks::default()
    };
    assert_eq!(file.to_marked_bytes(marks).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_read_page_by_page_and_reads_no_finished_run_back() {
    use tributary_proto::v1::GetPrivacyRequest;
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 2).await;
    for seed in 1..=3 {
        let recipe = Recipe::private().rounds(1, 2).seeded(seed);
        play(&operator, &mut devices, &recipe).await;
    }
    let whole = operator.privacy("").await;
    assert_eq!(whole.accounts.len(), 3);
    // the runs' states are gone; what lists say of them is in their short records
    std::fs::remove_dir_all(coordinator.data().join("vault")).unwrap();
    let page = async |page_token: String| {
        let request = GetPrivacyRequest {
            page_size: 2,
            page_token,
            ..GetPrivacyRequest::default()
        };
        let answer = operator.control.clone().get_privacy(request).await;
        answer.map(|answer| answer.into_inner())
    };
    let first = page(String::new()).await.unwrap();
    assert_eq!(first.accounts, whole.accounts[..2]);
    assert_eq!(first.accounts[0].marks, ["SEEDED"]);
    let second = page(first.next_page_token).await.unwrap();
    assert_eq!(second.accounts, whole.accounts[2..]);
    assert_eq!(second.next_page_token, "");
    assert_eq!(second.worst_device, whole.worst_device);
    let one = operator.privacy("tiny-2").await;
    assert_eq!(one.accounts, whole.accounts[1..2]);
    let wrong = page("nobody".to_owned()).await.unwrap_err();
    assert!(wrong.message().starts_with("page_token"), "{wrong}");
    let unknown = GetPrivacyRequest {
        run_id: "tiny-9".to_owned(),
        ..GetPrivacyRequest::default()
    };
    let unknown = operator.control.clone().get_privacy(unknown).await;
    assert_eq!(unknown.unwrap_err().code(), tonic::Code::NotFound);
}
