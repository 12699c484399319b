// Package config_test applies the manifests of this directory to an API server.
package config_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// TestManifests installs the operator, and a team's wallets beside it, as their pages say.
func TestManifests(t *testing.T) {
	config, c, stop, err := testkit.StartControlPlane()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stopping the control plane: %v", err)
		}
	})
	cluster := cluster{c}

	operator := build(t, "default")
	cluster.apply(t, operator, "")
	cluster.apply(t, build(t, "samples"), "default")
	cluster.makeNamespace(t, "team")
	cluster.apply(t, build(t, "testdata/team"), "team")
	for _, role := range []string{"utexo-viewer", "utexo-editor", "utexo-wallet-admin", "utexo-approver", "utexo-payment-signer"} {
		cluster.bind(t, role, "team")
	}

	t.Run("Pod Security restricted admits the manager", func(t *testing.T) { testPodSecurity(t, cluster, operator) })
	t.Run("selectors find the manager", func(t *testing.T) { testSelectors(t, operator) })
	t.Run("shards", func(t *testing.T) { testShards(t, cluster, operator) })
	t.Run("roles", func(t *testing.T) { testRoles(t, operator) })
	t.Run("access", func(t *testing.T) { testAccess(t, cluster) })
	t.Run("signer", func(t *testing.T) { testSigner(t, cluster, operator) })
	t.Run("only who may resolve resolves", func(t *testing.T) { testResolve(t, cluster, config) })
	t.Run("only who may approve approves", func(t *testing.T) { testApprove(t, cluster, config) })
	t.Run("only who may sign signs", func(t *testing.T) { testSign(t, cluster, config) })
	t.Run("a retention deletes what is over", func(t *testing.T) { testRetention(t, cluster, config) }) // the last: it gives rights
}

func testPodSecurity(t *testing.T, cluster cluster, operator []*unstructured.Unstructured) {
	deployment := find[appsv1.Deployment](t, operator, "Deployment", "utexo-operator")
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "as-shipped", Namespace: deployment.Namespace},
		Spec:       deployment.Spec.Template.Spec,
	}
	asRoot := pod.DeepCopy()
	asRoot.Name = "as-root"
	asRoot.Spec.SecurityContext.RunAsNonRoot = ptr.To(false)

	if err := cluster.Create(t.Context(), pod); err != nil {
		t.Error(err)
	}
	if err := cluster.Create(t.Context(), asRoot); !apierrors.IsForbidden(err) {
		t.Errorf("a pod that may run as root: got %v, want it to be forbidden", err)
	}
}

func testSelectors(t *testing.T, operator []*unstructured.Unstructured) {
	deployment := find[appsv1.Deployment](t, operator, "Deployment", "utexo-operator")
	service := find[corev1.Service](t, operator, "Service", "utexo-operator-metrics")
	policy := find[networkingv1.NetworkPolicy](t, operator, "NetworkPolicy", "utexo-operator")
	pods, shards := deployment.Spec.Template.Labels, find[appsv1.Deployment](t, build(t, "shards"), "Deployment", "utexo-operator-blue")
	if diff := cmp.Diff(pods, deployment.Spec.Selector.MatchLabels); diff != "" {
		t.Errorf("selector of the Deployment (-labels of the pods +selector):\n%s", diff)
	}
	for name, selector := range map[string]map[string]string{
		"Service": service.Spec.Selector, "NetworkPolicy": policy.Spec.PodSelector.MatchLabels,
	} {
		for manager, labels := range map[string]map[string]string{"the manager": pods, "the manager of a shard": shards.Spec.Template.Labels} {
			if !selects(selector, labels) {
				t.Errorf("the %s does not select %s: %v of %v", name, manager, selector, labels)
			}
		}
	}
}

// selects reports whether a selector, which must say something, selects what has labels.
func selects(selector, set map[string]string) bool {
	return len(selector) > 0 && labels.SelectorFromSet(selector).Matches(labels.Set(set))
}

