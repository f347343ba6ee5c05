//! The stage on which the end-to-end stories are played: real control planes, a real RabbitMQ, a real Gitea or the GitHub
//! double, and `lockstep receiver` and `lockstep worker` as processes of their own.
//!
//! It never reaches into Lockstep: it pushes with Git, reads the forge's and the cluster's API, runs `lockstep`, and kills
//! processes. The workers neither poll nor ask for failed deliveries, unless that is the story, so a commit that gets its check
//! got it by its webhook. Everything ends and is removed with the [`Stage`]; one that was not brought to its end by
//! [`Stage::strike`] prints the ends of its logs.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let stage = e2e::Stage::set(e2e::Kind::Gitea, &["dev"]).await?;
//! let shop = stage.repository("acme/shop", |copy| copy.write("app/config.yaml", e2e::config_map("shop", "one"))).await?;
//! stage.site().apply(e2e::application("shop", &shop.url, "app", true)).await?;
//! stage.site().stands("shop", "Synced/Healthy").await?;
//! shop.git.write("app/config.yaml", e2e::config_map("shop", "two"))?;
//! let commit = shop.push("Say two").await?;
//! stage.expect(&shop, &commit, "lockstep/dev", "success", "healthy").await?;
//! stage.strike().await
//! # }
//! ```

mod forge;
mod manifests;
mod site;
mod stage;
mod together;
mod wait;

pub use forge::{Check, Forge, Kind};
pub use manifests::{NAMESPACE, application, config_map, deployment, example, from_yaml};
pub use site::{Site, install_definitions};
pub use stage::{Stage, WorkingCopy};
pub use together::Together;
pub use wait::{LIMIT, Seen, until, within};
