//! `lockstep app plan` and `diff`: what a sync would do, found out in this process.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use render::SandboxMode;
use worker::AppId;
use worker::inspect::{Inspection, Question, inspect};

use super::output::{Output, print};
use super::reach::{Access, Applications, Target, who};
use super::table::short;
use super::unified::{coloured, unified};

/// With what it is done.
#[derive(clap::Args, Clone, Debug)]
pub struct Workbench {
    /// The cluster's name, as projects and destinations know it; without it, the name of its worker.
    #[arg(long, value_name = "NAME")]
    cluster_name: Option<String>,
    /// Folder for Git mirrors and cached renders, to be faster the next time; without it, one that is removed afterwards.
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// YAML file with Git credentials by host or URL prefix, beside those in the cluster's repository Secrets.
    #[arg(long, env = "LOCKSTEP_GIT_CREDENTIALS_FILE", value_name = "FILE")]
    git_credentials_file: Option<PathBuf>,
    /// Take Git repositories from file:// addresses and paths too.
    #[arg(long, env = "LOCKSTEP_ALLOW_LOCAL_GIT")]
    allow_local_git: bool,
    /// The helm program.
    #[arg(long, env = "LOCKSTEP_HELM", value_name = "FILE")]
    helm: Option<PathBuf>,
    /// The kustomize program.
    #[arg(long, env = "LOCKSTEP_KUSTOMIZE", value_name = "FILE")]
    kustomize: Option<PathBuf>,
    /// Whether helm and kustomize are confined: required, available (as far as the kernel can) or off.
    #[arg(long, env = "LOCKSTEP_RENDER_SANDBOX", value_name = "MODE", default_value_t = SandboxMode::Available)]
    render_sandbox: SandboxMode,
}

/// What is looked at.
#[derive(clap::Args)]
struct Look {
    /// The Application, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    application: String,
    #[command(flatten)]
    access: Access,
    /// Another revision than the one it follows; with several sources one for each, in their order.
    #[arg(long = "revision", value_name = "REVISION")]
    revisions: Vec<String>,
    #[command(flatten)]
    workbench: Workbench,
}

/// The options of `plan`.
#[derive(clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    look: Look,
    /// As if somebody synced it with --prune.
    #[arg(long)]
    prune: bool,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    /// End with 1 if there is something to do, and with 2 if that cannot be told.
    #[arg(long)]
    exit_code: bool,
}

/// The options of `diff`.
#[derive(clap::Args)]
pub struct DiffArgs {
    #[command(flatten)]
    look: Look,
    /// Whether it is coloured.
    #[arg(long, value_enum, default_value = "auto")]
    color: Color,
}

/// Whether something is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether that means yes, for the standard output.
    pub fn is_wanted(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }
}

/// Runs `plan`.
pub async fn plan(args: PlanArgs) -> anyhow::Result<ExitCode> {
    let inspection = args.look.at(args.prune).await?;
    args.output.print(&inspection, || text(&inspection))?;
    let code = u8::from(args.exit_code && !inspection.plan.is_empty());
    Ok(ExitCode::from(code))
}

/// Runs `diff`.
pub async fn diff(args: DiffArgs) -> anyhow::Result<ExitCode> {
    let inspection = args.look.at(false).await?;
    let diffs: Vec<String> = inspection.comparison.resources.iter().filter_map(|resource| unified(resource)).collect();
    let coloured = |diff: &String| if args.color.is_wanted() { coloured(diff) } else { diff.clone() };
    print(&diffs.iter().map(coloured).collect::<String>())?;
    Ok(ExitCode::from(u8::from(!diffs.is_empty())))
}

/// Prints what a sync of these commits would do.
pub async fn show_plan(target: &Target, workbench: &Workbench, commits: &[String]) -> anyhow::Result<()> {
    let look = Look {
        application: target.application.clone(),
        access: target.access.clone(),
        revisions: commits.to_vec(),
        workbench: workbench.clone(),
    };
    let inspection = look.at(false).await?;
    print(&format!("{}\n", inspection.plan.to_string().trim_end()))
}

impl Look {
    async fn at(&self, prune: bool) -> anyhow::Result<Inspection> {
        let applications = Applications::open(&self.access).await?;
        let id: AppId = applications.id(&self.application);
        // Tells what to do if it is not there.
        applications.object(&id).await?;
        let own = self.workbench.clone();
        let mut scratch = None;
        let data_dir = match own.data_dir {
            Some(folder) => folder,
            None => {
                let folder = tempfile::Builder::new().prefix("lockstep-").tempdir();
                let folder = folder.context("cannot make a folder for Git mirrors; name one with --data-dir")?;
                scratch.insert(folder).path().to_owned()
            }
        };
        let workbench = worker::inspect::Workbench {
            kubeconfig: self.access.kubeconfig()?,
            namespace: self.access.namespace.clone(),
            cluster_name: own.cluster_name,
            data_dir,
            helm: own.helm,
            kustomize: own.kustomize,
            git_credentials_file: own.git_credentials_file,
            allow_local_git: own.allow_local_git,
            render_sandbox: own.render_sandbox,
        };
        let question = Question { id, revisions: self.revisions.clone(), prune, by: who() };
        let done = inspect(&workbench, &question).await;
        drop(scratch);
        done
    }
}

fn text(inspection: &Inspection) -> String {
    let mut text = inspection.plan.to_string().trim_end().to_owned() + "\n";
    for warning in &inspection.warnings {
        text += &format!("Warning: {warning}\n");
    }
    format!("{text}{}: {}\n", short(&inspection.commits), inspection.decision)
}