// testShards installs the manager of a shard beside the one that is there: it comes with nothing of its own but a Deployment, and differs
// from the other in what says which shard it is of. A label that names no shard is refused, on what has shards.
func testShards(t *testing.T, cluster cluster, operator []*unstructured.Unstructured) {
	shipped := build(t, "shards")
	cluster.apply(t, shipped, "")
	if len(shipped) != 1 {
		t.Errorf("a shard comes with %d objects", len(shipped))
	}
	base := find[appsv1.Deployment](t, operator, "Deployment", "utexo-operator")
	blue := find[appsv1.Deployment](t, shipped, "Deployment", "utexo-operator-blue")
	if selects(base.Spec.Selector.MatchLabels, blue.Spec.Template.Labels) || selects(blue.Spec.Selector.MatchLabels, base.Spec.Template.Labels) ||
		!selects(blue.Spec.Selector.MatchLabels, blue.Spec.Template.Labels) {
		t.Errorf("the Deployments select each other's pods: %v, %v", base.Spec.Selector, blue.Spec.Selector)
	}
	pod := blue.Spec.Template.Spec.DeepCopy()
	pod.Containers[0].Args = slices.DeleteFunc(pod.Containers[0].Args, func(argument string) bool { return argument == "--shard=blue" })
	if diff := cmp.Diff(base.Spec.Template.Spec, *pod); diff != "" || len(pod.Containers[0].Args) != len(blue.Spec.Template.Spec.Containers[0].Args)-1 {
		t.Errorf("the manager of a shard differs in more than its shard (-manager +shard):\n%s", diff)
	}

	declare := func(value string, object client.Object) error {
		object.SetNamespace("team")
		object.SetName("")
		object.SetGenerateName("labelled-")
		object.SetLabels(map[string]string{v1alpha1.ShardLabel: value})
		return cluster.Create(t.Context(), object)
	}
	eventually(t, "a Wallet with an empty label", apierrors.IsInvalid, func() error { return declare("", testkit.MakeWallet("labelled").Obj()) })
	for name, object := range map[string]func() client.Object{
		"a Wallet":           func() client.Object { return testkit.MakeWallet("labelled").Obj() },
		"a LightningInvoice": func() client.Object { return testkit.MakeLightningInvoice("labelled").AmountSats(1).Obj() },
		"a Settlement":       func() client.Object { return testkit.MakeSettlement("team", "labelled") },
	} {
		for value, valid := range map[string]bool{"blue": true, "shard-1": true, "": false, "Blue": false, "blue.green": false, "blue_green": false} {
			if err := declare(value, object()); (err == nil) != valid || (!valid && !apierrors.IsInvalid(err)) {
				t.Errorf("%s with the shard %q: got %v, want it to be accepted %t", name, value, err, valid)
			}
		}
	}
	wallet := testkit.MakeWallet("moves").Namespace("team").Obj()
	if err := cluster.Create(t.Context(), wallet); err != nil {
		t.Fatal(err)
	}
	for _, set := range []map[string]string{{v1alpha1.ShardLabel: "blue"}, {v1alpha1.ShardLabel: "green"}, nil, {"app": "shop"}} {
		before := wallet.DeepCopy()
		wallet.Labels = set
		if err := cluster.Patch(t.Context(), wallet, client.MergeFrom(before)); err != nil {
			t.Errorf("a wallet cannot have the labels %v: %v", set, err)
		}
	}
	before := wallet.DeepCopy()
	wallet.Labels = map[string]string{v1alpha1.ShardLabel: "GREEN"}
	if err := cluster.Patch(t.Context(), wallet, client.MergeFrom(before)); !apierrors.IsInvalid(err) {
		t.Errorf("a wallet is moved to no shard: %v", err)
	}
}

// testRoles holds back what no role may ever have: it would give more than its line says.
func testRoles(t *testing.T, operator []*unstructured.Unstructured) {
	seen := 0
	for _, object := range operator {
		if object.GetKind() != "ClusterRole" && object.GetKind() != "Role" {
			continue
		}
		for _, rule := range find[rbacv1.ClusterRole](t, operator, object.GetKind(), object.GetName()).Rules {
			seen++
			if slices.Contains(slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs, rule.NonResourceURLs), "*") {
				t.Errorf("%s %s has a wildcard: %v", object.GetKind(), object.GetName(), rule)
			}
			if object.GetKind() == "ClusterRole" && slices.Contains(rule.Resources, "secrets") {
				t.Errorf("ClusterRole %s gives access to every Secret: %v", object.GetName(), rule)
			}
		}
	}
	if seen == 0 {
		t.Error("there are no roles")
	}
}

