use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer};
use tokio_util::sync::CancellationToken;

use crate::{Metrics, Readiness, TelemetryError};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Adds routes to a server. Called once for each of its threads.
pub type Routes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// The HTTP port for operators: `/healthz`, `/readyz`, `/metrics`, and what the service adds.
#[derive(Clone)]
pub struct Admin {
    metrics: Metrics,
    readiness: Readiness,
    routes: Vec<Routes>,
}

impl Admin {
    /// A port that shows `metrics` and `readiness`.
    pub fn new(metrics: Metrics, readiness: Readiness) -> Self {
        Self { metrics, readiness, routes: Vec::new() }
    }

    /// Adds the service's own routes.
    pub fn with_routes(mut self, routes: impl Fn(&mut ServiceConfig) + Send + Sync + 'static) -> Self {
        self.routes.push(Arc::new(routes));
        self
    }

    /// The routes alone, for a service that has a server of its own and wants them on the same port.
    pub fn configure(&self, config: &mut ServiceConfig) {
        let (metrics, readiness) = (self.metrics.clone(), self.readiness.clone());
        config
            .route("/healthz", web::get().to(|| async { HttpResponse::Ok().body("ok\n") }))
            .route("/readyz", web::get().to(move || ready(readiness.clone())))
            .route("/metrics", web::get().to(move || show(metrics.clone())));
        for routes in &self.routes {
            routes(config);
        }
    }

    /// Takes the port. Port 0 takes a free one.
    pub fn bind(self, address: impl ToSocketAddrs + ToString) -> Result<BoundAdmin, TelemetryError> {
        let listen = |source| TelemetryError::Listen { address: address.to_string(), source };
        let listener = TcpListener::bind(&address).map_err(listen)?;
        let address = listener.local_addr()?;
        Ok(BoundAdmin { admin: self, listener, address })
    }
}

/// An [`Admin`] that has its port.
pub struct BoundAdmin {
    admin: Admin,
    listener: TcpListener,
    address: SocketAddr,
}

impl BoundAdmin {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then finishes the requests that are being answered.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), TelemetryError> {
        let admin = self.admin;
        let server = HttpServer::new(move || {
            let admin = admin.clone();
            App::new().configure(move |config| admin.configure(config))
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(5)
        .listen(self.listener)?
        .run();
        let handle = server.handle();
        tokio::pin!(server);
        tokio::select! {
            ended = &mut server => return Ok(ended?),
            () = shutdown.cancelled() => {}
        }
        let (ended, ()) = tokio::join!(server, handle.stop(true));
        Ok(ended?)
    }
}

async fn ready(readiness: Readiness) -> HttpResponse {
    let unmet = readiness.unmet().await;
    let told = |(name, text): &(&str, String)| format!("{name}: {text}\n");
    let notes: String = readiness.notes().iter().map(told).collect();
    if unmet.is_empty() {
        return HttpResponse::Ok().body(format!("ready\n{notes}"));
    }
    let lines: String = unmet.iter().map(told).chain([notes]).collect();
    HttpResponse::ServiceUnavailable().insert_header((CACHE_CONTROL, "no-store")).body(lines)
}

async fn show(metrics: Metrics) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, OPEN_METRICS)).body(metrics.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn the_port_answers_and_stops() {
        let readiness = Readiness::default();
        readiness.set("bus", Err("not connected".into()));
        let admin = Admin::new(Metrics::new("lockstep"), readiness.clone())
            .with_routes(|config| {
                config.route("/extra", web::get().to(|| async { "more" }));
            })
            .bind("127.0.0.1:0")
            .unwrap();
        let (address, shutdown) = (admin.address(), CancellationToken::new());
        let running = tokio::spawn(admin.run(shutdown.clone()));

        assert_eq!(get(address, "/healthz").await, (200, "ok\n".into()));
        assert_eq!(get(address, "/readyz").await, (503, "bus: not connected\n".into()));
        readiness.set("bus", Ok(()));
        assert_eq!(get(address, "/readyz").await, (200, "ready\n".into()));
        readiness.note("sandbox", "on");
        assert_eq!(get(address, "/readyz").await, (200, "ready\nsandbox: on\n".into()));
        assert_eq!(get(address, "/metrics").await, (200, "# EOF\n".into()));
        assert_eq!(get(address, "/extra").await, (200, "more".into()));
        assert_eq!(get(address, "/nothing").await.0, 404);

        shutdown.cancel();
        running.await.unwrap().unwrap();
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = Admin::new(Metrics::new("x"), Readiness::default()).bind(address).err().unwrap();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
