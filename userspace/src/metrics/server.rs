//! The HTTP endpoint: `/metrics`, a page at `/`, nothing else.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::families;
use super::{DEFAULT_MAX_PEERS, MetricsSource};

/// Connections served at once; others wait in the backlog of the socket.
const MAX_CONNECTIONS: usize = 32;
/// A request must have come within this time.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// And have been answered and read within this one.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <title>ringtun</title></head>\n<body><h1>ringtun</h1>\n\
    <p><a href=\"/metrics\">Metrics</a> for Prometheus. \
    <code>ringtun show</code> says the same for people.</p></body></html>\n";

/// A listening endpoint.
#[derive(Debug)]
pub struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
    max_peers: usize,
}

impl MetricsServer {
    /// Takes over a socket of [`MetricsListen::bind`](super::MetricsListen::bind).
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            max_peers: DEFAULT_MAX_PEERS,
        })
    }

    /// Gives series of their own to at most this many peers of each device.
    #[must_use]
    pub fn max_peers(mut self, max_peers: usize) -> Self {
        self.max_peers = max_peers;
        self
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves for ever, on the control thread.
    pub async fn serve<S: MetricsSource>(self, source: Rc<S>) -> Infallible {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = connections.next(), if !connections.is_empty() => {}
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                    match accepted {
                        Ok((stream, _)) => {
                            connections.push(connection(stream, &*source, self.max_peers));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "cannot accept a metrics connection");
                            // Out of descriptors, most likely, and so would be
                            // the next attempt.
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    }
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, source: &impl MetricsSource, max_peers: usize) {
    let service =
        service_fn(async |request| Ok::<_, Infallible>(answer(&request, source, max_peers)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_buf_size(MAX_HEAD)
        // A scrape is one request, and idle connections would fill the limit.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "metrics connection ended"),
        Err(_) => tracing::debug!("metrics connection took too long"),
    }
}

fn answer<B>(
    request: &Request<B>,
    source: &impl MetricsSource,
    max_peers: usize,
) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => match families::text(&source.snapshot(max_peers)) {
            Ok(text) => page(StatusCode::OK, families::CONTENT_TYPE, text),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "see the log\n")
            }
        },
        "/" => page(StatusCode::OK, "text/html; charset=utf-8", PAGE),
        _ => page(StatusCode::NOT_FOUND, TEXT, "not here; see /metrics\n"),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
