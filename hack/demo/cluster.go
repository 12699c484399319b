package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/utexo/utexo-operator/internal/testkit"
)

// Where the operator and the samples live.
const (
	operatorNamespace = "utexo-system"
	samplesNamespace  = "default"
)

// cluster is an API server of our own.
type cluster struct {
	env                *envtest.Environment
	config             *rest.Config
	client             client.WithWatch
	root, dir          string
	kubeconfig         string
	operatorKubeconfig string
}

func (d *demo) startCluster(ctx context.Context) (*cluster, error) {
	assets := testkit.AssetsDirectory(d.root)
	if _, err := os.Stat(filepath.Join(assets, "kube-apiserver")); err != nil {
		return nil, fmt.Errorf("there is no control plane in %s, run make envtest: %w", assets, err)
	}
	d.say("Starting etcd and kube-apiserver.")
	c := &cluster{root: d.root, dir: d.dir, env: &envtest.Environment{BinaryAssetsDirectory: assets}}
	var err error
	if c.config, err = c.env.Start(); err != nil {
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	if c.client, err = client.NewWithWatch(c.config, client.Options{Scheme: testkit.Scheme()}); err == nil {
		c.kubeconfig = filepath.Join(d.dir, "kubeconfig")
		err = os.WriteFile(c.kubeconfig, c.env.KubeConfig, 0o600)
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

// install applies what a cluster needs for the operator, but for the Deployment: the manager runs here, as a program.
func (c *cluster) install(ctx context.Context) error {
	for _, arguments := range [][]string{
		{"-k", "config/crd"}, {"-f", "config/manager/namespace.yaml"}, {"-k", "config/rbac"},
	} {
		if _, err := c.kubectl(ctx, nil, append([]string{"apply", "--server-side"}, arguments...)...); err != nil {
			return err
		}
	}
	_, err := c.kubectl(ctx, nil, "wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
	if err != nil {
		return err
	}
	return c.writeOperatorKubeconfig(ctx)
}

// writeOperatorKubeconfig lets the manager come as its own service account, with the rights that are shipped and no others.
func (c *cluster) writeOperatorKubeconfig(ctx context.Context) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "utexo-operator"}}
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(24 * 3600))}}
	if err := c.client.SubResource("token").Create(ctx, account, token); err != nil {
		return fmt.Errorf("asking for the manager's token: %w", err)
	}
	kubeconfig := clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"demo": {
			Server: c.config.Host, CertificateAuthorityData: c.config.CAData,
		}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"utexo-operator": {Token: token.Status.Token}},
		Contexts:       map[string]*clientcmdapi.Context{"demo": {Cluster: "demo", AuthInfo: "utexo-operator"}},
		CurrentContext: "demo",
	}
	if !strings.HasPrefix(c.config.Host, "https://") {
		kubeconfig.Clusters["demo"].Server = "https://" + c.config.Host
	}
	c.operatorKubeconfig = filepath.Join(c.dir, "operator.kubeconfig")
	return clientcmd.WriteToFile(kubeconfig, c.operatorKubeconfig)
}

// applySamples applies config/samples for a sandbox at url.
func (c *cluster) applySamples(ctx context.Context, url, profile string) error {
	samples, err := c.kubectl(ctx, nil, "kustomize", "config/samples")
	if err != nil {
		return err
	}
	samples = strings.Replace(samples, "url: http://127.0.0.1:8085", "url: "+url, 1)
	if profile == "reference" {
		samples = strings.Replace(samples, "profile: Conservative", "profile: Reference", 1)
	}
	_, err = c.kubectl(ctx, strings.NewReader(samples), "apply", "--server-side", "--namespace", samplesNamespace, "-f", "-")
	return err
}

func (c *cluster) makeConfigMap(ctx context.Context, name, key, value string) error {
	config := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: samplesNamespace, Name: name}, Data: map[string]string{key: value},
	}
	return c.client.Create(ctx, config)
}

// kubectl runs kubectl as administrator and returns what it prints.
func (c *cluster) kubectl(ctx context.Context, input *strings.Reader, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(testkit.AssetsDirectory(c.root), "kubectl"), arguments...)
	command.Dir = c.root
	command.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	if input != nil {
		command.Stdin = input
	}
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(arguments, " "), err, problems.String())
	}
	return out.String(), nil
}
