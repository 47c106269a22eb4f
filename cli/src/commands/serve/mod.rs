//! `tributary serve`: a coordinator, until it is told to stop.
//!
//! - `settings`: flags, environment and the settings file
//! - `limits`: what strangers may take up
//! - `environment`: variables that look like settings and are none

mod environment;
mod limits;
mod settings;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tributary_coordinator::{Server, ServerError};

pub use self::settings::ServeArguments;
use crate::exit::{Exit, Failure};
use crate::logs;
use crate::output::{Format, Output, Tone};
use crate::signals::stop_signal;

/// What `serve --format json` prints once it serves.
fn announcement(server: &Server, data: &Path) -> serde_json::Value {
    json!({ "listen": server.listen_addr(), "admin": server.admin_addr(), "data": data })
}

/// Serves until a signal asks for the end.
pub async fn serve(arguments: ServeArguments, output: Output) -> Result<Exit> {
    environment::refuse_unknown(std::env::vars_os().map(|(name, _)| name))?;
    let (config, log_format) = settings::settle(arguments)?;
    logs::start(log_format, "info");
    logs::tell_panics();
    let data = config.data.clone();
    let mut server = Server::start(config)
        .await
        .map_err(|error| failure(&error))?;
    announce(&server, &data, output)?;
    let failed = tokio::select! {
        signalled = stop_signal() => signalled.map(|()| None)?,
        stopped = server.failed() => Some(stopped),
    };
    logs::say("stopping");
    if failed.is_some() {
        end_in(FAILED_AT_MOST);
        // so that whoever looks after it sees why
        tokio::time::sleep(NOT_READY).await;
    }
    server.shutdown().await;
    match failed {
        None => Ok(Exit::Done),
        Some(stopped) => Err(Failure {
            exit: Exit::Failed,
            sentence: stopped.reason,
            code: Some(stopped.code.to_owned()),
        }
        .into()),
    }
}

/// How long a coordinator that can't go on says so on `/readyz` before it ends.
const NOT_READY: Duration = Duration::from_secs(2);
/// Longest time that it takes to end.
const FAILED_AT_MOST: Duration = Duration::from_secs(10);

/// Ends the process with [`Exit::Failed`] after that time, whatever still hangs on a broken disk.
fn end_in(most: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(most);
        std::process::exit(Exit::Failed as i32);
    });
}

fn announce(server: &Server, data: &Path, output: Output) -> Result<()> {
    if output.format == Format::Json {
        return output.event(&announcement(server, data), |_| String::new());
    }
    let address = |address: SocketAddr| {
        output
            .errors
            .paint(Tone::Accent, &format!("http://{address}"))
    };
    let admin = server
        .admin_addr()
        .map(|admin| format!(", admin page {}", address(admin)));
    logs::say(&format!(
        "serving {} at {}{}; stop with ctrl-c",
        data.display(),
        address(server.listen_addr()),
        admin.unwrap_or_default(),
    ));
    Ok(())
}

fn failure(error: &ServerError) -> Failure {
    let code = match error {
        ServerError::Open { source, .. } => Some(source.code().to_owned()),
        ServerError::Bind { .. } | ServerError::NotLoopback { .. } => None,
    };
    Failure {
        exit: Exit::Failed,
        sentence: error.to_string(),
        code,
    }
}
