//! What can go wrong in a render, in words for the person who has to fix it.

use yaml::Fault;

/// Why a source could not be rendered. Every message names the place and what to do about it.
///
/// Cloned into a short in-memory cache, so that a broken commit does not start the same failing program over and over.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RenderError {
    /// The Application asks for something that contradicts itself or the repository.
    #[error("spec.{field}: {message}")]
    Settings {
        /// Field path below `spec`, such as `source.helm.valueFiles[0]`.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// Something that Lockstep does not do.
    #[error("{what} is not supported: {instead}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What to do instead.
        instead: String,
    },
    /// A file or folder that the source needs is not in the commit.
    #[error("{path} does not exist at commit {commit}{}", advice(.hint))]
    Missing {
        /// Path from the root of the repository.
        path: String,
        /// The commit that was looked at, shortened.
        commit: String,
        /// Who asked for it, or what to change; may be empty.
        hint: String,
    },
    /// A path or a symbolic link leads out of the repository.
    #[error("{path}{} leads out of the repository; only files of the repository may be used", arrow(.reference))]
    LeavesRepository {
        /// The file or setting that contains the reference.
        path: String,
        /// The reference, as written; may be empty.
        reference: String,
    },
    /// The source needs something from the network, which is off.
    #[error(
        "{path} needs {reference} from the network, which rendering may not use: copy it into the repository, or set \
         `allow_network` for this worker"
    )]
    Remote {
        /// The file that contains the reference.
        path: String,
        /// The address, without credentials.
        reference: String,
    },
    /// A manifest or a tool's output is not what it has to be.
    #[error("{path}, document {document}{}: {message}", at_line(*.line))]
    Yaml {
        /// Path from the root of the repository, or the tool whose output it was.
        path: String,
        /// Which document, from 1.
        document: usize,
        /// Line from 1; 0 where it is not known.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Helm or Kustomize ended with an error; this is what it said.
    #[error("{tool} failed: {message}")]
    Tool {
        /// `helm` or `kustomize`.
        tool: &'static str,
        /// The first lines of its standard error, without scratch paths.
        message: String,
    },
    /// A program is not installed where the configuration says.
    #[error("{tool} cannot be started from {path}: {message}; install it or set its path")]
    ToolMissing {
        /// `helm` or `kustomize`.
        tool: &'static str,
        /// Where it was looked for.
        path: String,
        /// The operating system's message.
        message: String,
    },
    /// Programs cannot be confined as they have to be.
    #[error("{message}")]
    Sandbox {
        /// Why, and what to do.
        message: String,
    },
    /// The render used more than it may.
    #[error("{what} exceeded the limit of {limit}; make the source smaller or raise `{setting}`")]
    Limit {
        /// What was too much.
        what: String,
        /// The limit, with its unit.
        limit: String,
        /// The setting that raises it.
        setting: &'static str,
    },
    /// The repository's objects could not be read.
    #[error("cannot read {path} from the repository: {message}")]
    Repository {
        /// The path that was read.
        path: String,
        /// What the object store says.
        message: String,
        /// Whether trying again may help.
        transient: bool,
    },
    /// The machine failed: a full disk, no more processes.
    #[error("{doing}: {message}")]
    Io {
        /// What was being done.
        doing: String,
        /// The operating system's message.
        message: String,
    },
}

impl RenderError {
    /// Whether the same commit may render later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { .. } | Self::ToolMissing { .. } => true,
            Self::Repository { transient, .. } => *transient,
            Self::Sandbox { .. } => true,
            // A busy machine makes programs slow and waits long; the other limits depend on the input alone.
            Self::Limit { setting, .. } => ["timeout", "renders"].contains(setting),
            _ => false,
        }
    }

    pub(crate) fn settings(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Settings { field: field.into(), message: message.into() }
    }

    pub(crate) fn unsupported(what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), instead: instead.into() }
    }

    pub(crate) fn yaml(path: impl Into<String>, fault: Fault) -> Self {
        Self::Yaml { path: path.into(), document: fault.document, line: fault.line, message: fault.message }
    }

    pub(crate) fn io(doing: impl Into<String>, error: impl std::fmt::Display) -> Self {
        Self::Io { doing: doing.into(), message: error.to_string() }
    }
}

fn advice(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!("; {hint}") }
}

fn arrow(reference: &str) -> String {
    if reference.is_empty() { String::new() } else { format!(" -> {reference}") }
}

fn at_line(line: usize) -> String {
    if line == 0 { String::new() } else { format!(", line {line}") }
}
