package settlement

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/testkit"
)

var (
	t0     = time.Date(2026, time.January, 1, 12, 0, 0, 0, time.UTC)
	policy = payment.DefaultPolicy()
)

func makeRecord(journal v1alpha1.PaymentJournal) *v1alpha1.PaymentRecord {
	return &v1alpha1.PaymentRecord{
		ObjectMeta: metav1.ObjectMeta{Name: RecordName("7")}, Spec: v1alpha1.PaymentRecordSpec{Kind: v1alpha1.RecordSettlement}, Journal: journal,
	}
}

func TestDecide(t *testing.T) {
	claimed := v1alpha1.PaymentJournal{Phase: v1alpha1.RecordClaimed}
	asking := Asking(claimed, t0, t0.Add(20*time.Second))
	landed := t0.Add(20*time.Second + policy.Quarantine)
	done := Answered(asking, Answer{ChannelsOpened: 1}, t0)
	refused := payment.Refused(asking, payment.Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "locked"}, policy, t0)
	busy := &payment.Obstacle{Reason: v1alpha1.ReasonWalletBusy, Message: "not yet", RetryAfter: time.Second}
	for name, tc := range map[string]struct {
		journal       *v1alpha1.PaymentJournal
		waiting, held *payment.Obstacle
		now           time.Time

		want       Step
		wantPhase  v1alpha1.SettlementPhase
		wantReason string
		wantAfter  time.Duration
		wantWrites v1alpha1.RecordPhase
	}{
		"a new one is claimed":                   {now: t0, want: Claim},
		"a new one waits for its wallet":         {waiting: busy, now: t0, wantPhase: v1alpha1.SettlementPending, wantReason: v1alpha1.ReasonWalletBusy, wantAfter: time.Second},
		"one that must not name its wallet ends": {waiting: &payment.Obstacle{Reason: v1alpha1.ReasonInvalidSpec, Message: "no", DeadEnd: true}, now: t0, wantPhase: v1alpha1.SettlementFailed, wantReason: v1alpha1.ReasonInvalidSpec},
		"a claimed one is asked for":             {journal: &claimed, now: t0, want: Settle},
		"a claimed one waits for its wallet":     {journal: &claimed, held: busy, now: t0, wantPhase: v1alpha1.SettlementPending, wantReason: v1alpha1.ReasonWalletBusy, wantAfter: time.Second},
		"a refused one waits":                    {journal: &refused, now: t0.Add(time.Second), wantPhase: v1alpha1.SettlementPending, wantReason: v1alpha1.ReasonServiceUnavailable, wantAfter: 29 * time.Second},
		"a refused one is asked for again":       {journal: &refused, now: t0.Add(30 * time.Second), want: Settle},
		"one that was asked for is waited for":   {journal: &asking, now: landed.Add(-time.Second), wantPhase: v1alpha1.SettlementSettling, wantReason: v1alpha1.ReasonSubmitting, wantAfter: time.Second},
		"one that was asked for and lost ends":   {journal: &asking, now: landed, want: Continue, wantWrites: v1alpha1.RecordUnknown},
		"one that is waited for has no obstacle": {journal: &asking, waiting: busy, now: t0, wantPhase: v1alpha1.SettlementSettling, wantReason: v1alpha1.ReasonSubmitting, wantAfter: 320 * time.Second},
		"one that is done rests":                 {journal: &done, waiting: busy, now: t0, wantPhase: v1alpha1.SettlementSucceeded, wantReason: v1alpha1.ReasonSettlementDone},
		"one that was refused for good rests":    {journal: new(Answered(asking, Answer{Refusal: "no funds"}, t0)), now: t0, wantPhase: v1alpha1.SettlementFailed, wantReason: v1alpha1.ReasonSettlementRefused},
		"one of which a channel failed rests":    {journal: new(Answered(asking, Answer{Channels: []v1alpha1.SettledChannel{{Type: "btc", Error: "no"}}}, t0)), now: t0, wantPhase: v1alpha1.SettlementFailed, wantReason: v1alpha1.ReasonChannelNotOpened},
		"one that is lost rests":                 {journal: new(Lost(asking, t0)), now: t0, wantPhase: v1alpha1.SettlementUnknown, wantReason: v1alpha1.ReasonAnswerLost},
	} {
		t.Run(name, func(t *testing.T) {
			facts := Facts{
				Settlement: &v1alpha1.Settlement{ObjectMeta: metav1.ObjectMeta{Name: "monday", Generation: 1}}, Waiting: tc.waiting, Held: tc.held,
			}
			if tc.journal != nil {
				facts.Record = makeRecord(*tc.journal)
			}
			got := Decide(facts, policy, tc.now)
			if got.Step != tc.want || got.RequeueAfter != tc.wantAfter {
				t.Fatalf("step %d, again after %s; want step %d after %s", got.Step, got.RequeueAfter, tc.want, tc.wantAfter)
			}
			if wrote := got.Journal; (wrote == nil) != (tc.wantWrites == "") || (wrote != nil && wrote.Phase != tc.wantWrites) {
				t.Errorf("writes %+v, want phase %q", wrote, tc.wantWrites)
			}
			if got.Step != Rest {
				return
			}
			shown := facts.Settlement.DeepCopy()
			shown.Status = got.Status
			if err := testkit.CheckStatus(shown); err != nil {
				t.Error(err)
			}
			ready := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionReady)
			if got.Status.Phase != tc.wantPhase || ready.Reason != tc.wantReason {
				t.Errorf("%s for %s, want %s for %s", got.Status.Phase, ready.Reason, tc.wantPhase, tc.wantReason)
			}
		})
	}
}

