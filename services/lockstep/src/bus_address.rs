//! The bus's address on the command line.

use anyhow::Context as _;

use crate::SharedBus;

/// Where messages go.
#[derive(clap::Args, Clone, Debug)]
pub struct Bus {
    /// amqp://USER:PASSWORD@HOST:PORT/VHOST for RabbitMQ, or journal:/path/bus.db for a single process.
    #[arg(long = "bus", env = "LOCKSTEP_BUS", hide_env_values = true)]
    pub address: String,
}

impl Bus {
    /// Connects.
    pub async fn connect(&self) -> anyhow::Result<SharedBus> {
        bus::connect(&self.address).await.context("cannot use the bus")
    }
}
