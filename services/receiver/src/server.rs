use std::future::ready;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, map_config};
use actix_web::dev::{AppConfig, Server, Service as _, ServiceRequest, fn_service};
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpRequest};
use anyhow::Context;
use bus::{Bus, Topology};
use forge::ForgeKind;
use telemetry::{Admin, BoundAdmin, Metrics, Readiness};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::answer::Refusal;
use crate::body::Bodies;
use crate::budget::Budget;
use crate::config::ReceiverConfig;
use crate::connections::{Connections, Peer};
use crate::files;
use crate::handler::{Shared, receive};
use crate::measures::Measures;
use crate::stream::Stream;

/// A receiver that has its ports.
pub struct Receiver {
    config: ReceiverConfig,
    listener: TcpListener,
    address: SocketAddr,
    admin: Admin,
    own_admin: Option<BoundAdmin>,
    readiness: Readiness,
    shared: web::Data<Shared>,
    connections: Arc<Connections>,
    files: Option<u64>,
}

impl Receiver {
    /// Takes the ports, and raises the process's limit of open files to what it may have. Nothing is served before
    /// [`Receiver::run`].
    pub fn bind(config: ReceiverConfig, bus: Arc<dyn Bus>, metrics: Metrics) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(config.listen)
            .with_context(|| format!("cannot listen on {}; choose another address", config.listen))?;
        files::lengthen_queue(&listener)?;
        let address = listener.local_addr()?;
        if config.trust.0.is_none() {
            tracing::warn!(%address, "webhooks are not authenticated; anybody who reaches this port is believed");
        }
        let readiness = Readiness::default();
        readiness.set("bus_topology", Err("not declared yet".into()));
        let asked = bus.clone();
        readiness.probe("bus", move || {
            let bus = asked.clone();
            async move { bus.ping().await.map_err(|error| error.to_string()) }
        });
        let measures = Measures::new(&metrics);
        let files = files::raise_limit();
        let most = files::most_connections(config.max_connections, files);
        if most < config.max_connections {
            tracing::warn!(most, files, "there can be fewer connections than asked for; raise the limit of open files");
        }
        let connections = Connections::new(most, config.idle_limit, measures.clone());
        let shared = web::Data::new(Shared {
            bus,
            trust: Arc::new(config.trust.clone()),
            bodies: Bodies {
                budget: Budget::new(config.body_memory, connections.clone(), &measures),
                body_limit: config.body_limit,
                read_limit: config.read_limit,
            },
            large_turn: Semaphore::new(1),
            publish_limit: config.publish_limit,
            measures,
        });
        let admin = Admin::new(metrics, readiness.clone());
        let own_admin = config.admin_listen.map(|address| admin.clone().bind(address)).transpose()?;
        Ok(Self { config, listener, address, admin, own_admin, readiness, shared, connections, files })
    }

    /// Where webhooks come in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators look.
    pub fn admin_address(&self) -> SocketAddr {
        self.own_admin.as_ref().map_or(self.address, BoundAdmin::address)
    }

    /// Serves until `shutdown`; then takes no more connections, and ends when every request that was being answered has
    /// its answer. The ports for operators are closed last.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { config, listener, address, admin, own_admin, readiness, shared, connections, files } = self;
        let served_here = own_admin.is_none().then_some(admin);
        let bus = shared.bus.clone();
        let threads = match config.threads {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            threads => threads,
        };
        let taken = files::most_taken(connections.most(), files);
        let all = connections.clone();
        let server = Server::build()
            .workers(threads)
            .max_concurrent_connections(taken.div_ceil(threads))
            .shutdown_timeout(config.stop_limit.as_secs().max(1))
            .disable_signals()
            .listen("webhooks", listener, move || serve(shared.clone(), served_here.clone(), all.clone()))
            .context("cannot serve webhooks")?
            .run();
        tracing::info!(%address, "receiver.started");

        let (handle, stopped) = (server.handle(), CancellationToken::new());
        let stop_admin = stopped.clone();
        let serve_admin = async move {
            match own_admin {
                Some(admin) => admin.run(stop_admin).await,
                None => Ok(()),
            }
        };
        let declared = tokio::spawn(declare(bus, readiness.clone(), shutdown.clone()));
        let serve = async move {
            tokio::pin!(server);
            let ended = tokio::select! {
                ended = &mut server => ended,
                () = shutdown.cancelled() => {
                    readiness.set("running", Err("stopping".into()));
                    connections.stop();
                    tokio::join!(server, handle.stop(true)).0
                }
            };
            stopped.cancel();
            ended
        };
        let (served, admin_served) = tokio::join!(serve, serve_admin);
        declared.abort();
        tracing::info!("receiver.stopped");
        served.context("the receiver's server failed")?;
        Ok(admin_served?)
    }
}

/// Exchanges may be missing when the broker is new or away; until they are there, webhooks get a 503.
async fn declare(bus: Arc<dyn Bus>, readiness: Readiness, shutdown: CancellationToken) {
    let mut wait = Duration::from_millis(200);
    loop {
        let Err(error) = bus.declare(&Topology::for_receiver()).await else { break };
        tracing::warn!(%error, "receiver.topology_not_declared");
        readiness.set("bus_topology", Err(error.to_string()));
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(10)),
            () = shutdown.cancelled() => return,
        }
    }
    readiness.set("bus_topology", Ok(()));
}

/// HTTP on a connection that gives no more than it may. All limits of time are kept by [`Stream`] and [`Bodies`].
fn serve(
    shared: web::Data<Shared>,
    admin: Option<Admin>,
    connections: Arc<Connections>,
) -> impl actix_service::ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()> {
    let app =
        App::new().app_data(shared).configure(move |config| routes(config, admin.as_ref())).wrap_fn(|request, app| {
            let peer = request.conn_data::<Arc<Peer>>().cloned();
            if let Some(peer) = &peer {
                peer.begin(has_body(&request));
            }
            let answer = app.call(request);
            async move {
                let answer = answer.await;
                if let Some(peer) = &peer {
                    peer.answered();
                }
                answer
            }
        });
    let app = app.into_factory().map_err(|error| error.error_response());
    let http = HttpService::build()
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(Duration::from_secs(1))
        .on_connect_ext(|stream: &Stream, data| {
            data.insert(stream.peer.clone());
        })
        .h1(map_config(app, |()| AppConfig::default()));
    let admit = move |stream: TcpStream| {
        let address = stream.peer_addr().ok();
        ready(Ok((Stream::new(stream, connections.admit()), address)))
    };
    fn_service(admit).and_then(http)
}

fn has_body(request: &ServiceRequest) -> bool {
    let headers = request.headers();
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

fn routes(config: &mut ServiceConfig, admin: Option<&Admin>) {
    let paths = [
        ("/webhooks/github", Some(ForgeKind::Github)),
        ("/webhooks/gitea", Some(ForgeKind::Gitea)),
        ("/api/webhook", None),
    ];
    for (path, kind) in paths {
        let webhook = web::post().to(move |shared: web::Data<Shared>, request: HttpRequest, payload: web::Payload| {
            receive(shared, kind, request, payload)
        });
        config.service(
            web::resource(path).route(webhook).default_service(web::to(|shared| refuse(shared, Refusal::Method))),
        );
    }
    if let Some(admin) = admin {
        admin.configure(config);
    }
    config.default_service(web::to(|shared| refuse(shared, Refusal::Path)));
}

async fn refuse(shared: web::Data<Shared>, refusal: Refusal) -> actix_web::HttpResponse {
    shared.measures.rejected(refusal.reason());
    refusal.answer()
}
