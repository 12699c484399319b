package controller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/shard"
)

// TestUnservedWallet labels a Wallet for a shard, for which a manager runs, or does not.
func TestUnservedWallet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	w.emitted()
	watch := w.controllers.Unserved
	watch.Namespaces = []string{w.namespace}
	look := func(want map[string]float64, events int) {
		t.Helper()
		if err := watch.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, w.gauges(watch, "utexo_wallets_unserved")); diff != "" {
			t.Errorf("metric (-want +got):\n%s", diff)
		}
		told := w.emitted()
		if len(told) != events {
			t.Fatalf("%d events, want %d: %v", len(told), events, told)
		}
		for _, event := range told {
			if !strings.HasPrefix(event, "Warning "+v1alpha1.EventShardUnserved+" ") || !strings.Contains(event, "--shard=blue") {
				t.Errorf("it tells %q", event)
			}
		}
	}
	nobody, blue := map[string]float64{"": 0}, map[string]float64{"": 1}

	look(nobody, 0)
	w.toShard(w.wallet("main"), "blue")
	look(blue, 1)
	look(blue, 0) // which is no news

	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: w.operator, Name: shard.Lease("blue")}}
	renewed := metav1.NewMicroTime(w.clock.Now())
	lease.Spec.RenewTime = &renewed
	w.create(lease)
	look(nobody, 0)
	w.clock.Step(4 * time.Minute) // as while its Deployment starts another one
	look(nobody, 0)
	w.clock.Step(2 * time.Minute)
	look(blue, 1)

	w.toShard(w.wallet("main"), "")
	look(nobody, 0)
}

// TestUnservedNamesAreNoSeries labels Wallets for many shards that nobody has: the metric stays one series, as people choose these names.
func TestUnservedNamesAreNoSeries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Documented)
	watch := w.controllers.Unserved
	watch.Namespaces = []string{w.namespace}
	const many = 20
	for i := range many {
		wallet := w.mainWallet(sandbox.Documented)
		wallet.ObjectMeta = metav1.ObjectMeta{
			Namespace: w.namespace, Name: fmt.Sprint("wallet-", i), Labels: map[string]string{v1alpha1.ShardLabel: fmt.Sprint("shard-", i)},
		}
		w.create(wallet)
	}
	if err := watch.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]float64{"": many}, w.gauges(watch, "utexo_wallets_unserved")); diff != "" {
		t.Errorf("metric (-want +got):\n%s", diff)
	}
}
