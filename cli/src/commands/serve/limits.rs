//! What strangers may take up: flags, environment and the section `limits` of the settings file.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use tributary_coordinator::Limits;

/// Each limit as a flag or a variable of the environment, and as a key of the file.
#[derive(Debug, Default, Clone, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Limits")]
pub struct LimitSettings {
    /// Most open connections, devices and operators together [default: 16384]
    #[arg(
        long,
        value_name = "N",
        env = "TRIBUTARY__LIMITS__CONNECTIONS",
        hide_env = true
    )]
    connections: Option<NonZeroUsize>,
    /// Most connections from one address that is not this machine; 0 is no limit [default: 1024]
    #[arg(
        long,
        value_name = "N",
        env = "TRIBUTARY__LIMITS__CONNECTIONS_PER_PEER",
        hide_env = true
    )]
    connections_per_peer: Option<usize>,
    /// Most streams of one connection: two for each device behind it [default: 1024]
    #[arg(
        long,
        value_name = "N",
        env = "TRIBUTARY__LIMITS__STREAMS_PER_CONNECTION",
        hide_env = true
    )]
    streams_per_connection: Option<NonZeroU32>,
    /// Most open streams over all connections [default: 131072]
    #[arg(
        long,
        value_name = "N",
        env = "TRIBUTARY__LIMITS__STREAMS",
        hide_env = true
    )]
    streams: Option<NonZeroUsize>,
    /// Milliseconds in which a connection must begin to speak and a stream to say hello [default: 10000]
    #[arg(
        long,
        value_name = "MS",
        env = "TRIBUTARY__LIMITS__HELLO_MS",
        hide_env = true
    )]
    hello_ms: Option<NonZeroU32>,
    /// Milliseconds in which the request of a call must arrive [default: 30000]
    #[arg(
        long,
        value_name = "MS",
        env = "TRIBUTARY__LIMITS__REQUEST_MS",
        hide_env = true
    )]
    request_ms: Option<NonZeroU32>,
    /// Milliseconds after which a silent connection is asked for a sign of life [default: 20000]
    #[arg(
        long,
        value_name = "MS",
        env = "TRIBUTARY__LIMITS__KEEPALIVE_MS",
        hide_env = true
    )]
    keepalive_ms: Option<NonZeroU32>,
    /// Most enrolled devices [default: 1000000]
    #[arg(
        long,
        value_name = "N",
        env = "TRIBUTARY__LIMITS__DEVICES",
        hide_env = true
    )]
    devices: Option<NonZeroUsize>,
    /// New devices per second, ten seconds' worth at once [default: 2000]
    #[arg(
        long,
        value_name = "N",
        env = "TRIBUTARY__LIMITS__ENROLMENTS_PER_SECOND",
        hide_env = true
    )]
    enrolments_per_second: Option<NonZeroU32>,
    /// Bytes of updates in memory at once [default: 67108864]
    #[arg(
        long,
        value_name = "BYTES",
        env = "TRIBUTARY__LIMITS__UPLOAD_BYTES",
        hide_env = true
    )]
    upload_bytes: Option<NonZeroUsize>,
}

impl LimitSettings {
    /// These over those of the file over the defaults.
    pub fn over(&self, file: &Self) -> Limits {
        let defaults = Limits::default();
        let number = |ours: Option<NonZeroUsize>, file: Option<NonZeroUsize>, default| {
            ours.or(file).map_or(default, NonZeroUsize::get)
        };
        let small = |ours: Option<NonZeroU32>, file: Option<NonZeroU32>, default| {
            ours.or(file).map_or(default, NonZeroU32::get)
        };
        let time = |ours: Option<NonZeroU32>, file: Option<NonZeroU32>, default: Duration| {
            let milliseconds = ours.or(file);
            milliseconds.map_or(default, |ms| Duration::from_millis(ms.get().into()))
        };
        Limits {
            connections: number(self.connections, file.connections, defaults.connections),
            connections_per_peer: self
                .connections_per_peer
                .or(file.connections_per_peer)
                .unwrap_or(defaults.connections_per_peer),
            streams_per_connection: small(
                self.streams_per_connection,
                file.streams_per_connection,
                defaults.streams_per_connection,
            ),
            streams: number(self.streams, file.streams, defaults.streams),
            hello: time(self.hello_ms, file.hello_ms, defaults.hello),
            request: time(self.request_ms, file.request_ms, defaults.request),
            keepalive: time(self.keepalive_ms, file.keepalive_ms, defaults.keepalive),
            devices: number(self.devices, file.devices, defaults.devices),
            enrolments_per_second: small(
                self.enrolments_per_second,
                file.enrolments_per_second,
                defaults.enrolments_per_second,
            ),
            upload_bytes: number(self.upload_bytes, file.upload_bytes, defaults.upload_bytes),
            ..defaults
        }
    }
}
