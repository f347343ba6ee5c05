//! `lockstep deliveries`: what could not be handled is kept with its reason; a person can look at it and send it again.

use crate::bus_address::Bus;

/// The subcommands.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the dead letters.
    Dead {
        #[command(flatten)]
        bus: Bus,
        /// So many at the most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Send a dead letter again on the way it came.
    Replay {
        #[command(flatten)]
        bus: Bus,
        /// Its id, as listed.
        id: String,
    },
    /// Forget a dead letter.
    Discard {
        #[command(flatten)]
        bus: Bus,
        /// Its id, as listed.
        id: String,
    },
}

/// Runs a subcommand.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Dead { bus, limit } => {
            let bus = bus.connect().await?;
            let letters = bus.dead(limit).await?;
            if letters.is_empty() {
                println!("no dead letters");
            }
            for letter in letters {
                let queue = letter.queue.as_deref().unwrap_or("-");
                println!("{}\t{queue}\t{} attempts\t{}", letter.id, letter.attempts, letter.reason);
            }
            bus.close().await;
        }
        Command::Replay { bus, id } => {
            let bus = bus.connect().await?;
            bus.replay(&id).await?;
            println!("{id}: sent again");
            bus.close().await;
        }
        Command::Discard { bus, id } => {
            let bus = bus.connect().await?;
            bus.discard(&id).await?;
            println!("{id}: forgotten");
            bus.close().await;
        }
    }
    Ok(())
}
