//! The operator's side of the wire: the control and transfer services, nothing else.

use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tributary_model::{Digest, ModelFile};
use tributary_proto::v1::control_service_client::ControlServiceClient;
use tributary_proto::v1::transfer_service_client::TransferServiceClient;
use tributary_proto::v1::{
    DownloadRequest, GetDriftRequest, GetModelRequest, GetModelResponse, GetPrivacyRequest,
    GetPrivacyResponse, GetRunRequest, GetRunResponse, Monitor, StartRunRequest,
};

use super::RunnerError;

/// Largest object that is downloaded: the limit of a model's parameters in bytes, with its header.
const MAX_OBJECT: u64 = 512 << 20;

/// A client of a coordinator. Cloning shares the connection.
#[derive(Clone, Debug)]
pub struct Operator {
    control: ControlServiceClient<Channel>,
    transfer: TransferServiceClient<Channel>,
}

fn refused(call: &'static str) -> impl FnOnce(Status) -> RunnerError {
    move |status| RunnerError::Call {
        call,
        code: status.code(),
        message: status.message().to_owned(),
    }
}

impl Operator {
    /// Connects to `endpoint`, for example `http://127.0.0.1:7070`.
    ///
    /// # Errors
    /// [`RunnerError::Connection`].
    pub async fn connect(endpoint: &str) -> Result<Self, RunnerError> {
        let channel = Endpoint::from_shared(endpoint.to_owned())?
            .connect()
            .await?;
        Ok(Self {
            control: ControlServiceClient::new(channel.clone()),
            transfer: TransferServiceClient::new(channel),
        })
    }

    /// Starts a run; returns its id.
    ///
    /// # Errors
    /// [`RunnerError::Call`] with the coordinator's reason to refuse the recipe.
    pub async fn start_run(&mut self, recipe: String) -> Result<String, RunnerError> {
        let request = StartRunRequest {
            recipe,
            idempotency_key: String::new(),
            ..StartRunRequest::default()
        };
        let answer = self
            .control
            .start_run(request)
            .await
            .map_err(refused("StartRun"))?;
        Ok(answer.into_inner().run_id)
    }

    /// A run with its rounds.
    ///
    /// # Errors
    /// [`RunnerError::Call`].
    pub async fn run(&mut self, run_id: &str) -> Result<GetRunResponse, RunnerError> {
        let request = GetRunRequest {
            run_id: run_id.to_owned(),
            ..GetRunRequest::default()
        };
        Ok(self
            .control
            .get_run(request)
            .await
            .map_err(refused("GetRun"))?
            .into_inner())
    }

    /// The monitor of a run's model, once it has begun.
    ///
    /// # Errors
    /// [`RunnerError::Call`].
    pub async fn monitor(&mut self, run_id: &str) -> Result<Option<Monitor>, RunnerError> {
        let request = GetDriftRequest {
            run_id: run_id.to_owned(),
            ..GetDriftRequest::default()
        };
        let answer = self
            .control
            .get_drift(request)
            .await
            .map_err(refused("GetDrift"))?;
        Ok(answer.into_inner().monitors.into_iter().next())
    }

    /// The whole ledger.
    ///
    /// # Errors
    /// [`RunnerError::Call`].
    pub async fn privacy(&mut self) -> Result<GetPrivacyResponse, RunnerError> {
        let mut whole = GetPrivacyResponse::default();
        loop {
            let request = GetPrivacyRequest {
                page_token: whole.next_page_token,
                ..GetPrivacyRequest::default()
            };
            let answer = self.control.get_privacy(request).await;
            let page = answer.map_err(refused("GetPrivacy"))?.into_inner();
            whole = GetPrivacyResponse {
                accounts: [whole.accounts, page.accounts].concat(),
                ..page
            };
            if whole.next_page_token.is_empty() {
                return Ok(whole);
            }
        }
    }

    /// A model version with its builds.
    ///
    /// # Errors
    /// [`RunnerError::Call`].
    pub async fn model(&mut self, digest: &str) -> Result<GetModelResponse, RunnerError> {
        let request = GetModelRequest {
            digest: digest.to_owned(),
        };
        Ok(self
            .control
            .get_model(request)
            .await
            .map_err(refused("GetModel"))?
            .into_inner())
    }

    /// The bytes of an object, checked against its digest.
    ///
    /// # Errors
    /// [`RunnerError::Call`], or [`RunnerError::Answer`] for bytes that are not what was asked for.
    pub async fn download(&mut self, digest: &str) -> Result<Vec<u8>, RunnerError> {
        let request = DownloadRequest {
            credentials: None,
            digest: digest.to_owned(),
            offset: 0,
        };
        let call = "Download";
        let wrong = |problem: &str| RunnerError::Answer {
            call,
            problem: problem.to_owned(),
        };
        let mut pieces = self
            .transfer
            .download(request)
            .await
            .map_err(refused(call))?
            .into_inner();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.message().await.map_err(refused(call))? {
            if piece.offset != bytes.len() as u64 || piece.total > MAX_OBJECT {
                return Err(wrong("leaves a gap or is too large"));
            }
            bytes.extend_from_slice(&piece.data);
        }
        if Digest::of(&bytes).to_string() != digest {
            return Err(wrong("does not have the digest that was asked for"));
        }
        Ok(bytes)
    }

    /// A model version's file.
    ///
    /// # Errors
    /// As [`Operator::download`], or [`RunnerError::Model`].
    pub async fn model_file(&mut self, digest: &str) -> Result<ModelFile, RunnerError> {
        Ok(ModelFile::from_bytes(&self.download(digest).await?)?)
    }
}
