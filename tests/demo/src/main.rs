//! The demonstration: two clusters, a forge and Lockstep on this machine, and a team that works with nothing but Git and HTTP.
//! Each act is checked in the clusters and on the forge; `--once` ends with 0 only if all of it was seen.

mod acts;
mod stage;
mod timeline;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use stage::Stage;

/// Plays the way from a push to a green check on real parts.
#[derive(Parser, Debug, Clone)]
#[command(name = "cargo xtask demo")]
pub struct Args {
    /// Play the acts, then stop; ends with 0 only if each was observed in the cluster and on the forge.
    #[arg(long)]
    once: bool,
    /// Make do with one cluster: dev, staging and previews, without prod.
    #[arg(long)]
    one_cluster: bool,
    /// Use this cluster instead of starting one; the first is nonprod, the second prod. Everything made in it stays.
    #[arg(long)]
    kubeconfig: Vec<PathBuf>,
    /// amqp://… : RabbitMQ instead of the journal in a file.
    #[arg(long)]
    bus: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    match play(args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play(args: Args) -> anyhow::Result<bool> {
    let start = Instant::now();
    let mut stage = Stage::set(&args).await?;
    println!("the stage is set after {:.1} s", start.elapsed().as_secs_f64());
    let acting = Instant::now();
    let missing = acts::play(&mut stage).await;
    println!();
    if missing.is_empty() {
        println!(
            "all acts were seen in the clusters and on the forge; they took {:.1} s",
            acting.elapsed().as_secs_f64()
        );
    } else {
        println!("not everything was seen:");
        for line in &missing {
            println!("  {line}");
        }
        if args.once {
            println!("the end of Lockstep's log:\n{}", stage.end_of_log(40));
        }
    }
    if !args.once {
        stage.say_where_everything_is();
        tokio::signal::ctrl_c().await?;
    }
    stage.strike().await;
    Ok(missing.is_empty())
}
