//! A connection that may not take for ever to begin, to say something, or to end.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::server::listener::connection::Connection;
use crate::server::listener::places::Place;

/// Bytes with which HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// How long a connection may do nothing.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct Patience {
    /// Until its first [`PREFACE_BYTES`] are here.
    pub(in crate::server) begin: Duration,
    /// In all; none for as long as it lives.
    pub(in crate::server) life: Option<Duration>,
}

/// A connection with its place and its patience.
pub(in crate::server) struct Guarded {
    stream: TcpStream,
    _place: Option<Place>,
    /// When it must have begun, or ended.
    deadline: Option<Pin<Box<Sleep>>>,
    /// When it must have ended.
    end: Option<Instant>,
    /// Bytes of the preface that are missing.
    missing: usize,
    connection: Arc<Connection>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    is_cut: bool,
}

impl Guarded {
    pub(in crate::server) fn new(
        stream: TcpStream,
        place: Place,
        patience: Patience,
        cut: CancellationToken,
    ) -> Self {
        Self::with_place(stream, Some(place), patience, cut)
    }

    pub(in crate::server) fn with_place(
        stream: TcpStream,
        place: Option<Place>,
        patience: Patience,
        cut: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let connection = Connection::new(cut.child_token());
        Self {
            stream,
            _place: place,
            deadline: Some(Box::pin(tokio::time::sleep(patience.begin))),
            end: patience.life.map(|life| now + life),
            missing: PREFACE_BYTES,
            cut: Box::pin(connection.cut.clone().cancelled_owned()),
            connection,
            is_cut: false,
        }
    }

    /// Whether the connection may go on; an error once it was cut or its time is over.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.is_cut || self.cut.as_mut().poll(context).is_ready() {
            self.is_cut = true;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    /// Notes that the connection has begun.
    fn begun(&mut self, bytes: usize) {
        if self.missing == 0 {
            return;
        }
        self.missing = self.missing.saturating_sub(bytes);
        if self.missing == 0 {
            self.deadline = self.end.map(|end| Box::pin(tokio::time::sleep_until(end)));
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Ok(())) if !self.is_cut => {
                self.begun(buffer.filled().len() - before);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => match self.check(context) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => match self.check(context) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
            ready => ready,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(context, pieces) {
            Poll::Pending => match self.check(context) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
            ready => ready,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Connected for Guarded {
    type ConnectInfo = Arc<Connection>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.connection.clone()
    }
}
