//! `lockstep diff`: what a change in Git changes in the manifests, found out from the repository alone. No cluster is asked.

mod changes;
mod checkout;
mod names;
mod report;
mod units;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use git::RepositoryUrl;
use render::{RenderConfig, Renderer, SandboxMode};

use self::changes::changes;
use self::checkout::Checkout;
use self::report::Report;
use self::units::{Bench, Rendered, Unit};
use crate::app::{Color, print};

/// The options of `diff`.
#[derive(clap::Args)]
pub struct Args {
    /// Folders and files, relative to where you are.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The commit to compare with, such as origin/main.
    #[arg(long, value_name = "REVISION")]
    revision: String,
    /// The commit that is compared with it.
    #[arg(long, value_name = "REVISION", default_value = "HEAD")]
    to: String,
    /// Instead of a commit, what is on disk, without the files that Git ignores.
    #[arg(long, conflicts_with = "to")]
    worktree: bool,
    /// Compare with the commit where both parted, so that what --revision has got since is no difference.
    #[arg(long)]
    merge_base: bool,
    /// The repository; PATH is relative to it.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    repo: PathBuf,
    /// The repository's address in Applications. May be repeated. Without it, that of the remote `origin`.
    #[arg(long = "repo-url", value_name = "URL")]
    repo_urls: Vec<String>,
    /// The namespace of objects that name none. Those of an Application have its destination's.
    #[arg(long, short, default_value = "", hide_default_value = true)]
    namespace: String,
    /// Read plain manifests in the folders below PATH, too.
    #[arg(long, short)]
    recurse: bool,
    /// The Kubernetes version that charts are told.
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    kube_version: String,
    /// What charts are told that the cluster serves: v1, apps/v1/Deployment. May be repeated.
    #[arg(long = "api-versions", value_name = "VERSION", value_delimiter = ',')]
    api_versions: Vec<String>,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    /// Whether text is coloured.
    #[arg(long, value_enum, default_value = "auto")]
    color: Color,
    /// Folder for cached renders, to be faster the next time; without it, one that is removed afterwards.
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// The helm program.
    #[arg(long, env = "LOCKSTEP_HELM", value_name = "FILE", default_value = "helm")]
    helm: PathBuf,
    /// The kustomize program.
    #[arg(long, env = "LOCKSTEP_KUSTOMIZE", value_name = "FILE", default_value = "kustomize")]
    kustomize: PathBuf,
    /// Whether helm and kustomize are confined: required, available (as far as the kernel can) or off.
    #[arg(long, env = "LOCKSTEP_RENDER_SANDBOX", value_name = "MODE", default_value_t = SandboxMode::Available)]
    render_sandbox: SandboxMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A unified diff for each object, and a sentence.
    Text,
    /// For machines.
    Json,
    /// For machines and people.
    Yaml,
    /// For a comment on a pull request; at most 60,000 characters.
    Markdown,
}

/// Runs the subcommand: 0 without a difference, 1 with one.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let scratch = tempfile::Builder::new().prefix("lockstep-").tempdir();
    let scratch =
        scratch.context("cannot make a folder for what is in between; set TMPDIR to one that can be written")?;
    let checkout = Checkout::open(&args.repo, scratch.path()).await?;
    let mut paths = args.paths.iter().map(|path| checkout.path(path)).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort_unstable();
    paths.dedup();
    let mut from = checkout.side(&args.revision).await?;
    let to = if args.worktree { checkout.worktree().await? } else { checkout.side(&args.to).await? };
    if args.merge_base {
        from = checkout.merge_base(&from, &to).await?;
    }
    let addresses = match args.repo_urls.as_slice() {
        [] => checkout.origin().await.into_iter().collect(),
        given => given.to_vec(),
    };
    let urls = addresses.iter().map(|url| RepositoryUrl::parse(url)).collect::<Result<Vec<_>, _>>();
    let urls = match urls {
        Ok(urls) => urls,
        // A remote may have an address that only git understands.
        Err(_) if args.repo_urls.is_empty() => Vec::new(),
        Err(error) => return Err(error).context("--repo-url"),
    };
    let render = RenderConfig {
        cache_dir: args.data_dir.as_deref().unwrap_or(scratch.path()).join("renders"),
        helm: args.helm,
        kustomize: args.kustomize,
        sandbox: args.render_sandbox,
        ..RenderConfig::default()
    };
    let renderer = Renderer::new(render).await?;
    if args.render_sandbox != SandboxMode::Off && !renderer.sandbox().is_whole() {
        eprintln!("Note: the sandbox for programs that render is {}", renderer.sandbox());
    }
    let bench = Bench {
        checkout,
        renderer,
        own: urls.iter().map(RepositoryUrl::key).collect(),
        url: urls.first().map(ToString::to_string).unwrap_or_default(),
        namespace: args.namespace,
        recurse: args.recurse,
        kube_version: args.kube_version,
        api_versions: args.api_versions.into(),
    };
    let (mut before, mut after) = tokio::try_join!(bench.render(&from, &paths), bench.render(&to, &paths))?;
    bench.renderer.flush().await;
    names::shorten([&mut before, &mut after]);
    if let Some(path) = before.absent.intersection(&after.absent).next() {
        bail!("there is no {path}, neither in {from} nor in {to}");
    }
    let notes = notes(&before, &after, [&from.name, &to.name], bench.own.is_empty());
    let found = changes(&before, &after, [&from.name, &to.name]);
    let report = Report { sides: [&from, &to], changes: &found, notes: &notes };
    match args.output {
        Output::Text => {
            notes.iter().for_each(|note| eprintln!("Note: {note}"));
            print(&report.text(args.color.is_wanted()))?;
        }
        Output::Json => print(&(serde_json::to_string_pretty(&report)? + "\n"))?,
        Output::Yaml => {
            print(&format!("{}\n", serde_saphyr::to_string(&report).context("cannot write YAML")?.trim_end()))?
        }
        Output::Markdown => print(&report.markdown())?,
    }
    Ok(ExitCode::from(u8::from(!found.is_empty())))
}

/// What is said beside the differences.
fn notes(before: &Rendered, after: &Rendered, names: [&str; 2], nameless: bool) -> Vec<String> {
    let mut notes: Vec<String> = before.notes.union(&after.notes).cloned().collect();
    if nameless && notes.iter().any(|note| note.contains("of another repository")) {
        notes.insert(0, "the address of this repository is not known; say it with --repo-url".into());
    }
    for (side, name) in [(before, names[0]), (after, names[1])] {
        for path in &side.absent {
            notes.push(format!("there is no {} in {name}", Unit::Path(path.clone())));
        }
    }
    notes
}
