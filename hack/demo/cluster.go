package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/utexo/utexo-operator/internal/testkit"
)

// samplesNamespace is where the samples live.
const samplesNamespace = "default"

// cluster is an API server of our own.
type cluster struct {
	env                *envtest.Environment
	config             *rest.Config
	client             client.WithWatch
	dir                string
	kubectl            testkit.Kubectl
	operatorKubeconfig string
}

func (d *demo) startCluster(ctx context.Context) (*cluster, error) {
	assets := testkit.AssetsDirectory(d.root)
	if _, err := os.Stat(filepath.Join(assets, "kube-apiserver")); err != nil {
		return nil, fmt.Errorf("there is no control plane in %s, run make envtest: %w", assets, err)
	}
	d.say("Starting etcd and kube-apiserver.")
	c := &cluster{dir: d.dir, env: &envtest.Environment{BinaryAssetsDirectory: assets}}
	var err error
	if c.config, err = c.env.Start(); err != nil {
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	if c.client, err = client.NewWithWatch(c.config, client.Options{Scheme: testkit.Scheme()}); err == nil {
		c.kubectl = testkit.Kubectl{Root: d.root, Kubeconfig: filepath.Join(d.dir, "kubeconfig")}
		err = os.WriteFile(c.kubectl.Kubeconfig, c.env.KubeConfig, 0o600)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.stop()
		return nil, err
	}
	return c, nil
}

func (c *cluster) stop() error {
	if err := c.env.Stop(); err != nil {
		return fmt.Errorf("stopping the control plane: %w", err)
	}
	return nil
}

// install applies what a cluster needs for the operator, but for the Deployment: the manager runs here, as a program, as its own service
// account, with the rights that are shipped and no others.
func (c *cluster) install(ctx context.Context) error {
	if _, err := c.kubectl.Run(ctx, nil, "apply", "--server-side", "-k", "config/crd"); err != nil {
		return err
	}
	if err := c.kubectl.InstallOperator(ctx); err != nil {
		return err
	}
	if _, err := c.kubectl.Run(ctx, nil, "wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"); err != nil {
		return err
	}
	operator, err := testkit.AccountConfig(ctx, c.client, c.config, testkit.OperatorNamespace, testkit.OperatorAccount)
	if err != nil {
		return err
	}
	c.operatorKubeconfig = filepath.Join(c.dir, "operator.kubeconfig")
	return testkit.WriteKubeconfig(c.operatorKubeconfig, operator)
}

// documentSeparator is what stands between two manifests of one file.
const documentSeparator = "\n---\n"

// samples returns the manifests of config/samples, for a sandbox at url.
func (c *cluster) samples(ctx context.Context, url, profile string) ([]string, error) {
	samples, err := c.kubectl.Run(ctx, nil, "kustomize", "config/samples")
	if err != nil {
		return nil, err
	}
	samples = strings.Replace(samples, "url: http://127.0.0.1:8085", "url: "+url, 1)
	if profile == "reference" {
		samples = strings.Replace(samples, "profile: Conservative", "profile: Reference", 1)
	}
	return strings.Split(samples, documentSeparator), nil
}

func (c *cluster) apply(ctx context.Context, manifests []string) error {
	_, err := c.kubectl.Run(ctx, strings.NewReader(strings.Join(manifests, documentSeparator)),
		"apply", "--server-side", "--namespace", samplesNamespace, "-f", "-")
	return err
}

func (c *cluster) makeConfigMap(ctx context.Context, name, key, value string) error {
	config := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: samplesNamespace, Name: name}, Data: map[string]string{key: value},
	}
	return c.client.Create(ctx, config)
}
