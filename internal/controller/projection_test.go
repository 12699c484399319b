package controller_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// projected is what a target holds.
func (w *world) projected(target client.Object) map[string]string {
	w.t.Helper()
	w.get(target)
	switch o := target.(type) {
	case *corev1.ConfigMap:
		return o.Data
	case *corev1.Secret:
		data := map[string]string{}
		for key, value := range o.Data {
			data[key] = string(value)
		}
		return data
	}
	return nil
}

// holds is what a target of object is to hold, with that payment request.
func holds(object *v1alpha1.LightningInvoice, paymentRequest string) map[string]string {
	return map[string]string{
		"paymentRequest": paymentRequest, "paymentHash": object.Status.PaymentHash, "amountSats": "1500",
		"expiresAt": object.Status.ExpiresAt.UTC().Format(time.RFC3339),
	}
}

func (w *world) wantProjected(target client.Object, object *v1alpha1.LightningInvoice, paymentRequest string) {
	w.t.Helper()
	if diff := cmp.Diff(holds(object, paymentRequest), w.projected(target)); diff != "" {
		w.t.Errorf("%T holds (-want +got):\n%s", target, diff)
	}
}

func (w *world) wantPublished(object *v1alpha1.LightningInvoice, status metav1.ConditionStatus, reason string, says ...string) {
	w.t.Helper()
	w.get(object)
	got := w.condition(object, v1alpha1.ConditionPublished)
	if got.Status != status || got.Reason != reason {
		w.t.Errorf("Published is %s for %s: %s", got.Status, got.Reason, got.Message)
	}
	for _, text := range says {
		if !strings.Contains(got.Message, text) {
			w.t.Errorf("the message does not say %q: %s", text, got.Message)
		}
	}
}

// targets are the two kinds of them: how they are declared, and how they are read.
var targets = map[string]struct {
	declare func(*testkit.LightningInvoiceBuilder) *testkit.LightningInvoiceBuilder
	object  func(w *world) client.Object
}{
	"ConfigMap": {
		func(b *testkit.LightningInvoiceBuilder) *testkit.LightningInvoiceBuilder {
			return b.PublishToConfigMap("pay")
		},
		func(w *world) client.Object {
			return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "pay"}}
		},
	},
	"Secret": {
		func(b *testkit.LightningInvoiceBuilder) *testkit.LightningInvoiceBuilder {
			return b.PublishToSecret("pay")
		},
		func(w *world) client.Object {
			return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "pay"}}
		},
	},
}

