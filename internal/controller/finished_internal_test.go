package controller

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

func finishedPayment(ttl *int32) *v1alpha1.LightningPayment {
	return &v1alpha1.LightningPayment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "rent", Generation: 1},
		Spec:       v1alpha1.LightningPaymentSpec{WalletRef: v1alpha1.WalletReference{Name: "main"}, TTLSecondsAfterFinished: ttl},
		Status: v1alpha1.LightningPaymentStatus{
			Phase: v1alpha1.PaymentSucceeded, ObservedGeneration: 1, Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady}},
		},
	}
}

// TestUnfinished holds that a manager that starts makes no pass over what is finished, unless it is to delete it, and one over all else.
func TestUnfinished(t *testing.T) {
	open := finishedPayment(nil)
	open.Status.Phase = v1alpha1.PaymentInFlight
	for name, tc := range map[string]struct {
		object client.Object
		want   bool
	}{
		"finished and to stay":   {finishedPayment(nil), false},
		"finished and to go":     {finishedPayment(new(int32)), true},
		"under way":              {open, true},
		"of a kind without ends": {&v1alpha1.DepositAddress{}, true},
	} {
		if got := unfinished().Create(event.CreateEvent{Object: tc.object}); got != tc.want {
			t.Errorf("%s: a pass %t, want %t", name, got, tc.want)
		}
	}
	edited := finishedPayment(nil)
	edited.Generation = 2
	lost := finishedPayment(nil)
	lost.Status = v1alpha1.LightningPaymentStatus{}
	kept, err := Slim(finishedPayment(nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, after := range map[string]client.Object{"an edit": edited, "a status that was taken away": lost} {
		news := event.UpdateEvent{ObjectOld: kept.(client.Object), ObjectNew: after}
		if !declared().Update(news) || !unfinished().Update(news) {
			t.Errorf("%s of a finished payment causes no pass", name)
		}
	}
}

func TestTally(t *testing.T) {
	wallet := client.ObjectKey{Namespace: "team", Name: "main"}
	is := func(phase v1alpha1.PaymentPhase) *v1alpha1.LightningPayment {
		o := finishedPayment(nil)
		o.Status.Phase = phase
		return o
	}
	elsewhere := is(v1alpha1.PaymentSucceeded)
	elsewhere.Spec.WalletRef.Namespace = "treasury"
	send := &v1alpha1.OnchainSend{ObjectMeta: metav1.ObjectMeta{Namespace: "team"}}
	send.Spec.WalletRef.Name, send.Status.Phase = "main", v1alpha1.PaymentUnknown

	tally := &Tally{}
	tally.OnAdd(elsewhere, true)
	tally.OnAdd(send, true)
	tally.OnAdd(is(v1alpha1.PaymentPending), true)
	tally.OnAdd(is(v1alpha1.PaymentSubmitting), false)
	tally.OnAdd(is(v1alpha1.PaymentInFlight), false)
	tally.OnAdd(is(v1alpha1.PaymentInFlight), false)
	tally.OnUpdate(is(v1alpha1.PaymentInFlight), is(v1alpha1.PaymentFailed))
	tally.OnUpdate(is(v1alpha1.PaymentPending), is(v1alpha1.PaymentSucceeded))
	check := func(want v1alpha1.PaymentCounts) {
		t.Helper()
		got, err := tally.Of(t.Context(), wallet)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	check(v1alpha1.PaymentCounts{InFlight: 2, Succeeded: 1, Failed: 1, Unknown: 1})
	if got := tally.phases("LightningPayment")[v1alpha1.PaymentSucceeded]; got != 2 {
		t.Errorf("%d LightningPayments of all wallets succeeded, want 2", got)
	}

	tally.OnDelete(is(v1alpha1.PaymentFailed))
	tally.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "team/rent", Obj: is(v1alpha1.PaymentSucceeded)})
	tally.OnDelete(send)
	check(v1alpha1.PaymentCounts{InFlight: 2})
	for _, o := range []any{elsewhere, is(v1alpha1.PaymentSubmitting), is(v1alpha1.PaymentInFlight)} {
		tally.OnDelete(o)
	}
	if len(tally.counts) != 0 {
		t.Errorf("of payments that are gone %v is kept", tally.counts)
	}
	tally.synced = append(tally.synced, func() bool { return false })
	if got, err := tally.Of(canceled(t), wallet); err == nil {
		t.Errorf("before all payments are counted it counts %v", got)
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