// TestAskingCountsAttempts asks twice, after a refusal that time mends.
func TestAskingCountsAttempts(t *testing.T) {
	until := t0.Add(20 * time.Second)
	first := Asking(v1alpha1.PaymentJournal{Phase: v1alpha1.RecordClaimed}, t0, until)
	again := Asking(payment.Refused(first, payment.Obstacle{Reason: v1alpha1.ReasonServiceUnavailable}, policy, t0), t0, until)
	if first.Attempt != 1 || again.Attempt != 2 || again.RetryAfter != nil || again.Reason != "" || !again.NotAfter.Time.Equal(until) {
		t.Errorf("attempts %d and %d: %+v", first.Attempt, again.Attempt, again)
	}
}

func TestAnswered(t *testing.T) {
	channels := []v1alpha1.SettledChannel{{Type: "btc"}, {Type: "asset", Error: "NoAvailableUtxos"}}
	got := Answered(v1alpha1.PaymentJournal{Phase: v1alpha1.RecordSubmitting}, Answer{Channels: channels, ChannelsOpened: 1}, t0)
	completed := metav1.NewMicroTime(t0)
	want := v1alpha1.PaymentJournal{
		Phase: v1alpha1.RecordFailed, Reason: v1alpha1.ReasonChannelNotOpened, Message: "1 of 2 channels could not be opened, see the results",
		Channels: channels, ChannelsOpened: new(int64(1)), CompletedAt: &completed,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDueIsOfTheShard makes a Settlement for a wallet with and without a shard: whoever works on the wallet must work on it.
func TestDueIsOfTheShard(t *testing.T) {
	for name, want := range map[string]map[string]string{
		"":     {LabelWallet: "main"},
		"blue": {LabelWallet: "main", v1alpha1.ShardLabel: "blue"},
	} {
		wallet := testkit.MakeWallet("main").Obj()
		if name != "" {
			wallet.Labels = map[string]string{v1alpha1.ShardLabel: name, "team": "treasury"}
		}
		wallet.Spec.Settlement = &v1alpha1.WalletSettlement{Mode: v1alpha1.SettleAutomatic}
		wallet.Status.Balance = &v1alpha1.WalletBalance{Vanilla: v1alpha1.Balance{SpendableSats: 1000}}
		due := Due(wallet, t0)
		if due == nil {
			t.Fatal("nothing is due")
		}
		if diff := cmp.Diff(want, due.Labels); diff != "" {
			t.Errorf("labels of a Settlement of the shard %q (-want +got):\n%s", name, diff)
		}
	}
}
