package testkit

import (
	"bytes"
	"context"
	"fmt"
	"io"
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
)

// Where config/ installs the operator, and as whom it runs there.
const (
	OperatorNamespace = "utexo-system"
	OperatorAccount   = "utexo-operator"
)

// Kubectl runs the kubectl of the tests' control plane.
type Kubectl struct {
	// Root is the module's directory, in which it runs.
	Root string
	// Kubeconfig is the file that says where, and as whom.
	Kubeconfig string
}

// Run returns what kubectl prints. input is its standard input; nil for none. The error holds what it complains of.
func (k Kubectl) Run(ctx context.Context, input io.Reader, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(AssetsDirectory(k.Root), "kubectl"), arguments...)
	command.Dir = k.Root
	command.Env = append(os.Environ(), "KUBECONFIG="+k.Kubeconfig)
	command.Stdin = input
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(arguments, " "), err, problems.String())
	}
	return out.String(), nil
}

// InstallOperator applies the operator's namespace, account and roles, as they are shipped: all that a manager needs which runs on this
// machine, but for the CRDs.
func (k Kubectl) InstallOperator(ctx context.Context) error {
	for _, source := range [][]string{{"-f", "config/manager/namespace.yaml"}, {"-k", "config/rbac"}} {
		if _, err := k.Run(ctx, nil, append([]string{"apply", "--server-side"}, source...)...); err != nil {
			return err
		}
	}
	return nil
}

// AccountConfig returns how a ServiceAccount reaches the API server that admin reaches as administrator: with a token of its own, good
// for a day.
func AccountConfig(ctx context.Context, c client.Client, admin *rest.Config, namespace, name string) (*rest.Config, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(24 * 3600))}}
	if err := c.SubResource("token").Create(ctx, account, token); err != nil {
		return nil, fmt.Errorf("asking for a token of %s/%s: %w", namespace, name, err)
	}
	config := rest.AnonymousClientConfig(admin)
	config.BearerToken = token.Status.Token
	return config, nil
}

// WriteKubeconfig writes a kubeconfig with what config holds in its own fields, not in files that it names.
func WriteKubeconfig(path string, config *rest.Config) error {
	server := config.Host
	if !strings.Contains(server, "://") {
		server = "https://" + server
	}
	const name = "utexo"
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {Server: server, CertificateAuthorityData: config.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			Token: config.BearerToken, ClientCertificateData: config.CertData, ClientKeyData: config.KeyData,
		}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}, path)
}