func testAccess(t *testing.T, cluster cluster) {
	const (
		operator = "system:serviceaccount:utexo-system:utexo-operator"
		system   = "utexo-system"
		payments = "payments.utexo.com"
	)
	for name, tc := range map[string]struct {
		user, verb, group, resource, object, namespace string
		want                                           bool
	}{
		"the operator reads the Secret of the sample wallet":    {operator, "get", "", "secrets", "wallet-keys", "default", true},
		"the operator reads no other Secret beside it":          {operator, "get", "", "secrets", "other", "default", false},
		"the operator lists no Secrets where it may read one":   {operator, "list", "", "secrets", "", "default", false},
		"the operator changes no Secret that it may read":       {operator, "update", "", "secrets", "wallet-keys", "default", false},
		"the operator reads the first Secret that a team names": {operator, "get", "", "secrets", "hot-wallet", "team", true},
		"the operator reads the second one":                     {operator, "get", "", "secrets", "utexo-token", "team", true},
		"the operator does not read the component's example":    {operator, "get", "", "secrets", "wallet-keys", "team", false},
		"the operator makes a ConfigMap where a team lets it":   {operator, "create", "", "configmaps", "", "team", true},
		"the operator changes one that a team names":            {operator, "patch", "", "configmaps", "membership-invoice", "team", true},
		"the operator changes one that the sample names":        {operator, "patch", "", "configmaps", "membership-invoice", "default", true},
		"the operator changes no ConfigMap beside it":           {operator, "patch", "", "configmaps", "other", "team", false},
		"the operator makes no ConfigMap elsewhere":             {operator, "create", "", "configmaps", "", "kube-system", false},
		"the operator changes no ConfigMap elsewhere":           {operator, "patch", "", "configmaps", "coredns", "kube-system", false},
		"the operator makes no Secret of a team":                {operator, "create", "", "secrets", "", "team", false},
		"the operator keeps a PSBT in its own namespace":        {operator, "create", "", "secrets", "", system, true},
		"the operator deletes a PSBT":                           {operator, "delete", "", "secrets", "psbt", system, true},
		"the operator never changes a PSBT":                     {operator, "update", "", "secrets", "psbt", system, false},
		"the operator lists no Secrets in its own namespace":    {operator, "list", "", "secrets", "", system, false},
		"the operator claims a payment":                         {operator, "create", payments, "paymentrecords", "", system, true},
		"the operator forgets no payment":                       {operator, "delete", payments, "paymentrecords", "", system, false},
		"the operator keeps no record elsewhere":                {operator, "create", payments, "paymentrecords", "", "team", false},
		"the operator declares no payment":                      {operator, "create", payments, "lightningpayments", "", "team", false},
		"the operator tells how a payment ended":                {operator, "patch", payments, "lightningpayments/status", "", "team", true},
		"the operator locks a wallet":                           {operator, "update", "coordination.k8s.io", "leases", "wallet", system, true},
		"the operator touches no Lease elsewhere":               {operator, "get", "coordination.k8s.io", "leases", "wallet", "team", false},
		"a viewer reads payments":                               {"utexo-viewer", "get", payments, "lightningpayments", "", "team", true},
		"a viewer pays nothing":                                 {"utexo-viewer", "create", payments, "lightningpayments", "", "team", false},
		"a viewer reads payments of no other namespace":         {"utexo-viewer", "get", payments, "lightningpayments", "", "default", false},
		"an editor declares an on-chain send":                   {"utexo-editor", "create", payments, "onchainsends", "", "team", true},
		"an editor writes no status":                            {"utexo-editor", "update", payments, "onchainsends/status", "", "team", false},
		"an editor changes no wallet":                           {"utexo-editor", "update", payments, "wallets", "", "team", false},
		"an editor reads records":                               {"utexo-editor", "get", payments, "paymentrecords", "", "team", true},
		"an editor deletes no record":                           {"utexo-editor", "delete", payments, "paymentrecords", "", "team", false},
		"an editor approves nothing":                            {"utexo-editor", "create", payments, "paymentapprovals", "", "team", false},
		"an approver approves":                                  {"utexo-approver", "create", payments, "paymentapprovals", "", "team", true},
		"an approver rewrites no approval":                      {"utexo-approver", "update", payments, "paymentapprovals", "", "team", false},
		"an approver declares no payment":                       {"utexo-approver", "create", payments, "lightningpayments", "", "team", false},
		"the operator approves nothing":                         {operator, "create", payments, "paymentapprovals", "", "team", false},
		"a signer gives a signature":                            {"utexo-payment-signer", "create", payments, "paymentsignatures", "", "team", true},
		"a signer rewrites no signature":                        {"utexo-payment-signer", "update", payments, "paymentsignatures", "", "team", false},
		"a signer declares no payment":                          {"utexo-payment-signer", "create", payments, "lightningpayments", "", "team", false},
		"an editor gives no signature":                          {"utexo-editor", "create", payments, "paymentsignatures", "", "team", false},
		"a viewer reads no signature":                           {"utexo-viewer", "get", payments, "paymentsignatures", "", "team", false},
		"the operator signs nothing":                            {operator, "create", payments, "paymentsignatures", "", "team", false},
		"a wallet admin declares wallets":                       {"utexo-wallet-admin", "create", payments, "wallets", "", "team", true},
		"a wallet admin pays nothing":                           {"utexo-wallet-admin", "create", payments, "lightningpayments", "", "team", false},
		"a wallet admin writes no record":                       {"utexo-wallet-admin", "update", payments, "paymentrecords", "", "team", false},
	} {
		t.Run(name, func(t *testing.T) {
			resource, subresource, _ := strings.Cut(tc.resource, "/")
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: tc.user,
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Verb: tc.verb, Group: tc.group, Resource: resource, Subresource: subresource, Name: tc.object, Namespace: tc.namespace,
				},
			}}
			if err := cluster.Create(t.Context(), review); err != nil {
				t.Fatal(err)
			}
			if review.Status.Allowed != tc.want {
				t.Errorf("%s: got allowed %v, want %v", tc.user, review.Status.Allowed, tc.want)
			}
		})
	}
}

