//! Real parts for tests, the demonstration and the benchmark: a Kubernetes cluster, a broker, a forge, a working copy and
//! the `lockstep` program, each in one line.
//!
//! Every server listens on 127.0.0.1 only, keeps its data in a scratch folder, and ends when its value is dropped, or with
//! this process in whatever way that ends. Nothing is ever skipped: what is missing is built or is an error that says how
//! to get it. It asserts nothing and knows nothing of what Lockstep does.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let cluster = harness::ControlPlane::start("dev").await?;
//! let forge = harness::Gitea::start().await?;
//! forge.create_organisation("acme").await?;
//! forge.create_repository("acme/shop").await?;
//! let copy = harness::GitRepo::new().await?;
//! copy.write("app.yaml", "a: 1")?;
//! copy.commit("first").await?;
//! copy.push(&forge.push_url("acme/shop"), "main").await?;
//! println!("KUBECONFIG={}", cluster.kubeconfig.display());
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod controlplane;
mod freeze;
mod gitea;
mod lockstep;
mod passage;
mod process;
pub mod rabbitmq;
mod repo;
mod tools;

pub use controlplane::{ControlPlane, ControlPlaneOptions};
pub use freeze::without_freeze;
pub use gitea::Gitea;
pub use lockstep::{Lockstep, LockstepOptions};
pub use passage::Passage;
pub use process::{Process, Program, free_port};
pub use rabbitmq::RabbitMq;
pub use repo::GitRepo;
pub use tools::{Tools, on_path, repository_root};

/// A client for servers on this machine: no proxy, a limit on each request. It takes any certificate, since a server that
/// makes its own at its first start can be asked whether it is ready only in this way.
pub(crate) fn http_client() -> anyhow::Result<reqwest::Client> {
    // A second installation is an error value: somebody else chose already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(30));
    Ok(builder.tls_danger_accept_invalid_certs(true).build()?)
}
