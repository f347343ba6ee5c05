package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// What a cluster needs for workloads to come and go. Left out is what looks after real nodes, clouds and certificates.
var enabledControllers = []string{
	"deployment-controller", "replicaset-controller", "statefulset-controller", "daemonset-controller", "job-controller",
	"cronjob-controller", "ttl-after-finished-controller", "namespace-controller", "garbage-collector-controller",
	"endpointslice-controller", "serviceaccount-controller", "clusterrole-aggregation-controller",
	"taint-eviction-controller",
}

func isComponent(name string) bool { return strings.HasPrefix(name, "kube-") }

// runComponent is this program as one of the components: each owns its signals and its logs, so each is a process.
func runComponent(name string, args []string) int {
	os.Args = append([]string{name}, args...)
	switch name {
	case "kube-apiserver":
		return cli.Run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		return cli.Run(controllers.NewControllerManagerCommand())
	case "kube-scheduler":
		return cli.Run(scheduler.NewSchedulerCommand())
	}
	return 2
}

// component is one of our child processes.
type component struct {
	name   string
	log    string
	args   []string
	failed chan<- error

	mu      sync.Mutex
	process *os.Process
	ended   chan struct{}
}

func (c *component) start() error {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.Command(self, append([]string{c.name}, c.args...)...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	c.mu.Lock()
	c.process, c.ended = command.Process, ended
	c.mu.Unlock()
	go func() {
		err := command.Wait()
		close(ended)
		c.mu.Lock()
		unexpected := c.process == command.Process
		c.mu.Unlock()
		if unexpected {
			select {
			case c.failed <- fmt.Errorf("%s stopped (%v); its last words in %s: %s", c.name, err, c.log, lastLine(c.log)):
			default:
			}
		}
	}()
	return nil
}

// kill ends the process as a crash would, and returns when it is gone.
func (c *component) kill() {
	c.mu.Lock()
	process, ended := c.process, c.ended
	c.process = nil
	c.mu.Unlock()
	if process != nil {
		_ = process.Kill()
		<-ended
	}
}

func lastLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// cluster is everything that runs.
type cluster struct {
	state  *state
	etcd   *embed.Etcd
	api    *component
	others []*component
	client *http.Client
	failed chan error
}

func startCluster(ctx context.Context, s *state) (*cluster, error) {
	ca, err := os.ReadFile(s.path("ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	c := &cluster{state: s, failed: make(chan error, 8)}
	c.client = &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true},
	}
	if c.etcd, err = startEtcd(s); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	c.api = c.component("kube-apiserver", apiArguments(s)...)
	if err := c.startAPI(ctx); err != nil {
		c.close()
		return nil, err
	}
	kubeconfig := "--kubeconfig=" + s.kubeconfig()
	c.others = []*component{
		c.component("kube-controller-manager", kubeconfig, "--leader-elect=false", "--secure-port=0",
			"--service-account-private-key-file="+s.path("accounts.key"), "--profiling=false",
			"--kube-api-qps=500", "--kube-api-burst=1000", "--kube-api-content-type=application/vnd.kubernetes.protobuf",
			"--controllers="+strings.Join(enabledControllers, ",")),
		c.component("kube-scheduler", kubeconfig, "--leader-elect=false", "--secure-port=0", "--profiling=false",
			"--kube-api-qps=500", "--kube-api-burst=1000", "--kube-api-content-type=application/vnd.kubernetes.protobuf"),
	}
	for _, other := range c.others {
		if err := other.start(); err != nil {
			c.close()
			return nil, err
		}
	}
	go standIn(ctx, s, ca)
	return c, nil
}

func (c *cluster) component(name string, args ...string) *component {
	return &component{name: name, log: c.state.path(name + ".log"), args: args, failed: c.failed}
}

// startAPI starts the API server and returns when it is ready.
func (c *cluster) startAPI(ctx context.Context) error {
	if err := c.api.start(); err != nil {
		return err
	}
	deadline := time.Now().Add(2 * time.Minute)
	for {
		if answer, err := c.client.Get(c.state.server() + "/readyz"); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-c.failed:
			return err
		case <-time.After(30 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the API server is not ready after two minutes; see %s", c.api.log)
		}
	}
}

func (c *cluster) close() {
	for _, other := range c.others {
		other.kill()
	}
	c.api.kill()
	c.etcd.Close()
}

func startEtcd(s *state) (*embed.Etcd, error) {
	config := embed.NewConfig()
	config.Dir = s.path("etcd")
	local := func(port int) []url.URL {
		return []url.URL{{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}}
	}
	config.ListenClientUrls, config.AdvertiseClientUrls = local(s.EtcdPort), local(s.EtcdPort)
	config.ListenPeerUrls, config.AdvertisePeerUrls = local(s.PeerPort), local(s.PeerPort)
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.LogLevel = "error"
	config.LogOutputs = []string{s.path("etcd.log")}
	// The data has to outlive this process, not the machine.
	config.UnsafeNoFsync = true
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return nil, err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case err := <-etcd.Err():
		return nil, err
	case <-time.After(time.Minute):
		etcd.Close()
		return nil, fmt.Errorf("not ready after a minute; see %s", s.path("etcd.log"))
	}
}

func apiArguments(s *state) []string {
	accounts := s.path("accounts.key")
	return []string{
		fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", s.EtcdPort),
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", s.APIPort),
		"--tls-cert-file=" + s.path("serving.crt"), "--tls-private-key-file=" + s.path("serving.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + accounts, "--service-account-signing-key-file=" + accounts,
		"--token-auth-file=" + s.path("tokens.csv"), "--authorization-mode=RBAC", "--anonymous-auth=true",
		"--service-cluster-ip-range=10.0.0.0/16", "--allow-privileged=true", "--profiling=false",
		// Loopback is no address that endpoints may have.
		"--endpoint-reconciler-type=none",
		// Each waits for a controller that does not run here.
		"--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection,ResourceQuota",
	}
}