// testSigner installs the reference signer and a wallet of its. The signer is as the program wants it, nobody but the manager reaches it,
// and nothing in the cluster is open to it.
func testSigner(t *testing.T, cluster cluster, operator []*unstructured.Unstructured) {
	shipped := build(t, "signer")
	cluster.apply(t, shipped, "")
	cluster.makeNamespace(t, "guarded")
	cluster.apply(t, build(t, "samples/remote-signer"), "guarded")
	for _, object := range shipped {
		if strings.Contains(object.GetAPIVersion(), "rbac") || object.GetKind() == "ServiceAccount" {
			t.Errorf("the signer comes with a %s: it needs no right", object.GetKind())
		}
	}

	deployment := find[appsv1.Deployment](t, shipped, "Deployment", "utexo-signer")
	pod := deployment.Spec.Template.Spec
	if err := cluster.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "as-shipped", Namespace: deployment.Namespace}, Spec: pod,
	}); err != nil {
		t.Errorf("Pod Security restricted: %v", err)
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken || !*pod.Containers[0].SecurityContext.ReadOnlyRootFilesystem {
		t.Error("the signer gets a token, or may write where it should not")
	}
	// What it is started with it understands: it gets as far as the keys, which this machine has not.
	signer := exec.CommandContext(t.Context(), "go", append([]string{"run", "-buildvcs=false", "../cmd/utexo-signer"}, pod.Containers[0].Args...)...)
	if out, err := signer.CombinedOutput(); err == nil || !strings.Contains(string(out), "the keys in /keys cannot be used") {
		t.Errorf("with the arguments of the Deployment the signer says: %s (%v)", out, err)
	}

	service := find[corev1.Service](t, shipped, "Service", "utexo-signer")
	in := find[networkingv1.NetworkPolicy](t, shipped, "NetworkPolicy", "utexo-signer").Spec
	out := find[networkingv1.NetworkPolicy](t, shipped, "NetworkPolicy", "utexo-operator-to-signer").Spec
	manager := find[appsv1.Deployment](t, operator, "Deployment", "utexo-operator").Spec.Template.Labels
	for name, selector := range map[string]struct{ want, got map[string]string }{
		"the Deployment":            {deployment.Spec.Template.Labels, deployment.Spec.Selector.MatchLabels},
		"the Service":               {deployment.Spec.Template.Labels, service.Spec.Selector},
		"the signer's policy":       {deployment.Spec.Template.Labels, in.PodSelector.MatchLabels},
		"to whom the manager talks": {deployment.Spec.Template.Labels, out.Egress[0].To[0].PodSelector.MatchLabels},
	} {
		if diff := cmp.Diff(selector.want, selector.got); diff != "" {
			t.Errorf("selector of %s (-labels of the pods +selector):\n%s", name, diff)
		}
	}
	shard := find[appsv1.Deployment](t, build(t, "shards"), "Deployment", "utexo-operator-blue").Spec.Template.Labels
	for _, pods := range []map[string]string{manager, shard} {
		if !selects(in.Ingress[0].From[0].PodSelector.MatchLabels, pods) || !selects(out.PodSelector.MatchLabels, pods) {
			t.Errorf("%v do not get to the signer", pods)
		}
	}
	if len(in.Ingress) != 1 || len(in.Ingress[0].From) != 1 || len(in.Egress) != 0 || len(in.PolicyTypes) != 2 {
		t.Errorf("more than the manager gets in, or something gets out: %+v", in)
	}
	var admitted authorizationv1.SubjectAccessReview
	admitted.Spec = authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:utexo-system:utexo-operator",
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "get", Resource: "secrets", Name: "utexo-signer-keys", Namespace: "utexo-signer",
		},
	}
	if err := cluster.Create(t.Context(), &admitted); err != nil || admitted.Status.Allowed {
		t.Errorf("the operator may read the signer's keys: %t, %v", admitted.Status.Allowed, err)
	}
}

