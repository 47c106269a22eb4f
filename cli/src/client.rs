//! Connecting to a coordinator, and turning its refusals into sentences.

use std::time::Duration;

use anyhow::Result;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tributary_proto::v1::control_service_client::ControlServiceClient;
use tributary_proto::v1::transfer_service_client::TransferServiceClient;

use crate::exit::{Exit, Failure};

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);
/// Largest answer that is accepted: a list of models or drift windows.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A coordinator that can be called. Connections are opened when they are needed.
#[derive(Debug, Clone)]
pub struct Coordinator {
    /// Its address, as the user gave it.
    pub url: String,
    channel: Channel,
}

impl Coordinator {
    /// Reads the address; nothing is sent yet.
    pub fn at(url: &str) -> Result<Self, Failure> {
        Ok(Self {
            url: url.to_owned(),
            channel: endpoint(url)?.connect_lazy(),
        })
    }

    /// What operators do.
    pub fn control(&self) -> ControlServiceClient<Channel> {
        ControlServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// Fetching models and builds.
    pub fn transfer(&self) -> TransferServiceClient<Channel> {
        TransferServiceClient::new(self.channel.clone())
    }

    /// The sentence and the exit code for a failed call.
    pub fn failure(&self, status: &Status) -> Failure {
        failure(&self.url, status)
    }
}

/// Checks an address: plain HTTP with a host.
pub fn endpoint(url: &str) -> Result<Endpoint, Failure> {
    let refuse = |problem: &str| {
        let remedy = "use an address like http://127.0.0.1:7070";
        Failure::new(
            Exit::Failed,
            format!("--coordinator {url:?} {problem}: {remedy}"),
        )
    };
    if url.starts_with("https:") {
        return Err(refuse("asks for TLS, which this version does not speak"));
    }
    if !url.starts_with("http://") {
        return Err(refuse("does not begin with http://"));
    }
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| refuse("is no address"))?;
    if endpoint.uri().host().is_none_or(str::is_empty) {
        return Err(refuse("names no host"));
    }
    Ok(endpoint
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(Duration::from_secs(15))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true))
}

/// Codes of a coordinator that can't write: see docs/errors.md.
const DISK: [&str; 3] = ["TRB-0500", "TRB-0503", "TRB-0510"];

/// Code of a coordinator that has halted.
const HALTED: &str = "TRB-0520";

/// Whether the call may succeed later against the same address.
pub fn is_unreachable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => true,
        // what tonic makes of a connection that breaks in mid-answer
        Code::Unknown | Code::Internal => !status.metadata().contains_key("tributary-code"),
        _ => false,
    }
}

