package simulation

import (
	"slices"
	"strings"
	"sync"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/shard"
	"github.com/utexo/utexo-operator/internal/walletlock"
)

// shards is what is kept of a run in which each replica has a shard of its own: the first one none, the second one blue.
type shards struct {
	// moves are the labels that a person is about to change, in that order.
	moves []move
	// moved counts those that were changed, underWay those of payments that were begun and not over.
	moved, underWay int
}

// move is one object that is to be of a shard.
type move struct {
	object *object
	to     string
}

// shardOf is the --shard of r.
func (s *sim) shardOf(r *replica) string {
	if s.shards == nil || r.name == "a" {
		return ""
	}
	return "blue"
}

// visibleTo returns object where the cache of r holds it; nil where it does not.
func (s *sim) visibleTo(r *replica, object client.Object) client.Object {
	if s.shards == nil || object == nil || !slices.Contains(watchedKinds, kindOf(object)) || slices.Contains([]string{"PaymentApproval", "PaymentSignature"}, kindOf(object)) || shard.Has(s.shardOf(r), object) {
		return object
	}
	return nil
}

// asSeenBy is a change as the watch of r tells of it: what comes into its shard is created, what leaves it deleted.
func (s *sim) asSeenBy(r *replica, made change) change {
	made.before, made.after = s.visibleTo(r, made.before), s.visibleTo(r, made.after)
	return made
}

// moveWallet lets a person begin to move a wallet, and all that names it, to the other shard: one by one and in any order.
func (s *sim) moveWallet() {
	var wallets []*object
	for _, o := range s.objects {
		if o.key.kind == "Wallet" {
			wallets = append(wallets, o)
		}
	}
	chosen, to := wallets[s.random.IntN(len(wallets))], "blue"
	if s.labelOf(chosen) != "" {
		to = ""
	}
	s.note("%s and all that names it are to move to the shard %q", chosen.key, to)
	first := len(s.shards.moves)
	for _, o := range s.objects {
		if o.wallet == chosen.key.name {
			s.shards.moves = append(s.shards.moves, move{o, to})
		}
	}
	added := s.shards.moves[first:]
	s.random.Shuffle(len(added), func(i, j int) { added[i], added[j] = added[j], added[i] })
}

func (s *sim) moving() bool { return s.shards != nil && len(s.shards.moves) > 0 }

// moveNext changes the next label.
func (s *sim) moveNext() {
	next := s.shards.moves[0]
	s.shards.moves = s.shards.moves[1:]
	s.relabel(next.object, next.to)
}

func (s *sim) relabel(o *object, to string) {
	if s.api.current(o.key) == nil || s.labelOf(o) == to {
		return
	}
	s.shards.moved++
	if record := s.recordOf(o.record); record != nil {
		switch record.Journal.Phase {
		case v1alpha1.RecordBegan, v1alpha1.RecordSubmitting, v1alpha1.RecordSubmitted:
			s.shards.underWay++
		}
	}
	s.note("%s is labelled %q", o.key, to)
	s.api.update(o.key, false, func(object client.Object) { setShard(object, to) })
}

func setShard(object client.Object, name string) {
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	if delete(labels, v1alpha1.ShardLabel); name != "" {
		labels[v1alpha1.ShardLabel] = name
	}
	object.SetLabels(labels)
}

// labelOf is the shard of what there is of o; empty for none.
func (s *sim) labelOf(o *object) string {
	if found := s.api.current(o.key); found != nil {
		return found.GetLabels()[v1alpha1.ShardLabel]
	}
	return ""
}

// labelled is o as a person declares it: of its wallet's shard, or of the other one by mistake, while mistakes are made.
func (s *sim) labelled(o *object) client.Object {
	made := o.made.DeepCopyObject().(client.Object)
	if s.shards == nil {
		return made
	}
	name := s.labelOf(s.objectOf(objectKey{"Wallet", team, o.wallet}))
	if s.chaotic && s.chance(20) {
		name = map[string]string{"": "blue"}[name]
	}
	setShard(made, name)
	return made
}

