//! A client that sends any bytes: what libraries would never send.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tonic::Status;

use super::within;

/// One HTTP/2 connection.
pub struct Raw {
    sender: SendRequest<Bytes>,
}

/// One call under way.
pub struct Call {
    answer: h2::client::ResponseFuture,
    body: h2::SendStream<Bytes>,
}

impl Raw {
    /// Connects to `http://ADDRESS`.
    pub async fn connect(endpoint: &str) -> Self {
        let address = endpoint.trim_start_matches("http://");
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move {
            // a server that closes it is what some tests wait for
            let _ = connection.await;
        });
        Self { sender }
    }

    /// Begins a call without sending anything of its request.
    pub async fn begin(&mut self, path: &str) -> Call {
        let request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        self.sender = self.sender.clone().ready().await.unwrap();
        let (answer, body) = self.sender.send_request(request, false).unwrap();
        Call { answer, body }
    }

    /// Sends the bytes as the whole request and gives the status.
    pub async fn call(&mut self, path: &str, bytes: Bytes) -> Status {
        let mut call = self.begin(path).await;
        call.send(bytes, true);
        call.status().await
    }
}

impl Call {
    /// Sends bytes, unless the call has been refused meanwhile: its status says why.
    pub fn send(&mut self, bytes: Bytes, end: bool) {
        let _ = self.body.send_data(bytes, end);
    }

    /// Reads to the end; the status in the head or the trailers.
    pub async fn status(self) -> Status {
        let Self { answer, body } = self;
        let reading = async {
            let answer = match answer.await {
                Ok(answer) => answer,
                Err(error) => return Status::unavailable(format!("no answer: {error}")),
            };
            let (head, mut data) = answer.into_parts();
            if let Some(status) = status_of(&head.headers) {
                return status;
            }
            while let Some(piece) = data.data().await {
                match piece {
                    Ok(piece) => drop(data.flow_control().release_capacity(piece.len())),
                    Err(error) => return Status::unavailable(format!("it broke off: {error}")),
                }
            }
            let trailers = data.trailers().await.ok().flatten();
            trailers
                .and_then(|trailers| status_of(&trailers))
                .unwrap_or_else(|| Status::unknown("ended without a status"))
        };
        let status = within("the status of a call", reading).await;
        drop(body);
        status
    }
}

fn status_of(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers)
}

/// A message as gRPC frames it.
pub fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(message.len() + 5);
    bytes.put_u8(0);
    bytes.put_u32(message.len() as u32);
    bytes.put_slice(message);
    bytes.freeze()
}

/// A page over HTTP/1.1: its status code and its text.
pub async fn page(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let reading = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = within("a page", reading).await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let code = head.split_whitespace().nth(1).unwrap_or("0");
    (code.parse().unwrap_or(0), text.to_owned())
}

/// Every call whose request is one message, and those whose request is a stream.
pub fn calls() -> BTreeMap<&'static str, bool> {
    let unary = [
        "/tributary.v1.EnrolmentService/Enrol",
        "/tributary.v1.OrchestrationService/CheckIn",
        "/tributary.v1.TransferService/Download",
        "/tributary.v1.ControlService/StartRun",
        "/tributary.v1.ControlService/ListRuns",
        "/tributary.v1.ControlService/GetRun",
        "/tributary.v1.ControlService/StopRun",
        "/tributary.v1.ControlService/Watch",
        "/tributary.v1.ControlService/ListModels",
        "/tributary.v1.ControlService/GetModel",
        "/tributary.v1.ControlService/ImportModel",
        "/tributary.v1.ControlService/GetFleet",
        "/tributary.v1.ControlService/MoveDevice",
        "/tributary.v1.ControlService/GetDrift",
        "/tributary.v1.ControlService/GetPrivacy",
    ];
    let streams = [
        "/tributary.v1.OrchestrationService/Connect",
        "/tributary.v1.TransferService/Upload",
    ];
    let unary = unary.into_iter().map(|path| (path, false));
    unary
        .chain(streams.into_iter().map(|path| (path, true)))
        .collect()
}