// TestProjections takes the objects of spec.publishTo through the life of their invoices.
func TestProjections(t *testing.T) {
	for kind, of := range targets {
		t.Run(kind+" follows the invoice", func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			object := made(w, of.declare(w.invoice("order").Renews()).Obj())
			target := of.object(w)
			w.pass(object)
			if w.exists(target) {
				t.Error("it is there before there is anything to pay")
			}
			w.syncWallet()
			w.pass(object)
			w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
			w.wantPublished(object, metav1.ConditionTrue, v1alpha1.ReasonPublished)
			w.wantProjected(target, object, object.Status.PaymentRequest)
			if !metav1.IsControlledBy(target, object) || target.GetOwnerReferences()[0].BlockOwnerDeletion != nil {
				t.Errorf("its owners are %+v", target.GetOwnerReferences())
			}
			w.quiet(object)

			w.renewal(object)
			w.wantProjected(target, object, object.Status.PaymentRequest)

			// Nothing can be paid while the next one is asked for.
			w.clock.SetTime(object.Status.ExpiresAt.Add(time.Second))
			w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.CreateInvoice})
			w.pass(object)
			w.want(object, verdict{"Renewing", v1alpha1.ReasonServiceUnavailable, nil})
			w.wantProjected(target, object, "")
			w.reach(object, v1alpha1.ReasonOpen)
			w.wantProjected(target, object, object.Status.PaymentRequest)

			w.settle(object.Status.PaymentRequest, false)
			w.rest(object)
			w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
			w.wantProjected(target, object, "")
			w.quiet(object)
		})
		t.Run(kind+" of somebody else", func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			theirs := of.object(w)
			w.create(theirs)
			before := theirs.DeepCopyObject().(client.Object)
			object := made(w, of.declare(w.invoice("order")).Obj())
			w.pass(object)
			w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
			w.wantPublished(object, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict, kind+" pay exists", "leaves it alone")
			if told := w.told(); told[v1alpha1.ReasonTargetConflict] != 1 {
				t.Errorf("a person was told %v", told)
			}
			w.watch(object, 5*time.Minute)
			w.get(theirs)
			if diff := cmp.Diff(before, theirs); diff != "" {
				t.Errorf("it was changed (-before +after):\n%s", diff)
			}
			if told := w.told(); len(told) != 0 {
				t.Errorf("a person was told again: %v", told)
			}
			w.quiet(object)

			// It is looked at again by itself, also once the invoice is settled.
			w.settle(object.Status.PaymentRequest, false)
			w.reach(object, v1alpha1.ReasonSettled)
			w.wantPublished(object, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict)
			w.delete(theirs)
			w.rest(object)
			w.wantPublished(object, metav1.ConditionTrue, v1alpha1.ReasonPublished)
			w.wantProjected(of.object(w), object, "")
			w.quiet(object)
		})
		t.Run(kind+" of a resource of the same name before", func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			object := made(w, of.declare(w.invoice("order")).Obj())
			w.pass(object)
			w.delete(object)
			again := made(w, of.declare(w.invoice("order")).Obj())
			w.pass(again)
			w.wantPublished(again, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict)
			w.delete(of.object(w)) // as the garbage collector does, of which the test's cluster has none
			w.clock.Step(15 * time.Second)
			w.pass(again)
			w.wantProjected(of.object(w), again, again.Status.PaymentRequest)
		})
		t.Run(kind+" that somebody changes or takes away", func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			object := made(w, of.declare(w.invoice("order")).Obj())
			w.pass(object)
			target := of.object(w)
			w.get(target)
			switch o := target.(type) {
			case *corev1.ConfigMap:
				o.Data["paymentRequest"], o.Data["more"] = "lnbcrt1evil", "yes"
			case *corev1.Secret:
				o.Data["paymentRequest"], o.Data["more"] = []byte("lnbcrt1evil"), []byte("yes")
			}
			if err := w.api.Update(t.Context(), target); err != nil {
				t.Fatal(err)
			}
			w.pass(object)
			w.wantProjected(target, object, object.Status.PaymentRequest)
			w.delete(target)
			w.pass(object)
			w.wantProjected(of.object(w), object, object.Status.PaymentRequest)
		})
		for _, verb := range []string{"get", "create", "patch"} {
			t.Run(kind+" that may not be written: "+verb, func(t *testing.T) {
				w := newWorld(t, sandbox.Documented)
				w.syncWallet()
				allowed := false
				w.kube = func(call kubeCall) error {
					if call.verb == verb && kindOf(call.object) == kind && call.key.Name == "pay" && !allowed {
						return apierrors.NewForbidden(schema.GroupResource{Resource: strings.ToLower(kind) + "s"}, "pay", errors.New("no rule allows it"))
					}
					return call.do()
				}
				object := made(w, of.declare(w.invoice("order")).Obj())
				w.pass(object)
				if verb == "patch" {
					w.settle(object.Status.PaymentRequest, false)
					w.reach(object, v1alpha1.ReasonSettled)
					w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
				} else {
					w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
				}
				w.wantPublished(object, metav1.ConditionFalse, v1alpha1.ReasonTargetForbidden, "Role and RoleBinding in namespace "+w.namespace)
				if told := w.told(); told[v1alpha1.ReasonTargetForbidden] != 1 {
					t.Errorf("a person was told %v", told)
				}
				allowed = true
				w.pass(object)
				w.wantPublished(object, metav1.ConditionTrue, v1alpha1.ReasonPublished)
			})
		}
		t.Run(kind+" that was made immutable", func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			object := made(w, of.declare(w.invoice("order")).Obj())
			w.pass(object)
			target := of.object(w)
			w.get(target)
			switch o := target.(type) {
			case *corev1.ConfigMap:
				o.Immutable = new(true)
			case *corev1.Secret:
				o.Immutable = new(true)
			}
			if err := w.api.Update(t.Context(), target); err != nil {
				t.Fatal(err)
			}
			w.settle(object.Status.PaymentRequest, false)
			w.reach(object, v1alpha1.ReasonSettled)
			w.wantPublished(object, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict, "delete it")
		})
	}
	t.Run("under another key", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := w.invoice("order").PublishToConfigMap("pay").Obj()
		object.Spec.PublishTo.ConfigMapRef.Key = "BOLT11"
		w.create(object)
		w.pass(object)
		w.get(object)
		if got := w.projected(targets["ConfigMap"].object(w)); got["BOLT11"] != object.Status.PaymentRequest || len(got) != 4 {
			t.Errorf("it holds %v", got)
		}
	})
	t.Run("the keys of a wallet are never overwritten", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := made(w, w.invoice("order").PublishToSecret("main").Obj())
		w.pass(object)
		w.wantPublished(object, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict, "Secret main exists")
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "main"}}
		if got := w.projected(secret); got["mnemonic"] != mnemonic || len(got) != 1 {
			t.Error("they were")
		}
	})
}

