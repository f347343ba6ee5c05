//! A RabbitMQ of one's own: the real server on free ports, with its data in a scratch folder.
//!
//! Nothing of it stays: dropping it ends the broker and the port mapper it was given and removes the folder, and both
//! end by themselves if the process that started them dies.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

const SERVER: &str = "rabbitmq-server";
/// Debian's program of that name on PATH changes to the `rabbitmq` user first; the one behind it does not.
const DIRECTORY: &str = "/usr/lib/rabbitmq/bin";
/// A start takes three seconds; on a machine that builds at the same time it takes much longer.
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const CONFIGURATION: &str = "\
listeners.tcp.default = 127.0.0.1:{port}
disk_free_limit.absolute = 20MB
log.file.level = warning
";

/// A private broker.
#[derive(Debug)]
pub struct RabbitMq {
    /// `amqp://127.0.0.1:<port>/%2f`, the same after a restart.
    pub url: String,
    directory: tempfile::TempDir,
    ports: Ports,
    mapper: Option<Group>,
    broker: Option<Group>,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    amqp: u16,
    distribution: u16,
    mapper: u16,
}

impl RabbitMq {
    /// Starts a broker with no data and waits until it takes connections.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("lockstep-rabbitmq-").tempdir()?;
        let ports = Ports { amqp: free_port()?, distribution: free_port()?, mapper: free_port()? };
        let path = directory.path();
        std::fs::write(path.join("enabled_plugins"), "[].\n")?;
        std::fs::write(path.join("env.conf"), "")?;
        std::fs::write(path.join("rabbitmq.conf"), CONFIGURATION.replace("{port}", &ports.amqp.to_string()))?;
        let url = format!("amqp://127.0.0.1:{}/%2f", ports.amqp);
        let mut this = Self { url, directory, ports, mapper: None, broker: None };
        this.start_again().await?;
        Ok(this)
    }

    /// Starts a broker that was stopped or killed, with the data it had.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.broker.is_none(), "the broker is running already");
        if self.mapper.is_none() {
            // With a port mapper at hand Erlang starts none; its own would stay behind.
            let mut command = Group::command(Path::new("epmd"));
            command.arg("-port").arg(self.ports.mapper.to_string()).args(["-address", "127.0.0.1"]);
            self.mapper = Some(Group::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))?);
        }
        let mut command = Group::command(&program(SERVER)?);
        self.environment(&mut command);
        let mut broker = Group::spawn(command.stdout(Stdio::piped()).stderr(Stdio::null()))?;
        let output = broker.child.stdout.take().context("the broker has no output")?;
        match timeout(START_LIMIT, started(output)).await {
            Ok(Ok(())) => {}
            Ok(Err(output)) => bail!("RabbitMQ did not start:\n{output}\n{}", self.log()),
            Err(_) => bail!("RabbitMQ did not start within {START_LIMIT:?}\n{}", self.log()),
        }
        self.broker = Some(broker);
        Ok(())
    }

    /// Stops the broker in an orderly way. Its data stays.
    pub async fn stop(&mut self) -> Result<()> {
        let mut broker = self.broker.take().context("the broker is not running")?;
        broker.signal("TERM", false);
        timeout(STOP_LIMIT, broker.child.wait()).await.context("RabbitMQ did not stop in time")??;
        Ok(())
    }

    /// Kills the broker (SIGKILL), as a power cut would. Its data stays.
    pub async fn kill(&mut self) -> Result<()> {
        drop(self.broker.take().context("the broker is not running")?);
        Ok(())
    }

    /// Stops the broker and starts it again.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    /// Freezes the broker: connections stay open, nothing answers.
    pub fn pause(&self) {
        if let Some(broker) = &self.broker {
            broker.signal("STOP", true);
        }
    }

    /// Ends [`RabbitMq::pause`].
    pub fn resume(&self) {
        if let Some(broker) = &self.broker {
            broker.signal("CONT", true);
        }
    }

    /// The same broker seen by another user.
    pub fn url_for(&self, user: &str, password: &str) -> String {
        format!("amqp://{user}:{password}@127.0.0.1:{}/%2f", self.ports.amqp)
    }

    /// Runs `rabbitmqctl` on this broker and returns what it prints.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program("rabbitmqctl")?);
        self.environment(&mut command);
        let output = command.arg("--quiet").args(arguments).stdin(Stdio::null()).output().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "rabbitmqctl {}: {text}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text)
    }

    fn environment(&self, command: &mut Command) {
        let path = self.directory.path();
        command
            .env("HOME", path)
            .env("ERL_EPMD_PORT", self.ports.mapper.to_string())
            .env("RABBITMQ_NODENAME", format!("lockstep-{}@localhost", self.ports.amqp))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.ports.amqp.to_string())
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", path.join("data"))
            .env("RABBITMQ_LOG_BASE", path.join("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path.join("enabled_plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", path.join("env.conf"))
            .env("RABBITMQ_CONFIG_FILE", path.join("rabbitmq.conf"))
            .env("RABBITMQ_PID_FILE", path.join("pid"))
            // Idle schedulers that spin would take the processor from what is tested.
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+sbwt none +sbwtdcpu none +sbwtdio none");
    }

    fn log(&self) -> String {
        let Ok(entries) = std::fs::read_dir(self.directory.path().join("log")) else { return String::new() };
        let texts = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
        texts.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        // Before the folder goes, and the broker before the mapper it talks to.
        drop(self.broker.take());
        drop(self.mapper.take());
    }
}

