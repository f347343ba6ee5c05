//go:build tools

// Package gitea pins the Gitea that tests and demonstrations run as their forge. Nothing here is compiled into anything of
// ours; go.mod repeats the replacements of Gitea's own go.mod, which Go does not take from a dependency.
//
//	go build -tags "sqlite sqlite_unlock_notify" code.gitea.io/gitea
package gitea

import _ "code.gitea.io/gitea"
