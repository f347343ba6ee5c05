//! How things look in answers and payloads: GitHub's field names, links and all.

use base64::Engine;
use serde_json::{Map, Value, json};

use crate::git::{CommitInfo, FileChange};
use crate::model::{
    Comment, CommitStatus, Delivery, Deployment, DeploymentStatus, Hook, Label, PullRequest, Repository, Side,
};
use crate::time::{iso, iso_us, seconds};

/// The two addresses that all links start with.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    pub web: String,
    pub api: String,
}

/// Where a repository is shown; each place has its own fields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Inside another answer.
    Nested,
    /// The repository's own answer.
    Full,
    /// Inside a webhook.
    Webhook,
    /// As head or base of a pull request inside a webhook.
    Side,
    /// Inside a push webhook, which has times as numbers.
    Push,
}

/// Fields with a link below the repository's API address. `{…}` stays as it is: they are URI templates.
const REPOSITORY_LINKS: &[(&str, &str)] = &[
    ("forks_url", "/forks"),
    ("keys_url", "/keys{/key_id}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("teams_url", "/teams"),
    ("hooks_url", "/hooks"),
    ("issue_events_url", "/issues/events{/number}"),
    ("events_url", "/events"),
    ("assignees_url", "/assignees{/user}"),
    ("branches_url", "/branches{/branch}"),
    ("tags_url", "/tags"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("trees_url", "/git/trees{/sha}"),
    ("statuses_url", "/statuses/{sha}"),
    ("languages_url", "/languages"),
    ("stargazers_url", "/stargazers"),
    ("contributors_url", "/contributors"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("commits_url", "/commits{/sha}"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("comments_url", "/comments{/number}"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("contents_url", "/contents/{+path}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("merges_url", "/merges"),
    ("archive_url", "/{archive_format}{/ref}"),
    ("downloads_url", "/downloads"),
    ("issues_url", "/issues{/number}"),
    ("pulls_url", "/pulls{/number}"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("labels_url", "/labels{/name}"),
    ("releases_url", "/releases{/id}"),
    ("deployments_url", "/deployments"),
];

const USER_LINKS: &[(&str, &str)] = &[
    ("followers_url", "/followers"),
    ("following_url", "/following{/other_user}"),
    ("gists_url", "/gists{/gist_id}"),
    ("starred_url", "/starred{/owner}{/repo}"),
    ("subscriptions_url", "/subscriptions"),
    ("organizations_url", "/orgs"),
    ("repos_url", "/repos"),
    ("events_url", "/events{/privacy}"),
    ("received_events_url", "/received_events"),
];

/// The only App there is.
pub(crate) const APP_ID: i64 = 1;

/// The same for the same login, in every run.
pub(crate) fn login_id(login: &str) -> i64 {
    let hash = login.to_lowercase().bytes().fold(5_381_u64, |h, b| h.wrapping_mul(33) ^ u64::from(b));
    i64::from((hash & 0x3fff_ffff) as u32) + 1
}

fn node_id(kind: &str, id: impl std::fmt::Display) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("{kind}{id}"))
}

pub(crate) fn email(login: &str) -> String {
    format!("{}+{login}@users.noreply.github.com", login_id(login))
}

impl Links {
    pub(crate) fn repository_api(&self, owner: &str, name: &str) -> String {
        format!("{}/repos/{owner}/{name}", self.api)
    }

    pub(crate) fn repository_web(&self, owner: &str, name: &str) -> String {
        format!("{}/{owner}/{name}", self.web)
    }

    pub(crate) fn user(&self, login: &str) -> Value {
        self.account(login, "User")
    }

    /// Owners of repositories are organisations here.
    pub(crate) fn owner(&self, login: &str) -> Value {
        self.account(login, "Organization")
    }

    fn account(&self, login: &str, kind: &str) -> Value {
        let id = login_id(login);
        let api = format!("{}/users/{login}", self.api);
        let mut user = json!({
            "login": login,
            "id": id,
            "node_id": node_id("04:User", id),
            "avatar_url": format!("{}/avatars/u/{id}", self.web),
            "gravatar_id": "",
            "url": api,
            "html_url": format!("{}/{login}", self.web),
            "type": kind,
            "site_admin": false,
        });
        for (field, suffix) in USER_LINKS {
            user[*field] = format!("{api}{suffix}").into();
        }
        user
    }

    /// The `organization` of a webhook.
    pub(crate) fn organization(&self, login: &str) -> Value {
        let id = login_id(login);
        let api = format!("{}/orgs/{login}", self.api);
        json!({
            "login": login,
            "id": id,
            "node_id": node_id("012:Organization", id),
            "url": api,
            "repos_url": format!("{api}/repos"),
            "events_url": format!("{api}/events"),
            "hooks_url": format!("{api}/hooks"),
            "issues_url": format!("{api}/issues"),
            "members_url": format!("{api}/members{{/member}}"),
            "public_members_url": format!("{api}/public_members{{/member}}"),
            "avatar_url": format!("{}/avatars/u/{id}", self.web),
            "description": "",
        })
    }

    pub(crate) fn repository(&self, repository: &Repository, shape: Shape) -> Value {
        let Repository { id, owner, name, .. } = repository;
        let api = self.repository_api(owner, name);
        let web = self.repository_web(owner, name);
        let host = self.web.split_once("://").map_or(self.web.as_str(), |(_, host)| host);
        let open = repository.open_pulls();
        let mut value = json!({
            "id": id,
            "node_id": node_id("010:Repository", id),
            "name": name,
            "full_name": format!("{owner}/{name}"),
            "private": repository.private,
            "owner": self.owner(owner),
            "html_url": web,
            "description": null,
            "fork": repository.fork,
            "url": api,
            "created_at": iso(repository.created_at_us),
            "updated_at": iso(repository.pushed_at_us),
            "pushed_at": iso(repository.pushed_at_us),
            "git_url": format!("git://{host}/{owner}/{name}.git"),
            "ssh_url": format!("git@{}:{owner}/{name}.git", host.split(':').next().unwrap_or(host)),
            "clone_url": format!("{web}.git"),
            "svn_url": web,
            "open_issues_count": open,
            "open_issues": open,
            "visibility": if repository.private { "private" } else { "public" },
            "default_branch": repository.default_branch,
        });
        merge(&mut value, nothing_special());
        for (field, suffix) in REPOSITORY_LINKS {
            value[*field] = format!("{api}{suffix}").into();
        }
        self.shape_repository(&mut value, repository, shape);
        value
    }

    fn shape_repository(&self, value: &mut Value, repository: &Repository, shape: Shape) {
        let owner = &repository.owner;
        match shape {
            Shape::Side => {}
            Shape::Webhook => value["custom_properties"] = json!({}),
            Shape::Push => {
                value["custom_properties"] = json!({});
                value["url"] = value["html_url"].clone();
                value["created_at"] = seconds(repository.created_at_us).into();
                value["pushed_at"] = seconds(repository.pushed_at_us).into();
                value["stargazers"] = 0.into();
                value["master_branch"] = repository.default_branch.clone().into();
                value["organization"] = owner.clone().into();
                value["owner"]["name"] = owner.clone().into();
                value["owner"]["email"] = email(owner).into();
            }
            Shape::Nested | Shape::Full => {
                value["permissions"] =
                    json!({"admin": true, "maintain": true, "push": true, "triage": true, "pull": true});
            }
        }
        if shape == Shape::Full {
            value["organization"] = self.owner(owner);
            value["network_count"] = 0.into();
            value["subscribers_count"] = 0.into();
            value["allow_merge_commit"] = true.into();
            value["allow_squash_merge"] = true.into();
            value["allow_rebase_merge"] = false.into();
            value["delete_branch_on_merge"] = false.into();
        }
    }

    pub(crate) fn status(&self, repository: &Repository, status: &CommitStatus) -> Value {
        let mut value = self.simple_status(repository, status);
        value["creator"] = self.user(&status.creator);
        value
    }

    pub(crate) fn simple_status(&self, repository: &Repository, status: &CommitStatus) -> Value {
        let api = self.repository_api(&repository.owner, &repository.name);
        json!({
            "url": format!("{api}/statuses/{}", status.sha),
            "avatar_url": format!("{}/avatars/u/{}", self.web, login_id(&status.creator)),
            "id": status.id,
            "node_id": node_id("013:StatusContext", status.id),
            "state": status.state,
            "description": status.description,
            "target_url": status.target_url,
            "context": status.context,
            "created_at": iso(status.created_at_us),
            "updated_at": iso(status.created_at_us),
        })
    }

    pub(crate) fn deployment(&self, repository: &Repository, deployment: &Deployment) -> Value {
        let api = self.repository_api(&repository.owner, &repository.name);
        let url = format!("{api}/deployments/{}", deployment.id);
        json!({
            "url": url,
            "id": deployment.id,
            "node_id": node_id("010:Deployment", deployment.id),
            "sha": deployment.sha,
            "ref": deployment.reference,
            "task": deployment.task,
            "payload": deployment.payload,
            "original_environment": deployment.environment,
            "environment": deployment.environment,
            "description": deployment.description,
            "creator": self.user(&deployment.creator),
            "created_at": iso(deployment.created_at_us),
            "updated_at": iso(deployment.updated_at_us),
            "statuses_url": format!("{url}/statuses"),
            "repository_url": api,
            "transient_environment": deployment.transient_environment,
            "production_environment": deployment.production_environment,
        })
    }

    pub(crate) fn deployment_status(
        &self,
        repository: &Repository,
        deployment: &Deployment,
        status: &DeploymentStatus,
    ) -> Value {
        let api = self.repository_api(&repository.owner, &repository.name);
        let url = format!("{api}/deployments/{}", deployment.id);
        json!({
            "url": format!("{url}/statuses/{}", status.id),
            "id": status.id,
            "node_id": node_id("016:DeploymentStatus", status.id),
            "state": status.state,
            "creator": self.user(&status.creator),
            "description": status.description,
            "environment": deployment.environment,
            "target_url": status.log_url,
            "log_url": status.log_url,
            "environment_url": status.environment_url,
            "created_at": iso(status.created_at_us),
            "updated_at": iso(status.created_at_us),
            "deployment_url": url,
            "repository_url": api,
        })
    }

    pub(crate) fn label(&self, repository: &Repository, label: &Label) -> Value {
        json!({
            "id": label.id,
            "node_id": node_id("05:Label", label.id),
            "url": format!("{}/labels/{}", self.repository_api(&repository.owner, &repository.name), label.name),
            "name": label.name,
            "color": "ededed",
            "default": false,
            "description": "",
        })
    }

    pub(crate) fn labels(&self, repository: &Repository, names: &[String]) -> Value {
        names
            .iter()
            .filter_map(|name| repository.labels.get(&name.to_lowercase()))
            .map(|l| self.label(repository, l))
            .collect()
    }

    pub(crate) fn comment(&self, repository: &Repository, comment: &Comment) -> Value {
        let Repository { owner, name, .. } = repository;
        let api = self.repository_api(owner, name);
        json!({
            "id": comment.id,
            "node_id": node_id("012:IssueComment", comment.id),
            "url": format!("{api}/issues/comments/{}", comment.id),
            "html_url": format!("{}/pull/{}#issuecomment-{}", self.repository_web(owner, name), comment.number, comment.id),
            "issue_url": format!("{api}/issues/{}", comment.number),
            "body": comment.body,
            "user": self.user(&comment.author),
            "author_association": "MEMBER",
            "created_at": iso(comment.created_at_us),
            "updated_at": iso(comment.updated_at_us),
        })
    }

    pub(crate) fn hook(&self, repository: &Repository, hook: &Hook) -> Value {
        let url = format!("{}/hooks/{}", self.repository_api(&repository.owner, &repository.name), hook.id);
        let last_response = match &hook.last_response {
            None => json!({"code": null, "status": "unused", "message": null}),
            Some((code, message)) => json!({
                "code": code,
                "status": if (200..300).contains(code) { "active" } else { "error" },
                "message": message,
            }),
        };
        json!({
            "type": "Repository",
            "id": hook.id,
            "name": "web",
            "active": hook.active,
            "events": hook.events,
            "config": self.hook_config(hook),
            "updated_at": iso(hook.updated_at_us),
            "created_at": iso(hook.created_at_us),
            "url": url,
            "test_url": format!("{url}/test"),
            "ping_url": format!("{url}/pings"),
            "deliveries_url": format!("{url}/deliveries"),
            "last_response": last_response,
        })
    }

    pub(crate) fn organization_hook(&self, organization: &str, hook: &Hook) -> Value {
        let url = format!("{}/orgs/{organization}/hooks/{}", self.api, hook.id);
        json!({
            "type": "Organization",
            "id": hook.id,
            "name": "web",
            "active": hook.active,
            "events": hook.events,
            "config": self.hook_config(hook),
            "updated_at": iso(hook.updated_at_us),
            "created_at": iso(hook.created_at_us),
            "url": url,
            "ping_url": format!("{url}/pings"),
            "deliveries_url": format!("{url}/deliveries"),
        })
    }

    pub(crate) fn hook_config(&self, hook: &Hook) -> Value {
        let mut config = json!({"url": hook.url, "content_type": hook.content_type, "insecure_ssl": hook.insecure_ssl});
        if hook.has_secret() {
            config["secret"] = "********".into();
        }
        config
    }

    /// A delivery in the list; its time has microseconds, which GitHub's leaves out.
    pub(crate) fn delivery(&self, repository: &Repository, delivery: &Delivery) -> Value {
        json!({
            "id": delivery.id,
            "guid": delivery.guid,
            "delivered_at": iso_us(delivery.requested_at_us),
            "redelivery": delivery.redelivery,
            "duration": delivery.duration_us().unwrap_or_default() as f64 / 1e6,
            "status": delivery.status,
            "status_code": delivery.status_code,
            "event": delivery.event,
            "action": delivery.action,
            "installation_id": delivery.installation_id,
            "repository_id": repository.id,
            "throttled_at": null,
        })
    }

    pub(crate) fn delivery_detail(&self, repository: &Repository, hook: &Hook, delivery: &Delivery) -> Value {
        let mut value = self.delivery(repository, delivery);
        value["url"] = hook.url.clone().into();
        value["request"] = json!({"headers": delivery.request_headers, "payload": *delivery.payload});
        value["response"] = json!({"headers": delivery.response_headers, "payload": delivery.response_body});
        value
    }

    /// A pull request; `detail` has the counts and the merge that lists leave out.
    pub(crate) fn pull(
        &self,
        repository: &Repository,
        pull: &PullRequest,
        sides: PullSides<'_>,
        detail: bool,
    ) -> Value {
        let Repository { owner, name, .. } = repository;
        let api = self.repository_api(owner, name);
        let number = pull.number;
        let mut value = json!({
            "id": pull.id,
            "node_id": node_id("011:PullRequest", pull.id),
            "number": number,
            "state": if pull.open { "open" } else { "closed" },
            "locked": false,
            "title": pull.title,
            "user": self.user(&pull.author),
            "body": pull.body,
            "created_at": iso(pull.created_at_us),
            "updated_at": iso(pull.updated_at_us),
            "closed_at": pull.closed_at_us.map(iso),
            "merged_at": pull.merged_at_us.map(iso),
            "merge_commit_sha": pull.merge_commit_sha,
            "assignee": null,
            "assignees": [],
            "requested_reviewers": [],
            "requested_teams": [],
            "labels": self.labels(repository, &pull.labels),
            "milestone": null,
            "draft": pull.draft,
            "head": self.side(&pull.head, sides.head, sides.shape),
            "base": self.side(&pull.base, Some(repository), sides.shape),
            "author_association": "MEMBER",
            "auto_merge": null,
            "active_lock_reason": null,
        });
        let web = format!("{}/pull/{number}", self.repository_web(owner, name));
        let url = format!("{api}/pulls/{number}");
        let issue = format!("{api}/issues/{number}");
        let comments = format!("{issue}/comments");
        let statuses = format!("{api}/statuses/{}", pull.head.sha);
        let review_comment = format!("{api}/pulls/comments{{/number}}");
        let href = |url: &str| json!({"href": url});
        let links = json!({
            "self": href(&url),
            "html": href(&web),
            "issue": href(&issue),
            "comments": href(&comments),
            "review_comments": href(&format!("{url}/comments")),
            "review_comment": href(&review_comment),
            "commits": href(&format!("{url}/commits")),
            "statuses": href(&statuses),
        });
        for (field, link) in [
            ("url", url.clone()),
            ("html_url", web.clone()),
            ("diff_url", format!("{web}.diff")),
            ("patch_url", format!("{web}.patch")),
            ("issue_url", issue),
            ("commits_url", format!("{url}/commits")),
            ("review_comments_url", format!("{url}/comments")),
            ("review_comment_url", review_comment),
            ("comments_url", comments),
            ("statuses_url", statuses),
        ] {
            value[field] = link.into();
        }
        value["_links"] = links;
        if detail {
            self.pull_detail(&mut value, repository, pull);
        }
        value
    }

    fn pull_detail(&self, value: &mut Value, repository: &Repository, pull: &PullRequest) {
        let comments = repository.comments.iter().filter(|c| c.number == pull.number).count();
        let state = match (pull.mergeable, pull.draft) {
            (_, true) => "draft",
            (Some(true), _) => "clean",
            (Some(false), _) => "dirty",
            (None, _) => "unknown",
        };
        let detail = json!({
            "merged": pull.merged,
            "mergeable": pull.mergeable,
            "rebaseable": pull.mergeable,
            "mergeable_state": state,
            "merged_by": pull.merged_by.as_deref().map(|login| self.user(login)),
            "comments": comments,
            "review_comments": 0,
            "maintainer_can_modify": false,
            "commits": pull.commits,
            "additions": pull.additions,
            "deletions": pull.deletions,
            "changed_files": pull.changed_files,
        });
        merge(value, detail);
    }

    fn side(&self, side: &Side, repository: Option<&Repository>, shape: Shape) -> Value {
        json!({
            "label": format!("{}:{}", side.owner, side.branch),
            "ref": side.branch,
            "sha": side.sha,
            "user": self.owner(&side.owner),
            "repo": repository.map(|r| self.repository(r, shape)),
        })
    }

    /// A commit as a push webhook has it.
    pub(crate) fn push_commit(&self, repository: &Repository, commit: &CommitInfo) -> Value {
        let paths = |kinds: &[char]| -> Vec<&str> {
            commit.files.iter().filter(|f| kinds.contains(&f.kind)).map(|f| f.path.as_str()).collect()
        };
        json!({
            "id": commit.id,
            "tree_id": commit.tree,
            "distinct": true,
            "message": commit.message,
            "timestamp": commit.committer_date,
            "url": format!("{}/commit/{}", self.repository_web(&repository.owner, &repository.name), commit.id),
            "author": {"name": commit.author_name, "email": commit.author_email},
            "committer": {"name": commit.committer_name, "email": commit.committer_email},
            "added": paths(&['A']),
            "removed": paths(&['D']),
            "modified": paths(&['M', 'T']),
        })
    }

    /// A commit as its own REST call answers it.
    pub(crate) fn commit(&self, repository: &Repository, commit: &CommitInfo) -> Value {
        let Repository { owner, name, .. } = repository;
        let (api, web) = (self.repository_api(owner, name), self.repository_web(owner, name));
        let url = format!("{api}/commits/{}", commit.id);
        let parents: Vec<Value> = commit
            .parents
            .iter()
            .map(|p| json!({"sha": p, "url": format!("{api}/commits/{p}"), "html_url": format!("{web}/commit/{p}")}))
            .collect();
        let (additions, deletions) = commit.files.iter().fold((0, 0), |(a, d), f| (a + f.additions, d + f.deletions));
        let files: Vec<Value> = commit.files.iter().map(|f| self.file(&api, &web, &commit.id, f)).collect();
        json!({
            "url": url,
            "sha": commit.id,
            "node_id": node_id("06:Commit", &commit.id),
            "html_url": format!("{web}/commit/{}", commit.id),
            "comments_url": format!("{url}/comments"),
            "commit": {
                "url": format!("{api}/git/commits/{}", commit.id),
                "author": {"name": commit.author_name, "email": commit.author_email, "date": commit.author_date},
                "committer":
                    {"name": commit.committer_name, "email": commit.committer_email, "date": commit.committer_date},
                "message": commit.message,
                "comment_count": 0,
                "tree": {"sha": commit.tree, "url": format!("{api}/git/trees/{}", commit.tree)},
                "verification": {"verified": false, "reason": "unsigned", "signature": null, "payload": null,
                    "verified_at": null},
            },
            "author": null,
            "committer": null,
            "parents": parents,
            "stats": {"additions": additions, "deletions": deletions, "total": additions + deletions},
            "files": files,
        })
    }

    fn file(&self, api: &str, web: &str, commit: &str, file: &FileChange) -> Value {
        let status = match file.kind {
            'A' => "added",
            'D' => "removed",
            _ => "modified",
        };
        let path = escape_path(&file.path);
        json!({
            "sha": null,
            "filename": file.path,
            "status": status,
            "additions": file.additions,
            "deletions": file.deletions,
            "changes": file.additions + file.deletions,
            "blob_url": format!("{web}/blob/{commit}/{path}"),
            "raw_url": format!("{web}/raw/{commit}/{path}"),
            "contents_url": format!("{api}/contents/{path}?ref={commit}"),
        })
    }

    pub(crate) fn git_ref(&self, repository: &Repository, name: &str, id: &str) -> Value {
        let api = self.repository_api(&repository.owner, &repository.name);
        json!({
            "ref": name,
            "node_id": node_id("03:Ref", name),
            "url": format!("{api}/git/{name}"),
            "object": {"type": "commit", "sha": id, "url": format!("{api}/git/commits/{id}")},
        })
    }

    /// The `installation` of an App's webhook.
    pub(crate) fn simple_installation(&self, owner: &str) -> Value {
        let id = login_id(owner);
        json!({"id": id, "node_id": node_id("Installation", id)})
    }

    pub(crate) fn installation(&self, id: i64, owner: &str, created_at_us: i64) -> Value {
        let account = self.owner(owner);
        json!({
            "id": id,
            "account": account,
            "repository_selection": "all",
            "access_tokens_url": format!("{}/app/installations/{id}/access_tokens", self.api),
            "repositories_url": format!("{}/installation/repositories", self.api),
            "html_url": format!("{}/organizations/{owner}/settings/installations/{id}", self.web),
            "app_id": APP_ID,
            "app_slug": "lockstep",
            "target_id": account["id"],
            "target_type": "Organization",
            "permissions": installation_permissions(),
            "events": ["push", "pull_request"],
            "created_at": iso(created_at_us),
            "updated_at": iso(created_at_us),
            "single_file_name": null,
            "suspended_by": null,
            "suspended_at": null,
        })
    }
}

/// What is the same of every repository here.
fn nothing_special() -> Value {
    json!({
        "homepage": null,
        "size": 1,
        "stargazers_count": 0,
        "watchers_count": 0,
        "language": null,
        "has_issues": true,
        "has_projects": true,
        "has_downloads": true,
        "has_wiki": true,
        "has_pages": false,
        "has_discussions": false,
        "forks_count": 0,
        "mirror_url": null,
        "archived": false,
        "disabled": false,
        "license": null,
        "is_template": false,
        "web_commit_signoff_required": false,
        "topics": [],
        "forks": 0,
        "watchers": 0,
    })
}

fn merge(value: &mut Value, more: Value) {
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
}

/// The repository of a pull request's head, which may be a fork or gone.
#[derive(Clone, Copy)]
pub(crate) struct PullSides<'a> {
    pub head: Option<&'a Repository>,
    pub shape: Shape,
}

pub(crate) fn installation_permissions() -> Value {
    let mut permissions = Map::new();
    for (name, level) in [
        ("contents", "read"),
        ("statuses", "write"),
        ("deployments", "write"),
        ("pull_requests", "write"),
        ("metadata", "read"),
    ] {
        permissions.insert(name.to_owned(), level.into());
    }
    permissions.into()
}

/// Everything but letters, digits and `-._~/` escaped.
fn escape_path(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_link_is_escaped() {
        assert_eq!(escape_path("d d/ü?.yaml"), "d%20d/%C3%BC%3F.yaml");
    }

    #[test]
    fn the_same_login_has_the_same_id() {
        assert_eq!(login_id("Acme"), login_id("acme"));
        assert_ne!(login_id("acme"), login_id("acmf"));
    }
}
