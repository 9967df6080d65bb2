//! The process that holds tunnel devices: from the command line's wish to the
//! last device's end.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::Rc;

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::device::{self, Device, Ended};
use super::nics::Nics;
use super::options::RunOptions;
use super::plane::{Plane, default_workers};
use super::uapi::{self, UapiSocket};

/// The process's devices; what metrics read.
pub type Devices = Rc<RefCell<Vec<Rc<RefCell<Device>>>>>;

/// SIGINT and SIGTERM, by which the process is asked to end.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Returns when one of them comes.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs the devices, if there are any, until all have ended, or `companion` does. It is started
/// once every UAPI socket answers, runs beside the devices, and ends with them.
/// `metrics` is started before that with the devices, tells its address, and
/// runs beside them.
///
/// # Errors
/// When a device cannot be made: then none is left. When the kernel takes away
/// what one cannot do without. Those of `companion`.
pub fn run<M>(
    options: &RunOptions,
    metrics: impl FnOnce(Devices) -> anyhow::Result<Option<(SocketAddr, M)>>,
    companion: impl AsyncFnOnce(Stop) -> anyhow::Result<()>,
) -> anyhow::Result<()>
where
    M: Future<Output = ()>,
{
    // Said before anything is changed.
    for name in &options.names {
        uapi::check_free(&options.uapi_directory, name)?;
    }
    let workers = options
        .workers
        .map_or_else(default_workers, NonZeroUsize::get);
    let plane = Rc::new(Plane::start(workers).context("cannot start the threads")?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the control thread")?;
    runtime.block_on(control(options, &plane, metrics, companion))
}

async fn control<M>(
    options: &RunOptions,
    plane: &Rc<Plane>,
    metrics: impl FnOnce(Devices) -> anyhow::Result<Option<(SocketAddr, M)>>,
    companion: impl AsyncFnOnce(Stop) -> anyhow::Result<()>,
) -> anyhow::Result<()>
where
    M: Future<Output = ()>,
{
    let stop = Stop {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    let nics =
        Nics::open(plane, options.xdp.clone()).context("cannot ask the kernel for routes")?;
    let nics = Rc::new(nics);
    let following = nics.serve();
    tokio::pin!(following);
    let devices = Devices::default();
    let mut served = FuturesUnordered::new();
    for name in &options.names {
        let how = (options.mss, options.io_of(name));
        let (device, inbox) = Device::create(name.clone(), plane, &nics, how)
            .with_context(|| format!("cannot make {name}"))?;
        let device = Rc::new(RefCell::new(device));
        let socket = UapiSocket::bind(&options.uapi_directory, name)?;
        devices.borrow_mut().push(Rc::clone(&device));
        let name = name.clone();
        served.push(async move { (name, device::serve(device, inbox, socket).await) });
    }
    let endpoint: Pin<Box<dyn Future<Output = ()>>> = match metrics(Rc::clone(&devices))? {
        Some((address, endpoint)) => {
            for device in devices.borrow().iter() {
                device.borrow_mut().metrics = Some(address);
            }
            Box::pin(async {
                endpoint.await;
                std::future::pending().await
            })
        }
        None => Box::pin(std::future::pending()),
    };
    tokio::pin!(endpoint);
    let companion = companion(stop);
    tokio::pin!(companion);
    loop {
        tokio::select! {
            // Without devices it is the cards that are served.
            ended = served.next(), if !options.names.is_empty() => match ended {
                None => return Ok(()),
                Some((name, Ok(ended))) => {
                    devices.borrow_mut().retain(|d| *d.borrow().name() != name);
                    tracing::info!(event = "device_ended", device = %name, "{}, the device ends", match ended {
                        Ended::DeviceRemoved => "the interface was removed",
                        Ended::SocketRemoved => "the UAPI socket was removed",
                    });
                }
                Some((name, Err(error))) => {
                    return Err(error).with_context(|| format!("{name} cannot go on"));
                }
            },
            () = &mut endpoint => {}
            () = &mut following => {}
            ended = &mut companion => return ended,
        }
    }
}
