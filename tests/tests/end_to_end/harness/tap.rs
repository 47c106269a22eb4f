//! What a device sends, to the byte.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of an HTTP/2 frame's header (RFC 9113, section 4.1).
const FRAME_HEADER: usize = 9;
/// Bytes of what a client begins a connection with (RFC 9113, section 3.4).
const PREFACE: usize = 24;
/// The type of frames that carry messages.
const DATA: u8 = 0;

/// Forwards connections and keeps what clients send.
pub async fn tap(server: std::net::SocketAddr) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let kept = Arc::new(Mutex::new(Vec::new()));
    let sent = kept.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let upstream = TcpStream::connect(server).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = upstream.into_split();
            tokio::spawn(async move {
                // either end may hang up
                let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
            });
            let sent = sent.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                    sent.lock().unwrap().extend_from_slice(&buffer[..length]);
                    if to_server.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (endpoint, kept)
}

/// Bytes of messages that a client sent on its only connection, by call in their order: what is left when
/// the bookkeeping of HTTP/2, which depends on the weather, is taken out.
pub fn message_bytes(sent: &[u8]) -> Vec<usize> {
    let mut calls: std::collections::BTreeMap<u32, usize> = std::collections::BTreeMap::new();
    let mut rest = &sent[PREFACE..];
    while rest.len() >= FRAME_HEADER {
        let (header, behind) = rest.split_at(FRAME_HEADER);
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        if header[3] == DATA {
            *calls.entry(stream).or_default() += length;
        }
        rest = behind.get(length..).unwrap_or_default();
    }
    calls.into_values().collect()
}