// testResolve sets the annotation that resolves an unknown outcome as an editor of payments, with and without the verb for it.
// testRetention installs what a retention of records needs, and deletes as the operator.
func testRetention(t *testing.T, cluster cluster, config *rest.Config) {
	records := map[string]*v1alpha1.PaymentRecord{}
	for name, of := range map[string]struct {
		kind  v1alpha1.RecordKind
		phase v1alpha1.RecordPhase
	}{
		"ln-over": {v1alpha1.RecordLightningPayment, v1alpha1.RecordSucceeded}, "ln-under-way": {v1alpha1.RecordLightningPayment, v1alpha1.RecordSubmitted},
		"oc-over": {v1alpha1.RecordOnchainSend, v1alpha1.RecordSucceeded}, "pin-x": {v1alpha1.RecordInvoicePin, v1alpha1.RecordHeld},
	} {
		record := &v1alpha1.PaymentRecord{
			ObjectMeta: metav1.ObjectMeta{Namespace: "utexo-system", Name: name},
			Spec: v1alpha1.PaymentRecordSpec{Kind: of.kind, Wallet: v1alpha1.RecordWallet{
				Name: "main", MasterFingerprint: "1f5bd7df", Server: "https://utexo.invalid",
			}},
			Journal: v1alpha1.PaymentJournal{
				Phase: of.phase, Holder: v1alpha1.RecordHolder{Kind: "LightningPayment", Namespace: "team", Name: "rent"},
			},
		}
		if err := cluster.Create(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		records[name] = record
	}
	operator := as(t, config, "system:serviceaccount:utexo-system:utexo-operator")
	if err := operator.Delete(t.Context(), records["ln-over"]); !apierrors.IsForbidden(err) {
		t.Errorf("without the right to: got %v, want it to be forbidden", err)
	}
	cluster.apply(t, build(t, "retention"), "")
	// Role and policy are in force a moment after they were applied.
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := operator.Delete(t.Context(), records["oc-over"], client.DryRunAll)
		if err != nil && strings.Contains(err.Error(), "Lightning payments that are over") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the record of a send is deleted: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, name := range []string{"oc-over", "ln-under-way", "pin-x"} {
		if err := operator.Delete(t.Context(), records[name]); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want it to be forbidden", name, err)
		}
	}
	if err := operator.Delete(t.Context(), records["ln-over"]); err != nil {
		t.Errorf("the record of a payment that is over: %v", err)
	}
	if err := cluster.Delete(t.Context(), records["oc-over"]); err != nil {
		t.Errorf("by an administrator: %v", err)
	}
}

