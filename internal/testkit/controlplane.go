package testkit

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// startTimeout is for a machine that compiles beside the test; an idle one starts both programs in 4 s.
const startTimeout = 90 * time.Second

var started atomic.Bool

// StartControlPlane starts etcd and an API server with the CRDs of this checkout, and returns how to reach them as administrator: for
// TestMain or a BeforeSuite. The programs are those in KUBEBUILDER_ASSETS or, where that is unset, in bin/k8s, where `make envtest` puts
// them. A control plane takes 4 s and 310 MB, so that a test binary gets one: a second call fails. Cases keep apart by namespace. The
// caller calls stop, also where a case failed, or the two processes stay. Arguments of the API server may be given, as "watch-cache=false".
func StartControlPlane(arguments ...string) (cfg *rest.Config, c client.Client, stop func() error, err error) {
	plane, err := StartWithEtcd(arguments...)
	if err != nil {
		return nil, nil, nil, err
	}
	return plane.Config, plane.Client, plane.Stop, nil
}

// ControlPlane is etcd and an API server.
type ControlPlane struct {
	// Config and Client are the administrator's.
	Config *rest.Config
	Client client.Client
	// Etcd is the URL at which etcd answers, to everybody on this machine.
	Etcd string
	// Stop ends both.
	Stop func() error
}

// StartWithEtcd is StartControlPlane for who also wants to reach etcd.
func StartWithEtcd(arguments ...string) (*ControlPlane, error) {
	if !started.CompareAndSwap(false, true) {
		return nil, errors.New("this test binary has a control plane already")
	}
	root, err := ModuleRoot()
	if err != nil {
		return nil, err
	}
	assets := AssetsDirectory(root)
	if _, err := os.Stat(filepath.Join(assets, "kube-apiserver")); err != nil {
		return nil, fmt.Errorf("there is no control plane, run make envtest: %w", err)
	}
	env := &envtest.Environment{
		Scheme:                   Scheme(),
		BinaryAssetsDirectory:    assets,
		CRDDirectoryPaths:        []string{CRDDirectory(root)},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  startTimeout,
	}
	for _, argument := range arguments {
		name, value, _ := strings.Cut(argument, "=")
		env.ControlPlane.GetAPIServer().Configure().Set(name, value)
	}
	token, file, err := adminToken()
	if err != nil {
		return nil, err
	}
	env.ControlPlane.GetAPIServer().Configure().Set("token-auth-file", file)
	plane := &ControlPlane{Stop: func() error { return errors.Join(env.Stop(), os.Remove(file)) }}
	if plane.Config, err = start(env); err == nil {
		plane.Config.BearerToken, plane.Config.CertData, plane.Config.KeyData = token, nil, nil
		plane.Client, err = client.New(plane.Config, client.Options{Scheme: Scheme()})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the control plane: %w", err), plane.Stop())
	}
	plane.Etcd = env.ControlPlane.Etcd.URL.String()
	return plane, nil
}

// adminToken writes a file by which the API server knows an administrator's token. That of a certificate, which envtest makes, it would
// verify at every request: a twelfth of what it does.
func adminToken() (token, file string, err error) {
	token = rand.Text()
	f, err := os.CreateTemp("", "utexo-tokens-*.csv")
	if err == nil {
		_, err = fmt.Fprintf(f, "%s,admin,admin,system:masters\n", token)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return "", "", fmt.Errorf("writing an administrator's token: %w", err)
	}
	return token, f.Name(), nil
}

// start starts env with a garbage collector that takes more memory for less work: a sixth of what both programs do is its.
func start(env *envtest.Environment) (*rest.Config, error) {
	const name = "GOGC"
	before, given := os.LookupEnv(name)
	if given {
		defer os.Setenv(name, before)
	} else {
		defer os.Unsetenv(name)
	}
	if err := os.Setenv(name, "400"); err != nil {
		return nil, fmt.Errorf("setting %s: %w", name, err)
	}
	return env.Start()
}

// Scheme returns a new scheme with the types of client-go and of this module's API. It panics where they collide.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// ModuleRoot returns the directory of go.mod, which is above that in which go test runs a package's tests.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod here or above")
		}
		dir = parent
	}
}

// CRDDirectory returns where the generated CRDs of the module at root are.
func CRDDirectory(root string) string { return filepath.Join(root, "config", "crd", "bases") }

// AssetsDirectory returns where etcd, kube-apiserver and kubectl are for the tests of the module at root.
func AssetsDirectory(root string) string {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir
	}
	return filepath.Join(root, "bin", "k8s")
}