/// A program and all that it starts, as one process group. It ends when this value is dropped and also when this process
/// ends in whatever way: then its standard input is closed, and a shell that waits for that kills the group.
#[derive(Debug)]
struct Group {
    child: Child,
    pid: u32,
    _stdin: ChildStdin,
}

impl Group {
    fn command(program: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg("exec 3<&0; (cat <&3 >/dev/null 2>&1; kill -KILL 0) & exec \"$0\" \"$@\" 3<&- </dev/null")
            .arg(program)
            .process_group(0)
            .stdin(Stdio::piped());
        command
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let pid = child.id().context("the program ended at once")?;
        let stdin = child.stdin.take().context("the program has no standard input")?;
        Ok(Self { child, pid, _stdin: stdin })
    }

    fn signal(&self, name: &str, whole_group: bool) {
        let target = if whole_group { format!("-{}", self.pid) } else { self.pid.to_string() };
        let mut command = std::process::Command::new("kill");
        let _ = command.args([&format!("-{name}"), "--", &target]).stderr(Stdio::null()).status();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The shell that watches the input is of the group until now, so its number cannot be another's.
        self.signal("KILL", true);
        let limit = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Reads the broker's output up to the line that says it is up, and goes on reading so that the pipe never fills.
async fn started(output: impl AsyncRead + Send + Unpin + 'static) -> Result<(), String> {
    let mut lines = BufReader::new(output).lines();
    let mut seen = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains("completed with") {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(());
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    Err(seen)
}

fn program(name: &str) -> Result<PathBuf> {
    let known = Path::new(DIRECTORY).join(name);
    if known.exists() {
        return Ok(known);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.exists());
    found.with_context(|| format!("{name} is not installed; on Debian: apt-get install rabbitmq-server"))
}

/// A port below those that the kernel gives to outgoing connections, so that nobody takes it while the broker is down.
fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let port = rand::random_range(20_000..30_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between 20000 and 30000");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    fn speaks_amqp(broker: &RabbitMq) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, broker.ports.amqp)) else { return false };
        let mut answer = [0];
        stream.write_all(b"AMQP\x00\x00\x09\x01").is_ok() && stream.read_exact(&mut answer).is_ok()
    }

    #[tokio::test]
    async fn lives_and_leaves_nothing() {
        let mut broker = RabbitMq::start().await.unwrap();
        assert!(speaks_amqp(&broker));
        broker.stop().await.unwrap();
        assert!(!speaks_amqp(&broker));
        broker.start_again().await.unwrap();
        assert!(speaks_amqp(&broker));
        broker.kill().await.unwrap();
        assert!(!speaks_amqp(&broker));
        broker.start_again().await.unwrap();
        let (directory, mapper) = (broker.directory.path().to_owned(), broker.ports.mapper);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, mapper)).is_ok());
        drop(broker);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, mapper)).is_err());
        assert!(!directory.exists());
    }
}