// TestProjectionWithShippedRights writes targets as the operator's service account, with no rights and then with the Role that is shipped.
func TestProjectionWithShippedRights(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	object := w.open("order")
	object.Spec.PublishTo = &v1alpha1.InvoiceTarget{ConfigMapRef: &v1alpha1.TargetReference{Name: "pay"}}
	w.api = apiClient // this projector writes past it
	operator := asOperator(t)
	projector := &controller.Projector{Client: operator, Reader: operator}
	obstacle, err := projector.Project(t.Context(), object, &object.Status, w.clock.Now())
	if err != nil || obstacle == nil || obstacle.Reason != v1alpha1.ReasonTargetForbidden {
		t.Fatalf("without rights: %+v, %v", obstacle, err)
	}

	w.grantTargets("pay")
	target := targets["ConfigMap"].object(w)
	for deadline := time.Now().Add(30 * time.Second); !w.exists(target); time.Sleep(50 * time.Millisecond) { // the authorizer learns of it
		obstacle, err := projector.Project(t.Context(), object, &object.Status, w.clock.Now())
		if err != nil || obstacle != nil && time.Now().After(deadline) {
			t.Fatalf("with the rights that are shipped: %+v, %v", obstacle, err)
		}
	}
	w.wantProjected(target, object, object.Status.PaymentRequest)
	object.Status.Phase = v1alpha1.InvoiceSettled
	if obstacle, err := projector.Project(t.Context(), object, &object.Status, w.clock.Now()); err != nil || obstacle != nil {
		t.Fatalf("to empty it: %+v, %v", obstacle, err)
	}
	w.wantProjected(target, object, "")
}

// asOperator is the API server as the operator's service account reaches it, with no right but what is granted in the test.
func asOperator(t *testing.T) client.Client {
	t.Helper()
	config := rest.CopyConfig(apiConfig)
	config.Impersonate.UserName = "system:serviceaccount:utexo-system:utexo-operator"
	operator, err := client.New(config, client.Options{Scheme: testkit.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return operator
}

// grantTargets grants the operator the Role that is shipped for what it writes in a namespace, for targets of a name.
func (w *world) grantTargets(name string) {
	w.t.Helper()
	file, err := os.Open("../../config/invoice-targets-access/role.yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	defer file.Close()
	decoder := yaml.NewYAMLOrJSONDecoder(file, 4096)
	var role rbacv1.Role
	var binding rbacv1.RoleBinding
	for _, granted := range []client.Object{&role, &binding} {
		if err := decoder.Decode(granted); err != nil {
			w.t.Fatal(err)
		}
		granted.SetNamespace(w.namespace)
	}
	role.Rules[1].ResourceNames = []string{name}
	w.create(&role)
	w.create(&binding)
}

// TestProjectionUnderOneFault puts each fault at each call from the declaration until the invoice is settled: in the end nothing payable is
// shown any more.
func TestProjectionUnderOneFault(t *testing.T) {
	drive := func(t *testing.T, n int, f fault) []string {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := made(w, w.invoice("order").PublishToConfigMap("pay").Obj())
		struck := w.strike(n, f, nil)
		target := targets["ConfigMap"].object(w)
		for range 10 { // until it can be read there, and is paid
			w.clock.Step(max(w.pass(object), time.Second))
			if w.exists(target) && w.projected(target)["paymentRequest"] != "" {
				break
			}
		}
		w.settle(w.projected(target)["paymentRequest"], false)
		w.drive(object)
		w.boundary = nil
		w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
		w.wantPublished(object, metav1.ConditionTrue, v1alpha1.ReasonPublished)
		w.wantProjected(target, object, "")
		w.quiet(object)
		return struck.path
	}
	path := drive(t, -1, fault{})
	t.Logf("%d calls:\n%s", len(path), strings.Join(path, "\n"))
	for n, call := range path {
		for _, f := range faults() {
			if strings.Contains(f.kinds, call[:1]) && strings.HasSuffix(call, "ConfigMap") {
				t.Run(f.name+" "+call, func(t *testing.T) { drive(t, n, f) })
			}
		}
	}
}