// gather ends all moves: everything is of its wallet's shard.
func (s *sim) gather() {
	for s.moving() {
		s.moveNext()
	}
	if s.shards == nil {
		return
	}
	for _, o := range s.objects {
		if o.made != nil && o.rests() {
			s.relabel(o, s.labelOf(s.objectOf(objectKey{"Wallet", team, o.wallet})))
		}
	}
}

// mismatches counts how often a status came to say that a resource and its wallet are of two shards, and who says so to the end.
func (s *sim) mismatches() (said int, still []string) {
	for _, kind := range watchedKinds {
		for _, made := range s.api.watches[kind] {
			if waits(made.after) && !waits(made.before) {
				said++
			}
		}
	}
	for _, o := range s.objects {
		if found := s.api.current(o.key); waits(found) {
			still = append(still, o.key.String())
		}
	}
	return said, still
}

// waits reports whether there is an object, and it waits for its wallet's shard.
func waits(object client.Object) bool {
	_, conditioned := object.(interface{ GetConditions() []metav1.Condition })
	return conditioned && readyReason(object) == v1alpha1.ReasonShardMismatch
}

// movers are all evils, and a wallet that moves between shards more often than each.
var movers = append([]evil{{40, (*sim).moveWallet}}, evils...)

// TestShards runs two replicas of different shards. Wallets and payments move between them while payments are under way, label by label,
// with caches that lag, beside all other faults. Every oracle judges, and what people brought together in the end goes on by itself.
func TestShards(t *testing.T) {
	count, asked := environment(t, "SEEDS")
	if !asked {
		count = 600
	}
	var mutex sync.Mutex
	var sum stats
	moved, underWay, waited := 0, 0, 0
	inParallel(count, func(i uint64) bool {
		s := runSeed(i+1, mutation{shards: true, evils: movers}, false)
		said, still := s.mismatches()
		mutex.Lock()
		defer mutex.Unlock()
		sum.add(s.judge.stats)
		moved, underWay, waited = moved+s.shards.moved, underWay+s.shards.underWay, waited+said
		for _, f := range s.failures {
			t.Errorf("seed %d: %s: %s", s.seed, f.oracle, f.text)
		}
		if len(still) > 0 {
			t.Errorf("seed %d: of its wallet's shard, and waiting for it: %v", s.seed, still)
		}
		if t.Failed() {
			traced := runSeed(s.seed, mutation{shards: true, evils: movers}, true)
			t.Logf("seed %d:\n%s", s.seed, strings.Join(traced.trace, "\n"))
		}
		return !t.Failed()
	})
	t.Log(&sum)
	t.Logf("%d seeds: %d objects moved, %d of them payments under way; %d times a resource waited for its wallet's shard",
		count, moved, underWay, waited)
	if !asked && (underWay < 100 || waited < 100) {
		t.Error("too little moved for this to mean anything")
	}
}

// TestShardsKeepNobodyOut takes away what keeps two processes out of one wallet, and lets nothing else happen than that wallets move and
// that calls take their time. The oracles must notice: it is the Lease that lets one spender at a time into a wallet, and no shard.
func TestShardsKeepNobodyOut(t *testing.T) {
	open := mutation{
		shards: true, evils: []evil{{1, (*sim).moveWallet}}, rules: rules{blindPatches: "Lease"},
		faults: []sandbox.Fault{often(sandbox.FaultDelay, sandbox.PayBegin), often(sandbox.FaultDelay, sandbox.OnchainBegin)},
		read: func(object client.Object) {
			if lease, ok := object.(*coordinationv1.Lease); ok {
				lease.Spec.HolderIdentity = nil
				delete(lease.Annotations, walletlock.InflightAnnotation)
			}
		},
	}
	others := map[string]int{}
	for seed := uint64(1); seed <= 300; seed++ {
		for _, f := range runSeed(seed, open, false).failures {
			if f.oracle == "I6" {
				t.Logf("caught by seed %d, %s: %s", seed, f.oracle, f.text)
				return
			}
			others[f.oracle]++
		}
	}
	t.Errorf("two shards were never in one wallet; others saw %v", others)
}
