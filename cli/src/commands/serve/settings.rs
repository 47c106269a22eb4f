//! What a coordinator is served with: flags over the environment over a file over defaults.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Deserialize;
use tributary_coordinator::ServerConfig;
use tributary_store::EngineKind;

use super::limits::LimitSettings;
use crate::bounded::{self, MOST_TEXT};
use crate::logs::LogFormat;

const AFTER: &str = "\
Examples:
  tributary serve --data tributary-data
  tributary serve --listen 127.0.0.1:7070 --admin 127.0.0.1:7071
  tributary serve --config tributary.toml --log-format json

A flag wins over TRIBUTARY__SERVE__DATA (LISTEN, ADMIN, SUM_THREADS, LOG_FORMAT)
and TRIBUTARY__STORE__ENGINE, which win over the file:

  [serve]
  data = \"tributary-data\"
  listen = \"127.0.0.1:7070\"
  admin = \"127.0.0.1:7071\"
  sum_threads = 1
  log_format = \"text\"

  [store]
  engine = \"sled\"

Without an engine it takes the one that holds the data folder. `tributary store
migrate` moves a folder from one to the other.

Limits have these defaults, and variables like TRIBUTARY__LIMITS__CONNECTIONS:

  [limits]
  connections = 16384           # in all; fewer where few files may be open
  connections_per_peer = 1024   # of one address other than this machine's own
  streams_per_connection = 1024 # a gateway needs two for each device
  streams = 131072              # over all connections
  hello_ms = 10000              # to begin a connection and say who it is
  request_ms = 30000            # for the request of a call to arrive
  keepalive_ms = 20000          # silence before a sign of life is asked for
  devices = 1000000
  enrolments_per_second = 2000
  upload_bytes = 67108864

Model versions are all kept, or those of each run's newest rounds:

  [registry]                    # TRIBUTARY__REGISTRY__KEEP
  keep = 10

It serves plain text on loopback only. SIGINT, SIGTERM or SIGHUP stops it; after
`kill -9` the same rounds go on at the next start.";

/// An address with its port; names are not looked up.
fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = "give an address and a port, for example 127.0.0.1:7070 (names such as localhost are not looked up)";
    text.parse().map_err(|_| wrong.to_owned())
}

/// Flags of `serve`.
#[derive(Debug, Default, Args)]
#[command(after_help = AFTER)]
pub struct ServeArguments {
    /// Data folder; made when it is not there [default: tributary-data]
    #[arg(
        long,
        value_name = "DIR",
        env = "TRIBUTARY__SERVE__DATA",
        hide_env = true
    )]
    data: Option<PathBuf>,
    /// Where devices and operators connect; port 0 takes a free one [default: 127.0.0.1:7070]
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "TRIBUTARY__SERVE__LISTEN",
        hide_env = true,
        value_parser = address
    )]
    listen: Option<SocketAddr>,
    /// Where metrics and health are served over HTTP [default: 127.0.0.1:7071]
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "TRIBUTARY__SERVE__ADMIN",
        hide_env = true,
        value_parser = address
    )]
    admin: Option<SocketAddr>,
    /// Threads that sum large updates; any number gives the same bits [default: 1]
    #[arg(
        long,
        value_name = "N",
        env = "TRIBUTARY__SERVE__SUM_THREADS",
        hide_env = true
    )]
    sum_threads: Option<NonZeroUsize>,
    /// Engine that holds the metadata: sled or redb [default: what the folder holds]
    #[arg(
        long,
        value_name = "ENGINE",
        env = "TRIBUTARY__STORE__ENGINE",
        hide_env = true
    )]
    store_engine: Option<EngineKind>,
    /// How log lines look on standard error [default: text]
    #[arg(
        long,
        value_name = "FORMAT",
        env = "TRIBUTARY__SERVE__LOG_FORMAT",
        hide_env = true
    )]
    log_format: Option<LogFormat>,
    /// Newest rounds of each run whose model versions are kept [default: all]
    #[arg(
        long,
        value_name = "N",
        env = "TRIBUTARY__REGISTRY__KEEP",
        hide_env = true
    )]
    keep: Option<NonZeroU32>,
    /// Settings that are not given as flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What strangers may take up.
    #[command(flatten)]
    limits: LimitSettings,
}

/// The settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SettingsFile {
    serve: ServeSettings,
    store: StoreSettings,
    limits: LimitSettings,
    registry: RegistrySettings,
}

/// Its section `store`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoreSettings {
    engine: Option<EngineKind>,
}

/// Its section `registry`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RegistrySettings {
    keep: Option<NonZeroU32>,
}

/// Its section `serve`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServeSettings {
    data: Option<PathBuf>,
    listen: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    sum_threads: Option<NonZeroUsize>,
    log_format: Option<LogFormat>,
}