func testResolve(t *testing.T, cluster cluster, config *rest.Config) {
	const annotation = "payments.utexo.com/resolve"
	editor := as(t, config, "utexo-editor")
	send := testkit.MakeOnchainSend("doubt").Namespace("team").
		Address("bcrt1peasutyryerxx0chunqagkymygcgzpj5sv52tp33gyt26f5xqjt4sfj4zk0").AmountSats(1000).Obj()
	if err := editor.Create(t.Context(), send); err != nil {
		t.Fatal(err)
	}
	annotate := func(c client.Client, word string) error {
		before := send.DeepCopy()
		send.SetAnnotations(map[string]string{annotation: word})
		err := c.Patch(t.Context(), send, client.MergeFrom(before))
		if err != nil {
			send = before
		}
		return err
	}

	// The policy is in force a moment after it was applied.
	deadline := time.Now().Add(30 * time.Second)
	for err := annotate(editor, "1:1:notpaid"); !apierrors.IsForbidden(err); err = annotate(editor, time.Now().String()) {
		if time.Now().After(deadline) {
			t.Fatalf("an editor resolves: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	declared := testkit.MakeOnchainSend("forged").Namespace("team").Annotation(annotation, "1:1:paid:x").
		Address("bcrt1peasutyryerxx0chunqagkymygcgzpj5sv52tp33gyt26f5xqjt4sfj4zk0").AmountSats(1000).Obj()
	if err := editor.Create(t.Context(), declared); !apierrors.IsForbidden(err) {
		t.Errorf("an editor declares a payment with a word on its outcome: got %v, want it to be forbidden", err)
	}

	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "resolver", Namespace: "utexo-system"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "utexo-resolver"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "controller-of-doubts"}},
	}
	if err := cluster.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	both := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "resolver-edits", Namespace: "team"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "utexo-editor"},
		Subjects:   binding.Subjects,
	}
	if err := cluster.Create(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	resolver := as(t, config, "controller-of-doubts")
	for err := annotate(resolver, "1:1:notpaid"); err != nil; err = annotate(resolver, "1:1:notpaid") {
		if time.Now().After(deadline) {
			t.Fatalf("who may resolve cannot: %v", err)
		}
		time.Sleep(100 * time.Millisecond) // role bindings take a moment too
	}
	before := send.DeepCopy()
	send.Spec.Suspend = true
	if err := editor.Patch(t.Context(), send, client.MergeFrom(before)); err != nil {
		t.Errorf("an editor changes a payment that carries somebody's word: %v", err)
	}
}

