package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// yardstickAccount is the ServiceAccount of what the operator is compared with. It is treated by the API server as the operator's is.
const yardstickAccount = "yardstick"

// cluster is an API server of our own, with the operator's roles and an audit log of what the two accounts ask.
type cluster struct {
	dir      string
	admin    *rest.Config
	api      client.WithWatch
	store    *store
	audit    string
	stop     func() error
	accounts map[string]*rest.Config
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: Metadata
    users: ["` + userPrefix + testkit.OperatorAccount + `", "` + userPrefix + yardstickAccount + `"]
  - level: None
`

const userPrefix = "system:serviceaccount:" + testkit.OperatorNamespace + ":"

func startCluster(ctx context.Context, root, dir string) (_ *cluster, err error) {
	c := &cluster{dir: dir, audit: filepath.Join(dir, "audit.log"), accounts: map[string]*rest.Config{}}
	policy := filepath.Join(dir, "audit-policy.yaml")
	if err := errors.Join(os.WriteFile(policy, []byte(auditPolicy), 0o600), os.WriteFile(c.audit, nil, 0o600)); err != nil {
		return nil, err
	}
	plane, err := testkit.StartWithEtcd("audit-policy-file="+policy, "audit-log-path="+c.audit, "audit-log-maxsize=100000")
	if err != nil {
		return nil, err
	}
	c.admin, c.stop, c.store = plane.Config, plane.Stop, &store{url: plane.Etcd}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	c.admin.QPS = -1 // no limit
	if c.api, err = client.NewWithWatch(c.admin, client.Options{Scheme: testkit.Scheme()}); err != nil {
		return nil, err
	}
	kubectl := testkit.Kubectl{Root: root, Kubeconfig: filepath.Join(dir, "admin.kubeconfig")}
	if err := testkit.WriteKubeconfig(kubectl.Kubeconfig, c.admin); err != nil {
		return nil, err
	}
	if err := kubectl.InstallOperator(ctx); err != nil {
		return nil, err
	}
	if err := c.addYardstick(ctx); err != nil {
		return nil, err
	}
	for _, name := range []string{testkit.OperatorAccount, yardstickAccount} {
		config, err := testkit.AccountConfig(ctx, c.api, c.admin, testkit.OperatorNamespace, name)
		if err != nil {
			return nil, err
		}
		c.accounts[name] = config
	}
	return c, nil
}

// addYardstick makes the account of what the operator is compared with, which may everything.
func (c *cluster) addYardstick(ctx context.Context) error {
	subject := rbacv1.Subject{Kind: "ServiceAccount", Namespace: testkit.OperatorNamespace, Name: yardstickAccount}
	return errors.Join(
		c.api.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: subject.Namespace, Name: subject.Name}}),
		c.api.Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: yardstickAccount}, Subjects: []rbacv1.Subject{subject},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		}))
}

// mnemonic is public: it stands in the documentation of the service.
const mnemonic = "split capable text loop dream live outside suspect eight carry fine relax"

// team makes a namespace in which the operator may read Secrets, and Wallets of a service in it, each with keys of its own.
func (c *cluster) team(ctx context.Context, service *service, wallets ...string) (string, error) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"}}
	if err := c.api.Create(ctx, namespace); err != nil {
		return "", err
	}
	name := namespace.Name
	objects := []client.Object{
		&rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "keys"},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}},
		},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "keys"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "keys"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: testkit.OperatorNamespace, Name: testkit.OperatorAccount}},
		},
	}
	for _, wallet := range wallets {
		objects = append(objects, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: wallet},
			StringData: map[string]string{"mnemonic": mnemonic, "passphrase": name + wallet},
		}, testkit.MakeWallet(wallet).Namespace(name).URL(service.url).Obj())
	}
	for _, object := range objects {
		if err := c.api.Create(ctx, object); err != nil {
			return "", fmt.Errorf("creating %T: %w", object, err)
		}
	}
	return name, nil
}

// awaitWallets waits until Wallets are in sync.
func (c *cluster) awaitWallets(ctx context.Context, namespace string, names ...string) error {
	return until(ctx, "the Wallets are in sync", func() (bool, error) {
		var wallets v1alpha1.WalletList
		if err := c.api.List(ctx, &wallets, client.InNamespace(namespace)); err != nil {
			return false, err
		}
		ready := 0
		for _, wallet := range wallets.Items {
			if meta.IsStatusConditionTrue(wallet.Status.Conditions, v1alpha1.ConditionReady) {
				ready++
			}
		}
		return ready == len(names), nil
	})
}

// clear removes what a run left, so that the next one finds what this one found.
func (c *cluster) clear(ctx context.Context, namespace string) error {
	var problems []error
	for _, resource := range []string{"lightninginvoices", "lightningpayments", "wallets"} {
		problems = append(problems, c.store.remove(ctx, keyOf(resource, namespace, "")))
	}
	problems = append(problems, c.store.remove(ctx, keyOf("paymentrecords", testkit.OperatorNamespace, "")),
		c.api.DeleteAllOf(ctx, &coordinationv1.Lease{}, client.InNamespace(testkit.OperatorNamespace)))
	return errors.Join(problems...)
}

// asked are the requests of an account, but for watches, by verb and resource.
type asked map[string]int

// mark is a place in the audit log.
func (c *cluster) mark() (int64, error) {
	time.Sleep(100 * time.Millisecond) // a request is written down once it is answered
	info, err := os.Stat(c.audit)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// since counts what an account asked since mark.
func (c *cluster) since(mark int64, account string) (asked, error) {
	if _, err := c.mark(); err != nil {
		return nil, err
	}
	file, err := os.Open(c.audit)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(mark, io.SeekStart); err != nil {
		return nil, err
	}
	return countAudit(file, userPrefix+account)
}

// countAudit counts the requests of a user in an audit log. A line that is not whole is one that is still being written.
func countAudit(log io.Reader, user string) (asked, error) {
	counts := asked{}
	lines := bufio.NewReaderSize(log, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return counts, nil
		}
		if err != nil {
			return nil, err
		}
		var event struct {
			Verb string `json:"verb"`
			User struct {
				Username string `json:"username"`
			} `json:"user"`
			ObjectRef struct {
				Resource    string `json:"resource"`
				Subresource string `json:"subresource"`
			} `json:"objectRef"`
		}
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		if event.User.Username != user || event.Verb == "watch" || event.ObjectRef.Resource == "" {
			continue
		}
		what := event.Verb + " " + event.ObjectRef.Resource
		if event.ObjectRef.Subresource != "" {
			what += "/" + event.ObjectRef.Subresource
		}
		counts[what]++
	}
}

// parallel calls do for 0 to n-1, so many at once, until one fails.
func parallel(ctx context.Context, n, atOnce int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, atOnce) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// until looks again and again until look is true.
func until(ctx context.Context, what string, look func() (bool, error)) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if done, err := look(); err != nil || done {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		}
	}
}
