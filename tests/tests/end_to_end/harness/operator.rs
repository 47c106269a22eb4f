//! What an operator does, over gRPC.

use tonic::transport::Channel;
use tonic::{Code, Status};
use tributary_model::ModelFile;
use tributary_proto::v1::control_service_client::ControlServiceClient;
use tributary_proto::v1::transfer_service_client::TransferServiceClient;
use tributary_proto::v1::{
    DownloadRequest, GetDriftRequest, GetFleetRequest, GetFleetResponse, GetModelRequest,
    GetModelResponse, GetPrivacyRequest, GetPrivacyResponse, GetRunRequest, GetRunResponse,
    ImportModelRequest, ListModelsRequest, ListRunsRequest, Model, Monitor, Run, RunState,
    StartRunRequest, StopRunRequest,
};

use super::{GLANCE, PATIENCE, Recipe};

/// An operator's connection.
#[derive(Clone)]
pub struct Operator {
    pub channel: Channel,
    pub control: ControlServiceClient<Channel>,
}

impl Operator {
    pub fn new(channel: Channel) -> Self {
        Self {
            control: ControlServiceClient::new(channel.clone()),
            channel,
        }
    }

    /// Starts a run from any text.
    pub async fn try_start(&self, recipe: &str, key: &str) -> Result<String, Status> {
        let request = StartRunRequest {
            recipe: recipe.to_owned(),
            idempotency_key: key.to_owned(),
            ..StartRunRequest::default()
        };
        let started = self.control.clone().start_run(request).await?;
        Ok(started.into_inner().run_id)
    }

    /// Starts a run that must be accepted.
    pub async fn start(&self, recipe: &Recipe) -> String {
        self.try_start(&recipe.text(), "").await.unwrap()
    }

    /// Why a recipe is refused.
    pub async fn refused(&self, recipe: &str) -> Status {
        match self.try_start(recipe, "").await {
            Ok(run) => panic!("{run} was started from a recipe that should be refused:\n{recipe}"),
            Err(status) => status,
        }
    }

    pub async fn stop(&self, run: &str) -> Result<Run, Status> {
        let request = StopRunRequest {
            run_id: run.to_owned(),
        };
        let stopped = self.control.clone().stop_run(request).await?;
        Ok(stopped.into_inner().run.unwrap())
    }

    pub async fn try_show(&self, run: &str) -> Result<GetRunResponse, Status> {
        let request = GetRunRequest {
            run_id: run.to_owned(),
            ..GetRunRequest::default()
        };
        Ok(self.control.clone().get_run(request).await?.into_inner())
    }

    pub async fn show(&self, run: &str) -> GetRunResponse {
        self.try_show(run).await.unwrap()
    }

    /// Waits until a run is as wanted.
    pub async fn until(
        &self,
        run: &str,
        what: &str,
        mut wanted: impl FnMut(&GetRunResponse) -> bool,
    ) -> GetRunResponse {
        let begun = std::time::Instant::now();
        loop {
            let shown = self.show(run).await;
            if wanted(&shown) {
                return shown;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{run}: waited in vain for {what}: {shown:#?}"
            );
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until a run is over and checks that it completed.
    pub async fn completed(&self, run: &str) -> GetRunResponse {
        let is_over = |shown: &GetRunResponse| of(shown).state() != RunState::Running;
        let shown = self.until(run, "its end", is_over).await;
        assert_eq!(of(&shown).state(), RunState::Completed, "{shown:#?}");
        shown
    }

    pub async fn runs(&self) -> Vec<Run> {
        let listed = self
            .control
            .clone()
            .list_runs(ListRunsRequest::default())
            .await
            .unwrap();
        listed.into_inner().runs
    }

    pub async fn models(&self) -> Vec<Model> {
        let listed = self
            .control
            .clone()
            .list_models(ListModelsRequest::default())
            .await
            .unwrap();
        listed.into_inner().models
    }

    pub async fn try_model(&self, digest: &str) -> Result<GetModelResponse, Status> {
        let request = GetModelRequest {
            digest: digest.to_owned(),
        };
        Ok(self.control.clone().get_model(request).await?.into_inner())
    }

    pub async fn import(&self, bytes: Vec<u8>) -> Result<Model, Status> {
        let request = ImportModelRequest {
            safetensors: bytes.into(),
        };
        let imported = self.control.clone().import_model(request).await?;
        Ok(imported.into_inner().model.unwrap())
    }

    pub async fn privacy(&self, run: &str) -> GetPrivacyResponse {
        let request = GetPrivacyRequest {
            run_id: run.to_owned(),
            ..GetPrivacyRequest::default()
        };
        self.control
            .clone()
            .get_privacy(request)
            .await
            .unwrap()
            .into_inner()
    }

    pub async fn fleet(&self) -> GetFleetResponse {
        self.control
            .clone()
            .get_fleet(GetFleetRequest::default())
            .await
            .unwrap()
            .into_inner()
    }

    /// The monitor of a run; none before its training is over.
    pub async fn monitor(&self, run: &str) -> Option<Monitor> {
        let request = GetDriftRequest {
            run_id: run.to_owned(),
            ..GetDriftRequest::default()
        };
        let monitors = self
            .control
            .clone()
            .get_drift(request)
            .await
            .unwrap()
            .into_inner();
        monitors.monitors.into_iter().next()
    }

    /// An object by its digest, as anyone may fetch it.
    pub async fn download(&self, digest: &str, offset: u64) -> Result<Vec<u8>, Status> {
        let request = DownloadRequest {
            credentials: None,
            digest: digest.to_owned(),
            offset,
        };
        let mut client = TransferServiceClient::new(self.channel.clone());
        let mut pieces = client.download(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.message().await? {
            assert_eq!(
                piece.offset,
                offset + bytes.len() as u64,
                "pieces come in order"
            );
            bytes.extend_from_slice(&piece.data);
        }
        Ok(bytes)
    }

    /// A model version.
    pub async fn file(&self, digest: &str) -> ModelFile {
        ModelFile::from_bytes(&self.download(digest, 0).await.unwrap()).unwrap()
    }
}

/// The run of an answer.
pub fn of(shown: &GetRunResponse) -> &Run {
    shown.run.as_ref().unwrap()
}

/// Checks a refusal: its status code, its stable code, and the words that its sentence must hold:
/// the field and the remedy.
pub fn assert_refusal(status: &Status, code: Code, stable: &str, words: &[&str]) {
    assert_eq!(status.code(), code, "{status:?}");
    let sent = status
        .metadata()
        .get("tributary-code")
        .map(|value| value.to_str().unwrap());
    assert_eq!(sent, Some(stable), "{status:?}");
    for word in words {
        let message = status.message();
        assert!(message.contains(word), "{word:?} is missing in: {message}");
    }
}