fn failure(url: &str, status: &Status) -> Failure {
    let code = status
        .metadata()
        .get("tributary-code")
        .and_then(|code| code.to_str().ok());
    let message = match code {
        Some(code) => status.message().trim_end_matches(&format!(" [{code}]")),
        None => status.message(),
    }
    .trim_end();
    let (exit, sentence) = match status.code() {
        _ if code.is_none() && is_unreachable(status) => {
            let remedy = "start one with `tributary serve`, or name another with --coordinator";
            (
                Exit::Unreachable,
                format!("no coordinator answers at {url}: {remedy}"),
            )
        }
        // it answers, and its disk is full or broken
        Code::Unavailable if code.is_some_and(|code| DISK.contains(&code)) => {
            let sentence = format!("the coordinator at {url} failed: {message}");
            (Exit::Failed, sentence)
        }
        // it answers, and has halted for good
        Code::Unavailable if code == Some(HALTED) => (Exit::Failed, message.to_owned()),
        Code::Unavailable | Code::DeadlineExceeded => (Exit::Unreachable, message.to_owned()),
        Code::Unimplemented if code.is_some() => {
            let remedy = "its version differs from this command's";
            (
                Exit::Refused,
                format!("the coordinator at {url} does not know this call: {remedy}"),
            )
        }
        Code::Unimplemented => {
            let remedy = "name the address that `tributary serve --listen` has with --coordinator";
            (
                Exit::Refused,
                format!("what answers at {url} is no coordinator: {remedy}"),
            )
        }
        Code::Internal | Code::Unknown | Code::DataLoss | Code::Aborted => (
            Exit::Failed,
            format!("the coordinator at {url} failed: {message}"),
        ),
        _ => (Exit::Refused, message.to_owned()),
    };
    let sentence = crate::output::printable_lines(&sentence);
    Failure {
        exit,
        sentence,
        code: code.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: Code, message: &str, stable: Option<&'static str>) -> Status {
        let mut status = Status::new(code, message);
        if let Some(stable) = stable {
            status
                .metadata_mut()
                .insert("tributary-code", stable.parse().unwrap());
        }
        status
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_with_the_remedy() {
        for url in [
            "",
            "127.0.0.1:7070",
            "https://host:1",
            "http://",
            "http://a b",
            "ftp://x",
        ] {
            let error = endpoint(url).unwrap_err();
            assert!(
                error.sentence.contains("http://127.0.0.1:7070"),
                "{url}: {error}"
            );
        }
        assert!(endpoint("http://127.0.0.1:7070").is_ok());
        assert!(endpoint("http://[::1]:7070").is_ok());
    }

    #[test]
    fn a_silent_server_and_a_refusal_have_different_exit_codes() {
        let silent = failure(
            "http://h:1",
            &status(Code::Unavailable, "tcp connect error", None),
        );
        assert_eq!(silent.exit, Exit::Unreachable);
        assert!(silent.sentence.contains("tributary serve"), "{silent}");
        let stopping = status(Code::Unavailable, "stopping [TRB-0600]", Some("TRB-0600"));
        assert_eq!(failure("http://h:1", &stopping).exit, Exit::Unreachable);
        let full = status(Code::Unavailable, "disk full [TRB-0503]", Some("TRB-0503"));
        let full = failure("http://h:1", &full);
        assert_eq!(full.exit, Exit::Failed, "it answers");
        assert!(full.sentence.contains("disk full"), "{full}");
        let halted = status(Code::Unavailable, "halted [TRB-0520]", Some("TRB-0520"));
        assert_eq!(
            failure("http://h:1", &halted).exit,
            Exit::Failed,
            "so does this"
        );
        for code in [
            Code::InvalidArgument,
            Code::NotFound,
            Code::FailedPrecondition,
        ] {
            let refusal = failure(
                "http://h:1",
                &status(code, "no [TRB-0200]", Some("TRB-0200")),
            );
            assert_eq!(refusal.exit, Exit::Refused);
            assert_eq!(
                (refusal.sentence.as_str(), refusal.code.as_deref()),
                ("no", Some("TRB-0200"))
            );
        }
        let broken = status(Code::Internal, "store", Some("TRB-0500"));
        assert_eq!(failure("http://h:1", &broken).exit, Exit::Failed);
    }

    #[test]
    fn another_server_is_not_taken_for_a_coordinator_of_another_version() {
        let web = status(
            Code::Unimplemented,
            "mapped from HTTP status code 404",
            None,
        );
        let told = failure("http://h:1", &web).sentence;
        assert!(
            told.contains("no coordinator") && told.contains("--listen"),
            "{told}"
        );
        let older = status(Code::Unimplemented, "no such call", Some("TRB-0104"));
        let told = failure("http://h:1", &older).sentence;
        assert!(told.contains("version differs"), "{told}");
    }

    #[test]
    fn control_characters_of_a_foreign_server_do_not_reach_the_terminal() {
        let hostile = failure(
            "http://h:1",
            &status(Code::NotFound, "\x1b]0;title\x07 no", None),
        );
        assert!(!hostile.sentence.contains('\x1b') && !hostile.sentence.contains('\x07'));
    }

    #[test]
    fn a_refused_recipe_is_shown_with_its_lines() {
        let message = "recipe: TOML parse error\n  |\n1 | name =\n  |       ^\n [TRB-0110]";
        let refused = status(Code::InvalidArgument, message, Some("TRB-0110"));
        assert_eq!(
            failure("http://h:1", &refused).sentence,
            "recipe: TOML parse error\n  |\n1 | name =\n  |       ^"
        );
    }
}