// as returns a client of a user.
func as(t *testing.T, config *rest.Config, user string) client.Client {
	t.Helper()
	impersonating := rest.CopyConfig(config)
	impersonating.Impersonate.UserName = user
	c, err := client.New(impersonating, client.Options{Scheme: testkit.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually tries until want is what it came to: a policy and a binding are in force a moment after they were applied.
func eventually(t *testing.T, what string, want func(error) bool, try func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for err := try(); !want(err); err = try() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: got %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// testSign gives signatures as people with and without the right to.
func testSign(t *testing.T, cluster cluster, config *rest.Config) {
	give := func(c client.Client, wallet v1alpha1.WalletReference) error {
		object := testkit.MakePaymentSignature(v1alpha1.PaymentReference{Kind: "OnchainSend", Name: "payroll", UID: "1"}, 1, strings.Repeat("AAAA", 10))
		object.Namespace, object.Name, object.GenerateName, object.Spec.WalletRef = "team", "", "signature-", wallet
		return c.Create(t.Context(), object)
	}
	accepted := func(err error) bool { return err == nil }
	signs := as(t, config, "utexo-payment-signer")
	eventually(t, "a signature for a Wallet of another namespace", apierrors.IsForbidden, func() error {
		return give(signs, v1alpha1.WalletReference{Name: "main", Namespace: "default"})
	})
	if err := give(signs, v1alpha1.WalletReference{Name: "main"}); err != nil {
		t.Errorf("who may sign cannot: %v", err)
	}
	cluster.makeNamespace(t, "cold")
	cluster.apply(t, build(t, "samples/manual-signer"), "cold")
	alice := as(t, config, "alice")
	eventually(t, "a signature of the sample's signer", accepted, func() error {
		object := testkit.MakePaymentSignature(v1alpha1.PaymentReference{Kind: "OnchainSend", Name: "payroll", UID: "1"}, 1, strings.Repeat("AAAA", 10))
		object.Namespace, object.Spec.WalletRef.Name = "cold", "cold"
		return alice.Create(t.Context(), object)
	})

	// One who may create signatures, and sign for one Wallet only.
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "petty-signer", Namespace: "team"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"payments.utexo.com"}, Resources: []string{"paymentsignatures"}, Verbs: []string{"create"}},
		{APIGroups: []string{"payments.utexo.com"}, Resources: []string{"wallets"}, Verbs: []string{"sign"}, ResourceNames: []string{"petty-cash"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "petty-signer", Namespace: "team"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "petty-signer"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "dave"}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := cluster.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	dave := as(t, config, "dave")
	eventually(t, "a signature for one's own Wallet", accepted, func() error { return give(dave, v1alpha1.WalletReference{Name: "petty-cash"}) })
	if err := give(dave, v1alpha1.WalletReference{Name: "main"}); !apierrors.IsForbidden(err) {
		t.Errorf("a signature for another Wallet: got %v, want it to be forbidden", err)
	}
}

// testApprove approves payments as people with and without the right to, in their own name and in others', and declares payments in the
// name of others.
func testApprove(t *testing.T, cluster cluster, config *rest.Config) {
	editor, approver := as(t, config, "utexo-editor"), as(t, config, "utexo-approver")
	approve := func(c client.Client, name string, change func(*v1alpha1.PaymentApproval)) error {
		object := testkit.MakePaymentApproval(name, v1alpha1.PaymentReference{Kind: "OnchainSend", Name: "payroll", UID: "1"}, "main",
			strings.Repeat("0f", 32), time.Now().Add(time.Hour))
		object.Namespace, object.Name, object.GenerateName = "team", "", "approval-"
		if change != nil {
			change(object)
		}
		return c.Create(t.Context(), object)
	}
	accepted := func(err error) bool { return err == nil }
	eventually(t, "another's name", apierrors.IsForbidden, func() error { return approve(approver, "somebody-else", nil) })
	if err := approve(approver, "utexo-approver", nil); err != nil {
		t.Errorf("who may approve cannot: %v", err)
	}
	elsewhere := func(a *v1alpha1.PaymentApproval) { a.Spec.WalletRef.Namespace = "default" }
	if err := approve(approver, "utexo-approver", elsewhere); !apierrors.IsForbidden(err) {
		t.Errorf("an approval for a Wallet of another namespace: got %v, want it to be forbidden", err)
	}

	// One who may create approvals, and approve from one Wallet only.
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "petty-cash", Namespace: "team"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"payments.utexo.com"}, Resources: []string{"paymentapprovals"}, Verbs: []string{"create"}},
		{APIGroups: []string{"payments.utexo.com"}, Resources: []string{"wallets"}, Verbs: []string{"approve"}, ResourceNames: []string{"petty-cash"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "petty-cash", Namespace: "team"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "petty-cash"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "carol"}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := cluster.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	carol := as(t, config, "carol")
	eventually(t, "an approval for one's own Wallet", accepted, func() error {
		return approve(carol, "carol", func(a *v1alpha1.PaymentApproval) { a.Spec.WalletRef.Name = "petty-cash" })
	})
	if err := approve(carol, "carol", nil); !apierrors.IsForbidden(err) {
		t.Errorf("an approval for another Wallet: got %v, want it to be forbidden", err)
	}

	declare := func(author string) (*v1alpha1.OnchainSend, error) {
		builder := testkit.MakeOnchainSend("").Namespace("team").Address("bcrt1peasutyryerxx0chunqagkymygcgzpj5sv52tp33gyt26f5xqjt4sfj4zk0").AmountSats(1000)
		if author != "" {
			builder.Annotation(v1alpha1.AuthorAnnotation, author)
		}
		send := builder.Obj()
		send.GenerateName = "authored-"
		return send, editor.Create(t.Context(), send)
	}
	if _, err := declare("somebody-else"); !apierrors.IsForbidden(err) {
		t.Errorf("a payment in the name of another: got %v, want it to be forbidden", err)
	}
	anonymous, err := declare("")
	if err != nil {
		t.Fatal(err)
	}
	mine, err := declare("utexo-editor")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() *v1alpha1.OnchainSend{
		"an author who is changed": func() *v1alpha1.OnchainSend {
			mine.Annotations[v1alpha1.AuthorAnnotation] = "somebody-else"
			return mine
		},
		"an author who is removed": func() *v1alpha1.OnchainSend { delete(mine.Annotations, v1alpha1.AuthorAnnotation); return mine },
		"an author who comes late": func() *v1alpha1.OnchainSend {
			metav1.SetMetaDataAnnotation(&anonymous.ObjectMeta, v1alpha1.AuthorAnnotation, "utexo-editor")
			return anonymous
		},
	} {
		if err := editor.Update(t.Context(), change()); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want it to be forbidden", name, err)
		}
	}

	cluster.apply(t, build(t, "author"), "")
	eventually(t, "an author who is written down", accepted, func() error {
		send, err := declare("")
		if err == nil && send.Annotations[v1alpha1.AuthorAnnotation] != "utexo-editor" {
			err = errors.New("the annotations are " + strings.Join(slices.Sorted(maps.Keys(send.Annotations)), ", "))
		}
		return err
	})
	if send, err := declare("somebody-else"); err != nil || send.Annotations[v1alpha1.AuthorAnnotation] != "utexo-editor" {
		t.Errorf("the policy that writes the author leaves %v, %v", send.Annotations, err)
	}
}

// build returns the objects of a kustomization in the order in which they are to be applied.
func build(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	var stderr bytes.Buffer
	kustomize := exec.CommandContext(t.Context(), filepath.Join(testkit.AssetsDirectory(".."), "kubectl"), "kustomize", dir)
	kustomize.Stderr = &stderr
	out, err := kustomize.Output()
	if err != nil {
		t.Fatalf("building %s: %v\n%s", dir, err, stderr.Bytes())
	}
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatalf("decoding %s: %v", dir, err)
		}
		objects = append(objects, object)
	}
}

