//! Names of annotations, labels and finalizers.

/// The commit that a delivery asked for, and when: set by intake, read by reconcile.
pub const WANTED: &str = "lockstep.dev/wanted";
/// On an Application or an AppProject: `required`, so that automated syncs wait for an approval of their commit.
pub const APPROVAL: &str = "lockstep.dev/approval";
/// On an Application: the commit that somebody approved, who, and when: `COMMIT by WHO at TIME`.
pub const APPROVED: &str = "lockstep.dev/approved";
/// On an Application: the commits that it stays at after a rollback, as JSON.
pub const PINNED: &str = "lockstep.dev/pinned";
/// On an Application: those that must be in sync and healthy first, separated by commas: `a, namespace/b`.
pub const DEPENDS_ON: &str = "lockstep.dev/depends-on";
/// On an Application: `true` lets a sync prune most of it without a confirmation.
pub const ALLOW_MASS_PRUNE: &str = "lockstep.dev/allow-mass-prune";
/// On an ApplicationSet: `true` lets it remove many of its Applications at once.
pub const ALLOW_MASS_DELETION: &str = "lockstep.dev/allow-mass-deletion";
/// On an ApplicationSet: whether pull requests from forks get previews: `labeled` (also without it), `none`, `all`.
pub const PREVIEW_FORKS: &str = "lockstep.dev/preview-forks";
/// On an ApplicationSet: the label by which a maintainer lets a fork's pull request in; `preview` without it.
pub const PREVIEW_LABEL: &str = "lockstep.dev/preview-label";
/// On an ApplicationSet: the commits of forks that maintainers let in, as JSON; written by the worker.
pub const APPROVED_PREVIEWS: &str = "lockstep.dev/approved-previews";
/// On an Application that nobody made: the name of the ApplicationSet that may take it over.
pub const ADOPT_BY: &str = "lockstep.dev/adopt-by";
/// On an Application: `true` runs hooks when drift is repaired too.
pub const HEAL_HOOKS: &str = "lockstep.dev/heal-hooks";
/// On a hook: how long it may run, such as `10m`.
pub const HOOK_DEADLINE: &str = "lockstep.dev/hook-deadline";
/// Digest of the hooks that ran last, of an Application that has nothing but hooks.
pub const HOOKS_RAN: &str = "lockstep.dev/hooks-ran";

/// `normal` or `hard`: look again now; removed when it was done.
pub const REFRESH: &str = "argocd.argoproj.io/refresh";
/// When `REFRESH` was set.
pub const REFRESH_TIMESTAMP: &str = "argocd.argoproj.io/refresh-timestamp";
/// `normal`: hydrate again now.
pub const HYDRATE: &str = "argocd.argoproj.io/hydrate";
/// Paths that a push must touch; Lockstep finds them out itself and needs no such list.
pub const MANIFEST_GENERATE_PATHS: &str = "argocd.argoproj.io/manifest-generate-paths";
/// `true`: do not reconcile this Application.
pub const SKIP_RECONCILE: &str = "argocd.argoproj.io/skip-reconcile";
/// Address of the console that shows this Application.
pub const MANAGED_BY_URL: &str = "argocd.argoproj.io/managed-by-url";

/// Which application an object belongs to: `app:group/Kind:namespace/name`.
pub const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
/// Which installation an object belongs to, when several share a cluster.
pub const INSTALLATION_ID: &str = "argocd.argoproj.io/installation-id";
/// Label with the application's name, when labels are used for tracking.
pub const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// Number of an object's wave.
pub const SYNC_WAVE: &str = "argocd.argoproj.io/sync-wave";
/// Options of an object's sync, separated by commas.
pub const SYNC_OPTIONS: &str = "argocd.argoproj.io/sync-options";
/// Options of an object's comparison, separated by commas.
pub const COMPARE_OPTIONS: &str = "argocd.argoproj.io/compare-options";
/// Phases in which a hook runs, separated by commas.
pub const HOOK: &str = "argocd.argoproj.io/hook";
/// When a hook is deleted, separated by commas.
pub const HOOK_DELETE_POLICY: &str = "argocd.argoproj.io/hook-delete-policy";
/// Finalizer that keeps a running hook.
pub const HOOK_FINALIZER: &str = "argocd.argoproj.io/hook-finalizer";
/// `true`: the object's health does not count.
pub const IGNORE_HEALTHCHECK: &str = "argocd.argoproj.io/ignore-healthcheck";
/// `true`: changes of the object start no comparison of its application.
pub const IGNORE_RESOURCE_UPDATES: &str = "argocd.argoproj.io/ignore-resource-updates";
/// On the Application: a person allowed the deletions that wait, at this time.
pub const DELETION_APPROVED: &str = "argocd.argoproj.io/deletion-approved";
/// The field manager from which fields are taken over when an application moves to server-side apply.
pub const MIGRATION_MANAGER: &str = "argocd.argoproj.io/client-side-apply-migration-manager";
/// Begin of annotations that carry a link for people.
pub const LINK_PREFIX: &str = "link.argocd.argoproj.io/";
/// `true`: do not make links from Ingresses and Services.
pub const IGNORE_DEFAULT_LINKS: &str = "argocd.argoproj.io/ignore-default-links";

/// Helm's hook annotation.
pub const HELM_HOOK: &str = "helm.sh/hook";
/// Helm's hook weight, which counts as a wave.
pub const HELM_HOOK_WEIGHT: &str = "helm.sh/hook-weight";
/// Helm's hook deletion policy.
pub const HELM_HOOK_DELETE_POLICY: &str = "helm.sh/hook-delete-policy";
/// `keep`: the object stays when its application is deleted.
pub const HELM_RESOURCE_POLICY: &str = "helm.sh/resource-policy";

/// Label of Secrets that hold settings: `repository`, `repo-creds`, `cluster`.
pub const SECRET_TYPE: &str = "argocd.argoproj.io/secret-type";
/// Label of Applications that an ApplicationSet made, with the set's name.
pub const APPLICATION_SET_NAME: &str = "argocd.argoproj.io/application-set-name";
/// On an ApplicationSet: look again now.
pub const APPLICATION_SET_REFRESH: &str = "argocd.argoproj.io/application-set-refresh";

/// Finalizer: deleting the Application deletes its objects, in the foreground.
pub const RESOURCES_FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";
/// Finalizer: deleting the Application deletes its objects, in the foreground.
pub const FOREGROUND_FINALIZER: &str = "resources-finalizer.argocd.argoproj.io/foreground";
/// Finalizer: deleting the Application deletes its objects, in the background.
pub const BACKGROUND_FINALIZER: &str = "resources-finalizer.argocd.argoproj.io/background";
/// Finalizer: hooks run before the objects are deleted.
pub const PRE_DELETE_FINALIZER: &str = "pre-delete-finalizer.argocd.argoproj.io";
/// Finalizer: hooks run after the objects are deleted.
pub const POST_DELETE_FINALIZER: &str = "post-delete-finalizer.argocd.argoproj.io";
