// Command controlplane runs a Kubernetes control plane on this machine for tests and demonstrations: etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler are the real ones, compiled in; nodes are not, a stand-in moves pods through
// their lifecycle and hands out volumes and addresses without running anything.
//
// It listens on 127.0.0.1 only, on ports it chooses itself, and several can run at once. When the API server is ready it
// prints one line of JSON:
//
//	{"name":"local","server":"https://127.0.0.1:41234","kubeconfig":"DIR/kubeconfig","ready":true}
//
// With -stdin it obeys lines on standard input: "pause" kills the API server, "resume" starts it again on the same port
// and data (each is answered with a line of JSON), and the end of the input stops everything. Started again on the same
// folder it has the same port, credentials and objects.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

type users map[string][]string

func (u users) String() string { return "" }

// Set reads NAME or NAME=GROUP,GROUP.
func (u users) Set(text string) error {
	name, groups, _ := strings.Cut(text, "=")
	if name == "" || strings.ContainsAny(name, "/\\,\"\n") || name == "admin" {
		return fmt.Errorf("%q is not NAME or NAME=GROUP,GROUP", text)
	}
	u[name] = nil
	if groups != "" {
		u[name] = strings.Split(groups, ",")
	}
	return nil
}

func main() {
	if len(os.Args) > 1 && isComponent(os.Args[1]) {
		os.Exit(runComponent(os.Args[1], os.Args[2:]))
	}
	// The components die with the thread that started them, so that thread must be one that stays.
	runtime.LockOSThread()

	wanted := users{}
	dir := flag.String("dir", "", "folder for data, keys, logs and kubeconfigs; created if it is missing")
	name := flag.String("name", "local", "name of the cluster and of its context in the kubeconfig")
	stdin := flag.Bool("stdin", false, "obey standard input, and stop at its end")
	ephemeral := flag.Bool("ephemeral", false, "remove the folder when stopping")
	flag.Var(wanted, "user", "another user, as NAME or NAME=GROUP,GROUP; gets DIR/kubeconfig-NAME (repeat)")
	flag.Parse()
	if *dir == "" {
		fmt.Fprintln(os.Stderr, "controlplane: -dir names the folder to work in")
		os.Exit(2)
	}
	if err := run(*dir, *name, wanted, *stdin, *ephemeral); err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func run(dir, name string, wanted users, stdin, ephemeral bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if ephemeral {
		defer os.RemoveAll(dir)
	}
	// Read before anything is started: the end of the input may come while we start.
	commands := make(chan string)
	if stdin {
		go func() {
			lines := bufio.NewScanner(os.Stdin)
			for lines.Scan() {
				commands <- strings.TrimSpace(lines.Text())
			}
			stop()
		}()
	}

	state, err := loadState(dir, name, wanted)
	if err != nil {
		return err
	}
	cluster, err := startCluster(ctx, state)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer cluster.close()
	say(map[string]any{"name": name, "server": state.server(), "kubeconfig": state.kubeconfig(), "ready": true})

	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-cluster.failed:
			return err
		case command := <-commands:
			switch command {
			case "pause":
				cluster.api.kill()
				say(map[string]any{"api": "stopped"})
			case "resume":
				if err := cluster.startAPI(ctx); err != nil {
					return err
				}
				say(map[string]any{"api": "ready"})
			case "":
			default:
				say(map[string]any{"error": fmt.Sprintf("unknown command %q; there are pause and resume", command)})
			}
		}
	}
}

func say(line map[string]any) {
	text, err := json.Marshal(line)
	if err == nil {
		fmt.Println(string(text))
	}
}