/// Flags and environment over the file over defaults.
pub fn settle(arguments: ServeArguments) -> Result<(ServerConfig, LogFormat)> {
    let file = match &arguments.config {
        Some(path) => read_settings(path)?,
        None => SettingsFile::default(),
    };
    let limits = arguments.limits.over(&file.limits);
    let keep = arguments.keep.or(file.registry.keep);
    let (file, store) = (file.serve, file.store);
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let data = arguments.data.or(file.data);
    let data = data.unwrap_or_else(|| "tributary-data".into());
    let listen = arguments.listen.or(file.listen);
    let config = ServerConfig {
        admin: Some(
            arguments
                .admin
                .or(file.admin)
                .unwrap_or_else(|| loopback(7071)),
        ),
        sum_threads: arguments
            .sum_threads
            .or(file.sum_threads)
            .unwrap_or(NonZeroUsize::MIN),
        engine: arguments.store_engine.or(store.engine),
        limits,
        keep,
        ..ServerConfig::new(data, listen.unwrap_or_else(|| loopback(7070)))
    };
    Ok((
        config,
        arguments.log_format.or(file.log_format).unwrap_or_default(),
    ))
}

fn read_settings(path: &Path) -> Result<SettingsFile> {
    let text = bounded::read_text("--config", path, MOST_TEXT)?;
    toml::from_str(&text)
        .with_context(|| format!("--config {}: it is not a settings file", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str, arguments: ServeArguments) -> Result<(ServerConfig, LogFormat)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, text).unwrap();
        settle(ServeArguments {
            config: Some(path),
            ..arguments
        })
    }

    #[test]
    fn without_settings_it_serves_on_loopback() {
        let (config, log_format) = settle(ServeArguments::default()).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7070");
        assert_eq!(config.admin.unwrap().to_string(), "127.0.0.1:7071");
        assert_eq!(log_format, LogFormat::Text);
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let flags = ServeArguments {
            listen: Some("127.0.0.1:9".parse().unwrap()),
            ..Default::default()
        };
        let file = "[serve]\nlisten = \"127.0.0.1:8\"\ndata = \"d\"\nlog_format = \"json\"";
        let (config, log_format) = with_file(file, flags).unwrap();
        assert_eq!(config.listen.port(), 9);
        assert_eq!(
            (config.data, log_format),
            (PathBuf::from("d"), LogFormat::Json)
        );
    }

    #[test]
    fn the_engine_is_a_flag_over_the_file_over_what_the_folder_holds() {
        let file = "[store]\nengine = \"redb\"";
        let of = |flag: Option<EngineKind>| ServeArguments {
            store_engine: flag,
            ..Default::default()
        };
        let engine = |text, flag| with_file(text, of(flag)).unwrap().0.engine;
        assert_eq!(engine("", None), None);
        assert_eq!(engine(file, None), Some(EngineKind::Redb));
        assert_eq!(engine(file, Some(EngineKind::Sled)), Some(EngineKind::Sled));
    }

    #[test]
    fn limits_and_retention_follow_the_same_order() {
        let flags = ServeArguments {
            limits: LimitSettings::default(),
            ..Default::default()
        };
        let file = "[limits]\nconnections = 7\nhello_ms = 5\n[registry]\nkeep = 3";
        let (config, _) = with_file(file, flags).unwrap();
        assert_eq!(config.limits.connections, 7);
        assert_eq!(config.limits.hello.as_millis(), 5);
        assert_eq!(config.limits.devices, 1_000_000);
        assert_eq!(config.keep.map(NonZeroU32::get), Some(3));
        let words = ["serve", "--connections", "9", "--keep", "1"];
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            serve: ServeArguments,
        }
        let line = <Line as clap::Parser>::try_parse_from(words).unwrap();
        let (config, _) = with_file(file, line.serve).unwrap();
        assert_eq!(config.limits.connections, 9);
        assert_eq!(config.keep.map(NonZeroU32::get), Some(1));
    }

    #[test]
    fn unknown_keys_and_wrong_types_in_the_file_are_refused_by_name() {
        for (text, word) in [
            ("[serve]\nlissten = \"127.0.0.1:8\"", "lissten"),
            ("[other]\n", "other"),
            ("[serve]\nlisten = 7070", "listen"),
            ("[serve]\nlog_format = \"xml\"", "xml"),
            ("[store]\nengine = \"rocks\"", "rocks"),
            ("[store]\nengines = \"sled\"", "engines"),
            ("[limits]\nconnection = 1", "connection"),
            ("[limits]\ndevices = 0", "devices"),
            ("[registry]\nkeep = 0", "keep"),
        ] {
            let error = format!(
                "{:#}",
                with_file(text, ServeArguments::default()).unwrap_err()
            );
            assert!(error.contains(word), "{error}");
        }
    }
}
