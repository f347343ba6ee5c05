package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// state is what a cluster keeps between two runs on the same folder.
type state struct {
	dir  string
	name string

	APIPort  int               `json:"apiPort"`
	EtcdPort int               `json:"etcdPort"`
	PeerPort int               `json:"peerPort"`
	Tokens   map[string]string `json:"tokens"`
}

func (s *state) path(name string) string { return filepath.Join(s.dir, name) }
func (s *state) server() string          { return fmt.Sprintf("https://127.0.0.1:%d", s.APIPort) }
func (s *state) kubeconfig() string      { return s.path("kubeconfig") }

// loadState reads or makes ports, tokens and keys, and writes the files made from them.
func loadState(dir, name string, wanted users) (*state, error) {
	s := &state{dir: dir, name: name, Tokens: map[string]string{}}
	text, err := os.ReadFile(s.path("state.json"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		ports, err := freePorts(3)
		if err != nil {
			return nil, err
		}
		s.APIPort, s.EtcdPort, s.PeerPort = ports[0], ports[1], ports[2]
		if err := makeKeys(dir); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(text, s); err != nil {
			return nil, fmt.Errorf("%s: %w; remove the folder to start anew", s.path("state.json"), err)
		}
	}
	groups := map[string][]string{"admin": {"system:masters"}}
	for user, of := range wanted {
		groups[user] = of
	}
	for user := range groups {
		if s.Tokens[user] == "" {
			token := make([]byte, 24)
			if _, err := rand.Read(token); err != nil {
				return nil, err
			}
			s.Tokens[user] = hex.EncodeToString(token)
		}
	}
	return s, s.write(groups)
}

func (s *state) write(groups map[string][]string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("state.json"), text, 0o600); err != nil {
		return err
	}
	ca, err := os.ReadFile(s.path("ca.crt"))
	if err != nil {
		return err
	}
	var names []string
	for user := range groups {
		names = append(names, user)
	}
	sort.Strings(names)
	var tokens strings.Builder
	for _, user := range names {
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", s.Tokens[user], user, user, strings.Join(groups[user], ","))
		file := s.path("kubeconfig-" + user)
		if user == "admin" {
			file = s.kubeconfig()
		}
		if err := os.WriteFile(file, s.kubeconfigFor(user, ca), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(s.path("tokens.csv"), []byte(tokens.String()), 0o600)
}

func (s *state) kubeconfigFor(user string, ca []byte) []byte {
	config := map[string]any{
		"apiVersion": "v1",
		"kind":       "Config",
		"clusters": []any{map[string]any{"name": s.name, "cluster": map[string]any{
			"server": s.server(), "certificate-authority-data": base64.StdEncoding.EncodeToString(ca)}}},
		"users":           []any{map[string]any{"name": user, "user": map[string]any{"token": s.Tokens[user]}}},
		"contexts":        []any{map[string]any{"name": s.name, "context": map[string]any{"cluster": s.name, "user": user}}},
		"current-context": s.name,
	}
	// JSON is YAML, and nothing has to be escaped by hand.
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(text, '\n')
}

// freePorts finds ports nobody uses. They are below those that the kernel gives to outgoing connections, so that nobody
// takes one while its server is down for a moment. All are held at once, so that they differ.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+mathrand.IntN(10000)))
		if err != nil {
			continue
		}
		defer l.Close()
		if ports = append(ports, l.Addr().(*net.TCPAddr).Port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no free ports between 20000 and 30000")
}

// makeKeys makes a certificate authority, the API server's certificate signed by it, and the key for service accounts.
func makeKeys(dir string) error {
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "local control plane"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serving := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1), Subject: pkix.Name{CommonName: "kube-apiserver"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}
	servingDER, err := x509.CreateCertificate(rand.Reader, serving, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	accounts, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	write := func(name, kind string, der []byte, err error) error {
		if err != nil {
			return err
		}
		block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		return os.WriteFile(filepath.Join(dir, name), block, 0o600)
	}
	keyDER, keyErr := x509.MarshalECPrivateKey(key)
	accountsDER, accountsErr := x509.MarshalECPrivateKey(accounts)
	return errors.Join(
		write("ca.crt", "CERTIFICATE", caDER, nil),
		write("serving.crt", "CERTIFICATE", servingDER, nil),
		write("serving.key", "EC PRIVATE KEY", keyDER, keyErr),
		write("accounts.key", "EC PRIVATE KEY", accountsDER, accountsErr),
	)
}