// find returns the object of that kind and name as a typed one.
func find[T any](t *testing.T, objects []*unstructured.Unstructured, kind, name string) T {
	t.Helper()
	var found T
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind && o.GetName() == name })
	if i < 0 {
		t.Fatalf("there is no %s %s", kind, name)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(objects[i].Object, &found); err != nil {
		t.Fatalf("%s %s: %v", kind, name, err)
	}
	return found
}

// cluster is an API server.
type cluster struct{ client.Client }

// apply does what kubectl apply --server-side -n namespace does: an unknown or missing field is an error.
func (c cluster) apply(t *testing.T, objects []*unstructured.Unstructured, namespace string) {
	t.Helper()
	for _, object := range objects {
		namespaced, err := c.IsObjectNamespaced(object)
		if err != nil {
			t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
		if namespaced && object.GetNamespace() == "" {
			object.SetNamespace(namespace)
		}
		configuration := client.ApplyConfigurationFromUnstructured(object.DeepCopy())
		if err := c.Apply(t.Context(), configuration, client.FieldOwner("kubectl"), client.ForceOwnership); err != nil {
			t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
}

func (c cluster) makeNamespace(t *testing.T, name string) {
	t.Helper()
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		t.Fatal(err)
	}
}

// bind gives a ClusterRole in a namespace to a user of the same name.
func (c cluster) bind(t *testing.T, role, namespace string) {
	t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role, Namespace: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: role}},
	}
	if err := c.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
}
