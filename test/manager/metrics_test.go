package manager_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// addAccount makes a ServiceAccount, with a ClusterRole where role is not empty, and returns how it reaches the API server.
func (w *world) addAccount(name, role string) *rest.Config {
	w.t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	w.create(account)
	if role != "" {
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-" + name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: w.namespace, Name: name}},
		}
		w.create(binding)
		w.t.Cleanup(func() {
			if err := api.Delete(context.Background(), binding); err != nil { // the case's context is over
				w.t.Error(err)
			}
		})
	}
	config, err := testkit.AccountConfig(w.t.Context(), api, admin, w.namespace, name)
	if err != nil {
		w.t.Fatal(err)
	}
	canary(config.BearerToken)
	return config
}

// fetch gets url, with a bearer token where there is one. The manager signs its own certificate.
func fetch(ctx context.Context, url, token string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}

// answers returns an error until url is answered with status and, somewhere in the body, all of parts.
func answers(ctx context.Context, url, token string, status int, parts ...string) error {
	got, body, err := fetch(ctx, url, token)
	if err != nil {
		return err
	}
	if got != status {
		return fmt.Errorf("%s is answered with %d, want %d: %s", url, got, status, body)
	}
	for _, part := range parts {
		if !strings.Contains(body, part) {
			return fmt.Errorf("%s does not say %q:\n%s", url, part, body)
		}
	}
	return nil
}

func TestMetricsAndProbes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newService(t, sandbox.Documented))
	metrics, probes := freeAddress(t), freeAddress(t)
	manager := w.start("--metrics-bind-address="+metrics, "--health-probe-bind-address="+probes)
	w.addWallet("main")
	reader, stranger := w.addAccount("prometheus", "utexo-metrics-reader"), w.addAccount("stranger", "")
	await(t, "the manager is ready", func() error { return answers(t.Context(), "http://"+probes+"/readyz", "", http.StatusOK) })
	if err := answers(t.Context(), "http://"+probes+"/healthz", "", http.StatusOK); err != nil {
		t.Error(err)
	}

	paid := w.pay("main", "rent", 5000)
	w.awaitPaid(paid)
	w.service.fault(t, sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.OnchainEnd})
	doubtful := w.send("main", "payroll", 20_000)
	await(t, "the outcome of a send with a lost answer is unknown", func() error {
		if phase, why := w.phase(doubtful); phase != v1alpha1.PaymentUnknown {
			return fmt.Errorf("it is %s, %s", phase, why)
		}
		return nil
	})

	url := "https://" + metrics + "/metrics"
	await(t, "the metrics tell of both", func() error {
		return answers(t.Context(), url, reader.BearerToken, http.StatusOK,
			`utexo_operator_payments{kind="LightningPayment",phase="Succeeded"} 1`,
			`utexo_operator_payments{kind="OnchainSend",phase="Unknown"} 1`,
			`utexo_operator_payments{kind="OnchainSend",phase="Planned"} 0`,
			`utexo_operator_payments{kind="LightningPayment",phase="AwaitingApproval"} 0`,
			`utexo_outcome_unknown{kind="LightningPayment"} 0`,
			`utexo_outcome_unknown{kind="OnchainSend"} 1`,
			"controller_runtime_reconcile_total", "controller_runtime_terminal_reconcile_errors_total", "controller_runtime_reconcile_panics_total")
	})
	for name, tc := range map[string]struct {
		url, token string
		// want is the answer; 0 for any other than that it is served.
		want int
	}{
		"without a token":                   {url, "", http.StatusUnauthorized},
		"with a token that may not":         {url, stranger.BearerToken, http.StatusForbidden},
		"with a token that nobody gave out": {url, "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", 0},
		"over plain HTTP":                   {"http://" + metrics + "/metrics", reader.BearerToken, 0},
	} {
		status, body, err := fetch(t.Context(), tc.url, tc.token)
		if tc.want != 0 && (err != nil || status != tc.want) || status == http.StatusOK || strings.Contains(body, "utexo_") {
			t.Errorf("%s: %d %q, %v, want %d", name, status, body, err, tc.want)
		}
	}
	_, body, err := fetch(t.Context(), url, reader.BearerToken)
	if err != nil {
		t.Error(err)
	}
	for _, problem := range leaks(body, canaries()) {
		t.Errorf("/metrics %s", problem)
	}
	manager.stop()
}

// TestNotReadyWithoutRights lets a manager run as an account that may nothing: it lives, and says that it cannot work.
func TestNotReadyWithoutRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newService(t, sandbox.Documented))
	probes := freeAddress(t)
	manager := startManager(t, w.addAccount("nobody", ""), "--watch-namespaces="+w.namespace, "--health-probe-bind-address="+probes)
	await(t, "the manager lives", func() error { return answers(t.Context(), "http://"+probes+"/healthz", "", http.StatusOK) })
	if err := answers(t.Context(), "http://"+probes+"/readyz", "", http.StatusInternalServerError); err != nil {
		t.Error(err)
	}
	manager.stop()
}
