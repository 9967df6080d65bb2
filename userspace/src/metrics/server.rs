//! The HTTP endpoint: `/metrics`, `/healthz`, `/readyz`, a page at `/`, nothing else.
//!
//! All of it is bounded: connections, their time, the heads of their requests,
//! scrapes that are encoded at once (one), answers that wait to be read.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinError;
use tokio::time::timeout;

use super::body::Chunks;
use super::families;
use super::names::NameFiles;
use super::{MetricsSource, Series};

/// Connections served at once; others wait in the backlog of the socket.
const MAX_CONNECTIONS: usize = 32;
/// A request must have come within this time.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// And have been answered and read within this one.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// Bytes of all answers that clients have not read yet. One of 1,000 peers has
/// about 1 MB, one of 10,000 with all families 20.
const UNREAD_MAX: usize = 32 << 20;

const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <title>ringtun</title></head>\n<body><h1>ringtun</h1>\n\
    <p><a href=\"/metrics\">Metrics</a> for Prometheus, \
    <a href=\"/healthz\">health</a>, <a href=\"/readyz\">readiness</a>. \
    <code>ringtun show</code> says the same for people.</p></body></html>\n";

/// A listening endpoint.
#[derive(Debug)]
pub struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
    shared: Shared,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    series: Arc<Series>,
    names: RefCell<NameFiles>,
    /// Held while a scrape is encoded.
    encoding: Arc<Mutex<()>>,
    /// Bytes of answers that are not read yet.
    unread: Cell<usize>,
}

impl MetricsServer {
    /// Takes over a socket of [`MetricsListen::bind`](super::MetricsListen::bind).
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn new(listener: std::net::TcpListener, series: Series) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            shared: Shared {
                names: RefCell::new(NameFiles::new(series.names.clone())),
                series: Arc::new(series),
                encoding: Arc::default(),
                unread: Cell::new(0),
            },
        })
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
                            connections.push(connection(stream, &*source, &self.shared));
                        }
                        Err(error) => {
                            tracing::warn!(event = "metrics_accept_failed", %error, "cannot accept a metrics connection");
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

async fn connection(stream: TcpStream, source: &impl MetricsSource, shared: &Shared) {
    // The answer stays in memory until the client has read it or time is up.
    let unread = RefCell::new(None);
    let service = service_fn(async |request| {
        Ok::<_, Infallible>(answer(&request, source, shared, &unread).await)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_buf_size(MAX_HEAD)
        // A scrape is one request, and idle connections would fill the limit.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(event = "metrics_connection_ended", %error, "metrics connection ended")
        }
        Err(_) => tracing::debug!(
            event = "metrics_connection_slow",
            "metrics connection took too long"
        ),
    }
}

/// A share of [`UNREAD_MAX`], given back on drop.
struct Unread<'a> {
    all: &'a Cell<usize>,
    bytes: usize,
}

impl<'a> Unread<'a> {
    fn take(all: &'a Cell<usize>, bytes: usize) -> Option<Self> {
        let sum = all.get() + bytes;
        // One answer always, however large.
        if sum > UNREAD_MAX && all.get() > 0 {
            return None;
        }
        all.set(sum);
        Some(Self { all, bytes })
    }
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        self.all.set(self.all.get() - self.bytes);
    }
}

async fn answer<'a, B>(
    request: &Request<B>,
    source: &impl MetricsSource,
    shared: &'a Shared,
    unread: &RefCell<Option<Unread<'a>>>,
) -> Response<Chunks> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => match scrape(source, shared).await {
            Ok(text) => {
                let text = Chunks::from(text);
                let Some(share) = Unread::take(&shared.unread, text.len()) else {
                    let why = "too many clients have not read their answers\n";
                    return page(StatusCode::SERVICE_UNAVAILABLE, TEXT, why);
                };
                unread.replace(Some(share));
                page(StatusCode::OK, families::CONTENT_TYPE, text)
            }
            Err(error) => {
                tracing::error!(event = "metrics_not_written", %error, "metrics cannot be written");
                page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "see the log\n")
            }
        },
        "/healthz" => judged(source.failures()),
        "/readyz" => judged(source.not_ready()),
        "/" => page(StatusCode::OK, "text/html; charset=utf-8", PAGE),
        _ => page(StatusCode::NOT_FOUND, TEXT, "not here; see /metrics\n"),
    }
}

/// Reads the counters here, and writes them on another thread: with thousands of
/// peers that takes as long as many handshakes.
async fn scrape(source: &impl MetricsSource, shared: &Shared) -> Result<Vec<Bytes>, JoinError> {
    let turn = Arc::clone(&shared.encoding).lock_owned().await;
    let mut snapshot = source.snapshot(&shared.series);
    snapshot.names = shared.names.borrow_mut().names();
    let series = Arc::clone(&shared.series);
    let encode = move || {
        let text = families::text(&snapshot, &series);
        drop(turn);
        text
    };
    tokio::task::spawn_blocking(encode).await
}

/// 200 if nothing is wrong, else 503 and what.
fn judged(wrong: Vec<String>) -> Response<Chunks> {
    if wrong.is_empty() {
        return page(StatusCode::OK, TEXT, "ok\n");
    }
    let text = wrong.join("\n") + "\n";
    page(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
}

const TEXT: &str = "text/plain; charset=utf-8";

fn page(status: StatusCode, kind: &'static str, body: impl Into<Chunks>) -> Response<Chunks> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
